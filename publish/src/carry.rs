//! Carrying: all that a checkpoint signs, then the checkpoint. Entries are read and hashed before any of them is made public, and hash tiles are
//! made of them.

use std::{collections::BTreeMap, time::Duration};

use hallmark_tlog::{
    audit::LogFiles as _,
    bundle,
    checkpoint::Checkpoint,
    hash::Hash,
    note::{Note, VerifierKey},
    proof::{NodeSource as _, prove_consistency, verify_consistency},
    tile::{self, CHECKPOINT_PATH, TILE_WIDTH, TileKind, TilePath},
};
use reqwest::Client;

use crate::{
    arguments::{CheckArguments, PushArguments, SeenArguments},
    crls::Crls,
    directory::{self, Directory, Snapshot},
    growth::Growth,
    left,
    policies::Policies,
    problem::{Nodes, Problem},
    target::{Caching, Target},
    witness::Witness,
};

/// Where the target says how many entries have no bundles any more.
const PRUNED_BEFORE: &str = "pruned-before";

/// Where openings of private values are.
pub(crate) const OPENINGS: &str = "openings";

/// How long to wait before what failed is tried again.
const RETRY_MILLIS: u64 = 1_000;

/// What carries.
struct Carrier {
    directory: Directory,
    keys: Vec<VerifierKey>,
    target: Target,
    witnesses: Vec<Witness>,
    client: Client,
    keep_entries: Option<u64>,
    with_openings: bool,
    /// Size of the checkpoint at the target.
    carried: u64,
    /// The tree of all full bundles that are at the target, once it is needed.
    growth: Option<Growth>,
    /// Partial files at the target, and whether this run put them there: each leaves when its full one is there.
    partial: BTreeMap<TilePath, bool>,
    policies: Policies,
    crls: Crls,
    /// Entries before this one have no bundles at the target.
    pruned: u64,
    /// Nor have these in the directory: they were published under an earlier origin. The target may not have been told yet.
    begins: u64,
    told: bool,
    /// Whether what an interruption left was removed.
    tidy: bool,
}

