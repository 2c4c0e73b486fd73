//! Written forms of names: whose they are, and how an operator frees one.

use std::process::Command;

use hallmark_proto::{
    operator::{ListNameClaimsRequest, ListNameClaimsResponse, ReleaseNameClaimRequest, ReleaseNameClaimResponse},
    signer::MintCertificateRequest,
};
use hallmark_tests::{
    AUTHORITY, OPERATOR, Where, World,
    asking::{Asked, Refused, caller_certificate, decoded},
    daemon::{Laboratory, succeed},
    example_policy,
};
use prost::Message;

/// Seconds that a certificate of the example's services lives.
const LIFETIME_SECS: u32 = 30 * 86_400;

fn claiming(policy: &str) -> String {
    let changed = policy.replacen("# dashes = \"claimed\"", "dashes = \"claimed\"", 1);
    assert_ne!(changed, policy);
    changed
}

/// `api` of this domain.
fn api_of(domain: &str) -> MintCertificateRequest {
    Asked {
        common_name: Some(format!("{domain}.api")),
        dns: vec![format!("api.{}.lab.athenz.cloud", domain.replace('.', "-"))],
        ..Asked::default()
    }
    .request()
}

fn release(form: &str, name: &str) -> ReleaseNameClaimRequest {
    let (authority, reason) = (AUTHORITY.to_owned(), "the team has moved".to_owned());
    ReleaseNameClaimRequest { authority, form: form.to_owned(), name: name.to_owned(), reason, force: false }
}

async fn released(world: &World, request: ReleaseNameClaimRequest) -> Result<ReleaseNameClaimResponse, Refused> {
    let reply = world.operate("ReleaseNameClaim", &caller_certificate(OPERATOR), request.encode_to_vec()).await;
    decoded(reply)
}

async fn listed(world: &World, after_form: &str, limit: u32) -> Result<ListNameClaimsResponse, Refused> {
    let (authority, after_form) = (AUTHORITY.to_owned(), after_form.to_owned());
    let request = ListNameClaimsRequest { authority, after_form, limit };
    decoded(world.operate("ListNameClaims", &caller_certificate(OPERATOR), request.encode_to_vec()).await)
}

#[tokio::test]
async fn a_form_is_free_after_its_last_certificate_and_the_log_says_so_before_another_has_it() {
    let mut world = World::with_policy(Where::Software, &claiming(&example_policy())).await;
    world.mint(api_of("a.b-c")).await.unwrap();
    assert_eq!(world.mint(api_of("a-b.c")).await.unwrap_err().reasons, ["NAME_CLAIMED"]);
    world.clocks().pass(LIFETIME_SECS / 2);
    let second = world.mint(api_of("a.b-c")).await.unwrap();
    world.clocks().pass(LIFETIME_SECS - 1);
    let claim = listed(&world, "", 0).await.unwrap().claims.remove(0);
    assert_eq!((claim.form.as_str(), claim.name.as_str()), ("a-b-c", "a.b-c"));
    assert_eq!(claim.not_after, second.not_after, "the end of the last one");
    let refused = released(&world, release("a-b-c", "a.b-c")).await.unwrap_err();
    assert_eq!((refused.code, refused.reasons.as_slice()), (9, ["NAME_IN_USE".to_owned()].as_slice()));
    assert_eq!(world.mint(api_of("a-b.c")).await.unwrap_err().reasons, ["NAME_CLAIMED"]);

    world.clocks().pass(1);
    let free = released(&world, release("a-b-c", "a.b-c")).await.unwrap();
    assert_eq!(listed(&world, "", 0).await.unwrap().claims, []);
    let taken = world.mint(api_of("a-b.c")).await.unwrap();
    assert_eq!(world.mint(api_of("a.b-c")).await.unwrap_err().reasons, ["NAME_CLAIMED"], "the other way round now");
    world.restart().await;
    assert_eq!(listed(&world, "", 0).await.unwrap().claims[0].name, "a-b.c");
    let log = world.log_after_stop().await;
    log.proves_entry(free.log_index, &free.receipt, &free.log_entry);
    assert!(free.log_index < taken.log_index);
    let entry = &log.entries[usize::try_from(free.log_index).unwrap()];
    let expected = serde_json::json!({
        "type": "operator-command",
        "version": 1,
        "time": entry["time"],
        "command": "release-name",
        "authority": AUTHORITY,
        "form": "a-b-c",
        "name": "a.b-c",
        "by": format!("uri:{OPERATOR}"),
        "reason": "the team has moved",
        "forced": false,
        "not-after": second.not_after,
    });
    assert_eq!(*entry, expected);
    let refused = log.decisions("refused");
    assert!(refused.iter().any(|entry| entry["method"] == "ReleaseNameClaim"), "a refusal has its entry, too");
}

