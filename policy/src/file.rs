//! The policy file as it was typed. What it means is in [`crate::profile`]; every misspelling is an error here.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Largest policy file, in bytes.
pub const POLICY_BYTES_MAX: usize = 1_048_576;

/// The whole file.
///
/// A policy names authorities that sign, profiles of what they sign, and callers who may ask. Whatever it does not name is
/// refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PolicyFile {
    /// Version of this format: 1.
    pub version: u32,
    /// The authorities, by name.
    #[serde(default)]
    pub authority: BTreeMap<String, AuthorityTable>,
    /// The providers of instances, by name.
    #[serde(default)]
    pub provider: BTreeMap<String, ProviderTable>,
    /// The profiles, by name.
    #[serde(default)]
    pub profile: BTreeMap<String, ProfileTable>,
    /// The callers, by name.
    #[serde(default)]
    pub caller: BTreeMap<String, CallerTable>,
    /// Keys that nobody gets a certificate for.
    #[serde(default)]
    pub keys: KeysTable,
}

/// `[keys]`: what holds for every key, of leaves and of CAs.
///
/// Beside it these checks are always on: RSA exponents of 65537 and more, no small prime factor, no primes that Fermat's
/// method finds, no fingerprint of ROCA; curve points on their curve; no Ed25519 point of small order; no ML-DSA
/// key with a t1 of zero.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeysTable {
    /// Keys that are known to be bad: SHA-256 of the DER of the SubjectPublicKeyInfo, 64 lower-case hexadecimal digits
    /// each. Default: none.
    #[serde(default)]
    pub denied: Vec<String>,
}

/// `[authority.NAME]`: what its CA certificates say.
///
/// An authority has one root and a sequence of epochs. The intermediate CA certificate, signed by the root, and the mesh CA
/// certificate, self-signed, of an epoch share one key. Its name has at most 32 characters: it stands in the labels of keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AuthorityTable {
    /// The root CA certificate.
    pub root: CaTable,
    /// The intermediate and mesh CA certificates of every epoch.
    pub epoch: CaTable,
    /// Name constraints of the intermediate and mesh CA certificates, critical. Default: none. A kind of name (dns, uri,
    /// ip, email) that is not permitted here is wholly excluded. A change shows in the next epoch's certificates; until then
    /// leaves are held to both, and start, reload and `hallmark policy apply` say so.
    pub name_constraints: Option<NameConstraintsTable>,
    /// CRLs of the root and of every epoch. Default: none are signed, and what is revoked stands in the log alone.
    pub crl: Option<CrlTable>,
    /// Where leaves say that the CRL of their epoch is: `http://` URLs, at most 8 of at most 1,024 bytes. `{generation}` in
    /// one stands for the epoch's generation; without it, all epochs would be looked for in one place, and each has a key
    /// and a CRL of its own. Default: none.
    #[serde(default)]
    pub crl_urls: Vec<String>,
    /// Where leaves say that their issuer's certificate is: `http://` URLs, at most 8 of at most 1,024 bytes. Default:
    /// none.
    #[serde(default)]
    pub ca_issuer_urls: Vec<String>,
    /// Certificate policies that the intermediate and mesh CA certificates assert, dotted object identifiers, at most 8.
    /// Leaves assert them, too, unless their profile names fewer. A change shows in the next epoch's certificates; until
    /// then leaves assert those that both have. Default: none.
    #[serde(default)]
    pub policies: Vec<String>,
    /// What makes a new epoch: `age` (the default), or `manifest`: a manifest (Contrast) that an owner of the one in force
    /// has signed. Never both.
    #[serde(default)]
    pub rotates: RotatesWord,
    /// Only with `rotates = "manifest"`, and required there: who may set the first manifest. SHA-256 of the DER of each owner's
    /// SubjectPublicKeyInfo (ECDSA P-256 or P-384), 64 lower-case hexadecimal digits, at most 64. As soon as a manifest is in
    /// force, the owners that it names count, and these no longer. `[]`: nobody may set a first one.
    pub owner_keys: Option<Vec<String>>,
    /// Only with `rotates = "manifest"`: what an owner signs. `hallmark` (the default): root, transition, lifetime and
    /// revocation. `contrast`: the transition in lower-case hexadecimal digits and nothing else, as Contrast's tools do: then lifetime
    /// and revocation are this policy's, and no two such authorities may have an owner's key in common.
    pub owner_signature: Option<OwnerSignatureWord>,
    /// Only with `owner-signature = "contrast"`: whether a rotation puts the intermediate that it replaces on the root's CRL. `false` if
    /// not set. Otherwise the owner says it with each rotation.
    pub revoke_previous: Option<bool>,
    /// What the key of a replaced epoch may still do. `destroy`: nothing, it is destroyed; a last CRL is signed before. The default with
    /// `rotates = "manifest"`. `crl-only`: it signs CRLs until its last certificate has expired. The default with `rotates = "age"`.
    pub retired_key: Option<RetiredKeyWord>,
    /// Only with `rotates = "manifest"`: names that manifests may give beyond those that everybody takes. Default: none.
    pub manifest_names: Option<ManifestNamesTable>,
    /// Whether only one of root and epochs has a key that stands against quantum computers (`ml-dsa-..`). Such a chain is forged by whoever
    /// forges the other's signature, so that it is refused unless this is `true`. Default: `false`.
    #[serde(default)]
    pub mixed_chain: bool,
}

