//! `hallmark health`: whether a signer is serving (grpc.health.v1).

use std::path::Path;

use hallmark_proto::SIGNER_SERVICE;
use serde_json::json;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use crate::{
    arguments::HealthArguments,
    config::Config,
    connection::{self, Connection},
    exit::Exit,
    problem::Problem,
    screen::{Screen, Tone},
    settings::ConnectionSettings,
};

/// Asks.
pub(crate) fn health(arguments: &HealthArguments, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let settings = ConnectionSettings::resolve(&arguments.connection, &Config::load(config)?)?;
    let (address, status) = connection::runtime()?.block_on(async {
        let connection = Connection::open(&settings).await?;
        let question = HealthCheckRequest { service: SIGNER_SERVICE.to_owned() };
        let answer = connection.call_health(question, async |mut client, request| client.check(request).await).await?;
        Ok::<_, Problem>((connection.address().to_owned(), answer.status()))
    })?;
    let (exit, tone, word) = match status {
        ServingStatus::Serving => (Exit::Done, Tone::Good, "serving"),
        ServingStatus::NotServing => (Exit::NotNow, Tone::Bad, "not serving"),
        ServingStatus::Unknown | ServingStatus::ServiceUnknown => (Exit::NotNow, Tone::Doubtful, "unknown"),
    };
    screen.say(&format!("{} the signer at {address}", screen.tone(tone, &format!("{word}:"))));
    screen.answer(&json!({ "result": word, "signer": address }))?;
    Ok(exit)
}
