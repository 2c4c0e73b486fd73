//! Entries of events.

use hallmark_entry::Object;

use crate::{
    Acceptance, CeremonyAction, CeremonyEvent, Event, KeyAction, KeyChange, Logged, UnixMillis,
    batch::{Batch, Fault},
    instance::{self, Alarm, Withheld},
    origin::OriginRow,
    schema::signed,
};

/// Type of the entry that ends a clean run.
pub(crate) const STOP: &str = "stop";

/// Type of the entries between which a log goes over to another origin.
pub(crate) const ORIGIN: &str = "origin";

/// Type of the entries that are about ceremonies.
pub(crate) const CEREMONY: &str = "ceremony";

/// What such an entry does that hands a root over.
pub(crate) const HANDED_OVER: &str = "handed-over";

impl Batch<'_> {
    /// Logs an event; a loaded policy is in force from here on.
    pub(crate) fn record(&mut self, event: &Event, at: UnixMillis) -> Result<Logged, Fault> {
        if matches!(event, Event::ClockAccepted) {
            instance::forgotten_ahead(self, at)?;
        }
        let logged = self.append(entry(event, at), at)?;
        if let Event::PolicyLoaded { digest, text, by: _ } = event {
            self.keep_blob(text.as_bytes())?;
            self.policy = Some(*digest);
        }
        if let Event::SigningFailed { log_index, .. } = event {
            instance::withhold(self.connection, *log_index, Withheld::Failed)?;
        }
        if let Some(distrusted) = clock_distrusted(event) {
            self.connection.prepare_cached("UPDATE head SET clock_distrusted = ?1")?.execute([distrusted])?;
        }
        if matches!(event, Event::ClockAccepted) {
            let sql = "INSERT INTO clock_step (log_index) VALUES (?1)";
            self.connection.prepare_cached(sql)?.execute([signed(logged.index)])?;
        }
        if let Event::LogKeys { change, by: _ } = event {
            OriginRow::change_keys(self.connection, change)?;
        }
        if let Event::DeviceAlarm { alarm, authority, sentence } = event {
            let authority = authority.as_deref().unwrap_or_default();
            self.alarms.push(Alarm::new(alarm.name(), authority, logged.index, sentence));
        }
        if let Event::OperatorCommand { command } = event
            && let Some(accepted) = Acceptance::of_command(command)
        {
            accepted.forget(self.connection)?;
        }
        Ok(logged)
    }
}

/// Whether the event says that the clock is not to be trusted from here on, or that it is.
fn clock_distrusted(event: &Event) -> Option<bool> {
    match event {
        Event::ClockDistrusted { .. } => Some(true),
        Event::ClockAccepted => Some(false),
        Event::Start { .. }
        | Event::Stop
        | Event::Recovered { .. }
        | Event::PolicyLoaded { .. }
        | Event::PolicyRefused { .. }
        | Event::KeyEvent { .. }
        | Event::KeysCleared { .. }
        | Event::WrapKeyMade { .. }
        | Event::SigningFailed { .. }
        | Event::OperatorCommand { .. }
        | Event::BackUp { .. }
        | Event::Aggregate { .. }
        | Event::RevokeCertificates { .. }
        | Event::LogKeys { .. }
        | Event::DeviceAlarm { .. }
        | Event::Ceremony(_)
        | Event::Heartbeat => None,
    }
}

