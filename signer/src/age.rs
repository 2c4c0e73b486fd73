//! Rotation by age: operators prepare the next epoch, see whom its chain has reached, and activate it; or give it up.

use std::sync::Arc;

use bytes::Bytes;
use hallmark_ledger::{AuthorityRecord, AuthorityState, Consent, EpochRecord, EpochState, Epochs};
use hallmark_policy::{
    Reason, ReasonCode,
    authority::lifetime_objection,
    file::RotatesWord,
    profile::{Authority, Policy},
    reason::quote,
    time::Span,
};
use hallmark_proto::{
    link::Reply,
    operator::{AbortEpochRequest, ActivateEpochRequest, EpochResponse, PrepareEpochRequest},
};

use crate::{
    answer::{self, Failure},
    authorities::{self, AuthorityError},
    core::Inner,
    crl, epoch, epochs,
    fence::Drained,
    making::MakingError,
    operate::{Operating, check_reason, decode},
    retire,
};

impl Inner {
    /// Makes the next epoch, or goes on with the one that is being made.
    pub(crate) async fn prepare_epoch(self: &Arc<Self>, operator: Operating<'_>) -> Result<Reply, Failure> {
        let PrepareEpochRequest { authority, lifetime_seconds } = decode(operator.body)?;
        epochs::known(self, &authority)?;
        let _alone = self.rotating.alone_before(&authority, operator.deadline).await?;
        let policy = self.policy();
        let (described, record) = self.by_age(&policy, &authority)?;
        if lifetime_seconds > 0 {
            let objection = lifetime_objection(&described.epoch, Span::from_secs(lifetime_seconds));
            objection.map_or(Ok(()), Err)?;
        }
        let mut said = Vec::new();
        let making = self.one_epoch(&authority, Epochs::Making)?;
        let generation = match making {
            Some(making) => making.generation,
            None => {
                let consent = Consent { by: operator.name.to_owned(), ..Consent::default() };
                let begun = epoch::begin_by_age(self, described, lifetime_seconds, consent).await;
                begun.map_err(|error| self.making_failed(&error))?
            }
        };
        let prepared = epoch::prepare(self, described, &record, generation, &mut said).await;
        let prepared = prepared.map_err(|error| self.making_failed(&error))?;
        if prepared.lifetime_secs != lifetime_seconds && lifetime_seconds > 0 {
            said.push(format!(
                "it was begun with another lifetime ({} s); abort it for a new one",
                prepared.lifetime_secs
            ));
        }
        self.epoch_response(&authority, generation, said).await
    }

    /// Puts a prepared epoch in force.
    pub(crate) async fn activate_epoch(self: &Arc<Self>, operator: Operating<'_>) -> Result<Reply, Failure> {
        let ActivateEpochRequest { authority, generation, revoke_previous } = decode(operator.body)?;
        epochs::known(self, &authority)?;
        let _alone = self.rotating.alone_before(&authority, operator.deadline).await?;
        let policy = self.policy();
        let (described, record) = self.by_age(&policy, &authority)?;
        if revoke_previous {
            crl::not_configured(described).or_else(|| crl::offline(&record)).map_or(Ok(()), Err)?;
        }
        let wanted = self
            .one_epoch(&authority, Epochs::Generation(generation))?
            .ok_or_else(|| no_epoch(&authority, generation))?;
        let mut said = Vec::new();
        if wanted.state == EpochState::Active {
            return self.epoch_response(&authority, generation, vec!["it was active already".to_owned()]).await;
        }
        let activated = epoch::activate(self, &authority, generation, revoke_previous, operator.name).await;
        let activated = activated.map_err(|error| self.making_failed(&error))?;
        said.push(format!("nothing was decided for {} us", activated.pause.as_micros()));
        if let Drained::Barred(left) = activated.drained {
            said.push(format!("{left} signature(s) with the old key did not come in time and will not be released"));
        }
        said.extend(self.after_activation(&authority).await);
        self.epoch_response(&authority, generation, said).await
    }

    /// Gives an epoch up that is not active yet.
    pub(crate) async fn abort_epoch(self: &Arc<Self>, operator: Operating<'_>) -> Result<Reply, Failure> {
        let AbortEpochRequest { authority, generation, reason } = decode(operator.body)?;
        check_reason(&reason)?;
        epochs::known(self, &authority)?;
        let _alone = self.rotating.alone_before(&authority, operator.deadline).await?;
        let making = self
            .one_epoch(&authority, Epochs::Generation(generation))?
            .ok_or_else(|| no_epoch(&authority, generation))?;
        if making.state != EpochState::Aborted && !making.state.is_in_the_making() {
            return Err(self.making_failed(&epoch::other_state(&making, "in the making")));
        }
        if making.state != EpochState::Aborted {
            epoch::abort(self, &making, &reason, operator.name).await.map_err(|error| self.making_failed(&error))?;
        }
        let said = retire::settle(self, &authority).await.unwrap_or_else(|error| vec![later(&error)]);
        self.epoch_response(&authority, generation, said).await
    }

