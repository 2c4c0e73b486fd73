//! Records of instances and certificates that a signer of tests has.

use hallmark_proto::operator::{
    AllowInstanceRequest, AllowInstanceResponse, BackUpRequest, BackUpResponse, Certificate, FindCertificatesRequest,
    FindCertificatesResponse, FreezeAuthorityRequest, FreezeAuthorityResponse, Instance, InstanceCertificate,
    InstanceState, ListInstancesRequest, ListInstancesResponse, ResumeAuthorityRequest, ResumeAuthorityResponse,
    RevokeCertificatesRequest, RevokeCertificatesResponse, RevokeEpochRequest, RevokeEpochResponse,
    RevokeInstanceRequest, RevokeInstanceResponse, ShowInstanceRequest, ShowInstanceResponse, ThawAuthorityRequest,
    ThawAuthorityResponse,
};
use tonic::{Response, Status};

use super::state::State;

/// 2026-12-01T00:00:00Z.
const END: i64 = 1_796_083_200;

fn certificate(number: u8, revoked: bool) -> Certificate {
    Certificate {
        serial: vec![number; 17].into(),
        issuer_spki_sha256: vec![0x11; 32].into(),
        spki_sha256: vec![number; 32].into(),
        names: vec!["cn:sports.api".to_owned(), format!("dns:i-{number}.example")],
        caller: "coordinator".to_owned(),
        profile: "athenz-service".to_owned(),
        not_before: END - 30 * 86_400,
        not_after: END,
        log_index: number.into(),
        revoked_at: revoked.then_some(END - 86_400),
        revocation_reason: if revoked { "key-compromise".to_owned() } else { String::new() },
    }
}

fn instance(id: &str, state: InstanceState) -> Instance {
    let held = |number: u8| InstanceCertificate {
        serial: vec![number; 17].into(),
        spki_sha256: vec![number; 32].into(),
        log_index: number.into(),
    };
    Instance {
        provider: "sys.auth.lab".to_owned(),
        id: id.to_owned(),
        service: "sports.api".to_owned(),
        state: state.into(),
        registered_index: 7,
        registered_at_millis: (END - 5 * 86_400) * 1_000,
        moved_at_millis: (END - 2 * 86_400) * 1_000,
        moves: 3,
        not_after: END,
        current: Some(held(0x22)),
        previous: Some(held(0x21)),
        retried: true,
        revoked_at_millis: (state == InstanceState::Revoked).then_some((END - 86_400) * 1_000),
        revoked_index: (state == InstanceState::Revoked).then_some(40),
    }
}

impl State {
    fn asked(&self, what: String) {
        self.operated.lock().unwrap().push(what);
    }

    pub(super) fn list_instances(&self, request: &ListInstancesRequest) -> Response<ListInstancesResponse> {
        let mut instances = vec![
            instance("i-1", InstanceState::Alive),
            instance("i-2", InstanceState::Revoked),
            instance("x\u{1b}[31m", InstanceState::Ended),
        ];
        instances.retain(|instance| instance.id > request.after_id);
        let state = request.state();
        instances.retain(|instance| state == InstanceState::Unspecified || instance.state() == state);
        let more = instances.len() > request.limit as usize;
        instances.truncate(request.limit as usize);
        let last = instances.last().filter(|_| more);
        let (next_provider, next_id) = last.map(|last| (last.provider.clone(), last.id.clone())).unwrap_or_default();
        // An answer that looked at many and found none.
        if request.service == "rare" && request.after_id.is_empty() {
            let next_id = "i-1".to_owned();
            return Response::new(ListInstancesResponse { instances: Vec::new(), more: true, next_provider, next_id });
        }
        Response::new(ListInstancesResponse { instances, more, next_provider, next_id })
    }

    pub(super) fn show_instance(
        &self,
        request: &ShowInstanceRequest,
    ) -> Result<Response<ShowInstanceResponse>, Status> {
        if request.id != "i-2" {
            return Err(Status::not_found("there is no such instance"));
        }
        let instance = Some(instance("i-2", InstanceState::Revoked));
        // One certificate with each answer, and an answer without any in between.
        let (certificates, next) = match request.before_index {
            0 => (vec![certificate(0x22, true)], Some(0x22)),
            0x22 => (Vec::new(), Some(0x21)),
            0x21 => (vec![certificate(0x20, true)], None),
            _ => (Vec::new(), None),
        };
        Ok(Response::new(ShowInstanceResponse { instance, certificates, next }))
    }

