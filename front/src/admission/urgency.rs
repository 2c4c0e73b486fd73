//! How urgent a mint is, read from its message. Only who would wait is looked at: what is let through at once is not read here.
//!
//! The message is the caller's, and nobody has judged it. What does not read is the last kind. A caller that lies about it is served before
//! nobody but itself, since callers take turns; the core reads the message anew, and believes nothing of this.

use bytes::Bytes;
use der::{
    Decode as _, SliceReader, Tag, TagNumber,
    asn1::{AnyRef, SequenceRef},
};
use hallmark_proto::signer::{InstanceIntent, instance_intent::Intent};
use prost::Message;
use x509_cert::time::{Time, Validity};

/// A certificate is nearly expired when less than this part of its life is left: one in so many.
const NEARLY_EXPIRED_PART: u64 = 10;

/// Which calls of a caller go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// The refresh of a certificate of whose life less than a tenth is left: its holder is soon cut off.
    NearlyExpired,
    /// Another refresh: its holder works.
    Refresh,
    /// The registration of an instance: somebody waits for it to begin.
    Registration,
    /// Everything else.
    Other,
}

impl Urgency {
    /// The most urgent first.
    pub(crate) const ALL: [Self; 4] = [Self::NearlyExpired, Self::Refresh, Self::Registration, Self::Other];

    /// In how many turns of its caller, one after another, it may be passed over; the most urgent is where others are due, and so gets three
    /// of five turns at least.
    pub(super) fn passed_over_max(self) -> Option<u32> {
        match self {
            Self::NearlyExpired => None,
            Self::Refresh => Some(4),
            Self::Registration => Some(8),
            Self::Other => Some(16),
        }
    }

    /// Of a `MintCertificateRequest`, at `now`, in seconds since 1970. No bytes make it fail.
    pub(crate) fn of(message: &Bytes, now_secs: u64) -> Self {
        let intent = Mint::decode(message.clone()).ok().and_then(|mint| mint.instance?.intent);
        match intent {
            Some(Intent::Refresh(refresh)) if is_nearly_expired(&refresh.current_certificate, now_secs) => {
                Self::NearlyExpired
            }
            Some(Intent::Refresh(_)) => Self::Refresh,
            Some(Intent::Register(_)) => Self::Registration,
            Some(Intent::None(_)) | None => Self::Other,
        }
    }
}

/// All that is read of a `MintCertificateRequest`; other fields are skipped.
#[derive(Clone, PartialEq, Message)]
struct Mint {
    #[prost(message, optional, tag = "11")]
    instance: Option<InstanceIntent>,
}

/// Whether a certificate is in the last tenth of its life. One that is over is refused whenever it comes, so it is not urgent.
fn is_nearly_expired(certificate: &[u8], now_secs: u64) -> bool {
    let Some((begin, end)) = validity(certificate) else { return false };
    let left = end.checked_sub(now_secs);
    left.is_some_and(|left| left < end.saturating_sub(begin) / NEARLY_EXPIRED_PART)
}

/// notBefore and notAfter in seconds since 1970; nothing behind them is read (RFC 5280, section 4.1).
fn validity(certificate: &[u8]) -> Option<(u64, u64)> {
    const VERSION: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber(0) };
    let mut outer = SliceReader::new(certificate).ok()?;
    let certificate = <&SequenceRef>::decode(&mut outer).ok()?;
    let mut within = SliceReader::new(certificate.as_bytes()).ok()?;
    let tbs = <&SequenceRef>::decode(&mut within).ok()?;
    let mut fields = SliceReader::new(tbs.as_bytes()).ok()?;
    if Tag::peek(&fields).ok()? == VERSION {
        AnyRef::decode(&mut fields).ok()?;
    }
    for _serial_signature_issuer in 0..3 {
        AnyRef::decode(&mut fields).ok()?;
    }
    let validity: Validity = Validity::decode(&mut fields).ok()?;
    let secs = |time: Time| time.to_unix_duration().as_secs();
    Some((secs(validity.not_before), secs(validity.not_after)))
}

