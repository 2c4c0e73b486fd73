//! What `[traces]` means.

use hallmark_signer::config::TracesTable;

use super::Findings;
use crate::{settings::Settings, trouble::sentence};

pub(super) fn tell(settings: &Settings, findings: &mut Findings) {
    let Some(table) = &settings.core.traces else { return };
    findings.heading("Traces");
    tell_endpoint(table, settings, findings);
    match table.ratio() {
        Ok(ratio) => {
            let share = format!("A share of {} of all calls is traced", ratio.share());
            findings.say(match table.callers_decide {
                true => {
                    format!("{share}, and those that their callers record: a caller can have all of its calls traced.")
                }
                false => format!("{share}; no caller decides whether its calls are."),
            });
        }
        Err(error) => findings.problem(sentence(&error)),
    }
    match table.queue() {
        Ok(queue) => {
            findings.say(format!("The spans of {queue} calls wait for the receiver; what is beyond is dropped."))
        }
        Err(error) => findings.problem(sentence(&error)),
    }
}

fn tell_endpoint(table: &TracesTable, settings: &Settings, findings: &mut Findings) {
    let endpoint = match table.endpoint() {
        Ok(endpoint) => endpoint,
        Err(error) => return findings.problem(sentence(&error)),
    };
    findings.say(format!("Spans are sent to `{endpoint}` by OTLP over gRPC."));
    if !endpoint.is_local() {
        findings.say("They leave this machine in clear; a collector at this machine could send them on by TLS.");
    }
    if endpoint.is_of_the_network() && !settings.process.core_network {
        findings.problem(format!(
            "`traces.endpoint` is `{endpoint}`, and the core makes no connection of the internet, not even to this machine; hint: have the receiver listen at a Unix socket and write `unix:/PATH`, or write `core-network = true` in [process]"
        ));
    }
}
