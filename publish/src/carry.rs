//! Carrying: all that a checkpoint signs, then the checkpoint.

use std::{collections::BTreeSet, fs, time::Duration};

use hallmark_tlog::{
    audit::LogFiles as _,
    checkpoint::Checkpoint,
    note::{Note, VerifierKey},
    proof::{prove_consistency, verify_consistency},
    tile::{self, CHECKPOINT_PATH, TILE_WIDTH, TileKind, TilePath},
};
use reqwest::Client;

use crate::{
    arguments::{CheckArguments, PushArguments, SeenArguments},
    crls::Crls,
    directory::{self, Directory},
    problem::{Nodes, Problem},
    target::{Caching, Target},
    witness::Witness,
};

/// Where the target says how many entries have no bundles any more.
const PRUNED_BEFORE: &str = "pruned-before";

/// Where texts of policies are, and openings of private values.
const POLICIES: &str = "policies";
const OPENINGS: &str = "openings";

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
    /// Size of the checkpoint at the target.
    carried: u64,
    /// Size of the one before.
    before: u64,
    policies: BTreeSet<String>,
    crls: Crls,
    /// Entries before this one have no bundles at the target.
    pruned: u64,
    /// Nor have these in the directory: they were published under an earlier origin. The target may not have been told yet.
    begins: u64,
    told: bool,
}

/// Carries, again and again or once.
pub(crate) async fn push(arguments: &PushArguments) -> Result<(), Problem> {
    let mut carrier = Carrier::open(&arguments.seen, arguments.keep_entries).await?;
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
    let mut carrier = Carrier::open(&arguments.seen, None).await?;
    let Some((note, head)) = carrier.directory.checkpoint(&carrier.keys)? else {
        println!("nothing was published yet, here and at the target");
        return Ok(());
    };
    let signatures = note.signatures().len();
    let cosigned = carrier.cosigned(note, &head).await?.signatures().len().saturating_sub(signatures);
    let asked = carrier.witnesses.len();
    let wanted = arguments.quorum.unwrap_or(asked);
    if cosigned < wanted {
        return Err(Problem::NoQuorum { cosigned, asked, wanted });
    }
    println!(
        "target and {cosigned} of {asked} witnesses have nothing that these {} entries do not continue",
        head.size()
    );
    Ok(())
}

impl Carrier {
    /// Looks at what is at the target: the log in the directory must continue it.
    async fn open(arguments: &SeenArguments, keep_entries: Option<u64>) -> Result<Self, Problem> {
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
            keep_entries,
            carried,
            before: carried,
            policies: BTreeSet::new(),
            crls: Crls::default(),
            pruned: pruned.max(begins),
            begins,
            told: pruned >= begins,
        })
    }

    /// Brings the target up to the checkpoint in the directory, if that is newer.
    async fn carry(&mut self) -> Result<(), Problem> {
        let Some((note, head)) = self.directory.checkpoint(&self.keys)? else { return Ok(()) };
        let size = head.size();
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
        let begins = self.begins;
        let is_there = |path: &TilePath| path.kind() != TileKind::Entries || path.index() * TILE_WIDTH >= begins;
        let changed = tile::kinds(size).flat_map(|kind| tile::changed(kind, self.carried, size));
        for path in changed.filter(is_there).collect::<Vec<_>>() {
            self.carry_tile(path).await?;
        }
        self.carry_policies().await?;
        let note = self.cosigned(note, &head).await?;
        self.target.put(CHECKPOINT_PATH, note.to_string().into_bytes(), Caching::Revalidated).await?;
        for path in partial(self.before).filter(|path| !partial(self.carried).any(|kept| kept == *path)) {
            self.remove(path).await?;
        }
        (self.before, self.carried) = (self.carried, size);
        self.prune().await
    }

    /// Brings the target up to the CRLs in the directory.
    async fn carry_crls(&mut self) -> Result<(), Problem> {
        self.crls.carry(&self.directory, &self.target).await
    }

    async fn carry_tile(&self, path: TilePath) -> Result<(), Problem> {
        let name = path.to_string();
        // The daemon may have moved on and taken the partial file away: the full one begins with the same.
        let content = match self.read(&name)? {
            Some(content) => content,
            None => return Err(Problem::Unproven { sentence: format!("`{name}` is not there any more") }),
        };
        self.target.put(&name, content, Caching::Immutable).await?;
        let openings = openings_of(path);
        match openings.as_ref().map(|openings| self.read(openings)).transpose()?.flatten() {
            Some(content) => self.target.put(&openings.unwrap_or_default(), content, Caching::Revalidated).await,
            None => Ok(()),
        }
    }

    async fn carry_policies(&mut self) -> Result<(), Problem> {
        let directory = self.directory.0.join(POLICIES);
        let Ok(listed) = fs::read_dir(&directory) else { return Ok(()) };
        let names = listed.filter_map(|file| file.ok()?.file_name().into_string().ok());
        let is_digest = |name: &String| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let new: Vec<String> = names.filter(is_digest).filter(|name| !self.policies.contains(name)).collect();
        for name in new {
            let path = format!("{POLICIES}/{name}");
            if let Some(content) = self.read(&path)? {
                self.target.put(&path, content, Caching::Immutable).await?;
                self.policies.insert(name);
            }
        }
        Ok(())
    }

    /// The checkpoint with the co-signatures that witnesses gave.
    async fn cosigned(&mut self, note: Note, head: &Checkpoint) -> Result<Note, Problem> {
        let nodes = Nodes::new(&self.directory, head.size());
        let mut cosigned = note.clone();
        for witness in &mut self.witnesses {
            if let Some(line) = witness.cosign(&self.client, &nodes, &note, head).await?
                && let Ok(with) = cosigned.clone().with_signature(line)
            {
                cosigned = with;
            }
        }
        Ok(cosigned)
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

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Problem> {
        self.directory.read(path).map_err(|source| Problem::File { path: self.directory.0.join(path), source })
    }
}

/// The size of the checkpoint at the target, which the log in the directory continues.
fn continues(directory: &Directory, keys: &[VerifierKey], theirs: &Checkpoint) -> Result<u64, Problem> {
    let (ours, root) = directory.checkpoint(keys)?.map_or((0, None), |(_, head)| (head.size(), Some(head.root())));
    let rolled = |what| Problem::Rolled { who: "the target".to_owned(), theirs: theirs.size(), ours, what };
    let Some(root) = root.filter(|_| theirs.size() <= ours) else {
        return Err(rolled("an older log was put in its place"));
    };
    let proof = prove_consistency(&Nodes::new(directory, ours), theirs.size(), ours)?;
    let held = verify_consistency(theirs.size(), &theirs.root(), ours, &root, &proof);
    held.map(|()| theirs.size()).map_err(|_| rolled("the two are different logs"))
}

/// The file of openings that goes with a bundle.
fn openings_of(path: TilePath) -> Option<String> {
    (path.kind() == TileKind::Entries).then(|| path.to_string().replacen("tile/entries", OPENINGS, 1))
}

/// The partial files that belong to a size.
fn partial(size: u64) -> impl Iterator<Item = TilePath> {
    tile::kinds(size).flat_map(move |kind| tile::changed(kind, 0, size).last()).filter(|path| !path.is_full())
}
