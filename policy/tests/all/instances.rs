//! What a profile says about records of instances, and which requests fit it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends by panicking")]

use std::sync::LazyLock;

use hallmark_policy::{
    Approved, Bounds, Caller, Decision, EpochId, Issuer, NameInput, Policy, Reason, Request, RequestInput,
    SubjectInput,
    content::Serial,
    decide,
    instance::{InstanceName, InstanceStep, IntentInput, proof_message, signed_sha256},
    key::{PublicKey, SignatureAlgorithm},
    may_refresh, meaning,
    name::DistinguishedName,
    time::{Interval, Span, UnixTime},
};

const NAMES: &str = r#"
common-name = "{domain}.{service}"
names = [
    { dns = "{service}.{domain:dashes}.{provider.suffix}" },
    { uri = "athenz://instanceid/{provider}/{instance}", count = "0..1" },
]
"#;

fn policy(instances: &str, more: &str) -> String {
    format!(
        "version = 1\n\
         [authority.a]\n\
         root = {{ common-name = \"root\", lifetime = \"3650d\", key = \"ecdsa-p256\" }}\n\
         epoch = {{ common-name = \"epoch\", lifetime = \"365d\", key = \"ecdsa-p256\" }}\n\
         [provider.\"sys.lab\"]\ndns-suffixes = [\"lab.example\"]\n\
         [profile.p]\n{PROFILE}{NAMES}{instances}\n\
         [caller.coordinator]\ndns = \"coordinator.example.org\"\nmethods = [\"MintCertificate\"]\nprofiles = [\"p\"]\n{more}"
    )
}

const PROFILE: &str = "authority = \"a\"\nlifetime = { default = \"1d\", maximum = \"1d\" }\nkeys = [\"ecdsa-p256\"]\n\
                       usages = [\"server-auth\"]\npossession = \"caller\"\nproviders = [\"sys.lab\"]\n";

