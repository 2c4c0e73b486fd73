//! Instances that are alive are counted, whenever they were registered and refreshed, and those that have ended are not read for it.

use hallmark_policy::{
    content::Serial,
    instance::{InstanceMove, InstanceStep, PresentedCertificate},
    time::UnixTime,
};

use super::{ISSUER, LIFETIME_SECS, digest, name, real::Real, reference::Outcome};
use crate::{
    instance::rule::ALIVE,
    schema::{self, plan},
};

const DAY: i64 = 86_400;

fn serial(number: u8) -> Serial {
    Serial::from_random([number; 16])
}

fn register(real: &mut Real, instance: u64, number: u8, alive_max: u64, now: i64) -> Outcome {
    let step = InstanceStep::Register { replace: false, alive_max: Some(alive_max) };
    let moved = InstanceMove { name: name(instance), key: digest(number.into()), wish_sha256: [0; 32], step };
    real.wish(&moved, serial(number), now)
}

#[test]
fn an_instance_that_goes_on_being_refreshed_counts_and_one_that_has_ended_does_not() {
    let mut real = Real::new();
    let begin = 1_800_000_000;
    assert!(matches!(register(&mut real, 1, 1, 2, begin), Outcome::Issued("registered")));
    assert!(matches!(register(&mut real, 2, 2, 2, begin), Outcome::Issued("registered")));
    assert!(matches!(register(&mut real, 3, 3, 2, begin), Outcome::Refused("QUOTA_EXCEEDED")));
    // The first is refreshed daily and outlives the end that it had, by periods of every length of days.
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
        let moved = InstanceMove { name: name(1), key, wish_sha256: [0; 32], step };
        assert!(matches!(real.wish(&moved, serial(100 + day), now), Outcome::Issued("moved")), "day {day}");
        assert!(matches!(register(&mut real, 4, 4, 1, now), Outcome::Refused("QUOTA_EXCEEDED")), "day {day}");
    }
    assert!(matches!(register(&mut real, 3, 3, 2, now), Outcome::Issued("registered")), "the second has ended");
    assert!(matches!(register(&mut real, 4, 4, 2, now), Outcome::Refused("QUOTA_EXCEEDED")));
}

#[test]
fn those_that_are_alive_are_found_along_an_index() {
    let mut connection = rusqlite::Connection::open_in_memory().unwrap();
    schema::create(&mut connection).unwrap();
    let found = plan(&connection, ALIVE, 7);
    let along =
        "SEARCH instance USING INDEX instance_service (authority=? AND provider=? AND service=? AND end_period>?)";
    assert!(found.iter().any(|step| step == along), "{found:?}");
}
