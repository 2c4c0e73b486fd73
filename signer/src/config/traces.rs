//! `[traces]`: calls are traced only where it stands.

use hallmark_traces::{Endpoint, QUEUE_DEFAULT, QUEUE_MAX, Ratio, Setting};
use serde::Deserialize;

use super::ConfigError;

/// `[traces]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TracesTable {
    /// Where spans are sent to: `unix:/PATH`, or `http://HOST:PORT`.
    pub endpoint: String,
    /// The share of calls that are traced, from 0 to 1; all if not set.
    pub ratio: Option<f64>,
    /// How many calls may wait to be sent; what is beyond is dropped.
    pub queue: Option<usize>,
    /// Whether a caller whose header says whether it records its own span decides for its call.
    #[serde(default)]
    pub callers_decide: bool,
}

impl TracesTable {
    /// Where spans are sent to.
    ///
    /// # Errors
    /// [`ConfigError::TracesEndpoint`].
    pub fn endpoint(&self) -> Result<Endpoint, ConfigError> {
        Endpoint::parse(&self.endpoint).map_err(|source| ConfigError::TracesEndpoint { source })
    }

    /// The share of calls that are traced.
    ///
    /// # Errors
    /// [`ConfigError::TracesRatio`].
    pub fn ratio(&self) -> Result<Ratio, ConfigError> {
        let ratio = self.ratio.map_or(Ok(Ratio::ALL), Ratio::new);
        ratio.map_err(|source| ConfigError::TracesRatio { source })
    }

    /// How many calls may wait.
    ///
    /// # Errors
    /// [`ConfigError::TracesQueue`].
    pub fn queue(&self) -> Result<usize, ConfigError> {
        let queue = self.queue.unwrap_or(QUEUE_DEFAULT);
        if (1..=QUEUE_MAX).contains(&queue) { Ok(queue) } else { Err(ConfigError::TracesQueue { queue }) }
    }

    /// All of it, for the signer whose log has this origin.
    pub(crate) fn setting(&self, origin: &str) -> Result<Setting, ConfigError> {
        Ok(Setting {
            endpoint: self.endpoint()?,
            ratio: self.ratio()?,
            queue: self.queue()?,
            callers_decide: self.callers_decide,
            instance: origin.to_owned(),
            version: env!("CARGO_PKG_VERSION"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(table: &str) -> Result<Setting, String> {
        let table: TracesTable = toml::from_str(table).map_err(|error| error.to_string())?;
        table.setting("log.hallmark.lab").map_err(|error| error.to_string())
    }

    #[test]
    fn an_endpoint_is_enough_and_callers_do_not_decide() {
        let setting = read("endpoint = 'unix:/run/otlp.sock'").unwrap();
        assert_eq!((setting.ratio, setting.queue, setting.callers_decide), (Ratio::ALL, QUEUE_DEFAULT, false));
        assert_eq!(setting.instance, "log.hallmark.lab");
    }

    #[test]
    fn a_share_may_be_typed_as_a_whole_number() {
        for (typed, share) in [("0", 0.0), ("1", 1.0), ("0.5", 0.5)] {
            let setting = read(&format!("endpoint = 'unix:/run/otlp.sock'\nratio = {typed}")).unwrap();
            assert_eq!(setting.ratio.share(), share);
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_its_key_with_what_to_write() {
        let at = "endpoint = 'unix:/run/otlp.sock'";
        for (table, key, hint) in [
            (String::new(), "`endpoint`", "missing"),
            ("endpoint = 'otlp.sock'".to_owned(), "`traces.endpoint`", "write `unix:/PATH`"),
            ("endpoint = 'https://host:4317'".to_owned(), "`traces.endpoint`", "hint:"),
            (format!("{at}\nratio = 1.5"), "`traces.ratio`", "from 0.0 (none) to 1.0 (all)"),
            (format!("{at}\nratio = -0.1"), "`traces.ratio`", "from 0.0 (none) to 1.0 (all)"),
            (format!("{at}\nratio = nan"), "`traces.ratio`", "from 0.0 (none) to 1.0 (all)"),
            (format!("{at}\nqueue = 0"), "`traces.queue`", "1 to 65536"),
            (format!("{at}\nqueue = 65537"), "`traces.queue`", "1 to 65536"),
        ] {
            let told = read(&table).unwrap_err();
            assert!(told.contains(key) && told.contains(hint), "{table}: {told}");
        }
    }
}
