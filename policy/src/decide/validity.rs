//! From when until when a leaf is valid.

use super::Issuer;
use crate::{
    file::OverWord,
    profile::{LEAF_LIFETIME_MIN, Lifetime, Profile},
    reason::{Reason, ReasonCode},
    request::Request,
    time::{Interval, Span, UnixTime},
};

/// notBefore = max(now - backdate, issuer's notBefore); notAfter = now + lifetime, never outside issuer and window.
pub(super) fn validity(
    profile: &Profile,
    request: &Request,
    issuer: &Issuer,
    now: UnixTime,
    reasons: &mut Vec<Reason>,
) -> Option<Interval> {
    const FIELD: &str = "lifetime_seconds";
    let Lifetime { default, maximum, over, backdate } = profile.lifetime;
    let wished = if request.lifetime_seconds == 0 { default } else { Span::from_secs(request.lifetime_seconds) };
    if wished < LEAF_LIFETIME_MIN {
        let reason = Reason::new(ReasonCode::FieldOutOfLimits, FIELD, format!("a lifetime of {wished} is too short"));
        reasons.push(reason.allowing(format!("at least {LEAF_LIFETIME_MIN}")));
        return None;
    }
    if wished > maximum && over == OverWord::Refuse {
        let sentence = format!("a lifetime of {wished} is over the maximum of profile `{}`", profile.name);
        let reason = Reason::new(ReasonCode::LifetimeTooLong, FIELD, sentence);
        reasons.push(reason.allowing(format!("at most {maximum} ({} seconds)", maximum.secs())));
        return None;
    }
    let beyond = |sentence: String| Reason::new(ReasonCode::LifetimeBeyondIssuer, FIELD, sentence);
    if !issuer.validity.contains_moment(now) {
        let Interval { not_before, not_after } = issuer.validity;
        reasons.push(beyond(format!("the issuer is valid from {not_before} to {not_after}, and it is {now}")));
        return None;
    }
    let window = profile.window.unwrap_or(issuer.validity);
    let outside = |sentence: String| {
        let allowed = format!("{} to {}", window.not_before, window.not_after);
        Reason::new(ReasonCode::OutsideWindow, FIELD, sentence).allowing(allowed)
    };
    if !window.contains_moment(now) {
        reasons.push(outside(format!("profile `{}` has a window, and it is {now}", profile.name)));
        return None;
    }
    let not_after = now.after(wished.min(maximum));
    if not_after > window.not_after && profile.window.is_some() && over == OverWord::Refuse {
        reasons.push(outside(format!("the certificate would end at {not_after}, after the profile's window")));
        return None;
    }
    if not_after > issuer.validity.not_after && over == OverWord::Refuse {
        let sentence = format!("the certificate would end at {not_after}, after its issuer");
        let left = issuer.validity.not_after.secs_since(now);
        reasons.push(beyond(sentence).allowing(format!("at most {left} seconds")));
        return None;
    }
    Some(Interval {
        not_before: now.before(backdate).max(issuer.validity.not_before).max(window.not_before),
        not_after: not_after.min(issuer.validity.not_after).min(window.not_after),
    })
}
