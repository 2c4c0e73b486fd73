//! Entries, published logs and receipts.

use hallmark_entry::Object;
use hallmark_tlog::{
    bundle, checkpoint::Checkpoint, frontier::Frontier, hash::Hash, note::SignerKey, proof::BatchProver,
    receipt::Receipt, tile,
};

use super::World;

pub(crate) const ORIGIN: &str = "signer.example/log";

/// 2026-11-22T06:00:00Z, in milliseconds.
pub(crate) const THEN_MILLIS: i64 = 1_795_327_200_000;

pub(crate) fn log_key(seed: u8) -> SignerKey {
    SignerKey::generate(ORIGIN, [seed; 32]).unwrap()
}

pub(crate) fn verifier() -> String {
    log_key(1).verifier().to_string()
}

pub(crate) fn issued(sequence: u64, tbs_sha256: &[u8], at_millis: i64) -> Vec<u8> {
    Object::new()
        .text("decision", "issued")
        .text("stage", "leaf")
        .text("algorithm", "ecdsa-sha256")
        .text("authority", "athenz")
        .text("profile", "athenz-service")
        .text("caller", "zts")
        .texts("names", "names-omitted", ["cn:sports.api", "dns:api.sports.lab.athenz.cloud"])
        .object("issuer", Object::new().count("sequence", sequence).hex("spki-sha256", &[0xaa; 32]))
        .hex("serial", &[0x5a, u8::try_from(sequence).unwrap()])
        .integer("not-before", at_millis / 1_000)
        .integer("not-after", at_millis / 1_000 + 86_400)
        .hex("tbs-sha256", tbs_sha256)
        .into_entry("decision", at_millis)
}

/// An epoch became active.
pub(crate) fn activated(authority: &str, generation: u64, transition: &[u8; 32], at_millis: i64) -> Vec<u8> {
    Object::new()
        .text("step", "epoch-active")
        .text("authority", authority)
        .object("epoch", Object::new().count("generation", generation).hex("transition", transition))
        .hex("previous", &[0xc0; 32])
        .into_entry("rotation", at_millis)
}

/// What the fake signer's good answer would be without a signature.
pub(crate) fn validated(at_millis: i64) -> Vec<u8> {
    Object::new()
        .text("decision", "validated")
        .text("stage", "leaf")
        .text("authority", "athenz")
        .text("subject", "CN=sports.api")
        .texts("names", "names-omitted", ["cn:sports.api", "dns:api.sports.lab.athenz.cloud"])
        .integer("not-before", 1_793_491_200)
        .integer("not-after", 1_796_083_200)
        .object("epoch", Object::new().count("generation", 1).hex("transition", &[0xc0; 32]))
        .into_entry("decision", at_millis)
}

pub(crate) fn refused(at_millis: i64) -> Vec<u8> {
    let reason = hallmark_policy::Reason {
        code: hallmark_policy::ReasonCode::NameOutsideFormat,
        field: "csr",
        sentence: "the name `x` fits no format".to_owned(),
        allowed: None,
    };
    Object::new()
        .text("decision", "refused")
        .text("authority", "athenz")
        .text("profile", "athenz-service")
        .text("caller", "zts")
        .reasons(&[reason])
        .into_entry("decision", at_millis)
}

/// A start of the daemon.
pub(crate) fn start(at_millis: i64) -> Vec<u8> {
    let object = Object::new().text("program-version", "0.1.0").hex("config-sha256", &[7; 32]);
    object.flag("software-keys", false).into_entry("start", at_millis)
}

/// Start, two certificates, a refusal, a type of the future.
pub(crate) fn entries(at_millis: i64) -> Vec<Vec<u8>> {
    vec![
        start(at_millis),
        issued(1, &[1; 32], at_millis + 1_000),
        refused(at_millis + 2_000),
        issued(2, &[2; 32], at_millis + 3_000),
        Object::new().into_entry("eclipse", at_millis + 4_000),
    ]
}

/// The first certificate revoked, and the CRL that lists it; to follow [`entries`].
pub(crate) fn revocation(at_millis: i64) -> Vec<Vec<u8>> {
    let issuer = || Object::new().hex("spki-sha256", &[0xaa; 32]);
    let revocation = Object::new()
        .text("authority", "athenz")
        .object("issuer", issuer())
        .hex("serial", &[0x5a, 1])
        .text("stage", "leaf")
        .text("reason", "key-compromise")
        .text("by", "spiffe://signer.example/ann")
        .integer("not-after", at_millis / 1_000 + 86_400)
        .count("decision-index", 1)
        .into_entry("revocation", at_millis + 5_000);
    let crl = Object::new()
        .text("decision", "issued")
        .text("stage", "crl")
        .text("algorithm", "ecdsa-sha256")
        .hex("tbs-sha256", &[8; 32])
        .text("authority", "athenz")
        .text("caller", "signer")
        .texts("names", "names-omitted", ["CN = Athenz Lab Issuing CA"])
        .object("issuer", issuer())
        .count("crl-number", 1)
        .count("entries", 1)
        .count("newest-revocation", 5)
        .integer("this-update", at_millis / 1_000)
        .integer("next-update", at_millis / 1_000 + 86_400)
        .into_entry("decision", at_millis + 6_000);
    vec![revocation, crl]
}

