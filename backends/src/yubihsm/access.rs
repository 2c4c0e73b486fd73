//! The way into a device: the authentication key, whether it may be tried again, and sessions.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use hallmark_yubihsm::{DeviceInfo, Domains, Error, Session, Way};

use super::{
    failure::failed,
    found::DeviceLogFindings,
    held::Held,
    least::{self, Duty, Found},
    log,
    record::CommandLogFile,
    tally::Tally,
};
use crate::{alarm::Alarm, class::Failure, config::CommandLogUse, error::BackendError};

/// A device, as the configuration names it.
pub(super) struct Access {
    way: Box<dyn Way>,
    /// The authentication key.
    pub(super) key: u16,
    /// Where keys are, all of them.
    pub(super) domains: Domains,
    duty: Duty,
    pub(super) log_use: CommandLogUse,
    /// What its command log is kept in, where its room is freed.
    pub(super) kept: Option<CommandLogFile>,
    /// What was found in it.
    pub(super) found: DeviceLogFindings,
    /// It could not be kept the last time.
    pub(super) is_unkept: AtomicBool,
    /// Held while a session is opened, so that sessions are opened one after another.
    opening: Mutex<()>,
    /// The serial number of the device with which the first session was opened. Every later one is with the same.
    first: OnceLock<String>,
    /// The password was refused before it ever let somebody in: nobody tries again.
    refused: AtomicBool,
    pub(super) tally: Tally,
    /// Held while the command log is read and compared.
    pub(super) reading: Mutex<()>,
    /// When the command log is read.
    pub(super) read_log: Alarm,
}

impl Access {
    pub(super) fn new(
        way: Box<dyn Way>,
        key: u16,
        domains: Domains,
        duty: Duty,
        log_use: CommandLogUse,
        found: DeviceLogFindings,
    ) -> Arc<Self> {
        Arc::new(Self {
            way,
            key,
            domains,
            duty,
            kept: match &log_use {
                CommandLogUse::Consume { file } => Some(CommandLogFile::new(file.clone())),
                CommandLogUse::Read | CommandLogUse::Off => None,
            },
            is_unkept: AtomicBool::new(false),
            found,
            log_use,
            opening: Mutex::default(),
            first: OnceLock::new(),
            refused: AtomicBool::new(false),
            tally: Tally::new(key),
            reading: Mutex::default(),
            read_log: Alarm::default(),
        })
    }

    pub(super) fn place(&self) -> String {
        self.way.place()
    }

    pub(super) fn password_is_refused(&self) -> bool {
        self.refused.load(Ordering::SeqCst)
    }

    /// Opens a session, unless the password was refused before, and looks whether it is with the device that was there first.
    pub(super) fn session(&self) -> Result<Box<dyn Session>, BackendError> {
        let _one = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if self.password_is_refused() {
            return Err(failed(Error::PasswordRefused { key: self.key }));
        }
        let mut session = self.way.open().map_err(|error| {
            if let Error::PasswordRefused { .. } = error {
                if self.first.get().is_some() {
                    // Whoever is in between can say so, too, and shall not end this for good.
                    let answer = "that the password is wrong, with which it opened sessions before".to_owned();
                    return BackendError::Gone { failure: Failure { call: "CREATE SESSION".to_owned(), answer } };
                }
                self.refused.store(true, Ordering::SeqCst);
                tracing::error!(%error, "no session is opened any more");
            }
            failed(error)
        })?;
        let mut held = Held::new(session.as_mut(), true);
        let looked = match self.look(&mut held) {
            Err(BackendError::LogFull { .. }) => {
                // It answers again when its log was read, and nobody else may ever get a session to read it in.
                log::read(self, &mut held);
                self.look(&mut held)
            }
            looked => looked,
        };
        let (DeviceInfo { serial, .. }, _) = looked?;
        let first = self.first.get_or_init(|| serial.clone());
        if *first == serial {
            return Ok(session);
        }
        let answer = format!("serial number {serial}, and it was {first} before");
        let failure = Failure { call: DeviceInfo::COMMAND.to_owned(), answer };
        Err(BackendError::ConnectorGone { place: self.place(), failure })
    }

    /// Looks at the authentication key, and at what the device is.
    pub(super) fn look(&self, held: &mut Held<'_>) -> Result<(DeviceInfo, Found), BackendError> {
        let key = held.call(|session| session.authentication_key(self.key)).map_err(|error| {
            if !matches!(error, BackendError::HandleLost { .. }) {
                return error;
            }
            let detail = format!("the device tells nothing of authentication key {:#06x}", self.key);
            BackendError::Configuration { detail }
        })?;
        let found = least::check(&key, self.domains, &self.duty)?;
        Ok((held.call(|session| session.device())?, found))
    }

    /// A key is about to be used.
    pub(super) fn sends(&self, key: u16) {
        if self.tally.sends(key) && self.log_use != CommandLogUse::Off {
            self.read_log.set(Instant::now());
        }
    }
}

/// A session that is opened when it is needed, and kept.
#[derive(Default)]
pub(super) struct Place(Mutex<Option<Box<dyn Session>>>);

impl Place {
    /// Runs `work` in the session. One that was idle for too long is replaced before; one that is in doubt is dropped after.
    pub(super) fn run<T>(
        &self,
        access: &Access,
        work: impl FnOnce(&mut Held<'_>) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        in_session(access, &mut place, work)
    }

    /// The same, once more in a new session if the device failed: for work that may be done twice.
    pub(super) fn run_twice<T>(
        &self,
        access: &Access,
        work: impl Fn(&mut Held<'_>) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        match self.run(access, &work) {
            Err(error) if error.may_pass() => {
                tracing::warn!(%error, "the key device failed; once more");
                self.run(access, &work)
            }
            result => result,
        }
    }

    pub(super) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

pub(super) fn in_session<T>(
    access: &Access,
    place: &mut Option<Box<dyn Session>>,
    work: impl FnOnce(&mut Held<'_>) -> Result<T, BackendError>,
) -> Result<T, BackendError> {
    let (session, is_new) = match place.take().filter(|session| session.is_open()) {
        Some(session) => (session, false),
        None => (access.session()?, true),
    };
    let mut held = Held::new(place.insert(session).as_mut(), is_new);
    let result = work(&mut held);
    if held.is_spoiled() {
        *place = None;
    }
    result
}
