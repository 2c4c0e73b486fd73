//! Any bytes as the message of a mint that has to wait, whose urgency the front reads: the seconds since 1970 in eight bytes, and then the message.
#![no_main]

use bytes::Bytes;
use der::Decode as _;
use hallmark_proto::signer::{MintCertificateRequest, instance_intent::Intent};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use x509_cert::Certificate;

/// The front's own file: its module is nobody else's to use.
#[path = "../../front/src/admission/urgency.rs"]
#[expect(dead_code, reason = "what becomes of an urgency is the queue's")]
mod urgency;

use urgency::Urgency;

/// A certificate is nearly expired when less than one in so many parts of its life is left.
const PARTS: u64 = 10;

fuzz_target!(|input: &[u8]| {
    let Some((now, message)) = input.split_first_chunk::<8>() else { return };
    let (now_secs, message) = (u64::from_be_bytes(*now), Bytes::copy_from_slice(message));
    let urgency = Urgency::of(&message, now_secs);
    assert_ne!(Urgency::of(&message, u64::MAX), Urgency::NearlyExpired, "what is over is not urgent");
    // What the core reads of it, whole.
    let Ok(read) = MintCertificateRequest::decode(message) else { return };
    match read.instance.and_then(|instance| instance.intent) {
        Some(Intent::Register(_)) => assert_eq!(urgency, Urgency::Registration),
        Some(Intent::None(_)) | None => assert_eq!(urgency, Urgency::Other),
        Some(Intent::Refresh(refresh)) => {
            assert!(matches!(urgency, Urgency::NearlyExpired | Urgency::Refresh), "a refresh as {urgency:?}");
            let Ok(certificate) = Certificate::from_der(&refresh.current_certificate) else { return };
            let validity = certificate.tbs_certificate().validity();
            let [begin, end] = [validity.not_before, validity.not_after].map(|time| time.to_unix_duration().as_secs());
            let is_near = now_secs <= end && end - now_secs < end.saturating_sub(begin) / PARTS;
            assert_eq!(urgency == Urgency::NearlyExpired, is_near, "from {begin} to {end} at {now_secs}");
        }
    }
});