#[cfg(test)]
mod tests {
    use hallmark_proto::signer::{InstanceNone, InstanceRefresh, InstanceRegister, MintCertificateRequest};
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// 2026-01-01T00:00:00Z.
    const BEGIN_SECS: u64 = 1_767_225_600;
    const DAY_SECS: u64 = 24 * 60 * 60;

    fn mint(intent: Option<Intent>) -> Bytes {
        let instance = intent.map(|intent| InstanceIntent { intent: Some(intent) });
        let request = MintCertificateRequest {
            profile: "athenz-service".to_owned(),
            instance,
            ..MintCertificateRequest::default()
        };
        request.encode_to_vec().into()
    }

    /// A refresh of a certificate from 2026-01-01 to 2026-01-31.
    fn refresh() -> Bytes {
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2026, 1, 31));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let current_certificate = Bytes::copy_from_slice(certificate.der());
        mint(Some(Intent::Refresh(InstanceRefresh { current_certificate, ..InstanceRefresh::default() })))
    }

    #[test]
    fn the_last_tenth_of_a_certificate_s_life_is_urgent() {
        let refresh = refresh();
        let at =
            |days: u64, secs: i64| Urgency::of(&refresh, (BEGIN_SECS + days * DAY_SECS).saturating_add_signed(secs));
        assert_eq!(at(1, 0), Urgency::Refresh);
        assert_eq!(at(27, 0), Urgency::Refresh);
        assert_eq!(at(27, 1), Urgency::NearlyExpired);
        assert_eq!(at(30, 0), Urgency::NearlyExpired);
        assert_eq!(at(30, 1), Urgency::Refresh, "nothing can be done for it any more");
    }

    #[test]
    fn registrations_come_before_everything_else() {
        assert_eq!(Urgency::of(&mint(Some(Intent::Register(InstanceRegister {}))), BEGIN_SECS), Urgency::Registration);
        for message in [mint(Some(Intent::None(InstanceNone {}))), mint(None), Bytes::new()] {
            assert_eq!(Urgency::of(&message, BEGIN_SECS), Urgency::Other);
        }
    }

    #[test]
    fn no_bytes_make_it_fail_and_what_does_not_read_is_the_last_kind() {
        let refresh = refresh();
        for bytes in [&[0xff; 40][..], &[0x5a, 0xff, 0xff, 0xff, 0xff, 0x0f], &[0x5b; 4_096]] {
            assert_eq!(Urgency::of(&Bytes::copy_from_slice(bytes), BEGIN_SECS), Urgency::Other, "{bytes:?}");
        }
        let near = BEGIN_SECS + 29 * DAY_SECS;
        assert_eq!(Urgency::of(&refresh, near), Urgency::NearlyExpired);
        for length in 0..refresh.len() {
            assert_ne!(Urgency::of(&refresh.slice(..length), near), Urgency::NearlyExpired, "{length} bytes");
        }
        // Every byte changed, one after another: whatever it says then, it says something.
        for at in 0..refresh.len() {
            let mut changed = refresh.to_vec();
            changed[at] ^= 0x80;
            let _ = Urgency::of(&changed.into(), near);
        }
    }

    #[test]
    fn a_certificate_of_any_size_is_read_as_far_as_its_validity() {
        let deep: Vec<_> = std::iter::repeat_n([0x30, 0x80], 30_000).flatten().collect();
        for certificate in [vec![0x30; 65_536], vec![0; 65_536], deep, vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff]] {
            let refresh = InstanceRefresh { current_certificate: certificate.into(), ..InstanceRefresh::default() };
            assert_eq!(Urgency::of(&mint(Some(Intent::Refresh(refresh))), BEGIN_SECS), Urgency::Refresh);
        }
    }
}