fn mistakes(instances: &str, more: &str) -> String {
    Policy::parse(&policy(instances, more)).map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn what_makes_no_sense_about_instances_is_told() {
    for (instances, told) in [
        ("instances = { intents = [] }", "has neither `register` nor `refresh`"),
        ("instances = { intents = [\"none\"] }", "has neither `register` nor `refresh`"),
        ("instances = { intents = [\"register\", \"register\"] }", "has `register` twice"),
        ("instances = { intents = [\"refresh\"], replace = true }", "`instances.replace` means nothing without"),
        (
            "instances = { intents = [\"refresh\"], alive-per-service = 5 }",
            "`instances.alive-per-service` means nothing",
        ),
        ("instances = { intents = [\"register\"], rekey = true }", "`instances.rekey` means nothing without"),
        ("instances = { intents = [\"register\"], proof = true }", "`instances.proof` means nothing without"),
        ("instances = { intents = [\"register\"], alive-per-service = 0 }", "lies between 1 and 10000"),
        ("instances = { intents = [\"register\"], alive-per-service = 10001 }", "lies between 1 and 10000"),
        ("instances = { intents = [\"register\"], id = \"{domain}\" }", "`instances.id` has no `{instance}`"),
        ("instances = { intents = [\"register\"], id = \"{pod}.{instance}\" }", "no format binds `{pod}`"),
        (
            "instances = { intents = [\"register\"], provider = \"{provider.suffix}\" }",
            "no format binds `{provider.suffix}`",
        ),
        ("instances = { intents = [\"register\"], service = \"*.{service}\" }", "a wildcard stands in a dNSName only"),
        ("instances = { intents = [\"register\"], service = \"{service\" }", "a brace in the format has no partner"),
        ("instances = { intents = [\"forget\"] }", "unknown variant `forget`"),
        ("instances = {}", "`intents` is missing"),
    ] {
        let found = mistakes(instances, "");
        assert!(found.contains(told), "`{instances}`: {found}");
    }
}

#[test]
fn a_profile_without_records_gives_no_names_of_one_that_keeps_them() {
    let other = format!("[profile.loose]\n{PROFILE}{NAMES}");
    let keeps = "instances = { intents = [\"register\", \"refresh\"] }";
    let found = mistakes(keeps, &other);
    assert!(found.contains("[profile.loose]") && found.contains("that profile keeps records of instances"), "{found}");
    assert_eq!(mistakes("", &other), "", "neither keeps records");
    let other = format!("[profile.strict]\n{PROFILE}{NAMES}{keeps}");
    assert_eq!(mistakes(keeps, &other), "", "both keep records, and an authority has one set of them");
}

/// What is said about a profile `q` beside `p`, which keeps records by the usual formats.
fn beside(usages: &str, names: &str, instances: &str) -> String {
    let profile = PROFILE.replace("\"server-auth\"", usages);
    mistakes(BOTH, &format!("[profile.q]\n{profile}{names}\n{instances}\n"))
}

#[test]
fn profiles_that_give_the_same_names_keep_the_same_records() {
    assert_eq!(beside("\"server-auth\"", NAMES, BOTH), "");
    assert_eq!(beside("\"client-auth\"", NAMES, BOTH), "", "one instance has certificates for both");
    for (field, other) in
        [("id", "{service}.{instance}"), ("service", "{service}"), ("service", "{domain}"), ("provider", "sys.lab")]
    {
        for usages in ["\"server-auth\"", "\"client-auth\""] {
            let instances = format!("instances = {{ intents = [\"register\", \"refresh\"], {field} = \"{other}\" }}");
            let found = beside(usages, NAMES, &instances);
            assert!(found.contains("[profile.q]") && found.contains("would have two records"), "{field}: {found}");
        }
    }
    let apart =
        NAMES.replace("athenz://instanceid/", "athenz://other/").replace("{domain}.{service}", "x:{domain}.{service}");
    let apart = apart.replace("{service}.{domain:dashes}", "{service}.x.{domain:dashes}");
    let other = "instances = { intents = [\"register\"], id = \"{service}.{instance}\" }";
    assert_eq!(beside("\"server-auth\"", &apart, other), "", "no name is of both");
}

#[test]
fn profiles_that_keep_records_read_the_same_names_alike() {
    for names in [
        NAMES.replace("/{provider}/{instance}", "/{provider}/i-{instance}"),
        NAMES.replace("common-name = \"{domain}.{service}\"", "common-name = \"{service}.{domain}\""),
        format!("{NAMES}parts = {{ instance = {{ shape = \"label\" }} }}\n"),
        format!("{NAMES}parts = {{ domain = {{ shape = \"dotted\", none-of = [\"user\"] }} }}\n"),
    ] {
        let found = beside("\"server-auth\"", &names, BOTH);
        assert!(
            found.contains("[profile.q]") && found.contains("one name could be of two records"),
            "{names}: {found}"
        );
    }
}

#[test]
fn records_of_another_authority_are_no_matter_and_each_mistake_is_told_once() {
    let other = "instances = { intents = [\"register\"], id = \"{service}.{instance}\" }";
    let with = |authority: &str| {
        let profile = PROFILE.replace("\"a\"", &format!("\"{authority}\""));
        let more = format!(
            "[authority.b]\n\
             root = {{ common-name = \"root\", lifetime = \"3650d\", key = \"ecdsa-p256\" }}\n\
             epoch = {{ common-name = \"epoch\", lifetime = \"365d\", key = \"ecdsa-p256\" }}\n\
             [profile.q]\n{profile}{NAMES}{other}\n"
        );
        Policy::parse(&policy(BOTH, &more)).map_or_else(|error| error.mistakes.len(), |_| 0)
    };
    assert_eq!((with("a"), with("b")), (1, 0));
}

#[test]
fn names_that_say_nothing_of_a_record_may_be_read_otherwise() {
    let with = |part: &str| {
        let format = format!("{{ uri = \"x://host/{{{part}}}\", count = \"0..1\" }},\n]");
        format!("{}parts = {{ {part} = {{ shape = \"dotted\" }} }}\n", NAMES.replace(']', &format))
    };
    let text = policy(BOTH, &format!("[profile.q]\n{PROFILE}@{BOTH}\n"));
    let text = text.replacen(NAMES, &with("host"), 1).replace('@', &with("name"));
    assert_eq!(Policy::parse(&text).map_or_else(|error| error.to_string(), |_| String::new()), "");
}

#[test]
fn a_name_that_says_an_instance_to_one_profile_says_one_to_the_other() {
    let with = |part: &str, parts: &str| {
        let format = format!("{{ uri = \"x://id/{{{part}}}\", count = \"0..1\" }},\n]");
        format!("{}{parts}", NAMES.replace(']', &format))
    };
    let (said, unsaid) = (with("instance", ""), with("name", "parts = { name = { shape = \"dotted\" } }\n"));
    for (one, other) in [(&said, &unsaid), (&unsaid, &said)] {
        let text = policy(BOTH, &format!("[profile.q]\n{PROFILE}@{BOTH}\n"));
        let text = text.replacen(NAMES, one, 1).replace('@', other);
        let told = Policy::parse(&text).map_or_else(|error| error.to_string(), |_| String::new());
        assert!(told.contains("[profile.q]") && told.contains("one name could be of two records"), "{told}");
    }
}

#[test]
fn a_profile_without_records_may_not_give_the_names_of_one_with_them_for_another_usage() {
    for (names, told) in [
        (NAMES, "that profile keeps records of instances"),
        ("common-name = \"{domain}.{service}\"", "that profile keeps records of instances"),
    ] {
        let found = beside("\"client-auth\"", names, "");
        assert!(found.contains("[profile.q]") && found.contains(told), "{found}");
    }
}

#[test]
fn the_meaning_says_which_names_are_the_instance() {
    let instances = "instances = { intents = [\"register\", \"refresh\"], provider = \"sys.lab\", replace = true, rekey = true, \
                     alive-per-service = 7 }";
    let told = meaning::tell(&Policy::parse(&policy(instances, "")).unwrap()).lines.join("\n");
    for sentence in [
        "the id reads `{instance}`, the provider `sys.lab`, the service `{domain}.{service}`. Requests may want `register` and `refresh`.",
        "A registration takes the place of an instance that is alive; who is revoked is never replaced.",
        "Every refresh brings a new key.",
        "At most 7 instances of one service under one provider are alive.",
    ] {
        assert!(told.contains(sentence), "{told}");
    }
}

static CALLER: LazyLock<Caller> = LazyLock::new(|| caller_of("coordinator.example.org"));
static KEY: LazyLock<rcgen::KeyPair> = LazyLock::new(|| rcgen::KeyPair::generate().unwrap());
static ISSUER: LazyLock<rcgen::KeyPair> = LazyLock::new(|| rcgen::KeyPair::generate().unwrap());

fn caller_of(host: &str) -> Caller {
    let mut parameters = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2100, 1, 1);
    Caller::parse(parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der()).unwrap()
}

