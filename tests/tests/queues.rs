//! Whose turn it is while the device is slow: the real daemon, with a device that makes four signatures at a time, each in 20 ms.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hallmark_faulty::Device;
use hallmark_proto::signer::{
    MintCertificateRequest, MintCertificateResponse, SubjectAltName, mint_certificate_request::Subject,
    signer_client::SignerClient, subject_alt_name::Name,
};
use hallmark_test_token::Token;
use hallmark_tests::{
    Where, World,
    asking::{Asked, join_all, request_id},
    client::channel,
    daemon::{Daemon, Laboratory, succeed},
    instances,
};
use prost::Message as _;
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _, date_time_ymd};
use tokio::{task::JoinSet, time::sleep};
use tonic::{Code, IntoRequest, Request, Response, Status, transport::Channel};
use tonic_types::StatusExt as _;

const LATENCY: Duration = Duration::from_millis(20);
const SESSIONS: u64 = 4;

/// Calls of a flood that are under way at a time, over so many connections.
const FLOOD: usize = 100;
const CONNECTIONS: usize = 10;

/// How long a flood's calls may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long the flood goes on before anybody looks: the front knows by then how fast the device is.
const WARMING: Duration = Duration::from_secs(2);

/// A caller beside the coordinator.
const OTHER: &str = "
[caller.stranger]
uri = \"spiffe://hallmark.lab/stranger\"
methods = [\"MintCertificate\"]
profiles = [\"mesh\"]
";

type Client = SignerClient<Channel>;
type Answer = Result<Response<MintCertificateResponse>, Status>;

/// A daemon whose device is slow.
struct Stage {
    daemon: Daemon,
    laboratory: Laboratory,
    _token: Token,
    device: Device,
}

impl Stage {
    fn new() -> Self {
        let (token, device) = (Token::make("queues"), Device::new());
        let policy = format!("{}{OTHER}", instances::policy(""));
        let laboratory = Laboratory::behind(&device, &token, &policy);
        succeed(&mut laboratory.init());
        let daemon = laboratory.start();
        device.pace(LATENCY, SESSIONS);
        Self { daemon, laboratory, _token: token, device }
    }

    async fn client(&self, who: &str) -> Client {
        SignerClient::new(channel(&self.laboratory, self.daemon.address(), who).await)
    }

    async fn clients(&self, who: &str) -> Vec<Client> {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(self.client(who).await);
        }
        clients
    }
}

/// Calls that are made again and again, each with its own next request.
struct Flood {
    tasks: JoinSet<Vec<Duration>>,
    enough: Arc<AtomicBool>,
}

impl Flood {
    /// So many of the coordinator's certificates for workloads are asked for at a time.
    async fn of_workloads(stage: &Stage) -> Self {
        Self::of(stage, workload, Code::Ok).await
    }

    /// So many of these are asked for by the coordinator at a time. Each is answered with this code, or is too much.
    async fn of(
        stage: &Stage,
        asked: impl Fn() -> MintCertificateRequest + Clone + Send + 'static,
        code: Code,
    ) -> Self {
        let clients = stage.clients("coordinator").await;
        let (mut tasks, enough) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
        for number in 0..FLOOD {
            let (mut client, enough) = (clients[number % clients.len()].clone(), Arc::clone(&enough));
            let asked = asked.clone();
            tasks.spawn(async move {
                let mut took = Vec::new();
                while !enough.load(Ordering::Relaxed) {
                    let (time, answer) = timed(&mut client, within(PATIENCE, asked())).await;
                    let said = answer.as_ref().map_or_else(Status::code, |_| Code::Ok);
                    assert!(said == code || said == Code::ResourceExhausted, "{answer:?}");
                    took.extend((said == code).then_some(time));
                }
                took
            });
        }
        sleep(WARMING).await;
        Self { tasks, enough }
    }

    /// Ends it; what the half of its calls took at least.
    async fn end(mut self) -> Duration {
        self.enough.store(true, Ordering::Relaxed);
        let mut took = Vec::new();
        while let Some(task) = self.tasks.join_next().await {
            took.extend(task.unwrap());
        }
        median(took)
    }
}

/// A certificate for a workload, which is nothing urgent.
fn workload() -> MintCertificateRequest {
    named("cart.shop.mesh.internal")
}

fn named(name: &str) -> MintCertificateRequest {
    let key = KeyPair::generate().unwrap();
    MintCertificateRequest {
        authority: "athenz".to_owned(),
        profile: "mesh".to_owned(),
        request_id: request_id(),
        subject: Some(Subject::Spki(key.subject_public_key_info().into())),
        subject_alt_names: vec![SubjectAltName { name: Some(Name::Dns(name.to_owned())) }],
        ..MintCertificateRequest::default()
    }
}

/// A certificate with a twentieth of its life left, DER.
fn nearly_expired_certificate() -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(1970, 1, 1) + (now - Duration::from_secs(19 * 3_600));
    params.not_after = params.not_before + Duration::from_secs(20 * 3_600);
    params.self_signed(&instances::key()).unwrap().der().to_vec()
}