#[tokio::test]
async fn a_form_in_use_is_freed_by_force_and_the_log_says_that_it_was() {
    let mut world = World::with_policy(Where::Software, &claiming(&example_policy())).await;
    world.mint(api_of("a.b-c")).await.unwrap();
    let forced = ReleaseNameClaimRequest { force: true, ..release("a-b-c", "a.b-c") };
    let free = released(&world, forced.clone()).await.unwrap();
    world.mint(api_of("a-b.c")).await.unwrap();
    let again = released(&world, forced).await.unwrap_err();
    assert_eq!((again.code, again.reasons.as_slice()), (5, ["NAME_NOT_CLAIMED".to_owned()].as_slice()), "not theirs");
    assert_eq!(again.allowed, [("NAME_NOT_CLAIMED".to_owned(), "a-b.c".to_owned())]);
    let log = world.log_after_stop().await;
    assert_eq!(log.entries[usize::try_from(free.log_index).unwrap()]["forced"], true);
}

#[tokio::test]
async fn what_is_said_wrongly_frees_nothing() {
    let mut world = World::with_policy(Where::Software, &claiming(&example_policy())).await;
    world.mint(api_of("a.b-c")).await.unwrap();
    let good = || ReleaseNameClaimRequest { force: true, ..release("a-b-c", "a.b-c") };
    let long = "x".repeat(254);
    let bad = [
        (ReleaseNameClaimRequest { reason: String::new(), ..good() }, 3, "FIELD_OUT_OF_LIMITS"),
        (ReleaseNameClaimRequest { reason: "x".repeat(201), ..good() }, 3, "FIELD_OUT_OF_LIMITS"),
        (ReleaseNameClaimRequest { form: String::new(), ..good() }, 3, "FIELD_MISSING"),
        (ReleaseNameClaimRequest { name: String::new(), ..good() }, 3, "FIELD_MISSING"),
        (ReleaseNameClaimRequest { form: long.clone(), ..good() }, 3, "FIELD_OUT_OF_LIMITS"),
        (ReleaseNameClaimRequest { name: long, ..good() }, 3, "FIELD_OUT_OF_LIMITS"),
        (ReleaseNameClaimRequest { authority: String::new(), ..good() }, 3, "FIELD_MISSING"),
        (ReleaseNameClaimRequest { authority: "other".to_owned(), ..good() }, 5, "AUTHORITY_UNKNOWN"),
        (ReleaseNameClaimRequest { form: "a-b-d".to_owned(), ..good() }, 5, "NAME_NOT_CLAIMED"),
        (ReleaseNameClaimRequest { name: "a.b.c".to_owned(), ..good() }, 5, "NAME_NOT_CLAIMED"),
    ];
    let wrongs = bad.len();
    for (request, code, reason) in bad {
        let refused = released(&world, request).await.unwrap_err();
        assert_eq!((refused.code, refused.reasons.as_slice()), (code, [reason.to_owned()].as_slice()));
        assert!(refused.logged.is_some(), "{reason}");
    }
    let stranger = caller_certificate("spiffe://hallmark.lab/coordinator");
    let reply = world.operate("ReleaseNameClaim", &stranger, good().encode_to_vec()).await;
    assert_eq!(reply.code, 7, "{}", reply.message);
    // A clock that leapt ahead would make certificates seem to have ended.
    world.clocks().leap(i64::from(LIFETIME_SECS) * 2);
    let refused = released(&world, release("a-b-c", "a.b-c")).await.unwrap_err();
    assert_eq!((refused.code, refused.reasons.as_slice()), (9, ["CLOCK_UNTRUSTED".to_owned()].as_slice()));
    assert_eq!(listed(&world, "", 0).await.unwrap().claims.len(), 1);
    let log = world.log_after_stop().await;
    assert_eq!(log.of_type("operator-command").count(), 0);
    assert_eq!(log.decisions("refused").len(), wrongs + 2);
}