fn public(key: &rcgen::KeyPair) -> PublicKey {
    use rcgen::PublicKeyData as _;
    PublicKey::parse(&key.subject_public_key_info()).unwrap()
}

fn now() -> UnixTime {
    UnixTime::from_secs(1_795_400_000)
}

/// What is asked for, with the profile `p`.
fn input(instance: Option<&str>, intent: IntentInput) -> RequestInput {
    let mut names = vec![NameInput::Dns("api.sports.lab.example".to_owned())];
    names.extend(instance.map(|id| NameInput::Uri(format!("athenz://instanceid/sys.lab/{id}"))));
    let spki = public(&KEY).spki().to_vec();
    RequestInput {
        authority: "a".to_owned(),
        profile: "p".to_owned(),
        request_id: "r-1".to_owned(),
        subject: SubjectInput::Spki { spki, common_name: "sports.api".to_owned(), names },
        instance: intent,
        ..RequestInput::default()
    }
}

fn issuer(policy: &Policy) -> Issuer {
    Issuer {
        authority: "a".to_owned(),
        epoch: EpochId { generation: 1, transition: [7; 32] },
        subject: DistinguishedName::common_name("epoch"),
        key: public(&ISSUER),
        algorithm: SignatureAlgorithm::EcdsaSha256,
        validity: Interval { not_before: now(), not_after: now().after(Span::from_days(3650)) },
        bounds: Bounds::of(policy.authority("a").unwrap()),
        manifest: None,
    }
}

