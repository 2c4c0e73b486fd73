//! What monitoring reads of alarms, and who may read it.

use hallmark_proto::operator::{ListInstancesRequest, MetricsRequest, MetricsResponse};
use hallmark_tests::{
    AUTHORITY, MONITOR, Where, World,
    asking::{Refused, caller_certificate, decoded},
    instances::{Agent, key, policy, refresh},
};
use prost::Message as _;

use crate::{codes, operates::ask};

async fn text(world: &World) -> String {
    ask::<MetricsResponse>(world, "Metrics", &MetricsRequest {}).await.unwrap().text
}

#[tokio::test]
async fn alarms_are_counted_once_they_stand_in_the_log() {
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let mut agent = Agent::registered(&world, "i-1").await.unwrap();
    let first = agent.minted.certificate.clone();
    let none = format!("hallmark_alarms_total{{authority=\"{AUTHORITY}\",alarm=\"stray-certificate\"}} 0\n");
    assert!(text(&world).await.contains(&none), "{}", text(&world).await);
    agent.refresh(&world).await.unwrap();
    agent.refresh(&world).await.unwrap();
    for _ in 0..2 {
        let stray = refresh("i-1", &key(), &first);
        assert_eq!(codes(world.mint(stray).await), ["INSTANCE_CERTIFICATE_REPLACED"]);
    }
    let counted = text(&world).await;
    let line = format!("hallmark_alarms_total{{authority=\"{AUTHORITY}\",alarm=\"stray-certificate\"}} 2\n");
    assert!(counted.contains(&line), "{counted}");
    assert!(counted.contains(&format!("hallmark_authority_stopped{{authority=\"{AUTHORITY}\"}} 0\n")), "{counted}");
    assert!(counted.ends_with("# EOF\n"), "{counted}");
    // Counters begin with the process (OpenMetrics 1.0, "Counter"); the log keeps the alarms.
    world.restart().await;
    assert!(text(&world).await.contains(&none));
    assert_eq!(crate::alarms(&world.log_after_stop().await).len(), 2);
}

#[tokio::test]
async fn a_monitor_reads_metrics_and_nothing_else() {
    let world = World::with_policy(Where::Software, &policy("")).await;
    let monitor = caller_certificate(MONITOR);
    let asked = |method: &'static str, body: Vec<u8>| world.operate(method, &monitor, body);
    let answered: Result<MetricsResponse, Refused> = decoded(asked("Metrics", Vec::new()).await);
    assert!(answered.unwrap().text.contains("hallmark_log_entries"));
    let list = ListInstancesRequest { authority: AUTHORITY.to_owned(), ..ListInstancesRequest::default() };
    let refused: Result<MetricsResponse, Refused> = decoded(asked("ListInstances", list.encode_to_vec()).await);
    assert_eq!(refused.unwrap_err().reasons, ["CALLER_UNKNOWN"]);
    let stranger = caller_certificate("spiffe://hallmark.lab/stranger");
    let refused: Result<MetricsResponse, Refused> = decoded(world.operate("Metrics", &stranger, Vec::new()).await);
    assert_eq!(refused.unwrap_err().reasons, ["CALLER_UNKNOWN"]);
}
