//! `hallmarkd front`: the process that the network reaches. It reads the configuration and its TLS files, and has a line to the core's
//! door; what else it must know, the core tells it.

use std::{
    net::TcpListener,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use hallmark_front::{Front, FrontConfig, FrontError, Line, ReloadHandle};
use hallmark_proto::link::CoreState;
use listenfd::ListenFd;
use rustls_pki_types::CertificateDer;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{
    arguments::FrontArguments,
    callers_trust::{CaKey, anchor_rule},
    child_process::{begin, until_orphaned},
    confine::confine,
    hardening,
    health::{self, ASK_INTERVAL, Told},
    heart::Heart,
    own_files,
    service_manager::{self, State},
    settings::Settings,
    signals::{Asked, Signals},
    trouble::{Trouble, sentence},
};

/// How long it may take to say so: a core that restarts does so sooner. Then health says NOT_SERVING.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
/// Every so many times its CA keys are asked for, too.
const ASKED_FOR_KEYS_EVERY: u32 = 60;

/// Serves until it is told to stop.
pub(crate) fn front(arguments: &FrontArguments) -> Result<(), Trouble> {
    let heart = begin(&arguments.supervised, &arguments.logging)?;
    let given = ListenFd::from_env().take_tcp_listener(0).map_err(|source| Trouble::Door { source })?;
    let settings = Settings::read(&arguments.file)?;
    let config = if arguments.operators {
        settings.operators_front()?.ok_or(Trouble::NoOperators)?
    } else {
        settings.front()?
    };
    let core_uid = settings.core_uid()?;
    hardening::raise_limit_of_files();
    // Before it gives up making sockets, and before it hears anybody.
    let listener = given.map_or_else(|| listen(&config), Ok)?;
    confine(&own_files::of_front(&settings, arguments.operators))?;
    until_orphaned(&heart, live(&heart, arguments, config.with_listener(listener), core_uid))
}

/// Takes the address.
pub(crate) fn listen(config: &FrontConfig) -> Result<TcpListener, Trouble> {
    let address = config.address();
    Ok(TcpListener::bind(address).map_err(|source| FrontError::Listen { address, source })?)
}

async fn live(heart: &Heart, arguments: &FrontArguments, config: FrontConfig, core_uid: u32) -> Result<(), Trouble> {
    let mut signals = Signals::listen()?;
    let line = Line::open(arguments.door.clone(), core_uid);
    let greeting = tokio::select! {
        greeting = line.greeting() => greeting,
        () = signals.stop() => return Ok(()),
    };
    let known = Known::default();
    known.learn(&greeting);
    let config = config.with_anchor_rule(known.rule());
    let front = Front::bind(config, Arc::new(line.clone()))?;
    let (told, tls) = (Told::of(&front), front.reload_handle());
    health::tell(&told, Some(&greeting));
    heart.serves(Some(front.local_addr()));
    let (stopping, mut stopped) = watch::channel(false);
    let end = async {
        tokio::select! {
            () = reload_until_stop(&mut signals, &tls, &line, &known) => {}
            () = follow(&line, &told, &known) => {}
        }
        service_manager::tell(State::Stopping);
        stopping.send_replace(true);
        Ok(())
    };
    let stop = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
    tokio::try_join!(front.serve(stop), end)?;
    Ok(())
}

/// SIGHUP: reads the TLS files again. What cannot be used leaves in force what was before, and is told.
async fn reload_until_stop(signals: &mut Signals, tls: &ReloadHandle, line: &Line, known: &Known) {
    while signals.next().await == Asked::Reload {
        if let Some(state) = line.state(true, ANSWER_TIME_MAX).await {
            known.learn(&state);
        }
        match tls.reload().await {
            Ok(()) => tracing::info!("SIGHUP: the TLS files were read again"),
            Err(error) => tracing::error!("SIGHUP: the old TLS files stay in force: {}", sentence(&error)),
        }
    }
}

/// Tells the core what was counted and asks it how it is, for ever.
async fn follow(line: &Line, told: &Told, known: &Known) {
    let mut ticks = interval(ASK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut until_keys = ASKED_FOR_KEYS_EVERY;
    loop {
        ticks.tick().await;
        let state = match until_keys {
            0 => line.state(true, ANSWER_TIME_MAX).await,
            _ => line.tell(&told.counts(), ANSWER_TIME_MAX).await,
        };
        health::tell(told, state.as_ref());
        until_keys = match state {
            // It may be another one when it comes back.
            None => 0,
            Some(state) if known.learn(&state) => ASKED_FOR_KEYS_EVERY,
            Some(_) => until_keys.saturating_sub(1),
        };
    }
}

/// The CA keys that the core knows: nobody calls by what is signed here.
#[derive(Clone, Default)]
struct Known(Arc<RwLock<(Vec<CaKey>, Vec<String>)>>);

impl Known {
    /// Whether the state says which keys there are.
    fn learn(&self, state: &CoreState) -> bool {
        if state.keys_known {
            let key =
                |key: &hallmark_proto::link::CaKey| CaKey { authority: key.authority.clone(), spki: key.spki.to_vec() };
            let learnt = (state.ca_keys.iter().map(key).collect(), state.callers_signed_here.clone());
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = learnt;
        }
        state.keys_known
    }

    fn rule(&self) -> impl Fn(&[CertificateDer<'static>]) -> bool + Send + Sync + 'static {
        let known = self.clone();
        move |bundle| {
            let (keys, admitted) = known.0.read().unwrap_or_else(PoisonError::into_inner).clone();
            anchor_rule(keys, &admitted)(bundle)
        }
    }
}