/// `manifest-names = { .. }` of an authority.
///
/// A manifest may give IP addresses, URIs and dNSNames of two labels and more. The name `*` is never taken.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ManifestNamesTable {
    /// `true`: wildcards such as `*.shop.example`, too; `false` if not set.
    #[serde(default)]
    pub wildcards: bool,
    /// `true`: names of a single label, too, such as `web`, by which hosts of one cluster call each other and which Contrast's
    /// tools give to every workload; `false` if not set.
    #[serde(default)]
    pub single_labels: bool,
}

/// `crl = { .. }` of an authority: its CRLs (RFC 5280, section 5).
///
/// The root's CRL lists intermediates, the CRL of an epoch leaves. Each is numbered, and made again on time or soon after a
/// revocation. What has expired stands on one more CRL. Newest ones are published as `crl/NAME/root.crl` and
/// `crl/NAME/epoch-GENERATION.crl` below the directory of the published log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CrlTable {
    /// From thisUpdate to nextUpdate: from 10 minutes to 398 days, for example `7d`.
    pub lifetime: String,
    /// When the next one is made, at the latest: from 1 minute to half of `lifetime`, so that one attempt may fail, for example
    /// `1d`.
    pub refresh: String,
    /// `true`: a CRL says in a critical issuingDistributionPoint that it is about end entities only, and at which `crl-urls`, or
    /// about CAs only. Clients that know this extension then refuse to take one for the other; those that do not refuse the
    /// CRL. A client that looks for its trust anchor, too, on a CRL (OpenSSL's `-crl_check_all`) finds none for a mesh CA.
    /// `false` if not set.
    #[serde(default)]
    pub distribution_point: bool,
    /// How many partitions the leaves of an epoch have, from 2 to 256: each has a CRL of its own beside the complete one, so that relying
    /// parties fetch little, with a critical issuingDistributionPoint. `crl-urls` then have `{partition}`, and a leaf names the CRL of its
    /// partition alone; files are called `epoch-GENERATION-PARTITION.crl`. A change counts for leaves from then on, and CRLs of partitions that leaves
    /// were given before go on. To move a URL, have the old one beside the new one until the last leaf with it has ended.
    /// Default: none, the complete CRL alone.
    #[serde(default)]
    pub partitions: Option<u16>,
    /// Where intermediates say that the root's CRL is: `http://` URLs, at most 8 of at most 1,024 bytes. A change shows in the
    /// next epoch's intermediate. Default: none.
    #[serde(default)]
    pub root_urls: Vec<String>,
}

