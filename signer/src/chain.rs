//! GetChain: the certificates of an epoch. Touches no key.

use std::sync::Arc;

use hallmark_ledger::{EpochState, Epochs};
use hallmark_policy::{Caller, Facts, LABEL_BYTES_MAX, Reason, ReasonCode, reason::quote};
use hallmark_proto::{
    link::Reply,
    signer::{Epoch, GetChainRequest, GetChainResponse, epoch_selector::By},
};
use prost::Message;

use crate::{
    answer::{self, Failure},
    authorities::{self, Chain},
    ca::Ca,
    core::{CallContext, Inner},
};

/// Decodes the message and encodes the epoch's certificates.
pub(crate) async fn chain(core: &Arc<Inner>, call: CallContext) -> Result<Reply, Failure> {
    let message = match GetChainRequest::decode(call.body) {
        Ok(message) => message,
        Err(error) => {
            let reason =
                Reason::new(ReasonCode::MessageMalformed, "message", format!("the message does not decode: {error}"));
            return Err(core.refuse(vec![reason], core.facts(call.method.name(), &call.caller)).await);
        }
    };
    core.trace_authority(&message.authority);
    let selected = match limits(&message) {
        Err(reason) => Err(reason.into()),
        Ok(()) => match message.epoch.as_ref().and_then(|selector| selector.by.as_ref()) {
            None => core.serving(&message.authority).map(|serving| serving.chain).map_err(Failure::from),
            Some(by) => select(core, &call.caller, &message.authority, by).await,
        },
    };
    let chain = match selected {
        Ok(chain) => chain,
        Err(failure) => {
            let facts = Facts { authority: message.authority, ..core.facts(call.method.name(), &call.caller) };
            return Err(core.refuse(failure.reasons, facts).await);
        }
    };
    let ca = Ca::Epoch { generation: chain.epoch.generation };
    Ok(answer::success(&GetChainResponse {
        root_crl: core.newest_crl(&message.authority, Ca::Root)?,
        crl: core.newest_crl(&message.authority, ca)?,
        root: chain.root.into(),
        intermediate: chain.intermediate.into(),
        mesh_ca: chain.mesh_ca.into(),
        epoch: Some(Epoch {
            authority: message.authority,
            generation: chain.epoch.generation,
            transition: chain.epoch.transition.to_vec().into(),
            manifest_sha256: chain.manifest_sha256.to_vec().into(),
        }),
        active: chain.active,
    }))
}

/// What the message's comments promise about its fields.
fn limits(message: &GetChainRequest) -> Result<(), Reason> {
    if message.authority.is_empty() {
        return Err(Reason::new(ReasonCode::FieldMissing, "authority", "`authority` is empty"));
    }
    if message.authority.len() > LABEL_BYTES_MAX {
        let sentence = format!("`authority` has {} bytes", message.authority.len());
        let reason = Reason::new(ReasonCode::FieldOutOfLimits, "authority", sentence);
        return Err(reason.allowing(format!("at most {LABEL_BYTES_MAX} bytes")));
    }
    match message.epoch.as_ref().and_then(|selector| selector.by.as_ref()) {
        Some(By::Transition(transition)) if transition.len() != 32 => {
            let sentence = format!("`transition` has {} bytes", transition.len());
            Err(Reason::new(ReasonCode::FieldOutOfLimits, "epoch.transition", sentence).allowing("32 bytes"))
        }
        Some(By::Transition(_) | By::Generation(_)) | None => Ok(()),
    }
}

async fn select(core: &Inner, caller: &Caller, authority: &str, by: &By) -> Result<Chain, Failure> {
    let unknown = || {
        Reason::new(ReasonCode::AuthorityUnknown, "epoch", format!("authority {} has no such epoch", quote(authority)))
    };
    let failed = |error| core.ledger_failed(&error);
    let record = core.ledger.authority(authority).map_err(failed)?.ok_or_else(unknown)?;
    let which = match by {
        By::Generation(generation) => Epochs::Generation(*generation),
        By::Transition(transition) => Epochs::Transition(<[u8; 32]>::try_from(transition.as_ref()).unwrap_or_default()),
    };
    let epoch = core.ledger.epoch(authority, which).map_err(failed)?;
    let epoch = epoch.ok_or_else(unknown)?;
    if epoch.state == EpochState::Aborted {
        let sentence = format!(
            "epoch {} of authority {} was given up before it was active, and nothing is ever issued under it",
            epoch.generation,
            quote(authority)
        );
        return Err(Reason::new(ReasonCode::StateDiffers, "epoch", sentence).allowing("another generation").into());
    }
    // An epoch that is still being made has no certificates yet.
    let chain = authorities::chain(&record, &epoch).map_err(|_| unknown())?;
    if epoch.state == EpochState::Prepared {
        let at = core.clock.wall().millis;
        core.ledger.keep_fetch(authority, epoch.generation, &core.caller_name(caller), at).await.map_err(failed)?;
    }
    Ok(chain)
}
