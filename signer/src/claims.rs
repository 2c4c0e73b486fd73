//! Written forms with dashes, and whose they are: what operators ask and free. Touches no key.

use bytes::Bytes;
use hallmark_ledger::{ClaimedName, NameRelease, Released};
use hallmark_policy::{NameClaim as Claim, Reason, ReasonCode, name::DNS_NAME_BYTES_MAX};
use hallmark_proto::{
    link::Reply,
    operator::{
        ListNameClaimsRequest, ListNameClaimsResponse, NameClaim, ReleaseNameClaimRequest, ReleaseNameClaimResponse,
    },
};

use crate::{
    answer::{self, Failure},
    core::Inner,
    epochs,
    operate::{check_reason, decode},
};

/// Forms of one answer, where the operator does not say.
const PAGE: u32 = 100;

/// Most forms of one answer.
const PAGE_MAX: u32 = 1_000;

impl Inner {
    /// Lists forms.
    pub(crate) fn list_name_claims(&self, body: Bytes) -> Result<Reply, Failure> {
        let ListNameClaimsRequest { authority, after_form, limit } = decode(body)?;
        epochs::known(self, &authority)?;
        check_name("after_form", &after_form)?;
        if limit > PAGE_MAX {
            let reason = Reason::new(ReasonCode::FieldOutOfLimits, "limit", format!("`limit` is {limit}"));
            return Err(reason.allowing(format!("at most {PAGE_MAX}")).into());
        }
        let most = if limit == 0 { PAGE } else { limit };
        let found = self.ledger.claimed_names(&authority, &after_form, most + 1);
        let mut found = found.map_err(|error| self.ledger_failed(&error))?;
        let wanted = usize::try_from(most).unwrap_or(usize::MAX);
        let more = found.len() > wanted;
        found.truncate(wanted);
        let claim = |ClaimedName { form, name, log_index, not_after }| {
            let not_after = not_after.secs();
            NameClaim { form, name, log_index, not_after }
        };
        Ok(answer::success(&ListNameClaimsResponse { claims: found.into_iter().map(claim).collect(), more }))
    }

    /// Frees a form.
    pub(crate) async fn release_name_claim(&self, operator: &str, body: Bytes) -> Result<Reply, Failure> {
        let ReleaseNameClaimRequest { authority, form, name, reason, force } = decode(body)?;
        epochs::known(self, &authority)?;
        for (field, value) in [("form", &form), ("name", &name)] {
            check_name(field, value)?;
            if value.is_empty() {
                return Err(Reason::new(ReasonCode::FieldMissing, field, format!("`{field}` is empty")).into());
            }
        }
        check_reason(&reason)?;
        // By a clock that runs ahead, certificates would seem to have ended.
        let now = self.trusted_clock().await?;
        let (claim, by) = (Claim { form, name }, operator.to_owned());
        let release = NameRelease { authority, claim, forced: force, by, reason };
        let released = self.ledger.release_name(release, now.millis).await;
        match released.map_err(|error| self.ledger_failed(&error))? {
            Released::Free(logged) => {
                let receipt = self.receipt_or_none(logged).await;
                Ok(answer::success(&ReleaseNameClaimResponse {
                    log_index: receipt.log_index,
                    receipt: receipt.text,
                    log_entry: receipt.entry.into(),
                }))
            }
            Released::Kept(reasons) => Err(Failure { reasons, logged: None, retry_after: None }),
        }
    }
}

fn check_name(field: &'static str, value: &str) -> Result<(), Failure> {
    if value.len() <= DNS_NAME_BYTES_MAX {
        return Ok(());
    }
    let reason = Reason::new(ReasonCode::FieldOutOfLimits, field, format!("`{field}` has {} bytes", value.len()));
    Err(reason.allowing(format!("at most {DNS_NAME_BYTES_MAX} bytes")).into())
}