/// `name-constraints = { .. }` of an authority.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NameConstraintsTable {
    /// What leaves may be called. A kind without an entry is wholly excluded.
    #[serde(default)]
    pub permitted: SubtreesTable,
    /// What they may not be called, although it is permitted. Default: nothing.
    #[serde(default)]
    pub excluded: SubtreesTable,
}

/// Ranges of names, by kind; at most 64 of each.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SubtreesTable {
    /// dNSNames: each name and everything below it, such as `athenz.cloud`.
    #[serde(default)]
    pub dns: Vec<String>,
    /// Hosts of URIs: `athenz.cloud` is that host alone, `.athenz.cloud` everything below it and not itself.
    #[serde(default)]
    pub uri: Vec<String>,
    /// IP addresses with a prefix length, such as `10.0.0.0/8` or `2001:db8::/32`.
    #[serde(default)]
    pub ip: Vec<String>,
    /// Hosts of e-mail addresses: `example.com` is that host alone, `.example.com` everything below it.
    #[serde(default)]
    pub email: Vec<String>,
}

/// `[authority.NAME.root]` and `[authority.NAME.epoch]`: subject, lifetime and key of a CA certificate.
///
/// The two have different subjects, so that chains can be told apart, and an epoch never outlives its root. CA certificates
/// are made once: what is changed here later does not change them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CaTable {
    /// Common name of the subject, 1 to 64 characters.
    pub common_name: String,
    /// Organization of the subject.
    pub organization: Option<String>,
    /// Country of the subject, two capital letters.
    pub country: Option<String>,
    /// Lifetime, for example `3650d`.
    pub lifetime: String,
    /// Kind of the key, for example `ecdsa-p256`.
    pub key: String,
    /// Signature algorithm of this key; what is usual for its kind if not set.
    pub signature: Option<String>,
    /// Only for a root: `true` where its key is not in this signer's key backend. `hallmarkd init --root NAME=FILE` brings its certificate, and each
    /// epoch waits for the intermediate CA certificate that the root signs elsewhere. `false` if not set.
    #[serde(default)]
    pub offline: bool,
    /// Only for a root: pathLenConstraint. `1` if not set; `2` leaves room for another root between it and intermediates, so that it may
    /// sign cross-certificates in a ceremony.
    pub path_length: Option<u8>,
}

/// `[provider.NAME]`: who launches instances (Copper Argos), and under which DNS suffixes.
///
/// Formats speak of it as `{provider}` and `{provider.suffix}`. A name with dots is quoted: `[provider."sys.auth.aws"]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProviderTable {
    /// Its DNS suffixes. None may be a label-suffix of another, of any provider.
    pub dns_suffixes: Vec<String>,
}