fn entry(event: &Event, at: UnixMillis) -> Vec<u8> {
    let object = Object::new();
    let (kind, object) = match event {
        Event::Start { version, config_sha256, backends, software_keys, roots_without_ceremony } => (
            "start",
            object
                .text("program-version", version)
                .hex("config-sha256", config_sha256)
                .texts("backends", "backends-omitted", backends)
                .flag("software-keys", *software_keys)
                .texts("roots-without-ceremony", "roots-without-ceremony-omitted", roots_without_ceremony),
        ),
        Event::Stop => (STOP, object),
        Event::Recovered { unsigned } => ("recovered", object.count("unsigned", *unsigned)),
        Event::PolicyLoaded { digest, text, by } => (
            "policy-loaded",
            object.hex("policy-sha256", digest.as_bytes()).count("bytes", text.len() as u64).text("by", by),
        ),
        Event::PolicyRefused { digest, by, sentences } => (
            "policy-refused",
            object.maybe_hex("refused-sha256", digest.as_ref().map(<[u8; 32]>::as_slice)).text("by", by).texts(
                "sentences",
                "sentences-omitted",
                sentences,
            ),
        ),
        Event::KeyEvent { authority, action, reference, spki, kind, backend } => (
            "key-event",
            object
                .text("authority", authority)
                .text("action", action.name())
                .text("reference", reference)
                .hex("spki-sha256", spki.as_bytes())
                .text("key-kind", kind.name())
                .text("backend", backend),
        ),
        Event::WrapKeyMade { authority, reference, check_value, backend } => (
            "key-event",
            object
                .text("authority", authority)
                .text("action", "wrap-key")
                .text("reference", reference)
                .maybe_hex("check-value", check_value.as_ref().map(<[u8; 3]>::as_slice))
                .text("backend", backend),
        ),
        Event::KeysCleared { authority, label, count, backend } => (
            "key-event",
            object
                .text("authority", authority)
                .text("action", "cleared")
                .text("reference", label)
                .count("count", *count)
                .text("backend", backend),
        ),
        Event::SigningFailed { log_index, code, sentence } => (
            "outcome",
            object
                .text("result", "signing-failed")
                .count("decision-index", *log_index)
                .text("code", code)
                .text("sentence", sentence),
        ),
        Event::DeviceAlarm { alarm, authority, sentence } => {
            let object = object.text("alarm", alarm.name()).text("sentence", sentence);
            ("alarm", authority.iter().fold(object, |object, authority| object.text("authority", authority)))
        }
        Event::ClockDistrusted { sentence } => ("clock-distrusted", object.text("sentence", sentence)),
        Event::ClockAccepted => ("operator-command", object.text("command", "accept-clock")),
        Event::OperatorCommand { command } => ("operator-command", object.text("command", command)),
        Event::RevokeCertificates { authority, by, why, reason, selection, count } => (
            "operator-command",
            object
                .text("command", "revoke-certificates")
                .text("authority", authority)
                .text("by", by)
                .text("reason", why)
                .text("revocation-reason", reason.name())
                .texts("selection", "selection-omitted", selection)
                .count("count", *count),
        ),
        Event::Aggregate { caller, method, reason, count, from, to } => (
            "aggregate",
            object
                .text("caller", caller)
                .text("method", method)
                .text("reason", reason)
                .count("count", *count)
                .integer("from", from.0)
                .integer("to", to.0),
        ),
        Event::LogKeys { change: KeyChange { keys, added, removed }, by } => (
            "log-key",
            object.text("by", by).texts("keys", "keys-omitted", keys).texts("added", "added-omitted", added).texts(
                "removed",
                "removed-omitted",
                removed,
            ),
        ),
        Event::BackUp { name, by, why } => (
            "operator-command",
            object.text("command", "back-up").text("backup", name).text("by", by).text("reason", why),
        ),
        Event::Ceremony(event) => (CEREMONY, ceremony(event)),
        Event::Heartbeat => ("heartbeat", object),
    };
    object.into_entry(kind, at.0)
}

fn ceremony(event: &CeremonyEvent) -> Object {
    let CeremonyEvent { ceremony, file_sha256, action } = event;
    let object = Object::new().text("ceremony", ceremony).hex("file-sha256", file_sha256);
    match action {
        CeremonyAction::Begun { kind, device, rehearsal_sha256 } => object
            .text("action", "begun")
            .text("kind", kind)
            .text("device", device.as_deref().unwrap_or_default())
            .hex("rehearsal-sha256", rehearsal_sha256),
        CeremonyAction::Confirmed { step, by } => {
            object.text("action", "confirmed").text("step", step).texts("by", "by-omitted", by)
        }
        CeremonyAction::Stopped { step, sentence } => {
            object.text("action", "stopped").text("step", step).text("sentence", sentence)
        }
        CeremonyAction::Finished { transcript_sha256 } => {
            object.text("action", "finished").hex("transcript-sha256", transcript_sha256)
        }
        CeremonyAction::HandedOver { authority, transcript_sha256, origin, size, root } => object
            .text("action", HANDED_OVER)
            .text("authority", authority)
            .hex("transcript-sha256", transcript_sha256)
            .text("origin", origin)
            .count("size", *size)
            .hex("root", root),
    }
}

impl KeyAction {
    /// The word that the log uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Generated => "generated",
            Self::TakenOver => "taken-over",
            Self::Opened => "opened",
            Self::Destroyed => "destroyed",
            Self::Refused => "refused",
            Self::BackedUp => "backed-up",
            Self::Restoring => "restoring",
            Self::Restored => "restored",
        }
    }
}