fn ask(instances: &str, instance: Option<&str>, intent: IntentInput) -> Result<Approved, Vec<Reason>> {
    ask_at(instances, instance, intent, now())
}

fn ask_at(
    instances: &str,
    instance: Option<&str>,
    intent: IntentInput,
    now: UnixTime,
) -> Result<Approved, Vec<Reason>> {
    ask_knowing(instances, instance, intent, now, None)
}

fn ask_knowing(
    instances: &str,
    instance: Option<&str>,
    intent: IntentInput,
    now: UnixTime,
    signed: Option<&[u8; 32]>,
) -> Result<Approved, Vec<Reason>> {
    let policy = Policy::parse(&policy(instances, "")).unwrap();
    let issuer = issuer(&policy);
    let request = Request::parse(CALLER.clone(), input(instance, intent))?.with_presented_issuer(&issuer.key, signed);
    match decide(&policy, &request, &issuer, now, Serial::from_random([0xab; 16])) {
        Decision::Approve(approved) => Ok(*approved),
        Decision::Refuse(reasons) => Err(reasons),
    }
}

fn codes(asked: Result<Approved, Vec<Reason>>) -> Vec<&'static str> {
    asked.map_or_else(|reasons| reasons.iter().map(|reason| reason.code.as_str()).collect(), |_| Vec::new())
}

const BOTH: &str = "instances = { intents = [\"register\", \"refresh\"] }";

#[test]
fn a_registration_says_which_instance_of_which_provider_and_service() {
    let approved = ask(BOTH, Some("i-1"), IntentInput::Register).unwrap();
    let moved = approved.conditions().instance.clone().unwrap();
    let name = InstanceName { provider: "sys.lab".into(), id: "i-1".into(), service: "sports.api".into() };
    assert_eq!((&moved.name, moved.key), (&name, public(&KEY).digest()));
    assert_eq!(moved.step, InstanceStep::Register { replace: false, alive_max: None });
    let facts = approved.facts().instance.clone().unwrap();
    assert_eq!((facts.intent, facts.name, facts.presented), ("register", Some(name), None));
}

#[test]
fn an_intent_that_the_profile_does_not_take_is_refused() {
    let refused = ["INSTANCE_INTENT_NOT_ALLOWED"];
    assert_eq!(codes(ask("", Some("i-1"), IntentInput::Register)), refused, "it keeps no records");
    assert_eq!(codes(ask(BOTH, Some("i-1"), IntentInput::None)), refused, "a record is a must");
    assert_eq!(codes(ask("instances = { intents = [\"refresh\"] }", Some("i-1"), IntentInput::Register)), refused);
    let also_none = "instances = { intents = [\"register\", \"none\"] }";
    assert_eq!(codes(ask(also_none, Some("i-1"), IntentInput::None)), refused, "the names say an instance");
    assert!(ask(also_none, None, IntentInput::None).unwrap().conditions().instance.is_none());
    assert!(ask("", Some("i-1"), IntentInput::None).unwrap().conditions().instance.is_none());
}

#[test]
fn names_without_an_instance_register_nothing() {
    assert_eq!(codes(ask(BOTH, None, IntentInput::Register)), ["INSTANCE_MISSING"]);
}