/// `[profile.NAME]`: what leaves may say.
///
/// A request names a profile, and gets what the profile allows or every reason why not. Formats of names have parts in
/// braces. A part binds once and must agree in all names of a request; `{part:dashes}` writes its dots as dashes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProfileTable {
    /// The authority that signs.
    pub authority: String,
    /// Lifetimes.
    pub lifetime: LifetimeTable,
    /// Kinds of key that are taken.
    pub keys: Vec<String>,
    /// Extended key usages of every certificate, at least one and at most 16: `server-auth`, `client-auth`,
    /// `code-signing`, `email-protection`, `ocsp-signing`, a dotted object identifier; or `time-stamping`, which stands
    /// alone and is critical (RFC 3161, section 2.3). The key usage beside them is digitalSignature for every kind of key: no
    /// key exchange of our time encrypts to an RSA key.
    pub usages: Vec<String>,
    /// Certificate policies of every certificate, each one of the authority's. Default: all of the authority's.
    pub policies: Option<Vec<String>>,
    /// A fixed window of time: no certificate lies outside it, and none is given outside it. Default: none.
    pub window: Option<WindowTable>,
    /// Attestation claims that a request may put into the certificate as extensions that are not critical. Default: none,
    /// and a request with claims is refused.
    #[serde(default)]
    pub claims: Vec<ClaimTable>,
    /// Evidence of the provider that every request must bring, and that the signer checks. Default: none, and a request with
    /// evidence is refused.
    pub evidence: Option<EvidenceTable>,
    /// Who proves possession of the key: `csr` (the default) or `caller`.
    #[serde(default)]
    pub possession: PossessionWord,
    /// Where names come from. `request` (the default): from the request, held to the formats below. `manifest`, under an authority with
    /// `rotates = "manifest"`: from the active epoch's manifest, by the policy hash that the request names; then the request has no name
    /// of its own, the profile has no formats, and the subject is empty.
    #[serde(default)]
    pub names_from: NamesFromWord,
    /// Only with `names-from = "manifest"`. `true`: where the manifest gives a workload a `WorkloadSecretID`, its certificates say
    /// it in the extension 1.3.9901.3.1, not critical, as an OCTET STRING, as Contrast's do. `false` if not set.
    #[serde(default)]
    pub workload_secret_id: bool,
    /// Format of the common name. Without it the subject is empty, and a request with a common name is refused.
    pub common_name: Option<String>,
    /// Formats of subjectAltName entries.
    #[serde(default)]
    pub names: Vec<NameTable>,
    /// How many subjectAltName entries of each kind there may be, all formats of the kind together.
    #[serde(default)]
    pub per_kind: PerKindTable,
    /// Case of names: `exact` (the default) refuses upper case; `fold` makes common names, dNSNames, and scheme and host
    /// of URIs lower-case first. Only ASCII folds; the lower-case name is what is bound, logged and signed.
    #[serde(default)]
    pub case: CaseWord,
    /// Dashes in parts that some format writes with `:dashes`. `strict` (the default) refuses them, since `a.b-c` and
    /// `a-b.c` are written alike. `claimed` takes them, and the ledger gives each written form to the first name that comes
    /// with it, once per authority, until an operator frees it (`hallmark name release`); the common name must have the part,
    /// so that its dots are known.
    #[serde(default)]
    pub dashes: DashesWord,
    /// Shapes of the parts in the formats. `domain`, `service` and `instance` are known without being named.
    #[serde(default)]
    pub parts: BTreeMap<String, PartTable>,
    /// The providers that `{provider}` may mean.
    #[serde(default)]
    pub providers: Vec<String>,
    /// Object identifiers of extension requests and attributes of a CSR that are ignored instead of refused. subjectAltName and
    /// extensionRequest are read in any case.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Why leaves of this profile may live longer than 30 days.
    pub long_lived: Option<String>,
    /// How many certificates this profile gives. Counted inside the ledger's transaction, also across restarts; none if not set.
    pub quota: Option<QuotaTable>,
    /// How often it gives them. Counted in memory, before the decision log is written; none if not set.
    pub rate: Option<RateTable>,
    /// `true`: a public key that was certified under this authority with other names (common name and subjectAltName
    /// together, in any order) is refused. Keys are remembered, for ever, from the moment when one profile of the authority
    /// says so; `false` if not set.
    #[serde(default)]
    pub one_key_one_name: bool,
    /// Records of instances (Copper Argos), each with its current and its previous certificate. Default: none, and a request that
    /// wants to register or refresh is refused.
    pub instances: Option<InstancesTable>,
}

