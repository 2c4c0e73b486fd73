//! What there is to see of AWS KMS without asking it.

use hallmark_backends::{Ability, AwsCredentials, AwsCredentialsPlace, AwsKmsPlace};

use super::{Finding, Wanted, configured, wanted};

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
    wanted::hold(wanted, Ability::AWS_KMS, findings);
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