    /// What follows an activation. What fails here is said, and tried again every minute.
    pub(crate) async fn after_activation(self: &Arc<Self>, authority: &str) -> Vec<String> {
        retire::settle(self, authority).await.unwrap_or_else(|error| vec![later(&error)])
    }

    fn by_age<'a>(&self, policy: &'a Policy, authority: &str) -> Result<(&'a Authority, AuthorityRecord), Failure> {
        epochs::known(self, authority)?;
        let described = policy.authority(authority).ok_or_else(|| not_made(authority))?;
        if described.rotates() == RotatesWord::Manifest {
            let sentence = format!("authority `{authority}` rotates by manifest, and its owners say when");
            return Err(Reason::new(ReasonCode::EpochNotActive, "authority", sentence)
                .allowing("RotateIntermediate")
                .into());
        }
        let record = self.ledger.authority(authority).map_err(|error| self.ledger_failed(&error))?;
        let record =
            record.filter(|record| record.state == AuthorityState::Ready).ok_or_else(|| not_made(authority))?;
        Ok((described, record))
    }

    pub(crate) fn one_epoch(&self, authority: &str, which: Epochs) -> Result<Option<EpochRecord>, Failure> {
        self.ledger.epoch(authority, which).map_err(|error| self.ledger_failed(&error))
    }

    /// What a caller hears of an epoch that could not be made.
    pub(crate) fn making_failed(&self, error: &MakingError) -> Failure {
        tracing::error!(%error, "an epoch could not be made");
        match error {
            MakingError::Ledger(error) | MakingError::Authority(AuthorityError::Ledger(error)) => {
                self.ledger_failed(error)
            }
            MakingError::Refused { reasons, .. } => {
                Failure { reasons: reasons.clone(), logged: None, retry_after: None }
            }
            MakingError::Clock(reason) => reason.clone().into(),
            MakingError::Backend { .. }
            | MakingError::Authority(AuthorityError::Key { .. })
            | MakingError::Interrupted { .. }
            | MakingError::CopiesLeft { .. }
            | MakingError::Hangs { .. } => {
                let sentence = format!("{error}; the same call goes on where it stopped");
                Reason::new(ReasonCode::DeviceFailed, "key", sentence).into()
            }
            MakingError::OtherState { .. } => {
                Reason::new(ReasonCode::EpochNotActive, "generation", error.to_string()).into()
            }
            MakingError::Missing { .. } => Reason::new(ReasonCode::StateDiffers, "authority", error.to_string()).into(),
            MakingError::Authority(_) | MakingError::Reference(_) | MakingError::PublicKey(_) => {
                Reason::new(ReasonCode::LedgerFailed, "authority", error.to_string()).into()
            }
        }
    }

    /// What a caller hears when what is stored of an authority does not hold.
    pub(crate) fn authority_failed(&self, error: AuthorityError) -> Failure {
        self.making_failed(&MakingError::Authority(error))
    }

    /// How an epoch stands, with its certificates.
    pub(crate) async fn epoch_response(
        self: &Arc<Self>,
        authority: &str,
        generation: u64,
        notes: Vec<String>,
    ) -> Result<Reply, Failure> {
        let epoch = self
            .one_epoch(authority, Epochs::Generation(generation))?
            .ok_or_else(|| no_epoch(authority, generation))?;
        let record = self.ledger.authority(authority).map_err(|error| self.ledger_failed(&error))?;
        let chain = record.and_then(|record| authorities::chain(&record, &epoch).ok());
        let (root, intermediate, mesh_ca) =
            chain.map(|chain| (chain.root, chain.intermediate, chain.mesh_ca)).unwrap_or_default();
        let certification_request = match epoch.state {
            EpochState::Keyed => self.certification_request(&epoch).await?,
            EpochState::Intent
            | EpochState::Prepared
            | EpochState::Active
            | EpochState::Retired
            | EpochState::Destroyed
            | EpochState::Aborted => Bytes::new(),
        };
        Ok(answer::success(&EpochResponse {
            epoch: Some(self.epoch_status(&epoch)?),
            log_index: self.ledger.head().size.saturating_sub(1),
            root: root.into(),
            intermediate: intermediate.into(),
            mesh_ca: mesh_ca.into(),
            certification_request,
            notes,
        }))
    }
}

pub(crate) fn later(error: &MakingError) -> String {
    format!("not everything is done, and is tried again every minute: {error}")
}

pub(crate) fn no_epoch(authority: &str, generation: u64) -> Failure {
    let sentence = format!("authority {} has no epoch {generation}", quote(authority));
    let reason = Reason::new(ReasonCode::AuthorityUnknown, "generation", sentence);
    reason.allowing("one that `hallmark epoch list` shows").into()
}

fn not_made(authority: &str) -> Reason {
    let sentence = format!("authority `{authority}` has no root yet");
    Reason::new(ReasonCode::EpochNotActive, "authority", sentence).allowing("an operator runs `hallmarkd init`")
}