/// The receipt for one of at most 255 entries.
pub(crate) fn receipt(entries: &[Vec<u8>], index: u64) -> String {
    let leaves: Vec<Hash> = entries.iter().map(|entry| Hash::of_leaf(entry)).collect();
    let prover = BatchProver::new(&Frontier::empty(), &leaves);
    let head = Checkpoint::new(ORIGIN, prover.size(), prover.root()).unwrap().sign(&log_key(1)).unwrap();
    Receipt::new(index, prover.inclusion(index).unwrap(), head).to_string()
}

/// A signed head of at most 255 entries.
pub(crate) fn checkpoint(entries: &[Vec<u8>]) -> String {
    let leaves: Vec<Hash> = entries.iter().map(|entry| Hash::of_leaf(entry)).collect();
    let prover = BatchProver::new(&Frontier::empty(), &leaves);
    Checkpoint::new(ORIGIN, prover.size(), prover.root()).unwrap().sign(&log_key(1)).unwrap().to_string()
}

/// The same log signed again by another key, with its verifier key.
pub(crate) fn sign_anew(world: &World, entries: &[Vec<u8>], seed: u8) {
    let leaves: Vec<Hash> = entries.iter().map(|entry| Hash::of_leaf(entry)).collect();
    let prover = BatchProver::new(&Frontier::empty(), &leaves);
    let checkpoint = Checkpoint::new(ORIGIN, prover.size(), prover.root()).unwrap().sign(&log_key(seed)).unwrap();
    world.write("log/checkpoint", checkpoint.to_string());
    world.write("log.vkey", format!("{}\n", log_key(seed).verifier()));
}

/// Publishes at most 255 entries below `log/`.
pub(crate) fn publish(world: &World, entries: &[Vec<u8>]) {
    let leaves: Vec<Hash> = entries.iter().map(|entry| Hash::of_leaf(entry)).collect();
    world.write(&format!("log/tile/entries/000.p/{}", entries.len()), bundle::encode(entries).unwrap());
    world.write(&format!("log/tile/0/000.p/{}", entries.len()), tile::encode_hashes(&leaves));
    world.write("log/checkpoint", checkpoint(entries));
    world.write("log.vkey", format!("{}\n", verifier()));
}

/// Publishes any number of entries below `log/`, with all their tiles.
pub(crate) fn publish_any(world: &World, entries: &[Vec<u8>]) {
    publish_under(world, "log", &[&log_key(1)], entries);
    world.write("log.vkey", format!("{}\n", verifier()));
}

/// The root of the tree of these entries.
pub(crate) fn root(entries: &[Vec<u8>]) -> Hash {
    let mut frontier = Frontier::empty();
    frontier.append_all(entries.iter().map(|entry| Hash::of_leaf(entry)));
    frontier.root()
}

/// Publishes any number of entries in a directory, under the name of these keys.
pub(crate) fn publish_under(world: &World, directory: &str, keys: &[&SignerKey], entries: &[Vec<u8>]) {
    let mut frontier = Frontier::empty();
    let mut levels: Vec<Vec<Hash>> = vec![Vec::new(); 3];
    for entry in entries {
        let leaf = Hash::of_leaf(entry);
        levels[0].push(leaf);
        for node in frontier.append(leaf) {
            levels[usize::from(node.level)].push(node.hash);
        }
    }
    let size = frontier.size();
    for path in tile::kinds(size).flat_map(|kind| tile::changed(kind, 0, size)) {
        let start = usize::try_from(path.index() * tile::TILE_WIDTH).unwrap();
        let range = start..start + usize::from(path.width());
        let bytes = match path.kind() {
            tile::TileKind::Entries => bundle::encode(&entries[range]).unwrap(),
            tile::TileKind::Hashes { level } => tile::encode_hashes(&levels[usize::from(level)][range]),
        };
        world.write(&format!("{directory}/{path}"), bytes);
    }
    let origin = keys[0].verifier().name();
    let head = Checkpoint::new(origin, size, frontier.root()).unwrap().sign_by(keys).unwrap();
    world.write(&format!("{directory}/checkpoint"), head.to_string());
}