/// `instances = { .. }` of a profile: its certificates move the records of instances (Copper Argos).
///
/// A record belongs to the authority, and is found by provider and id. `register` begins it; `refresh` presents the certificate that
/// is to be replaced, and moves it: `docs/instances.md` says what follows from which certificate. A certificate that names an
/// instance has a record always.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct InstancesTable {
    /// What requests may want, at least one of `register` and `refresh`; `none` where names without `{instance}` need no record.
    pub intents: Vec<IntentWord>,
    /// The provider: a format of the profile's parts, or fixed text. `{provider}` if not set.
    pub provider: Option<String>,
    /// The instance's id, with `{instance}` in it. `{instance}` if not set.
    pub id: Option<String>,
    /// The service. `{domain}.{service}` if not set.
    pub service: Option<String>,
    /// `true`: a registration takes the place of one that is alive, and the log says so; the certificates of the one before are
    /// revoked as superseded, and can no longer be refreshed. `false` if not set: it is refused. Who is revoked is never replaced.
    #[serde(default)]
    pub replace: bool,
    /// `true`: every refresh brings a new key. Without it a thief who keeps the owner's key and its pace looks like the owner.
    /// `false` if not set.
    #[serde(default)]
    pub rekey: bool,
    /// `true`: a refresh without `possession_signature` is refused (INSTANCE_PROOF_MISSING). Without it whoever may call the profile, a stolen
    /// coordinator among them, gets certificates for every instance that it knows, without a key of any. `false` if not set.
    #[serde(default)]
    pub proof: bool,
    /// Most instances of one service under one provider that are registered and alive, 1 to 10,000. None if not set.
    pub alive_per_service: Option<u64>,
}

/// `[profile.NAME.evidence]`: a JWT by which a provider says which instance of which service has this key.
///
/// The JWT is signed (JWS compact serialisation, RFC 7515), has `iss`, `aud`, `iat`, `exp`, and `cnf` with the request's key
/// (RFC 7800); `nbf` counts where it is there. Its header has `alg`, and may have `kid` and `typ`; anything else there, `crit`
/// and keys of the sender's choice among it, is refused, as are members that stand twice and numbers that are not whole.
/// Because it confirms one key it is good for no other: whoever copies it gets, until it ends, the same names over the same
/// key. A profile has one issuer; providers with issuers of their own have profiles of their own. The policy's text is
/// kept in the log: no secret belongs here, and shared keys (HMAC) are not taken.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EvidenceTable {
    /// `iss`, compared byte for byte.
    pub issuer: String,
    /// `aud`: this, or a list of at most 16 with this in it.
    pub audience: String,
    /// Algorithms that are taken: `ES256`, `ES384`, `EdDSA` (Ed25519), `PS256`, `RS256`. Each fits a key, and each key has one.
    pub algorithms: Vec<String>,
    /// Keys of the issuer, each named by its `kid`. With those of `jwks` at least 1 and at most 32.
    #[serde(default)]
    pub keys: Vec<EvidenceKeyTable>,
    /// Keys of the issuer as the text of a JWK set (RFC 7517), at most 65,536 bytes. Nothing is fetched: a new key is a new
    /// policy.
    pub jwks: Option<String>,
    /// The greatest age, counted from `iat`: 1 second to 24 hours, for example `5m`.
    pub max_age: String,
    /// How far the issuer's clock may be from the signer's, at most 5 minutes; `30s` if not set.
    pub clock_skew: Option<String>,
    /// `typ` of the header, for example `evidence+jwt`, which then is required (RFC 8725, section 3.11). `JWT` or none if not
    /// set.
    pub typ: Option<String>,
    /// The member of `cnf` that says the request's key. It stands there alone. `jkt` if not set.
    #[serde(default)]
    pub confirmation: ConfirmationWord,
    /// Claims that must be what the names say, 1 to 16: the name of a claim, and a format of the profile's parts, such as
    /// `{ sub = "{domain}.{service}", instance = "{instance}", provider = "{provider}" }`. One of them has `{instance}` where
    /// the names have it. Other claims are not looked at.
    pub claims: BTreeMap<String, String>,
}