/// A certificate, DER, that this issuer signs for this key.
fn certificate(issuer: &rcgen::KeyPair, key: &rcgen::KeyPair, until_year: i32) -> Vec<u8> {
    let mut parameters = rcgen::CertificateParams::new(vec!["any.example".to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2026, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(until_year, 1, 1);
    parameters.serial_number = Some(rcgen::SerialNumber::from_slice(&[1; 17]));
    let ca = rcgen::Issuer::new(rcgen::CertificateParams::default(), issuer);
    parameters.signed_by(key, &ca).unwrap().der().to_vec()
}

fn refresh(certificate: Vec<u8>, proof: Vec<u8>) -> IntentInput {
    IntentInput::Refresh { certificate, proof }
}

#[test]
fn a_certificate_that_is_not_ours_or_has_ended_or_does_not_read_is_not_replaced() {
    let other = rcgen::KeyPair::generate().unwrap();
    let foreign = certificate(&other, &KEY, 2030);
    assert_eq!(codes(ask(BOTH, Some("i-1"), refresh(foreign, Vec::new()))), ["INSTANCE_CERTIFICATE_FOREIGN"]);
    let ours = certificate(&ISSUER, &KEY, 2030);
    let mut altered = ours.clone();
    let byte = altered.len() / 2;
    altered[byte] ^= 1;
    let altered = codes(ask(BOTH, Some("i-1"), refresh(altered, Vec::new())));
    assert!(
        altered == ["INSTANCE_CERTIFICATE_FOREIGN"] || altered == ["INSTANCE_CERTIFICATE_MALFORMED"],
        "{altered:?}"
    );
    let ended = certificate(&ISSUER, &KEY, 2026);
    assert_eq!(codes(ask(BOTH, Some("i-1"), refresh(ended, Vec::new()))), ["INSTANCE_CERTIFICATE_EXPIRED"]);
    let longer = [ours.clone(), vec![0]].concat();
    assert_eq!(codes(ask(BOTH, Some("i-1"), refresh(longer, Vec::new()))), ["INSTANCE_CERTIFICATE_MALFORMED"]);
    assert_eq!(codes(ask(BOTH, Some("i-1"), refresh(Vec::new(), Vec::new()))), ["FIELD_MISSING"]);
    assert!(ask(BOTH, Some("i-1"), refresh(ours, Vec::new())).is_ok());
}

#[test]
fn what_was_signed_is_known_to_the_byte_and_all_else_has_a_signature_that_verifies() {
    let ours = certificate(&ISSUER, &KEY, 2030);
    let read: rasn_pkix::Certificate = rasn::der::decode(&ours).unwrap();
    let (tbs, signature) = (rasn::der::encode(&read.tbs_certificate).unwrap(), read.signature_value.clone().into_vec());
    let kept = signed_sha256(&tbs, &signature);
    let mut scrawled = ours.clone();
    *scrawled.last_mut().unwrap() ^= 1;
    let scrawled_kept = signed_sha256(&tbs, &scrawled[ours.len() - signature.len()..]);
    let foreign = || vec!["INSTANCE_CERTIFICATE_FOREIGN"];
    for (presented, kept, told) in [
        (&ours, None, vec![]),
        (&ours, Some(kept), vec![]),
        (&ours, Some([0; 32]), vec![]),
        (&scrawled, None, foreign()),
        (&scrawled, Some(kept), foreign()),
        // The ledger keeps what verified: it is not looked at again.
        (&scrawled, Some(scrawled_kept), vec![]),
    ] {
        let intent = refresh(presented.clone(), Vec::new());
        assert_eq!(codes(ask_knowing(BOTH, Some("i-1"), intent, now(), kept.as_ref())), told, "{kept:?}");
    }
}

#[test]
fn possession_of_the_replaced_key_is_proven_by_its_signature_over_this_very_request() {
    let old = rcgen::KeyPair::generate().unwrap();
    let ours = certificate(&ISSUER, &old, 2030);
    let name = InstanceName { provider: "sys.lab".into(), id: "i-1".into(), service: "sports.api".into() };
    let sign = |message: &str| {
        use rcgen::SigningKey as _;
        old.sign(message.as_bytes()).unwrap()
    };
    let proven = |proof: Vec<u8>| {
        let approved = ask(BOTH, Some("i-1"), refresh(ours.clone(), proof))?;
        let Some(InstanceStep::Refresh(presented)) = approved.conditions().instance.clone().map(|moved| moved.step)
        else {
            panic!("no refresh")
        };
        assert_eq!((presented.key, presented.issuer), (public(&old).digest(), public(&ISSUER).digest()));
        assert_eq!(
            approved.facts().instance.clone().map(|facts| facts.proven),
            Some(presented.proven),
            "the log hears it"
        );
        Ok::<_, Vec<Reason>>(presented.proven)
    };
    let key = public(&KEY).digest();
    assert_eq!(proven(Vec::new()), Ok(false));
    let serial = Serial::from_stored(&[1; 17]).unwrap();
    let message = proof_message("a", "r-1", &name, serial, key);
    assert_eq!(
        message,
        format!("hallmark-instance-refresh-v2\na\nr-1\nsys.lab\ni-1\n0101010101010101010101010101010101\n{key}\n")
    );
    assert_eq!(proven(sign(&message)), Ok(true));
    for other in [
        proof_message("b", "r-1", &name, serial, key),
        proof_message("a", "r-2", &name, serial, key),
        proof_message("a", "r-1", &InstanceName { id: "i-2".into(), ..name.clone() }, serial, key),
        proof_message("a", "r-1", &name, Serial::from_stored(&[2; 17]).unwrap(), key),
        proof_message("a", "r-1", &name, serial, public(&old).digest()),
    ] {
        let reasons = proven(sign(&other)).unwrap_err();
        assert_eq!(reasons[0].code.as_str(), "INSTANCE_PROOF_WRONG");
    }
}

#[test]
fn a_key_that_no_profile_can_allow_proves_nothing() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
    let ours = certificate(&ISSUER, &key, 2030);
    let asked = ask(BOTH, Some("i-1"), refresh(ours.clone(), Vec::new())).unwrap();
    let moved = asked.conditions().instance.clone().map(|moved| moved.step);
    assert!(matches!(moved, Some(InstanceStep::Refresh(presented)) if !presented.proven), "its row says whose it is");
    let name = InstanceName { provider: "sys.lab".into(), id: "i-1".into(), service: "sports.api".into() };
    let serial = Serial::from_stored(&[1; 17]).unwrap();
    let message = proof_message("a", "r-1", &name, serial, public(&KEY).digest());
    let proof = rcgen::SigningKey::sign(&key, message.as_bytes()).unwrap();
    assert_eq!(codes(ask(BOTH, Some("i-1"), refresh(ours, proof))), ["INSTANCE_PROOF_WRONG"]);
}

#[test]
fn a_profile_may_want_a_new_key_with_every_refresh() {
    let ours = certificate(&ISSUER, &KEY, 2030);
    let rekey = "instances = { intents = [\"register\", \"refresh\"], rekey = true }";
    assert_eq!(codes(ask(rekey, Some("i-1"), refresh(ours.clone(), Vec::new()))), ["INSTANCE_KEY_REUSED"]);
    assert!(ask(BOTH, Some("i-1"), refresh(ours, Vec::new())).is_ok());
}

#[test]
fn a_profile_may_want_proof_of_the_replaced_key_and_the_csr_is_none() {
    let ours = certificate(&ISSUER, &KEY, 2030);
    let proof = "instances = { intents = [\"register\", \"refresh\"], proof = true }";
    assert_eq!(codes(ask(proof, Some("i-1"), refresh(ours.clone(), Vec::new()))), ["INSTANCE_PROOF_MISSING"]);
    let wrong = codes(ask(proof, Some("i-1"), refresh(ours.clone(), vec![1])));
    assert_eq!(wrong, ["INSTANCE_PROOF_WRONG"]);
    let name = InstanceName { provider: "sys.lab".into(), id: "i-1".into(), service: "sports.api".into() };
    let serial = Serial::from_stored(&[1; 17]).unwrap();
    let message = proof_message("a", "r-1", &name, serial, public(&KEY).digest());
    let signature = rcgen::SigningKey::sign(&*KEY, message.as_bytes()).unwrap();
    assert!(ask(proof, Some("i-1"), refresh(ours, signature)).is_ok());
    assert!(ask(proof, Some("i-1"), IntentInput::Register).is_ok(), "who registers has no certificate to prove");
}

#[test]
fn a_wish_is_all_that_the_certificate_is_to_say_beside_its_key() {
    let policy = Policy::parse(&policy(BOTH, "")).unwrap();
    let wish = |input: RequestInput| {
        let request = Request::parse(CALLER.clone(), input).unwrap();
        match decide(&policy, &request, &issuer(&policy), now(), Serial::from_random([1; 16])) {
            Decision::Approve(approved) => approved.conditions().instance.as_ref().unwrap().wish_sha256,
            Decision::Refuse(reasons) => panic!("{reasons:?}"),
        }
    };
    let asked = || input(Some("i-1"), IntentInput::Register);
    let mut bytes = Vec::new();
    for field in [
        &b"hallmark-wish-v1"[..],
        b"p",
        &[0; 8],
        b"sports.api",
        b"dns:api.sports.lab.example",
        b"uri:athenz://instanceid/sys.lab/i-1",
    ] {
        bytes.extend(u64::try_from(field.len()).unwrap().to_be_bytes());
        bytes.extend(field);
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    assert_eq!(wish(asked()), digest.as_ref());
    assert_eq!(wish(RequestInput { request_id: "r-2".to_owned(), ..asked() }), digest.as_ref());
    assert_ne!(wish(RequestInput { lifetime_seconds: 3_600, ..asked() }), digest.as_ref());
    assert_ne!(wish(input(Some("i-2"), IntentInput::Register)), digest.as_ref());
}

#[test]
fn a_certificate_may_be_replaced_until_its_last_second() {
    let at = |year: i32| UnixTime::parse(&format!("{year}-01-01T00:00:00Z")).unwrap();
    let ours = certificate(&ISSUER, &KEY, 2030);
    assert!(ask_at(BOTH, Some("i-1"), refresh(ours.clone(), Vec::new()), at(2030)).is_ok());
    let after = at(2030).after(Span::from_secs(1));
    assert_eq!(codes(ask_at(BOTH, Some("i-1"), refresh(ours, Vec::new()), after)), ["INSTANCE_CERTIFICATE_EXPIRED"]);
}

#[test]
fn a_presented_certificate_and_its_proof_are_read_up_to_their_lengths() {
    use hallmark_policy::instance::CERTIFICATE_BYTES_MAX;
    let told =
        |certificate: usize, proof: usize| codes(ask(BOTH, Some("i-1"), refresh(vec![0; certificate], vec![0; proof])));
    assert_eq!(told(CERTIFICATE_BYTES_MAX, 8_192), ["INSTANCE_CERTIFICATE_MALFORMED"]);
    assert_eq!(told(CERTIFICATE_BYTES_MAX + 1, 0), ["FIELD_OUT_OF_LIMITS"]);
    assert_eq!(told(CERTIFICATE_BYTES_MAX, 8_193), ["FIELD_OUT_OF_LIMITS"]);
}

#[test]
fn whose_a_presented_certificate_is_its_authority_key_identifier_says() {
    let input = |instance| RequestInput {
        authority: "a".to_owned(),
        profile: "p".to_owned(),
        request_id: "r-1".to_owned(),
        subject: SubjectInput::Spki {
            spki: public(&KEY).spki().to_vec(),
            common_name: String::new(),
            names: Vec::new(),
        },
        instance,
        ..RequestInput::default()
    };
    let said = |instance| {
        Request::parse(CALLER.clone(), input(instance)).unwrap().presented().map(|claim| claim.issuer_key_identifier)
    };
    let mut parameters = rcgen::CertificateParams::new(vec!["any.example".to_owned()]).unwrap();
    parameters.use_authority_key_identifier_extension = true;
    let mut ca = rcgen::CertificateParams::default();
    ca.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![7; 20]);
    let signed = |ca: rcgen::CertificateParams| {
        parameters.signed_by(&*KEY, &rcgen::Issuer::new(ca, &*ISSUER)).unwrap().der().to_vec()
    };
    assert_eq!(said(refresh(signed(ca.clone()), Vec::new())), Some([7; 20]));
    ca.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![7; 19]);
    assert_eq!(said(refresh(signed(ca), Vec::new())), None);
    assert_eq!(said(refresh(certificate(&ISSUER, &KEY, 2030), Vec::new())), None, "it has none");
    assert_eq!((said(IntentInput::Register), said(IntentInput::None)), (None, None));
}

