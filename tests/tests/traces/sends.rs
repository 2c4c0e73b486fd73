//! When spans are sent, and where to.

use std::{
    fs,
    time::{Duration, Instant},
};

use hallmark_tests::{
    asking::Asked,
    client::connect,
    daemon::{Daemon, Laboratory},
    example_policy,
};
use tonic::Request;

use crate::{
    SOCKET, SOFTWARE, metrics,
    receiver::{Receiver, until},
    spans, trace,
};

const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NOT_SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b7-00";

async fn mint(laboratory: &Laboratory, daemon: &Daemon, header: Option<&str>) {
    let mut request = Request::new(Asked::sports_api().request());
    if let Some(header) = header {
        request.metadata_mut().insert("traceparent", header.parse().unwrap());
    }
    connect(laboratory, daemon).await.mint_certificate(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_table_nothing_is_traced_and_no_connection_is_made() {
    let laboratory = Laboratory::with_software_keys(&example_policy());
    let receiver = Receiver::at_a_port().await;
    let socket = Receiver::at(&laboratory.path(SOCKET));
    let file = laboratory.path("signer.toml");
    let typed = fs::read_to_string(&file).unwrap();
    // Neither the network nor the variables that other programs read are a reason.
    fs::write(&file, typed.replacen("[process]", "[process]\ncore-network = true", 1)).unwrap();
    let mut command = laboratory.hallmarkd();
    command.arg("run").arg(&file).arg("--ready-file").arg(laboratory.path("address")).args(SOFTWARE);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{}", receiver.port()));
    command.env("OTEL_TRACES_EXPORTER", "otlp").stdout(std::process::Stdio::null());
    command.stderr(fs::File::create(laboratory.path("hallmarkd.log")).unwrap());
    let daemon = laboratory.ready(command.spawn().unwrap());
    for header in [None, Some(SAMPLED)] {
        mint(&laboratory, &daemon, header).await;
    }
    let counted = metrics(&laboratory, &daemon);
    assert_eq!(counted.values("hallmark_trace_spans", "outcome"), ["dropped", "exported", "failed"].into());
    assert_eq!(counted.sum("hallmark_trace_spans_total", &[]), 0.0);
    assert!(daemon.terminate());
    assert_eq!((receiver.connections(), socket.connections()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_is_asked_only_when_there_is_something_to_send_and_a_share_of_none_is_nothing() {
    let laboratory = crate::laboratory("ratio = 0.0");
    let receiver = Receiver::at(&laboratory.path(SOCKET));
    let daemon = laboratory.start_with(SOFTWARE);
    // A caller turns nothing on.
    for header in [None, Some(SAMPLED), Some(NOT_SAMPLED)] {
        mint(&laboratory, &daemon, header).await;
    }
    assert!(daemon.terminate());
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_callers_decide_a_caller_s_flag_does() {
    for ratio in ["0.0", "1.0"] {
        let laboratory = crate::laboratory(&format!("ratio = {ratio}\ncallers-decide = true"));
        let receiver = Receiver::at(&laboratory.path(SOCKET));
        let daemon = laboratory.start_with(SOFTWARE);
        for header in [NOT_SAMPLED, SAMPLED] {
            mint(&laboratory, &daemon, Some(header)).await;
        }
        assert!(daemon.terminate());
        let [call] = &receiver.calls()[..] else { panic!("{:?}", receiver.calls()) };
        assert!(call.trace_id.ends_with(&[0x47, 0x36]), "the one that its caller records");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_queued_is_sent_before_a_stop() {
    let laboratory = crate::laboratory("");
    let receiver = Receiver::at(&laboratory.path(SOCKET));
    let daemon = laboratory.start_with(SOFTWARE);
    for _ in 0..5 {
        mint(&laboratory, &daemon, None).await;
    }
    assert!(daemon.terminate());
    assert_eq!(receiver.calls().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_share_few_batches() {
    let laboratory = crate::laboratory("");
    let receiver = Receiver::at(&laboratory.path(SOCKET));
    let daemon = laboratory.start_with(SOFTWARE);
    let client = connect(&laboratory, &daemon).await;
    let began = Instant::now();
    let mut mints = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let mut client = client.clone();
        mints.spawn(async move { client.mint_certificate(Asked::sports_api().request()).await.is_ok() });
    }
    assert!(mints.join_all().await.into_iter().all(|minted| minted));
    let calls = receiver.await_calls(200).await;
    for call in &calls {
        assert_eq!(receiver.stages_of(call).len(), 10);
    }
    // One for each second, and for each 512 spans.
    let most = usize::try_from(began.elapsed().as_secs()).unwrap() + 10;
    assert!(receiver.asked() <= most, "{} batches", receiver.asked());
    assert_eq!(receiver.connections(), 1);
    until(|| spans(&laboratory, &daemon, "exported") == 2_200.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_at_a_port_needs_the_network_and_check_says_so() {
    let laboratory = Laboratory::with_software_keys(&example_policy());
    let receiver = Receiver::at_a_port().await;
    trace(&laboratory, &format!("http://127.0.0.1:{}", receiver.port()), "");
    let file = laboratory.path("signer.toml");
    let check = || {
        let output = laboratory.hallmarkd().arg("check").arg(&file).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (is_good, told) = check();
    assert!(!is_good && told.contains("core-network = true") && told.contains("unix:/PATH"), "{told}");
    // Whoever starts it all the same has certificates and no spans.
    let daemon = laboratory.start_with(SOFTWARE);
    mint(&laboratory, &daemon, None).await;
    let log = || fs::read_to_string(laboratory.path("hallmarkd.log")).unwrap();
    until(|| log().contains("the receiver of traces does not take them: it cannot be reached")).await;
    assert!(log().contains("core-network = true"), "{}", log());
    assert!(daemon.terminate());
    assert_eq!(receiver.connections(), 0);

    let typed = fs::read_to_string(&file).unwrap();
    fs::write(&file, typed.replacen("[process]", "[process]\ncore-network = true", 1)).unwrap();
    assert!(check().0, "{}", check().1);
    let daemon = laboratory.start_with(SOFTWARE);
    mint(&laboratory, &daemon, None).await;
    receiver.await_calls(1).await;
    tokio::time::timeout(Duration::from_secs(60), async { assert!(daemon.terminate()) }).await.unwrap();
}
