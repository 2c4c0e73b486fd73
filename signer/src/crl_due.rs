//! When the next CRL is made: on time, soon after a revocation, and spread, so that not all are made at once.

use hallmark_ledger::CrlStatus;
use hallmark_policy::{
    key::SpkiDigest,
    profile::CrlProfile,
    time::{Span, UnixTime},
};

/// How long a revocation waits at most, and how long a CRL that was just made: many revocations share one.
pub(crate) const AFTER_REVOCATION: Span = Span::from_secs(60);

/// The part of `refresh` by which CRLs are made earlier at most: one eighth.
const SPREAD_PART: u64 = 8;

/// Whether the next CRL of a CA is to be made now. Nothing is kept in memory for it: what the ledger has decides, also after a restart.
pub(crate) fn is_due(profile: &CrlProfile, status: &CrlStatus, key: SpkiDigest, retired: bool, now: UnixTime) -> bool {
    // What a retired key signed ends, and then nobody looks for it on a list any more.
    if retired && status.latest_end.is_none_or(|end| end < now) {
        return false;
    }
    let Some(newest) = status.newest.as_ref().filter(|_| status.pending.is_none()) else { return true };
    if status.newest_revocation > newest.newest_revocation && now >= newest.this_update.after(AFTER_REVOCATION) {
        return true;
    }
    if retired && status.latest_end.is_some_and(|end| end < newest.next_update) {
        return false;
    }
    let refresh = profile.refresh.secs() - spread(profile, key, newest.number);
    // Where it was made under a policy with another lifetime, half of that is the latest.
    let half = newest.next_update.secs_since(newest.this_update) / 2;
    now >= newest.this_update.after(Span::from_secs(refresh.min(half)))
}

/// How much earlier this one is made: the same for one number of one key, different for others.
fn spread(profile: &CrlProfile, key: SpkiDigest, number: u64) -> u64 {
    let [first, second, third, fourth, ..] = *key.as_bytes();
    let mixed =
        u64::from(u32::from_be_bytes([first, second, third, fourth])).wrapping_add(number.wrapping_mul(2_654_435_761));
    mixed % (profile.refresh.secs() / SPREAD_PART).max(1)
}

#[cfg(test)]
mod tests {
    use hallmark_ledger::CrlRecord;

    use super::*;

    const DAY: i64 = 86_400;

    fn at(secs: i64) -> UnixTime {
        UnixTime::from_secs(1_800_000_000 + secs)
    }

    fn weekly() -> CrlProfile {
        let (lifetime, refresh) = (Span::from_days(7), Span::from_days(1));
        CrlProfile { lifetime, refresh, distribution_point: false, partitions: None, root_urls: Vec::new() }
    }

    fn status(newest_revocation: Option<u64>, latest_end: Option<i64>) -> CrlStatus {
        let newest = CrlRecord {
            number: 3,
            this_update: at(0),
            next_update: at(7 * DAY),
            entries: 0,
            newest_revocation: Some(5),
            log_index: 9,
        };
        CrlStatus {
            last_number: 3,
            partitions: 0,
            pending: None,
            newest: Some(newest),
            newest_revocation,
            latest_end: latest_end.map(at),
        }
    }

    fn due(status: &CrlStatus, retired: bool, secs: i64) -> bool {
        is_due(&weekly(), status, SpkiDigest::from_bytes([7; 32]), retired, at(secs))
    }

    #[test]
    fn the_first_is_due_at_once_and_the_next_within_an_eighth_before_its_time() {
        assert!(due(&CrlStatus::default(), false, 0));
        assert!(!due(&status(Some(5), None), false, DAY - DAY / 8 - 1));
        assert!(due(&status(Some(5), None), false, DAY));
    }

    #[test]
    fn crls_of_different_keys_are_made_at_different_times() {
        let first_due = |key: u8| {
            let due = |hour: &i64| {
                is_due(&weekly(), &status(Some(5), None), SpkiDigest::from_bytes([key; 32]), false, at(hour * 360))
            };
            (0..=240).find(due).unwrap()
        };
        let times: std::collections::BTreeSet<_> = (0..40).map(first_due).collect();
        assert!(times.len() > 15, "{times:?}");
    }

    #[test]
    fn a_revocation_is_listed_within_a_minute_and_many_share_one() {
        assert!(!due(&status(Some(6), None), false, 59));
        assert!(due(&status(Some(6), None), false, 60));
    }

    #[test]
    fn one_that_a_crash_left_unsigned_comes_first() {
        let pending = hallmark_policy::RequestIdentity {
            authority: String::new(),
            caller: String::new(),
            id: String::new(),
            content_sha256: [0; 32],
        };
        assert!(due(&CrlStatus { pending: Some(pending), ..status(Some(5), None) }, false, 1));
    }

    #[test]
    fn a_retired_key_makes_crls_until_what_it_signed_has_ended_or_one_holds_until_then() {
        assert!(due(&status(Some(5), Some(20 * DAY)), true, DAY));
        assert!(!due(&status(Some(5), Some(6 * DAY)), true, DAY), "the newest holds until then");
        assert!(due(&status(Some(6), Some(6 * DAY)), true, DAY), "but it does not list this one");
        assert!(!due(&status(Some(6), Some(6 * DAY)), true, 6 * DAY + 1), "everything has ended");
        assert!(!due(&CrlStatus::default(), true, 0), "it signed nothing");
    }

    #[test]
    fn one_that_was_made_to_hold_shortly_is_followed_in_time_under_a_longer_policy() {
        let mut short = status(Some(5), None);
        short.newest.as_mut().unwrap().next_update = at(7_200);
        assert!(!due(&short, false, 3_599));
        assert!(due(&short, false, 3_600));
    }
}
