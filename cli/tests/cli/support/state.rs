//! What a signer that answers what it is told was asked, and what it answers.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use hallmark_proto::{
    operator::{
        AbortEpochRequest, ActivateEpochRequest, AllowInstanceRequest, AllowInstanceResponse, ApplyPolicyRequest,
        ApplyPolicyResponse, BackUpRequest, BackUpResponse, BringIntermediateRequest, EpochResponse,
        FindCertificatesRequest, FindCertificatesResponse, FreezeAuthorityRequest, FreezeAuthorityResponse,
        ListInstancesRequest, ListInstancesResponse, ListNameClaimsRequest, ListNameClaimsResponse, MetricsRequest,
        MetricsResponse, NameClaim, PolicyStatusRequest, PolicyStatusResponse, PrepareEpochRequest,
        ReleaseNameClaimRequest, ReleaseNameClaimResponse, ResumeAuthorityRequest, ResumeAuthorityResponse,
        RevokeCertificatesRequest, RevokeCertificatesResponse, RevokeEpochRequest, RevokeEpochResponse,
        RevokeInstanceRequest, RevokeInstanceResponse, ShowInstanceRequest, ShowInstanceResponse, ThawAuthorityRequest,
        ThawAuthorityResponse, operator_server::Operator,
    },
    signer::{
        Epoch, EpochState, EpochStatus, GetChainRequest, GetChainResponse, ListEpochsRequest, ListEpochsResponse,
        MintCertificateRequest, MintCertificateResponse, RotateIntermediateRequest, RotateIntermediateResponse,
        WatchEpochsRequest, WatchEpochsResponse, signer_server::Signer,
    },
};
use rcgen::KeyPair;
use tonic::{Request, Response, Status};

use super::{
    log,
    pki::{Authority, Binding},
};

/// What the next calls are answered with; `None` is silence.
pub(crate) type Answer = Option<Result<MintCertificateResponse, Status>>;

/// What is done to good answers of a rotation before they are sent.
type Change = Box<dyn Fn(RotateIntermediateResponse) -> Result<RotateIntermediateResponse, Status> + Send>;

/// What the signer was asked, and what it answers.
pub(crate) struct State {
    pub(crate) minted: Mutex<Vec<MintCertificateRequest>>,
    pub(crate) rotated: Mutex<Vec<RotateIntermediateRequest>>,
    pub(crate) operated: Mutex<Vec<String>>,
    pub(crate) watched: Mutex<Vec<WatchEpochsRequest>>,
    pub(crate) root: Authority,
    /// The epochs that are listed, newest first.
    pub(crate) epochs: Mutex<Vec<EpochStatus>>,
    /// What calls to watch hear, one after the other; those that come later hear nothing.
    pub(crate) watching: Mutex<VecDeque<Vec<Result<WatchEpochsResponse, Status>>>>,
    /// Whether rotations are answered at all.
    pub(crate) silent: AtomicBool,
    /// Whether the root is on another device.
    pub(crate) offline: AtomicBool,
    pub(crate) answer: Mutex<Answer>,
    pub(crate) change: Mutex<Option<Change>>,
    good: MintCertificateResponse,
}

/// The services of that state.
pub(crate) struct Told(pub(crate) Arc<State>);

#[tonic::async_trait]
impl Signer for Told {
    async fn mint_certificate(
        &self,
        request: Request<MintCertificateRequest>,
    ) -> Result<Response<MintCertificateResponse>, Status> {
        assert!(request.metadata().get("grpc-timeout").is_some(), "every call says how long it waits");
        self.0.minted.lock().unwrap().push(request.into_inner());
        let answer = self.0.answer.lock().unwrap().clone();
        match answer {
            Some(answer) => answer.map(Response::new),
            None => std::future::pending().await,
        }
    }

    async fn get_chain(&self, request: Request<GetChainRequest>) -> Result<Response<GetChainResponse>, Status> {
        if request.get_ref().authority != "athenz" {
            return Err(Status::not_found("there is no such authority"));
        }
        let good = &self.0.good;
        Ok(Response::new(GetChainResponse {
            root_crl: self.0.root.crl(&[5]).1.into(),
            crl: bytes::Bytes::new(),
            root: good.root.clone(),
            intermediate: good.chain[0].clone(),
            mesh_ca: good.mesh_ca.clone(),
            epoch: good.epoch.clone(),
            active: true,
        }))
    }

