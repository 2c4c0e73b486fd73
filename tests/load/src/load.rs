//! The loop: every connection asks, waits for the answer, and asks again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use hallmark_proto::signer::{
    InstanceIntent, InstanceRefresh, InstanceRegister, MintCertificateRequest, instance_intent::Intent,
    mint_certificate_request::Subject,
};
use tokio::{sync::Barrier, task::JoinSet};
use tonic::{Request, Status};

use crate::{
    arguments::Arguments,
    connection::{Client, Connector},
    cpu, open,
    report::Report,
    requests::{Asked, make_csrs},
};

/// Keys of an instance, in turns: with two of them the one before is the next one.
const KEYS_EACH: u16 = 2;

/// How often a connection that broke is made anew; then it counts no further.
const RECONNECTIONS_MAX: u32 = 3;

/// Connects, asks and measures. The clock starts when the last connection is there.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let connector = Connector::new(arguments)?;
    let plan = Arc::new(Plan::new(arguments)?);
    let offered =
        arguments.rate.map(|rate| open::Offer { connector: connector.clone(), plan: Arc::clone(&plan), rate });
    if let Some(offer) = offered {
        return offer.run(arguments).await;
    }
    let workers_count = u32::from(arguments.connections) * u32::from(arguments.streams);
    let start = Arc::new(Barrier::new(usize::try_from(workers_count)? + 1));
    let mut workers = JoinSet::new();
    let mut client = connector.connect().await?;
    for number in 0..workers_count {
        if number > 0 && number % u32::from(arguments.streams) == 0 {
            client = connector.connect().await?;
        }
        let client = client.clone();
        let (connector, plan, start) = (connector.clone(), Arc::clone(&plan), Arc::clone(&start));
        workers.spawn(async move {
            start.wait().await;
            let until = Instant::now() + plan.time;
            let worker = Worker { number, client, connector, plan, held: None, turn: 0, report: Report::default() };
            worker.work(until).await
        });
    }
    let used = cpu::Used::begin(&arguments.pid)?;
    start.wait().await;
    let began = Instant::now();
    let mut report = Report::default();
    while let Some(worker) = workers.join_next().await {
        report.add(worker.context("a connection's task failed")?);
    }
    report.time = began.elapsed();
    report.connections = arguments.connections;
    (report.client_cpu, report.signer_cpu) = used.end(&arguments.pid)?;
    Ok(report)
}

/// What all connections share.
pub(crate) struct Plan {
    authority: String,
    profile: String,
    csrs: Vec<Asked>,
    register: bool,
    refresh: bool,
    without_proof: bool,
    new_connections: bool,
    run: String,
    pub(crate) time: Duration,
    pub(crate) deadline: Duration,
    count: Option<u64>,
    asked: AtomicU64,
}

impl Plan {
    fn new(arguments: &Arguments) -> anyhow::Result<Self> {
        let mut run = [0; 8];
        aws_lc_rs::rand::fill(&mut run).context("no random bytes")?;
        let run = format!("{:016x}", u64::from_be_bytes(run));
        let csrs = if arguments.refresh {
            make_csrs(&run, arguments.connections.saturating_mul(KEYS_EACH), KEYS_EACH)?
        } else {
            make_csrs(&run, arguments.csrs, 1)?
        };
        let distinct = arguments.register.then(|| u64::from(arguments.csrs));
        Ok(Self {
            authority: arguments.authority.clone(),
            profile: arguments.profile.clone(),
            csrs,
            register: arguments.register,
            refresh: arguments.refresh,
            without_proof: arguments.without_proof,
            new_connections: arguments.new_connections,
            run,
            time: Duration::from_secs(arguments.seconds.into()),
            deadline: Duration::from_millis(arguments.deadline.into()),
            count: arguments.count.into_iter().chain(distinct).min(),
            asked: AtomicU64::new(0),
        })
    }

    /// The next request of all; its id is new in this run and, by chance, in all others.
    pub(crate) fn next(&self) -> Option<MintCertificateRequest> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        if self.count.is_some_and(|count| number >= count) {
            return None;
        }
        let turn = usize::try_from(number).unwrap_or(0).checked_rem(self.csrs.len()).unwrap_or(0);
        let csr = self.csrs.get(turn)?;
        Some(MintCertificateRequest {
            authority: self.authority.clone(),
            profile: self.profile.clone(),
            request_id: format!("load-{}-{number}", self.run),
            subject: Some(Subject::Csr(csr.csr.clone())),
            instance: self.register.then(|| of_intent(Intent::Register(InstanceRegister {}))),
            ..MintCertificateRequest::default()
        })
    }
}

/// One connection and what it saw.
struct Worker {
    number: u32,
    client: Client,
    connector: Connector,
    plan: Arc<Plan>,
    /// The certificate that a refresh replaces.
    held: Option<Bytes>,
    /// How often it was replaced.
    turn: u64,
    report: Report,
}

impl Worker {
    async fn work(mut self, until: Instant) -> Report {
        let mut reconnections = 0;
        while Instant::now() < until
            && let Some(request) = self.plan.next()
        {
            let mut request = Request::new(self.of_instance(request));
            request.set_timeout(self.plan.deadline);
            let asked = Instant::now();
            if self.plan.new_connections && !self.reconnect().await {
                self.report.failed("NO CONNECTION");
                break;
            }
            match self.client.signer.mint_certificate(request).await {
                Ok(answer) if answer.get_ref().certificate.is_empty() => self.report.failed("NO CERTIFICATE"),
                Ok(answer) => {
                    self.report.answered(asked.elapsed());
                    self.held = Some(answer.into_inner().certificate);
                    self.turn += 1;
                }
                Err(status) => {
                    self.report.refused(code_name(&status), asked.elapsed());
                    if self.client.is_closed() {
                        reconnections += 1;
                        if reconnections > RECONNECTIONS_MAX || !self.reconnect().await {
                            break;
                        }
                    }
                }
            }
        }
        self.report
    }

    /// The request as that of this connection's instance, where it has one.
    fn of_instance(&self, request: MintCertificateRequest) -> MintCertificateRequest {
        let keys = u64::from(KEYS_EACH);
        let of = |turn: u64| {
            let at = u64::from(self.number) * keys + turn % keys;
            self.plan.csrs.get(usize::try_from(at).unwrap_or(usize::MAX))
        };
        let Some(asked) = of(self.turn).filter(|_| self.plan.refresh) else { return request };
        let intent = match (&self.held, of(self.turn + 1)) {
            (Some(held), Some(before)) => {
                let proof = || before.proof_for(asked, &request.authority, &request.request_id, held);
                let possession_signature =
                    if self.plan.without_proof { Bytes::new() } else { proof().unwrap_or_default() };
                Intent::Refresh(InstanceRefresh { current_certificate: held.clone(), possession_signature })
            }
            _ => Intent::Register(InstanceRegister {}),
        };
        let subject = Some(Subject::Csr(asked.csr.clone()));
        MintCertificateRequest { subject, instance: Some(of_intent(intent)), ..request }
    }

    async fn reconnect(&mut self) -> bool {
        match self.connector.connect().await {
            Ok(client) => {
                self.client = client;
                true
            }
            Err(error) => {
                eprintln!("hallmark-load: connection {} is gone: {error:#}", self.number);
                false
            }
        }
    }
}

fn of_intent(intent: Intent) -> InstanceIntent {
    InstanceIntent { intent: Some(intent) }
}

/// The name of a status code as the protocol's documentation writes it.
pub(crate) fn code_name(status: &Status) -> &'static str {
    use tonic::Code;
    match status.code() {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
