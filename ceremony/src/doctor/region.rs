//! What there is to see of AWS KMS without asking it.

use hallmark_backends::{AWS_KMS_MESSAGE_BYTES_MAX, AwsCredentials, AwsCredentialsPlace, AwsKmsPlace, aws_kms_kinds};
use hallmark_policy::key::KeyKind;

use super::{Finding, Wanted, configured};

/// AWS is asked for nothing: whether the credentials can be used is seen here, and whether AWS takes them by `hallmarkd init` and each start.
pub(super) fn look(place: &configured::AwsKms, wanted: &Wanted, findings: &mut Vec<Finding>) {
    findings.push(match AwsKmsPlace::parse(&place.region, place.endpoint.as_deref()) {
        Ok(region) => Finding::good(
            "device",
            format!(
                "keys are in AWS KMS in {region}; what the credentials may do is looked at by `hallmarkd init` and each start"
            ),
        ),
        Err(error) => Finding::bad("device", error.to_string(), "`hallmarkd check` says what can be written"),
    });
    kinds(wanted, findings);
    let Some(file) = &place.credentials else {
        return findings.push(Finding::look(
            "credentials",
            "the service manager gives them to the daemon, and not to this command",
            "`hallmarkd run` says at its start whether they can be used",
        ));
    };
    let credentials = AwsCredentials::new(AwsCredentialsPlace::File(file.clone()), &place.profile);
    findings.push(match credentials.check() {
        Ok(()) => Finding::good("credentials", format!("`[{}]` of `{}` can be read", place.profile, file.display())),
        Err(error) => Finding::bad("credentials", error.to_string(), "docs/devices/aws-kms.md says what the file has"),
    });
}

fn kinds(wanted: &Wanted, findings: &mut Vec<Finding>) {
    let is_made = |kind: &KeyKind| aws_kms_kinds().any(|made| made == *kind);
    let lacking: Vec<&str> = wanted.kinds.iter().filter(|kind| !is_made(kind)).map(|kind| kind.name()).collect();
    if !lacking.is_empty() {
        findings.push(Finding::bad(
            "mechanisms",
            format!("the policy wants keys of {}, which are not made in AWS KMS here", lacking.join(", ")),
            "choose another kind in the policy, or another device",
        ));
    }
    if wanted.lists.contains(&KeyKind::Ed25519) {
        findings.push(Finding::bad(
            "mechanisms",
            format!(
                "the policy wants CRLs by a key of {}, with which AWS KMS signs {AWS_KMS_MESSAGE_BYTES_MAX} bytes at most",
                KeyKind::Ed25519.name()
            ),
            "choose an ECDSA key, or no CRLs",
        ));
    }
}