    type WatchEpochsStream = tonic::codegen::BoxStream<WatchEpochsResponse>;

    async fn rotate_intermediate(
        &self,
        request: Request<RotateIntermediateRequest>,
    ) -> Result<Response<RotateIntermediateResponse>, Status> {
        let request = request.into_inner();
        let good = rotated(&self.0.root, &request, self.0.offline.load(Ordering::SeqCst));
        self.0.rotated.lock().unwrap().push(request);
        if self.0.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let changed =
            self.0.change.lock().unwrap().as_ref().map_or_else(|| Ok(good.clone()), |change| change(good.clone()));
        changed.map(Response::new)
    }

    async fn list_epochs(&self, request: Request<ListEpochsRequest>) -> Result<Response<ListEpochsResponse>, Status> {
        Ok(Response::new(self.0.list(request.get_ref())))
    }

    async fn watch_epochs(
        &self,
        request: Request<WatchEpochsRequest>,
    ) -> Result<Response<Self::WatchEpochsStream>, Status> {
        self.0.watched.lock().unwrap().push(request.into_inner());
        let heard = self.0.watching.lock().unwrap().pop_front();
        let stream: Self::WatchEpochsStream = match heard {
            Some(heard) => Box::pin(tokio_stream::iter(heard)),
            None => Box::pin(tokio_stream::pending()),
        };
        Ok(Response::new(stream))
    }
}

#[tonic::async_trait]
impl Operator for Told {
    async fn apply_policy(&self, _: Request<ApplyPolicyRequest>) -> Result<Response<ApplyPolicyResponse>, Status> {
        Err(not_told())
    }

    async fn policy_status(&self, _: Request<PolicyStatusRequest>) -> Result<Response<PolicyStatusResponse>, Status> {
        Err(not_told())
    }

    async fn list_epochs(&self, request: Request<ListEpochsRequest>) -> Result<Response<ListEpochsResponse>, Status> {
        Ok(Response::new(self.0.list(request.get_ref())))
    }

    async fn prepare_epoch(&self, request: Request<PrepareEpochRequest>) -> Result<Response<EpochResponse>, Status> {
        let lifetime = request.get_ref().lifetime_seconds;
        self.0.operate(format!("prepare, lifetime {lifetime}"), None, EpochState::Prepared)
    }

    async fn activate_epoch(&self, request: Request<ActivateEpochRequest>) -> Result<Response<EpochResponse>, Status> {
        let ActivateEpochRequest { generation, revoke_previous, .. } = *request.get_ref();
        let asked = format!("activate {generation}, revoke {revoke_previous}");
        self.0.operate(asked, Some(generation), EpochState::Active)
    }

    async fn abort_epoch(&self, request: Request<AbortEpochRequest>) -> Result<Response<EpochResponse>, Status> {
        let AbortEpochRequest { generation, reason, .. } = request.into_inner();
        self.0.operate(format!("abort {generation}: {reason}"), Some(generation), EpochState::Aborted)
    }

    async fn revoke_epoch(
        &self,
        request: Request<RevokeEpochRequest>,
    ) -> Result<Response<RevokeEpochResponse>, Status> {
        Ok(self.0.revoke_epoch(request.get_ref()))
    }

    async fn bring_intermediate(
        &self,
        request: Request<BringIntermediateRequest>,
    ) -> Result<Response<EpochResponse>, Status> {
        let BringIntermediateRequest { generation, certificate, .. } = request.into_inner();
        let asked = format!("bring {} bytes for {generation}", certificate.len());
        self.0.operate(asked, Some(generation), EpochState::Prepared)
    }

    async fn list_name_claims(
        &self,
        request: Request<ListNameClaimsRequest>,
    ) -> Result<Response<ListNameClaimsResponse>, Status> {
        let ListNameClaimsRequest { after_form, limit, .. } = request.into_inner();
        let claim = |name: &str, log_index| NameClaim {
            form: name.replace('.', "-"),
            name: name.to_owned(),
            log_index,
            not_after: 1_796_083_200,
        };
        let mut claims = vec![claim("media.sports", 7), claim("news.eu-west", 12), claim("x\u{1b}[31m.y", 13)];
        claims.retain(|claim| claim.form > after_form);
        let more = claims.len() > limit as usize;
        claims.truncate(limit as usize);
        Ok(Response::new(ListNameClaimsResponse { claims, more }))
    }

