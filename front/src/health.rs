//! `grpc.health.v1`: what the daemon says of itself, told to authenticated callers.

use std::pin::Pin;

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
pub struct HealthHandle(watch::Sender<ServingStatus>);

/// The service behind the handle.
#[derive(Debug)]
pub(crate) struct HealthService {
    service: &'static str,
    status: watch::Receiver<ServingStatus>,
}

impl HealthHandle {
    pub(crate) fn new(service: &'static str) -> (Self, HealthService) {
        let (sender, status) = watch::channel(ServingStatus::NotServing);
        (Self(sender), HealthService { service, status })
    }

    /// Says SERVING or NOT_SERVING for the whole server and its service, from now on.
    pub fn set_serving(&self, serving: bool) {
        self.0.send_replace(if serving { ServingStatus::Serving } else { ServingStatus::NotServing });
    }
}

impl HealthService {
    fn of(&self, request: &HealthCheckRequest) -> Result<watch::Receiver<ServingStatus>, Status> {
        if request.service == WHOLE_SERVER || request.service == self.service {
            return Ok(self.status.clone());
        }
        Err(Status::not_found(format!("there is no such service here; ask for {}", self.service)))
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let status = *self.of(request.get_ref())?.borrow();
        Ok(Response::new(response(status)))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let statuses = WatchStream::new(self.of(request.get_ref())?);
        Ok(Response::new(Box::pin(statuses.map(|status| Ok(response(status))))))
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