/// One entry of `keys` of evidence.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EvidenceKeyTable {
    /// Its name in headers. One key may have none: it is that of a JWT without `kid`.
    pub kid: Option<String>,
    /// The SubjectPublicKeyInfo in PEM, `-----BEGIN PUBLIC KEY-----`.
    pub spki: String,
}

/// `confirmation` of evidence.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum ConfirmationWord {
    /// Its JWK thumbprint with SHA-256 (RFC 7638), in base64url without padding (RFC 9449, section 6.1).
    #[default]
    Jkt,
    /// SHA-256 of the DER of its SubjectPublicKeyInfo, in 64 lower-case hexadecimal digits, as member `spki_sha256`.
    SpkiSha256,
}

impl ConfirmationWord {
    /// The member of `cnf`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jkt => "jkt",
            Self::SpkiSha256 => "spki_sha256",
        }
    }
}

/// `quota = { .. }` of a profile. What is minted counts, and what is only validated does not.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct QuotaTable {
    /// Most certificates of this profile in one epoch of its authority, 1 to 1,000,000,000.
    pub per_epoch: Option<u64>,
    /// Most certificates of this profile for one caller in one day of UTC, 1 to 1,000,000,000.
    pub per_caller_per_day: Option<u64>,
}

/// `rate = { .. }` of a profile.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RateTable {
    /// Certificates of one instance, the `{instance}` of the formats, for example `6/h`. A certificate that names no instance
    /// counts among those with the same names.
    pub per_instance: String,
}

/// `lifetime = { .. }` of a profile.
///
/// From 1 minute to 30 days, or to 398 days where the profile says `long-lived`; never beyond the epoch. Lifetimes are counted from the time of the
/// decision: `backdate` comes on top, at the other end, and makes no certificate end later.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LifetimeTable {
    /// When the request wishes none.
    pub default: String,
    /// The longest.
    pub maximum: String,
    /// What happens to a wish over it: `refuse` (the default) or `clamp`.
    #[serde(default)]
    pub over: OverWord,
    /// How far notBefore lies in the past; `5m` if not set.
    pub backdate: Option<String>,
}

/// `window = { .. }` of a profile.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WindowTable {
    /// The first second, in UTC, such as `2026-01-01T00:00:00Z`.
    pub from: String,
    /// The last second.
    pub until: String,
}

/// One entry of a profile's `claims`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClaimTable {
    /// The object identifier that a claim has or lies below. Never 2.5.29 or another place where standards put extensions.
    pub arc: String,
    /// How many such claims: `1`, `0..46`, at most 64.
    pub count: String,
    /// Most bytes of a claim's DER value, 1 to 4096.
    pub bytes_max: usize,
    /// ASN.1 types that its value may have: `boolean`, `integer`, `octet-string`, `utf8-string`.
    pub types: Vec<ClaimType>,
}

/// `types` of a claim.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimType {
    /// BOOLEAN.
    Boolean,
    /// INTEGER.
    Integer,
    /// OCTET STRING.
    OctetString,
    /// UTF8String.
    #[serde(rename = "utf8-string")]
    Utf8String,
}

impl ClaimType {
    /// Every type.
    pub const ALL: [Self; 4] = [Self::Boolean, Self::Integer, Self::OctetString, Self::Utf8String];

    /// The name that policy files use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::OctetString => "octet-string",
            Self::Utf8String => "utf8-string",
        }
    }
}

/// One entry of a profile's `names`. Exactly one of `dns`, `uri`, `ip` and `email` is set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NameTable {
    /// Format of a dNSName. One that begins with `*.` takes wildcards, and nothing else.
    pub dns: Option<String>,
    /// Format of a URI: `scheme://host/path`, no user information, port, query, fragment or percent-encoding.
    pub uri: Option<String>,
    /// An address, such as `192.0.2.1` or `2001:db8::1`, or a block, such as `10.0.0.0/8`, in which the iPAddress lies.
    pub ip: Option<String>,
    /// Format of an rfc822Name, such as `{user}@example.com`. Lower case, also where `case = "fold"`.
    pub email: Option<String>,
    /// How many: `1` (the default), `0..1`, `1..4`; at most 100.
    pub count: Option<String>,
}