    async fn release_name_claim(
        &self,
        request: Request<ReleaseNameClaimRequest>,
    ) -> Result<Response<ReleaseNameClaimResponse>, Status> {
        let ReleaseNameClaimRequest { form, name, reason, force, .. } = request.into_inner();
        self.0.operated.lock().unwrap().push(format!("release {form} of {name}, force {force}: {reason}"));
        Ok(Response::new(ReleaseNameClaimResponse { log_index: 41, ..ReleaseNameClaimResponse::default() }))
    }

    async fn list_instances(
        &self,
        request: Request<ListInstancesRequest>,
    ) -> Result<Response<ListInstancesResponse>, Status> {
        Ok(self.0.list_instances(request.get_ref()))
    }

    async fn show_instance(
        &self,
        request: Request<ShowInstanceRequest>,
    ) -> Result<Response<ShowInstanceResponse>, Status> {
        self.0.show_instance(request.get_ref())
    }

    async fn revoke_instance(
        &self,
        request: Request<RevokeInstanceRequest>,
    ) -> Result<Response<RevokeInstanceResponse>, Status> {
        Ok(self.0.revoke_instance(request.get_ref()))
    }

    async fn allow_instance(
        &self,
        request: Request<AllowInstanceRequest>,
    ) -> Result<Response<AllowInstanceResponse>, Status> {
        Ok(self.0.allow_instance(request.get_ref()))
    }

    async fn find_certificates(
        &self,
        request: Request<FindCertificatesRequest>,
    ) -> Result<Response<FindCertificatesResponse>, Status> {
        Ok(self.0.find_certificates(request.get_ref()))
    }

    async fn revoke_certificates(
        &self,
        request: Request<RevokeCertificatesRequest>,
    ) -> Result<Response<RevokeCertificatesResponse>, Status> {
        Ok(self.0.revoke_certificates(request.get_ref()))
    }

    async fn resume_authority(
        &self,
        request: Request<ResumeAuthorityRequest>,
    ) -> Result<Response<ResumeAuthorityResponse>, Status> {
        Ok(self.0.resume_authority(request.get_ref()))
    }

    async fn freeze_authority(
        &self,
        request: Request<FreezeAuthorityRequest>,
    ) -> Result<Response<FreezeAuthorityResponse>, Status> {
        Ok(self.0.freeze_authority(request.get_ref()))
    }

    async fn thaw_authority(
        &self,
        request: Request<ThawAuthorityRequest>,
    ) -> Result<Response<ThawAuthorityResponse>, Status> {
        Ok(self.0.thaw_authority(request.get_ref()))
    }

    async fn back_up(&self, request: Request<BackUpRequest>) -> Result<Response<BackUpResponse>, Status> {
        Ok(self.0.back_up(request.get_ref()))
    }

    async fn metrics(&self, _: Request<MetricsRequest>) -> Result<Response<MetricsResponse>, Status> {
        Ok(Response::new(MetricsResponse { text: "# TYPE hallmark_log_entries gauge\n# EOF\n".to_owned() }))
    }
}

fn not_told() -> Status {
    Status::unimplemented("nobody told this signer what to answer")
}

impl State {
    /// Answers good things.
    pub(crate) fn new(root: Authority, good: MintCertificateResponse) -> Self {
        Self {
            minted: Mutex::default(),
            rotated: Mutex::default(),
            operated: Mutex::default(),
            watched: Mutex::default(),
            epochs: Mutex::default(),
            watching: Mutex::default(),
            silent: AtomicBool::new(false),
            offline: AtomicBool::new(false),
            answer: Mutex::new(Some(Ok(good.clone()))),
            change: Mutex::default(),
            good,
            root,
        }
    }

    fn list(&self, request: &ListEpochsRequest) -> ListEpochsResponse {
        let before = if request.before_generation == 0 { u64::MAX } else { request.before_generation };
        let epochs = self.epochs.lock().unwrap();
        let older = epochs.iter().filter(|epoch| epoch.epoch.as_ref().unwrap().generation < before);
        let limit = request.limit as usize;
        ListEpochsResponse { epochs: older.clone().take(limit).cloned().collect(), more: older.count() > limit }
    }