#[test]
fn a_rule_says_what_was_typed() {
    let rule = |instances: &str| {
        let policy = Policy::parse(&policy(instances, "")).unwrap();
        let rule = policy.profile("p").unwrap().instances().unwrap().clone();
        (rule.replace(), rule.rekey(), rule.proof(), rule.alive_per_service())
    };
    assert_eq!(rule(BOTH), (false, false, false, None));
    let with = |more: &str| rule(&format!("instances = {{ intents = [\"register\", \"refresh\"], {more} }}"));
    assert_eq!(with("replace = true, alive-per-service = 3"), (true, false, false, Some(3)));
    assert_eq!((with("rekey = true"), with("proof = true")), ((false, true, false, None), (false, false, true, None)));
    let name = InstanceName { provider: "sys.lab".into(), id: "i-1".into(), service: "sports.api".into() };
    assert_eq!(name.to_string(), "instance `i-1` of provider `sys.lab`");
}

#[test]
fn whose_certificate_is_presented_is_looked_for_only_where_the_caller_may_refresh_with_the_profile() {
    let more = format!(
        "[profile.q]\n{PROFILE}names = [{{ dns = \"{{service}}.example.net\" }}]\n\
         [caller.clerk]\ndns = \"clerk.example.org\"\nmethods = [\"MintCertificate\"]\nprofiles = [\"q\"]\n\
         [caller.viewer]\ndns = \"viewer.example.org\"\nmethods = [\"GetChain\"]\nprofiles = [\"p\"]\n"
    );
    let may = |host: &str, profile: &str, instances: &str| {
        let policy = Policy::parse(&policy(instances, &more)).unwrap();
        let instance = refresh(certificate(&ISSUER, &KEY, 2030), Vec::new());
        let input = RequestInput { profile: profile.to_owned(), ..input(Some("i-1"), instance) };
        let request = Request::parse(caller_of(host), input).unwrap();
        let refused = match decide(&policy, &request, &issuer(&policy), now(), Serial::from_random([1; 16])) {
            Decision::Approve(_) => Vec::new(),
            Decision::Refuse(reasons) => reasons.iter().map(|reason| reason.code.as_str()).collect(),
        };
        let may = may_refresh(&policy, &request, now());
        assert_eq!(may, refused.contains(&"INSTANCE_CERTIFICATE_FOREIGN"), "{host} {profile} {refused:?}");
        may
    };
    assert!(may("coordinator.example.org", "p", BOTH));
    assert!(!may("coordinator.example.org", "p", "instances = { intents = [\"register\"] }"));
    assert!(!may("coordinator.example.org", "q", BOTH), "it has no right to the profile");
    assert!(!may("clerk.example.org", "p", BOTH), "it has no right to the profile");
    assert!(!may("clerk.example.org", "q", BOTH), "the profile keeps no records");
    assert!(!may("viewer.example.org", "p", BOTH), "it has no right to the method");
    assert!(!may("stranger.example.org", "p", BOTH));
}
