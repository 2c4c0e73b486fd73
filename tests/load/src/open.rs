//! The open loop: requests are offered at a rate, whatever becomes of them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{task::JoinSet, time::MissedTickBehavior};
use tonic::Request;

use crate::{
    arguments::Arguments,
    connection::{Client, Connector},
    cpu,
    load::{Plan, code_name},
    report::Report,
};

/// How often is looked which requests are due.
const TICK: Duration = Duration::from_millis(1);

/// What is offered.
pub(crate) struct Offer {
    pub(crate) connector: Connector,
    pub(crate) plan: Arc<Plan>,
    /// Requests a second.
    pub(crate) rate: u32,
}

impl Offer {
    /// Offers, waits for the last answer and reports. The rate is that of certificates until then.
    pub(crate) async fn run(self, arguments: &Arguments) -> anyhow::Result<Report> {
        let mut clients = Vec::new();
        for _ in 0..arguments.connections {
            clients.push(self.connector.connect().await?);
        }
        let used = cpu::Used::begin(&arguments.pid)?;
        let (mut answers, mut report) = (JoinSet::new(), Report::default());
        let began = Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut turns = clients.iter().cycle();
        let mut offered = 0;
        while began.elapsed() < self.plan.time {
            ticks.tick().await;
            let due = (began.elapsed().as_secs_f64() * f64::from(self.rate)) as u64;
            for _ in offered..due {
                let (Some(client), Some(request)) = (turns.next(), self.plan.next()) else { break };
                let mut request = Request::new(request);
                request.set_timeout(self.plan.deadline);
                answers.spawn(ask(client.clone(), request));
            }
            offered = due;
            while let Some(answer) = answers.try_join_next() {
                report.add(answer.context("a request's task failed")?);
            }
        }
        while let Some(answer) = answers.join_next().await {
            report.add(answer.context("a request's task failed")?);
        }
        report.time = began.elapsed();
        report.connections = arguments.connections;
        (report.client_cpu, report.signer_cpu) = used.end(&arguments.pid)?;
        Ok(report)
    }
}

async fn ask(mut client: Client, request: Request<hallmark_proto::signer::MintCertificateRequest>) -> Report {
    let (mut report, asked) = (Report::default(), Instant::now());
    match client.signer.mint_certificate(request).await {
        Ok(answer) if answer.get_ref().certificate.is_empty() => report.failed("NO CERTIFICATE"),
        Ok(_) => report.answered(asked.elapsed()),
        Err(status) => report.refused(code_name(&status), asked.elapsed()),
    }
    report
}