/// `per-kind = { .. }` of a profile. Each is written `0`, `1`, `0..2`, `1..4`; without it only the formats' counts hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PerKindTable {
    /// How many dNSNames.
    pub dns: Option<String>,
    /// How many URIs.
    pub uri: Option<String>,
    /// How many iPAddresses.
    pub ip: Option<String>,
    /// How many rfc822Names.
    pub email: Option<String>,
}

/// One entry of a profile's `parts`.
///
/// Parts are made of a-z, 0-9, `-` and `_`; no label begins or ends with `-`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PartTable {
    /// `label` (no dots), `dotted` (labels with dots between), or `path` (segments with `/` between, in URIs only).
    pub shape: ShapeWord,
    /// The values it may have; any of its shape if not set.
    #[serde(default)]
    pub one_of: Vec<String>,
    /// Values it may not have, such as a domain that another profile serves.
    #[serde(default)]
    pub none_of: Vec<String>,
}

/// `[caller.NAME]`: who may do what.
///
/// A caller is known by one URI or dNSName in the subjectAltName of its client certificate. No profile ever certifies such a
/// name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CallerTable {
    /// A URI of the client certificate's subjectAltName.
    pub uri: Option<String>,
    /// A dNSName of the client certificate's subjectAltName.
    pub dns: Option<String>,
    /// Methods that it may call.
    pub methods: Vec<String>,
    /// Profiles that it may mint under.
    #[serde(default)]
    pub profiles: Vec<String>,
    /// Providers that it may speak for, each one of some profile's: the `{provider}` of a request's names must be one of
    /// these, too. All that the profile names if not set.
    pub providers: Option<Vec<String>>,
    /// How many calls of all methods it may make: 1 to 1,000,000 in a second, minute, hour or day, for example `200/s`. Whoever was
    /// silent for the whole period may make them all at once. Any number if not set.
    pub rate: Option<String>,
}

/// `names-from`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum NamesFromWord {
    /// The request.
    #[default]
    Request,
    /// The manifest.
    Manifest,
}

/// `rotates`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum RotatesWord {
    /// An epoch lasts for a time.
    #[default]
    Age,
    /// An epoch lasts as long as its manifest.
    Manifest,
}

/// `owner-signature`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum OwnerSignatureWord {
    /// Everything about the rotation.
    #[default]
    Hallmark,
    /// The transition.
    Contrast,
}

/// `intents` of instances.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum IntentWord {
    /// A first certificate: a new record.
    Register,
    /// A certificate that replaces another.
    Refresh,
    /// A certificate without a record.
    None,
}

impl IntentWord {
    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Refresh => "refresh",
            Self::None => "none",
        }
    }
}

/// `retired-key`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum RetiredKeyWord {
    /// It is destroyed.
    Destroy,
    /// It signs CRLs.
    CrlOnly,
}

/// `possession`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum PossessionWord {
    /// A CSR signed with the key.
    #[default]
    Csr,
    /// The caller's word.
    Caller,
}

/// `over`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum OverWord {
    /// Refuse the request.
    #[default]
    Refuse,
    /// Give the maximum.
    Clamp,
}

/// `shape`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum ShapeWord {
    /// No dots.
    Label,
    /// Labels with dots between.
    Dotted,
    /// Segments with `/` between.
    Path,
}

/// `case`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum CaseWord {
    /// Upper case is refused.
    #[default]
    Exact,
    /// ASCII upper case becomes lower case.
    Fold,
}

/// `dashes`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum DashesWord {
    /// Dashes are refused where dots become dashes.
    #[default]
    Strict,
    /// The written form belongs to the first name that comes with it.
    Claimed,
}