    /// The newest epoch, or that of a generation, in the state that was wished for.
    fn operate(
        &self,
        asked: String,
        generation: Option<u64>,
        state: EpochState,
    ) -> Result<Response<EpochResponse>, Status> {
        self.operated.lock().unwrap().push(asked);
        let epochs = self.epochs.lock().unwrap();
        let of = |epoch: &&EpochStatus| generation.is_none_or(|it| epoch.epoch.as_ref().unwrap().generation == it);
        let found = epochs.iter().find(of).ok_or_else(|| Status::not_found("there is no such epoch"))?;
        Ok(Response::new(EpochResponse {
            epoch: Some(EpochStatus { state: state.into(), ..found.clone() }),
            log_index: 41,
            root: self.good.root.clone(),
            intermediate: self.good.chain[0].clone(),
            mesh_ca: self.good.mesh_ca.clone(),
            certification_request: bytes::Bytes::new(),
            notes: vec!["nothing was decided for 950 us".to_owned()],
        }))
    }
}

/// A good answer to a rotation: generation 2, bound to what was asked for.
fn rotated(root: &Authority, request: &RotateIntermediateRequest, offline: bool) -> RotateIntermediateResponse {
    let manifest = hallmark_entry::sha256(&request.manifest);
    let expected = request.expected_transition.as_ref().try_into().unwrap();
    let transition = hallmark_policy::authority::transition(&manifest, &expected);
    let (intermediate, mesh_ca) = root.epoch("Lab Issuing 2", Binding { generation: 2, manifest, transition });
    let entry = log::activated("athenz", 2, &transition, log::THEN_MILLIS);
    let good = RotateIntermediateResponse {
        root: root.der().into(),
        intermediate: intermediate.der().into(),
        mesh_ca: mesh_ca.into(),
        epoch: Some(Epoch {
            authority: request.authority.clone(),
            generation: 2,
            transition: transition.to_vec().into(),
            manifest_sha256: manifest.to_vec().into(),
        }),
        state: EpochState::Active.into(),
        replayed: false,
        log_index: Some(0),
        receipt: log::receipt(std::slice::from_ref(&entry), 0),
        log_entry: entry.into(),
        certification_request: bytes::Bytes::new(),
        pause_micros: 950,
        root_crl: if request.revoke_previous { root.crl(&[5]).1.into() } else { bytes::Bytes::new() },
    };
    if !offline {
        return good;
    }
    RotateIntermediateResponse {
        state: EpochState::Keyed.into(),
        certification_request: intermediate.request().into(),
        intermediate: bytes::Bytes::new(),
        log_index: None,
        receipt: String::new(),
        log_entry: bytes::Bytes::new(),
        ..good
    }
}

/// A good answer: its certificate is for `key`, and its log has this one entry.
pub(crate) fn minted(key: &KeyPair, root: &Authority) -> MintCertificateResponse {
    let binding = Binding { generation: 1, manifest: [0xc1; 32], transition: [0xc0; 32] };
    let (intermediate, mesh_ca) = root.epoch("Lab Issuing", binding);
    let leaf = intermediate.leaf(key);
    let entry = log::issued(1, &hallmark_entry::sha256(to_be_signed(&leaf)), log::THEN_MILLIS);
    MintCertificateResponse {
        certificate: leaf.into(),
        chain: vec![intermediate.der().into()],
        mesh_ca: mesh_ca.into(),
        root: root.der().into(),
        serial: vec![0x5a; 17].into(),
        epoch: Some(Epoch {
            authority: "athenz".to_owned(),
            generation: 1,
            transition: vec![0xc0; 32].into(),
            manifest_sha256: vec![0xc1; 32].into(),
        }),
        log_index: 0,
        receipt: log::receipt(std::slice::from_ref(&entry), 0),
        not_before: 1_793_491_200,
        not_after: 1_796_083_200,
        replayed: false,
        log_entry: entry.into(),
    }
}

fn to_be_signed(certificate: &[u8]) -> &[u8] {
    use der::{Decode as _, Reader as _};
    let content = der::asn1::AnyRef::from_der(certificate).unwrap().value();
    der::SliceReader::new(content).unwrap().tlv_bytes().unwrap()
}