/// Carries, again and again or once.
pub(crate) async fn push(arguments: &PushArguments) -> Result<(), Problem> {
    let mut carrier = Carrier::open(&arguments.seen).await?;
    (carrier.keep_entries, carrier.with_openings) = (arguments.keep_entries, arguments.with_openings);
    loop {
        let carried = carrier.carry().await;
        // Revocations do not wait for a log that cannot be carried now; but those of an older database are not all there are.
        let carried = match carried {
            Err(problem) if !problem.passes() => Err(problem),
            carried => carrier.carry_crls().await.and(carried),
        };
        let wait = match carried {
            Ok(()) if arguments.once => return Ok(()),
            Ok(()) => arguments.every_millis,
            Err(problem) if arguments.once || !problem.passes() => return Err(problem),
            Err(problem) => {
                eprintln!("warning: {problem}; it is tried again");
                RETRY_MILLIS
            }
        };
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
}

/// Asks target and witnesses, and changes nothing.
pub(crate) async fn check(arguments: &CheckArguments) -> Result<(), Problem> {
    let mut carrier = Carrier::open(&arguments.seen).await?;
    let snapshot = carrier.directory.snapshot(&carrier.keys)?;
    if arguments.expect_seen && (carrier.carried == 0 || snapshot.is_none()) {
        return Err(Problem::NotSeen);
    }
    let Some(snapshot) = snapshot else {
        println!("nothing was published yet, here and at the target; there is no checkpoint to show to a witness");
        return Ok(());
    };
    let signatures = snapshot.note.signatures().len();
    let cosigned = carrier.cosigned(&snapshot).await?.signatures().len().saturating_sub(signatures);
    let asked = carrier.witnesses.len();
    let wanted = arguments.quorum.unwrap_or(asked);
    if cosigned < wanted {
        return Err(Problem::NoQuorum { cosigned, asked, wanted });
    }
    println!(
        "target and {cosigned} of {asked} witnesses have nothing that these {} entries do not continue",
        snapshot.head.size()
    );
    Ok(())
}

impl Carrier {
    /// Looks at what is at the target: the log in the directory must continue it.
    async fn open(arguments: &SeenArguments) -> Result<Self, Problem> {
        let keys = directory::keys(&arguments.key)?;
        let directory = Directory(arguments.directory.clone());
        let target = Target::open(&arguments.to)?;
        let witnesses = arguments.witness.iter().map(|named| Witness::named(named)).collect::<Result<_, _>>()?;
        let theirs = target.get(CHECKPOINT_PATH).await?;
        let theirs = theirs.map(|bytes| directory::open(&bytes, &keys, "at the target")).transpose()?;
        let carried = match theirs {
            Some((_, theirs)) => continues(&directory, &keys, &theirs)?,
            None => 0,
        };
        let count = |text: Vec<u8>| String::from_utf8(text).ok()?.trim().parse::<u64>().ok();
        let pruned = target.get(PRUNED_BEFORE).await?.and_then(count).unwrap_or(0);
        let failed = |source| Problem::File { path: directory.0.join(PRUNED_BEFORE), source };
        let begins = directory.read(PRUNED_BEFORE).map_err(failed)?.and_then(count).unwrap_or(0);
        Ok(Self {
            directory,
            keys,
            target,
            witnesses,
            client: Client::new(),
            keep_entries: None,
            with_openings: false,
            carried,
            growth: None,
            partial: BTreeMap::new(),
            policies: Policies::default(),
            crls: Crls::default(),
            pruned: pruned.max(begins),
            begins,
            told: pruned >= begins,
            tidy: false,
        })
    }

    /// Brings the target up to the checkpoint in the directory, if that is newer.
    async fn carry(&mut self) -> Result<(), Problem> {
        self.tidy().await?;
        let Some(snapshot) = self.directory.snapshot(&self.keys)? else { return Ok(()) };
        let size = snapshot.head.size();
        if size < self.carried {
            let what = "an older log was put in its place";
            return Err(Problem::Rolled { who: "the target".to_owned(), theirs: self.carried, ours: size, what });
        }
        if size == self.carried {
            return Ok(());
        }
        if !self.told {
            self.tell_pruned(self.begins).await?;
            self.told = true;
        }
        let growth = match self.growth.take() {
            Some(growth) => growth,
            None => Growth::rebuild(self.carried / TILE_WIDTH * TILE_WIDTH, &Nodes::new(&snapshot, size))?,
        };
        let digests = self.verify(&snapshot, growth.clone())?;
        self.growth = Some(growth);
        for digest in digests {
            self.carry_row(&snapshot, digest).await?;
        }
        self.policies.carry(&self.directory, &self.target).await?;
        let note = self.cosigned(&snapshot).await?;
        self.target.put(CHECKPOINT_PATH, note.to_string().into_bytes(), Caching::Revalidated).await?;
        self.carried = size;
        self.remove_partial().await?;
        self.prune().await
    }

    /// Reads all that is new, and nothing is made public unless it gives the root that was signed. Gives a digest of each bundle.
    fn verify(&self, snapshot: &Snapshot, mut growth: Growth) -> Result<Vec<Hash>, Problem> {
        let size = snapshot.head.size();
        let mut digests = Vec::new();
        for row in growth.size() / TILE_WIDTH..size.div_ceil(TILE_WIDTH) {
            let (content, leaves) = self.row(snapshot, row)?;
            digests.push(Hash::of_leaf(&content));
            growth.append(leaves);
        }
        if growth.root() != snapshot.head.root() {
            return Err(unproven("its entries are not those that the checkpoint signs".to_owned()));
        }
        Ok(digests)
    }

    /// A bundle, or the leaf hashes in its place where it was published under an earlier origin, with the hashes of its entries.
    fn row(&self, snapshot: &Snapshot, row: u64) -> Result<(Vec<u8>, Vec<Hash>), Problem> {
        let size = snapshot.head.size();
        let path = TilePath::of_row(TileKind::Entries, row, size);
        if self.is_elsewhere(row) {
            let nodes = Nodes::new(snapshot, size);
            let first = row * TILE_WIDTH;
            let leaves = nodes.nodes(0, first..first + u64::from(path.width()))?;
            return Ok((tile::encode_hashes(&leaves), leaves));
        }
        let content = snapshot.file(&path.to_string())?.ok_or_else(|| unproven(format!("`{path}` is not there")))?;
        let entries = bundle::decode(&content).map_err(|error| unproven(format!("`{path}`: {error}")))?;
        if entries.len() != usize::from(path.width()) {
            return Err(unproven(format!("`{path}` has {} entries", entries.len())));
        }
        let leaves = entries.into_iter().map(Hash::of_leaf).collect();
        Ok((content, leaves))
    }

    /// Whether a bundle was published under an earlier origin, and is not here.
    fn is_elsewhere(&self, row: u64) -> bool {
        row * TILE_WIDTH < self.begins
    }

    /// Carries the next bundle, whose digest was verified, with its hash tiles. What is full is done with, whatever fails later.
    async fn carry_row(&mut self, snapshot: &Snapshot, digest: Hash) -> Result<(), Problem> {
        let Some(mut growth) = self.growth.clone() else { return Ok(()) };
        let (row, size) = (growth.size() / TILE_WIDTH, snapshot.head.size());
        let path = TilePath::of_row(TileKind::Entries, row, size);
        let (content, leaves) = self.row(snapshot, row)?;
        if Hash::of_leaf(&content) != digest {
            return Err(unproven(format!("`{path}` changes while it is read")));
        }
        if !self.is_elsewhere(row) {
            self.put(path, content).await?;
            self.carry_openings(snapshot, path).await?;
        }
        for (path, content) in growth.append(leaves) {
            self.put(path, content).await?;
        }
        if growth.size() == size {
            for (path, content) in growth.partial() {
                self.put(path, content).await?;
            }
        }
        if path.is_full() {
            self.growth = Some(growth);
        }
        Ok(())
    }

    async fn put(&mut self, path: TilePath, content: Vec<u8>) -> Result<(), Problem> {
        // Those of upper levels often stay the same.
        if self.partial.get(&path) == Some(&true) {
            return Ok(());
        }
        self.target.put(&path.to_string(), content, Caching::Immutable).await?;
        if !path.is_full() {
            self.partial.insert(path, true);
        }
        Ok(())
    }

    /// Carries what opens the private values of a bundle, where that is wanted.
    async fn carry_openings(&self, snapshot: &Snapshot, path: TilePath) -> Result<(), Problem> {
        let Some(openings) = openings_of(path).filter(|_| self.with_openings) else { return Ok(()) };
        match snapshot.file(&openings)? {
            Some(content) => self.target.put(&openings, content, Caching::Revalidated).await,
            None => Ok(()),
        }
    }

    /// Brings the target up to the CRLs in the directory.
    async fn carry_crls(&mut self) -> Result<(), Problem> {
        self.crls.carry(&self.directory, &self.target).await
    }

    /// The checkpoint with the co-signatures that witnesses gave.
    async fn cosigned(&mut self, snapshot: &Snapshot) -> Result<Note, Problem> {
        let Snapshot { note, head, .. } = snapshot;
        let nodes = Nodes::new(snapshot, head.size());
        let mut cosigned = note.clone();
        for witness in &mut self.witnesses {
            if let Some(line) = witness.cosign(&self.client, &nodes, note, head).await?
                && let Ok(with) = cosigned.clone().with_signature(line)
            {
                cosigned = with;
            }
        }
        Ok(cosigned)
    }

    /// Finds what an interrupted run has left at the target, once: pruned bundles, and partial files.
    async fn tidy(&mut self) -> Result<(), Problem> {
        if self.tidy {
            return Ok(());
        }
        if self.pruned > 0 {
            for name in left::pruned(&self.target, self.pruned).await? {
                self.target.delete(&name).await?;
            }
        }
        let partial = left::partial(&self.target, self.carried).await?;
        self.partial = partial.into_iter().map(|path| (path, false)).collect();
        if !self.with_openings && left::has_openings(&self.target).await? {
            eprintln!("warning: the target has private values in `{OPENINGS}/`: remove them, or give --with-openings");
        }
        self.tidy = true;
        Ok(())
    }

    /// Removes partial files whose full ones are there.
    async fn remove_partial(&mut self) -> Result<(), Problem> {
        let size = self.carried;
        let has_full =
            |path: &&TilePath| TilePath::of_row(path.kind(), path.index(), tile::nodes(path.kind(), size)).is_full();
        let done: Vec<TilePath> = self.partial.keys().filter(has_full).copied().collect();
        for path in done {
            self.remove(path).await?;
            self.partial.remove(&path);
        }
        Ok(())
    }

    /// Removes bundles that are older than what is to be kept, after saying so at the target.
    async fn prune(&mut self) -> Result<(), Problem> {
        let Some(keep) = self.keep_entries else { return Ok(()) };
        let first = self.carried.saturating_sub(keep) / TILE_WIDTH * TILE_WIDTH;
        if first <= self.pruned {
            return Ok(());
        }
        self.tell_pruned(first).await?;
        for index in self.pruned / TILE_WIDTH..first / TILE_WIDTH {
            self.remove(TilePath::of_row(TileKind::Entries, index, self.carried)).await?;
        }
        self.pruned = first;
        Ok(())
    }

    async fn tell_pruned(&self, first: u64) -> Result<(), Problem> {
        self.target.put(PRUNED_BEFORE, format!("{first}\n").into_bytes(), Caching::Revalidated).await
    }

    async fn remove(&self, path: TilePath) -> Result<(), Problem> {
        self.target.delete(&path.to_string()).await?;
        match openings_of(path) {
            Some(openings) => self.target.delete(&openings).await,
            None => Ok(()),
        }
    }
}

fn unproven(sentence: String) -> Problem {
    Problem::Unproven { sentence }
}

/// The size of the checkpoint at the target, which the log in the directory continues.
fn continues(directory: &Directory, keys: &[VerifierKey], theirs: &Checkpoint) -> Result<u64, Problem> {
    let snapshot = directory.snapshot(keys)?;
    let ours = snapshot.as_ref().map_or(0, |snapshot| snapshot.head.size());
    let rolled = |what| Problem::Rolled { who: "the target".to_owned(), theirs: theirs.size(), ours, what };
    let Some(snapshot) = snapshot.filter(|_| theirs.size() <= ours) else {
        return Err(rolled("an older log was put in its place"));
    };
    let proof = prove_consistency(&Nodes::new(&snapshot, ours), theirs.size(), ours)?;
    let held = verify_consistency(theirs.size(), &theirs.root(), ours, &snapshot.head.root(), &proof);
    held.map(|()| theirs.size()).map_err(|_| rolled("the two are different logs"))
}

/// The file of openings that goes with a bundle.
pub(crate) fn openings_of(path: TilePath) -> Option<String> {
    (path.kind() == TileKind::Entries).then(|| path.to_string().replacen("tile/entries", OPENINGS, 1))
}
