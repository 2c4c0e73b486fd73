//! Health is for each authority: where the device fails one's key, the others serve, and so does the daemon.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hallmark_faulty::{Device, Effect, Function, When, cryptoki_sys::CKR_DEVICE_ERROR};
use hallmark_proto::SIGNER_SERVICE;
use hallmark_test_token::Token;
use hallmark_tests::{
    asking::Asked,
    client::{channel, connect},
    daemon::{Daemon, Laboratory, succeed},
    example_policy,
};
use tokio::task::JoinHandle;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

const OTHER: &str = r#"
[authority.other.root]
common-name = "Other Root CA"
lifetime = "3650d"
key = "ecdsa-p256"

[authority.other.epoch]
common-name = "Other Issuing CA"
lifetime = "365d"
key = "ecdsa-p256"
"#;

fn of(authority: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: format!("{SIGNER_SERVICE}/{authority}") }
}

async fn status(client: &mut HealthClient<Channel>, asked: HealthCheckRequest) -> ServingStatus {
    client.check(asked).await.unwrap().get_ref().status()
}

/// Mints at the authority `athenz`, again and again.
async fn minting(laboratory: &Laboratory, daemon: &Daemon) -> (Arc<AtomicBool>, JoinHandle<()>) {
    let (mut client, stopping) = (connect(laboratory, daemon).await, Arc::new(AtomicBool::new(false)));
    let told = Arc::clone(&stopping);
    let minting = tokio::spawn(async move {
        while !told.load(Ordering::SeqCst) {
            if let Err(refused) = client.mint_certificate(Asked::sports_api().request()).await {
                assert_eq!(refused.code(), Code::Unavailable, "{refused}");
            }
        }
    });
    (stopping, minting)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_device_fails_is_told_of_its_authority_alone_until_it_signs_again() {
    for more in [&[][..], &["--one-process"]] {
        let (token, device) = (Token::make("health"), Device::new());
        let laboratory = Laboratory::behind(&device, &token, &format!("{}{OTHER}", example_policy()));
        succeed(&mut laboratory.init());
        let daemon = laboratory.start_with(more);
        let mut client = HealthClient::new(channel(&laboratory, daemon.address(), "coordinator").await);
        for asked in [HealthCheckRequest::default(), of("athenz"), of("other")] {
            assert_eq!(status(&mut client, asked).await, ServingStatus::Serving);
        }
        assert_eq!(client.check(of("third")).await.unwrap_err().code(), Code::NotFound);
        let mut watched = client.watch(of("athenz")).await.unwrap().into_inner();
        assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

        device.fault(Function::Sign, When::Always, Effect::Refuse(CKR_DEVICE_ERROR));
        let (stopping, minting) = minting(&laboratory, &daemon).await;
        assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        for asked in [HealthCheckRequest::default(), of("other")] {
            assert_eq!(status(&mut client, asked).await, ServingStatus::Serving);
        }
        let mut operators = HealthClient::new(channel(&laboratory, daemon.operators(), "operator").await);
        for asked in [HealthCheckRequest::default(), of("other")] {
            assert_eq!(status(&mut operators, asked).await, ServingStatus::Serving);
        }

        device.mend();
        while watched.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
        stopping.store(true, Ordering::SeqCst);
        minting.await.unwrap();
        drop((client, watched, operators));
        assert!(daemon.terminate());
    }
}
