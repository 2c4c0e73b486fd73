//! `grpc.health.v1`: what the daemon says of itself, told to authenticated callers.
//!
//! The name of the whole server is empty; its service says the same. An authority is asked for as `hallmark.signer.v1.Signer/AUTHORITY`: of
//! several, one may rest or be stopped while the others serve.

use std::{collections::BTreeMap, pin::Pin};

use hallmark_proto::SIGNER_SERVICE;
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt as _, wrappers::WatchStream};
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
};

/// Largest health or reflection request, in bytes: a service's or file's name and room.
pub(crate) const QUESTION_BYTES_MAX: usize = 4 * 1_024;

/// Name of the whole server in a health request.
const WHOLE_SERVER: &str = "";

/// Sets what health checks hear. It begins with NOT_SERVING: only the daemon knows when the core is there.
#[derive(Clone, Debug)]
pub struct HealthHandle(watch::Sender<State>);

/// The service behind the handle.
#[derive(Debug)]
pub(crate) struct HealthService {
    service: &'static str,
    state: watch::Receiver<State>,
}

/// What is true now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    serving: bool,
    authorities: BTreeMap<String, bool>,
}

impl HealthHandle {
    pub(crate) fn new(service: &'static str) -> (Self, HealthService) {
        let (sender, state) = watch::channel(State::default());
        (Self(sender), HealthService { service, state })
    }

    /// Says SERVING or NOT_SERVING for the whole server and its service, from now on. Where they do not serve, no authority does.
    pub fn set_serving(&self, serving: bool) {
        self.0.send_if_modified(|state| std::mem::replace(&mut state.serving, serving) != serving);
    }

    /// Says which authorities there are and which of them serve, from now on.
    pub fn set_authorities(&self, authorities: impl IntoIterator<Item = (String, bool)>) {
        let authorities = authorities.into_iter().collect();
        self.0.send_if_modified(|state| {
            let changed = state.authorities != authorities;
            state.authorities = authorities;
            changed
        });
    }
}

impl State {
    /// The status of what a health request names; none if there is no such thing.
    fn of(&self, name: &str, service: &str) -> Option<ServingStatus> {
        let serving = match name.strip_prefix(SIGNER_SERVICE).and_then(|rest| rest.strip_prefix('/')) {
            Some(authority) => *self.authorities.get(authority)? && self.serving,
            None if name == WHOLE_SERVER || name == service => self.serving,
            None => return None,
        };
        Some(if serving { ServingStatus::Serving } else { ServingStatus::NotServing })
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let status = self.state.borrow().of(&request.get_ref().service, self.service);
        let unknown = || {
            let service = self.service;
            Status::not_found(format!(
                "there is no such service here; ask for {service}, or {SIGNER_SERVICE}/AUTHORITY"
            ))
        };
        status.map(|status| Response::new(response(status))).ok_or_else(unknown)
    }

    /// What is not known may come to be: the health protocol wants SERVICE_UNKNOWN said, and the stream to go on.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (name, service) = (request.into_inner().service, self.service);
        let mut told = None;
        let changes = WatchStream::new(self.state.clone()).filter_map(move |state| {
            let status = state.of(&name, service).unwrap_or(ServingStatus::ServiceUnknown);
            (told.replace(status) != Some(status)).then(|| Ok(response(status)))
        });
        Ok(Response::new(Box::pin(changes)))
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
