//! An instance with more certificates than one transaction revokes.

use hallmark_policy::{
    content::Serial,
    instance::{InstanceMove, InstanceStep},
};

use super::{command, digest, name, real::Real};
use crate::{
    UnixMillis,
    instance::{Allowed, InstanceRevoked},
};

#[test]
fn all_certificates_of_an_instance_are_revoked_however_many_there_are() {
    for by_hand in [true, false] {
        let mut real = Real::new();
        let serial = |number: u64| {
            let mut random = [0; 16];
            random[8..].copy_from_slice(&number.to_be_bytes());
            Serial::from_random(random)
        };
        let step = InstanceStep::Register { replace: false, alive_max: None };
        let now = 1_800_000_000;
        real.wish(
            &InstanceMove { name: name(0), key: digest(1), wish_sha256: [0; 32], asked: None, step },
            serial(0),
            now,
        );
        let sql = "INSERT INTO serial (issuer, serial, not_after, log_index, instance, spki_sha256) \
                   SELECT issuer, ?1, not_after, ?2, instance, spki_sha256 FROM serial LIMIT 1";
        for number in 1..2_500 {
            real.connection.execute(sql, rusqlite::params![serial(number).as_bytes(), 100 + number as i64]).unwrap();
        }
        // One that nobody can read stops nothing.
        real.connection.execute(sql, rusqlite::params![[0_u8; 30], 50]).unwrap();
        let at = UnixMillis(now * 1_000);
        let revoked = real.batch(|batch| batch.revoke_instance(&command(0), at.into()).unwrap());
        assert!(matches!(revoked, InstanceRevoked::Now { certificates: 1_000, left: 1_501, .. }), "{revoked:?}");
        let allowed = real.batch(|batch| batch.allow_instance(&command(0), at).unwrap());
        assert!(matches!(allowed, Allowed::Unfinished(_)), "{allowed:?}");
        if by_hand {
            for (now, then) in [(1_000, 501), (500, 0), (0, 0)] {
                let again = real.batch(|batch| batch.revoke_instance(&command(0), at.into()).unwrap());
                let InstanceRevoked::Before { certificates, left, .. } = again else { panic!("{again:?}") };
                assert_eq!((certificates, left), (now, then));
            }
        } else {
            let mut steps = 0;
            while real.batch(|batch| batch.go_on_revoking(at.into(), 64).unwrap()) {
                steps += 1;
            }
            assert_eq!(steps, 1_501_u32.div_ceil(64));
        }
        let sql = "SELECT count(*) FROM revocation WHERE reason = ?1";
        let reason = command(0).reason.number();
        let count: i64 = real.connection.query_row(sql, [reason], |row| row.get(0)).unwrap();
        assert_eq!(count, 2_500);
        let allowed = real.batch(|batch| batch.allow_instance(&command(0), at).unwrap());
        assert!(matches!(allowed, Allowed::Now(_)), "{allowed:?}");
    }
}
