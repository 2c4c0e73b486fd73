//! What operators find certificates by, for how long, and what the log has afterwards.

#[cfg(test)]
mod world;

use hallmark_ledger::{CertificateFilter, Ledger, UnixMillis};
use hallmark_policy::time::Span;
use world::{AUTHORITY, Mesh, NOW_SECS, World};

/// The moment so many hours after everything began.
#[cfg(test)]
fn hours(hours: i64) -> UnixMillis {
    UnixMillis((NOW_SECS + hours * 3_600) * 1_000)
}

/// What is new is sorted into the table that is kept, as if there were much more of it.
#[cfg(test)]
fn sort_in(world: &World) {
    let connection = rusqlite::Connection::open(&world.config.database).expect("it opens");
    let mut statement = connection.prepare("SELECT digests FROM found_new").expect("it reads");
    let rows: Vec<Vec<u8>> = statement.query_map([], |row| row.get(0)).expect("it reads").map(Result::unwrap).collect();
    assert!(!rows.is_empty());
    let sql = "INSERT INTO found_by VALUES (?2 >> 17 << 1, ?1, ?2)";
    for [digest, log_index] in rows.iter().flat_map(|row| row.as_chunks::<8>().0.as_chunks::<2>().0) {
        let values = [digest, log_index].map(|bytes| i64::from_be_bytes(*bytes));
        connection.execute(sql, values).expect("it is written");
    }
    connection.execute("DELETE FROM found_new", []).expect("it is written");
}

/// How many certificates of service 1 are found, by name and through the log.
#[cfg(test)]
fn found(ledger: &Ledger) -> (usize, usize) {
    let filter = CertificateFilter { most: 10, ..CertificateFilter::default() };
    let by_name = CertificateFilter { name: "dns:service-1.example.com".to_owned(), ..filter.clone() };
    let by_caller = CertificateFilter { caller: "coordinator".to_owned(), ..filter };
    let search = |filter| {
        let page = ledger.certificates(AUTHORITY, &filter, hours(0)).expect("it is searched");
        assert_eq!(page.next, None);
        page.certificates.iter().filter(|found| found.names == ["dns:service-1.example.com"]).count()
    };
    (search(by_name), search(by_caller))
}

/// Time goes by, as the signer tells it with what it decides: here with what is refused, for a certificate's end would count.
#[cfg(test)]
async fn pass(world: &World, ledger: &Ledger, mesh: &Mesh, at: UnixMillis) {
    for number in 0..4 {
        let id = format!("refused-{}-{number}", at.0);
        let refused = ledger.issue(world.dashed_leaf(mesh, &id, "some.domain", false), at).await;
        assert_eq!(world::refused(refused.expect("it is answered")), ["DEADLINE_PASSED"]);
    }
}

#[tokio::test]
async fn what_has_ended_for_longer_than_the_retention_is_found_in_the_log_alone() {
    let mut world = World::new();
    world.config.ended_retention = Span::from_secs(3_600);
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    // It lives for a day.
    world.sign(&ledger, world.leaf(&mesh, "a", 1)).await;
    assert_eq!(found(&ledger), (1, 1));
    pass(&world, &ledger, &mesh, hours(40)).await;
    assert_eq!(found(&ledger), (1, 1), "what is not sorted in yet stays");
    ledger.stop();

    sort_in(&world);
    let ledger = world.begin().await;
    assert_eq!(found(&ledger), (1, 1));
    pass(&world, &ledger, &mesh, hours(25)).await;
    assert_eq!(found(&ledger), (1, 1), "its retention is not over");
    pass(&world, &ledger, &mesh, hours(28)).await;
    assert_eq!(found(&ledger), (0, 1));
    ledger.stop();
    let connection = rusqlite::Connection::open(&world.config.database).unwrap();
    let left = connection.query_row(
        "SELECT (SELECT count(*) FROM found_by), (SELECT count(*) FROM found_stretch)",
        [],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
    );
    assert_eq!(left.unwrap(), (0, 0));
    assert!(world.audit().is_clean());
}