    pub(super) fn revoke_instance(&self, request: &RevokeInstanceRequest) -> Response<RevokeInstanceResponse> {
        let RevokeInstanceRequest { provider, id, reason, why, .. } = request;
        self.asked(format!("revoke {id} of {provider}, {reason}: {why}"));
        let before = id == "i-2";
        let certificates = if before { 0 } else { 2 };
        Response::new(RevokeInstanceResponse {
            log_index: 41,
            certificates,
            before,
            receipt: String::new(),
            left: 0,
            unlisted: 2,
        })
    }

    pub(super) fn allow_instance(&self, request: &AllowInstanceRequest) -> Response<AllowInstanceResponse> {
        let AllowInstanceRequest { provider, id, why, .. } = request;
        self.asked(format!("allow {id} of {provider}: {why}"));
        Response::new(AllowInstanceResponse { log_index: 42, receipt: String::new() })
    }

    /// One certificate with each answer, and an answer without any in between.
    pub(super) fn find_certificates(&self, request: &FindCertificatesRequest) -> Response<FindCertificatesResponse> {
        let (certificates, next) = match request.before_index {
            0 => (vec![certificate(0x30, false)], Some(0x30)),
            0x30 => (Vec::new(), Some(0x2f)),
            0x2f => (vec![certificate(0x22, true)], None),
            _ => (Vec::new(), None),
        };
        Response::new(FindCertificatesResponse { certificates, next })
    }

    /// Two pages.
    pub(super) fn revoke_certificates(
        &self,
        request: &RevokeCertificatesRequest,
    ) -> Response<RevokeCertificatesResponse> {
        let RevokeCertificatesRequest { selection, reason, why, dry_run, before_index, .. } = request;
        let selection = selection.clone().unwrap_or_default();
        let what = if *dry_run { "count" } else { "revoke" };
        self.asked(format!("{what} below {before_index} of {}, {reason}: {why}", selection.caller));
        let (certificates, next) = match (selection.caller.as_str(), before_index) {
            ("nobody", _) => (0, None),
            (_, 0 | 500) => (1_000, Some(200)),
            (_, _) => (12, None),
        };
        let log_index = (!dry_run).then_some(501);
        Response::new(RevokeCertificatesResponse { certificates, next, log_size: 500, log_index, unlisted: 1 })
    }

    pub(super) fn revoke_epoch(&self, request: &RevokeEpochRequest) -> Response<RevokeEpochResponse> {
        let RevokeEpochRequest { authority, generation, reason, why } = request;
        self.asked(format!("revoke epoch {generation} of {authority}: {reason}, {why}"));
        Response::new(RevokeEpochResponse {
            serial: vec![0x4b, 7].into(),
            reason: reason.clone(),
            before: false,
            log_index: 44,
            receipt: String::new(),
        })
    }

    pub(super) fn resume_authority(&self, request: &ResumeAuthorityRequest) -> Response<ResumeAuthorityResponse> {
        self.asked(format!("resume {}: {}", request.authority, request.why));
        Response::new(ResumeAuthorityResponse { log_index: 43, receipt: String::new() })
    }

    pub(super) fn freeze_authority(&self, request: &FreezeAuthorityRequest) -> Response<FreezeAuthorityResponse> {
        self.asked(format!("freeze {}: {}", request.authority, request.why));
        let answer = FreezeAuthorityResponse { log_index: 45, thrown_away: 2, ..FreezeAuthorityResponse::default() };
        Response::new(answer)
    }

    /// The first call begins it, and the next finds it whole.
    pub(super) fn back_up(&self, request: &BackUpRequest) -> Response<BackUpResponse> {
        self.asked(format!("back up {}: {}", request.name, request.why));
        let at_millis = 1_700_000_000_000;
        let begun =
            BackUpResponse { log_index: 47, pages_done: 3, pages_total: 12, at_millis, ..BackUpResponse::default() };
        let asked = format!("back up {}: {}", request.name, request.why);
        let is_again = self.operated.lock().unwrap().iter().filter(|before| **before == asked).count() > 1;
        Response::new(if is_again {
            BackUpResponse {
                done: true,
                pages_done: 12,
                directory: format!("/var/lib/hallmark/backups/{}", request.name),
                log_size: 1_204,
                log_root: vec![7; 32].into(),
                database_bytes: 49_152,
                removed: 1,
                ..begun
            }
        } else {
            begun
        })
    }

    pub(super) fn thaw_authority(&self, request: &ThawAuthorityRequest) -> Response<ThawAuthorityResponse> {
        self.asked(format!("thaw {}: {}", request.authority, request.why));
        Response::new(ThawAuthorityResponse { log_index: 46, receipt: String::new() })
    }
}