#[tokio::test]
async fn forms_are_listed_page_by_page() {
    let world = World::with_policy(Where::Software, &claiming(&example_policy())).await;
    for domain in ["c.c", "a.a", "e.e", "b.b", "d.d", "plain"] {
        world.mint(api_of(domain)).await.unwrap();
    }
    let (mut after, mut pages) = (String::new(), Vec::new());
    loop {
        let page = listed(&world, &after, 2).await.unwrap();
        pages.push(page.claims.iter().map(|claim| claim.form.clone()).collect::<Vec<_>>());
        after = page.claims.last().unwrap().form.clone();
        if !page.more {
            break;
        }
    }
    assert_eq!(pages, [vec!["a-a", "b-b"], vec!["c-c", "d-d"], vec!["e-e"]]);
    assert_eq!(listed(&world, &after, 2).await.unwrap(), ListNameClaimsResponse::default());
    assert_eq!(listed(&world, "", 1_001).await.unwrap_err().reasons, ["FIELD_OUT_OF_LIMITS"]);
}

#[test]
fn operators_list_and_free_forms_with_the_program() {
    let laboratory = Laboratory::with_policy(|policy| claiming(&policy));
    let daemon = laboratory.start();
    let (csr, key) = (laboratory.text("x.csr"), laboratory.text("x.key"));
    let names = "subjectAltName=DNS:api.media-sports.lab.athenz.cloud";
    succeed(
        Command::new("openssl")
            .args(["req", "-new", "-noenc", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-subj", "/CN=media.sports.api", "-addext", names, "-keyout", &key, "-out", &csr]),
    );
    succeed(laboratory.hallmark(&daemon).args(["mint", "--profile", "athenz-service", "--csr", &csr]));
    let told = |arguments: &[&str]| {
        let mut command = laboratory.hallmark_operator(&daemon);
        let output = command.arg("name").args(arguments).args(["--authority", "athenz"]).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, text) = told(&["list"]);
    let row = text.lines().nth(1).unwrap().split_whitespace().take(2).collect::<Vec<_>>();
    assert_eq!((code, row), (Some(0), vec!["media-sports", "media.sports"]), "{text}");
    let (_, text) = told(&["list", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&json["names"][0]["form"], &json["more"]), (&"media-sports".into(), &false.into()));
    let free = ["release", "media-sports", "--name", "media.sports", "--reason", "moved"];
    let (code, text) = told(&free);
    assert!(code == Some(2) && text.contains("--yes"), "nobody was there to ask: {text}");
    let (code, text) = told(&[&free[..], &["--yes"]].concat());
    assert!(code == Some(1) && text.contains("NAME_IN_USE") && text.contains("--force"), "{text}");
    let (code, text) = told(&[&free[..], &["--yes", "--force"]].concat());
    assert!(code == Some(0) && text.contains("free: `media-sports`"), "{text}");
    let (code, text) = told(&["list"]);
    assert!(code == Some(0) && text.contains("athenz has no such form"), "{text}");
    let (code, text) = told(&[&free[..], &["--yes", "--json"]].concat());
    assert!(code == Some(1) && text.contains("NAME_NOT_CLAIMED"), "{text}");
    assert!(daemon.terminate());
}
