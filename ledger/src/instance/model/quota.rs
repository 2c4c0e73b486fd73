//! Instances that are alive are counted, whenever they were registered and refreshed, and few of those that have ended are read for it.

use hallmark_policy::{
    content::Serial,
    instance::{InstanceMove, InstanceStep, PresentedCertificate},
    time::UnixTime,
};

use rusqlite::{StatementStatus, params};

use super::{ISSUER, LIFETIME_SECS, digest, name, real::Real, reference::Outcome};
use crate::{
    UnixMillis,
    instance::{counted_until, rule::ALIVE},
    schema::{self, plan},
};

const DAY: i64 = 86_400;

fn serial(number: u8) -> Serial {
    Serial::from_random([number; 16])
}

fn register(real: &mut Real, instance: u64, number: u8, alive_max: u64, now: i64) -> Outcome {
    let step = InstanceStep::Register { replace: false, alive_max: Some(alive_max) };
    let moved =
        InstanceMove { name: name(instance), key: digest(number.into()), wish_sha256: [0; 32], asked: None, step };
    real.wish(&moved, serial(number), now)
}

#[test]
fn an_instance_that_goes_on_being_refreshed_counts_and_one_that_has_ended_does_not() {
    let mut real = Real::new();
    let begin = 1_800_000_000;
    assert!(matches!(register(&mut real, 1, 1, 2, begin), Outcome::Issued("registered")));
    assert!(matches!(register(&mut real, 2, 2, 2, begin), Outcome::Issued("registered")));
    assert!(matches!(register(&mut real, 3, 3, 2, begin), Outcome::Refused("QUOTA_EXCEEDED")));
    // The first is refreshed daily and outlives the end that it had.
    let mut now = begin;
    for day in 1..=90_u8 {
        now = begin + i64::from(day) * DAY;
        let presented = PresentedCertificate {
            issuer: ISSUER,
            serial: serial(if day == 1 { 1 } else { 100 + day - 1 }),
            key: digest(if day == 1 { 1 } else { 100 + u64::from(day) - 1 }),
            not_before: UnixTime::from_secs(now - DAY),
            not_after: UnixTime::from_secs(now - DAY + LIFETIME_SECS),
            proven: true,
        };
        let step = InstanceStep::Refresh(presented);
        let key = digest(100 + u64::from(day));
        let moved = InstanceMove { name: name(1), key, wish_sha256: [0; 32], asked: None, step };
        assert!(matches!(real.wish(&moved, serial(100 + day), now), Outcome::Issued("moved")), "day {day}");
        assert!(matches!(register(&mut real, 4, 4, 1, now), Outcome::Refused("QUOTA_EXCEEDED")), "day {day}");
    }
    assert!(matches!(register(&mut real, 3, 3, 2, now), Outcome::Issued("registered")), "the second has ended");
    assert!(matches!(register(&mut real, 4, 4, 2, now), Outcome::Refused("QUOTA_EXCEEDED")));
}

#[test]
fn of_those_that_have_ended_hardly_any_are_read() {
    let mut real = Real::new();
    let (now, lifetime, ended) = (1_800_000_000, 3_600, 20_000);
    assert!(matches!(register(&mut real, 1, 1, 2, now - LIFETIME_SECS / 2), Outcome::Issued("registered")));
    // One a second, for an hour each, until an hour before.
    let sql = "INSERT INTO instance (authority, provider, name, service, registered_at, moved_at, not_after, issuer, serial, spki_sha256, \
               log_index, current_group, counted_until) \
               SELECT authority, provider, 'ended-' || ?1, service, 0, 0, ?1, issuer, serial, spki_sha256, log_index, current_group, ?2 \
               FROM instance WHERE name = 'i-1'";
    for end in now - ended..now {
        let until = counted_until(end, UnixMillis((end - lifetime) * 1_000));
        real.connection.execute(sql, params![end, until]).unwrap();
    }
    let mut statement = real.connection.prepare(ALIVE).unwrap();
    let values = params!["a", "p", "s", now, "i-2", 1_000];
    let alive: i64 = statement.query_row(values, |row| row.get(0)).unwrap();
    assert_eq!(alive, 1);
    let steps = statement.get_status(StatementStatus::VmStep);
    assert!(steps < 450 * 20, "at most an eighth of an hour's, some twenty steps each, and not all {ended}: {steps}");
}

#[test]
fn an_end_is_counted_until_at_most_an_eighth_of_its_lifetime_later_and_seldom_anew() {
    let begin = 1_800_000_000;
    for lifetime in [1, 7, 60, 3_600, 86_400, LIFETIME_SECS, 1_000_000_000] {
        let until = |now: i64| counted_until(now + lifetime, UnixMillis(now * 1_000));
        for now in begin..begin + 100 {
            assert!((0..=lifetime / 8).contains(&(until(now) - now - lifetime)), "{lifetime}");
        }
    }
    let daily: std::collections::BTreeSet<i64> = (0..30)
        .map(|day| begin + day * DAY)
        .map(|now| counted_until(now + LIFETIME_SECS, UnixMillis(now * 1_000)))
        .collect();
    assert!(daily.len() <= 11, "every third refresh writes the index: {daily:?}");
    assert_eq!(counted_until(5, UnixMillis(i64::MAX)), 5, "of what has ended");
    assert_eq!(counted_until(i64::MAX, UnixMillis(0)), i64::MAX, "nothing overflows");
}

#[test]
fn those_that_are_alive_are_found_along_an_index() {
    let mut connection = rusqlite::Connection::open_in_memory().unwrap();
    schema::create(&mut connection).unwrap();
    let found = plan(&connection, ALIVE, 6);
    let along =
        "SEARCH instance USING INDEX instance_service (authority=? AND provider=? AND service=? AND counted_until>?)";
    assert!(found.iter().any(|step| step == along), "{found:?}");
}
