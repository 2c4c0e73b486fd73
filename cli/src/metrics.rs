//! `hallmark metrics`: what the signer counts, as text.

use std::path::Path;

use hallmark_proto::operator::{MetricsRequest, MetricsResponse};
use serde_json::json;

use crate::{
    arguments::HealthArguments,
    config::Config,
    connection::{self, Connection},
    exit::Exit,
    problem::Problem,
    screen::Screen,
    settings::ConnectionSettings,
};

/// Prints it as it came.
pub(crate) fn metrics(arguments: &HealthArguments, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let settings = ConnectionSettings::resolve(&arguments.connection, &Config::load(config)?)?;
    let MetricsResponse { text } = connection::runtime()?.block_on(async {
        let connection = Connection::open(&settings).await?;
        connection.call_operator(MetricsRequest {}, async |mut client, request| client.metrics(request).await).await
    })?;
    if !screen.is_json() {
        screen.data(text.as_bytes())?;
    }
    screen.answer(&json!({ "result": "metrics", "text": text }))?;
    Ok(Exit::Done)
}