fn median(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() / 2]
}

/// In the order of arrival, both would take as long. It is a fifth where the machine does nothing else, and half where it has much to do: a call then takes
/// longer by itself, and so the core has more of them at a time.
fn is_much_less(time: Duration, flood: Duration) -> bool {
    time * 4 < flood * 3
}

/// The request, with a deadline so far ahead.
fn within(time: Duration, request: MintCertificateRequest) -> Request<MintCertificateRequest> {
    let mut request = Request::new(request);
    request.set_timeout(time);
    request
}

async fn timed(client: &mut Client, request: impl IntoRequest<MintCertificateRequest>) -> (Duration, Answer) {
    let began = Instant::now();
    let answer = client.mint_certificate(request).await;
    (began.elapsed(), answer)
}

/// An instance that replaces its certificate again and again.
struct Instance {
    id: String,
    client: Client,
    certificate: Vec<u8>,
}

impl Instance {
    async fn register(id: String, mut client: Client) -> Self {
        let request = instances::register(&id, &instances::key());
        let certificate = client.mint_certificate(request).await.unwrap().into_inner().certificate.to_vec();
        Self { id, client, certificate }
    }

    async fn refresh(&mut self) -> Duration {
        let request = instances::refresh(&self.id, &instances::key(), &self.certificate);
        let (took, answer) = timed(&mut self.client, request).await;
        self.certificate = answer.unwrap().into_inner().certificate.to_vec();
        took
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_floods_does_not_hold_up_another_one() {
    let stage = Stage::new();
    let mut other = stage.client("stranger").await;
    let flood = Flood::of_workloads(&stage).await;
    let mut took = Vec::new();
    for _ in 0..15 {
        let (time, answer) = timed(&mut other, workload()).await;
        answer.expect("the other caller is not refused");
        took.push(time);
    }
    let (other, flood) = (median(took), flood.end().await);
    assert!(is_much_less(other, flood), "{other:?} beside {flood:?}");
    assert!(stage.daemon.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_asks_for_what_policy_refuses_does_not_have_others_refused() {
    let stage = Stage::new();
    let mut other = stage.client("stranger").await;
    // Always the same request: the core takes one of them after the other, and has as many as the front gives it.
    let refused = named("cart.shop.elsewhere");
    let flood = Flood::of(&stage, move || refused.clone(), Code::PermissionDenied).await;
    // So seldom that the other caller's certificates alone would say that the device makes 5 a second.
    for _ in 0..16 {
        sleep(Duration::from_millis(200)).await;
        let (_, answer) = timed(&mut other, within(Duration::from_secs(2), workload())).await;
        answer.expect("the device is idle");
    }
    flood.end().await;
    assert!(stage.daemon.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_overtakes_the_rest_of_its_caller_and_one_that_is_nearly_expired_does() {
    let stage = Stage::new();
    let mut instance = Instance::register("i-1".to_owned(), stage.client("coordinator").await).await;
    let flood = Flood::of_workloads(&stage).await;
    let (mut refresh, mut nearly_expired) = (Vec::new(), Vec::new());
    // No certificate lives so shortly that it could be waited for: this is none of the signer's, which says so when its turn has come.
    let certificate = nearly_expired_certificate();
    for _ in 0..15 {
        refresh.push(instance.refresh().await);
        let request = instances::refresh("i-1", &instances::key(), &certificate);
        let (time, answer) = timed(&mut instance.client, request).await;
        assert_eq!(answer.unwrap_err().code(), Code::PermissionDenied);
        nearly_expired.push(time);
    }
    let (refresh, nearly_expired, flood) = (median(refresh), median(nearly_expired), flood.end().await);
    assert!(is_much_less(refresh, flood), "{refresh:?} beside {flood:?}");
    assert!(is_much_less(nearly_expired, flood), "{nearly_expired:?} beside {flood:?}");
    assert!(stage.daemon.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_starves_behind_an_endless_flood_of_what_is_more_urgent() {
    /// Fewer than are always taken, so that none of them is refused.
    const INSTANCES: usize = 60;
    let stage = Stage::new();
    let clients = stage.clients("coordinator").await;
    let registered = (0..INSTANCES).map(|at| Instance::register(format!("i-{at}"), clients[at % CONNECTIONS].clone()));
    let instances = join_all(registered).await;
    let (enough, refreshed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for mut instance in instances {
        let (enough, refreshed) = (Arc::clone(&enough), Arc::clone(&refreshed));
        tasks.spawn(async move {
            while !enough.load(Ordering::Relaxed) {
                instance.refresh().await;
                refreshed.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    sleep(WARMING).await;
    let mut patient = stage.client("coordinator").await;
    for _ in 0..5 {
        let before = refreshed.load(Ordering::Relaxed);
        let (_, answer) = timed(&mut patient, workload()).await;
        answer.expect("it had its turn");
        assert!(refreshed.load(Ordering::Relaxed) > before, "the others go on");
    }
    enough.store(true, Ordering::Relaxed);
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert!(stage.daemon.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_is_refused_with_a_time_to_come_back_and_afterwards_all_is_as_before() {
    const BURST: usize = 1_000;
    let stage = Stage::new();
    let flood = Flood::of_workloads(&stage).await;
    let clients = stage.clients("coordinator").await;
    let burst = join_all((0..BURST).map(|at| {
        let mut client = clients[at % CONNECTIONS].clone();
        async move { timed(&mut client, workload()).await }
    }));
    let answers = burst.await;
    let refused: Vec<_> = answers.iter().filter_map(|(_, answer)| answer.as_ref().err()).collect();
    assert!(refused.len() > BURST / 2, "{} refused", refused.len());
    for status in refused {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "OVERLOADED");
        assert!(details.retry_info().is_some_and(|info| info.retry_delay.is_some()));
    }
    flood.end().await;
    // What was refused never reached the device: each signature went to somebody.
    let mut client = stage.client("coordinator").await;
    let mut took = Vec::new();
    for _ in 0..5 {
        let (time, answer) = timed(&mut client, workload()).await;
        answer.unwrap();
        took.push(time);
    }
    assert!(median(took.clone()) < Duration::from_millis(500), "{took:?}");
    stage.device.pace(Duration::ZERO, SESSIONS);
    assert!(stage.daemon.terminate());
}

#[tokio::test]
async fn the_core_says_of_each_reply_whether_a_key_signed_for_it() {
    let world = World::new(Where::SoftHsm).await;
    let request = Asked::sports_api().request();
    let validated = MintCertificateRequest { validate_only: true, ..request.clone() };
    let refused = MintCertificateRequest { lifetime_seconds: 31 * 86_400, ..request.clone() };
    let asked = [(&validated, true, false), (&refused, false, false), (&request, true, true), (&request, true, false)];
    for (request, is_answered, is_signed) in asked {
        let before = world.key_uses();
        let reply = world.unary("MintCertificate", world.caller(), request.encode_to_vec(), 20_000_000_000).await;
        assert_eq!((reply.code == 0, reply.signed), (is_answered, is_signed));
        assert_eq!(world.key_uses() - before, u64::from(is_signed));
    }
}
