//! What can be typed after `hallmark ceremony`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// The commands for ceremonies.
#[derive(Clone, Debug, Subcommand)]
pub enum CeremonyCommand {
    /// Check everything that a ceremony's file names, and say step by step what will happen; nothing is written.
    Plan(CeremonyPlanArguments),
    /// Do all of it on a SoftHSM token that is thrown away, and say what comes out.
    Rehearse(CeremonyRehearseArguments),
    /// Do it: rehearse, then do the same on the device, and stop where that differs; run again, it goes on where it stopped.
    Run(CeremonyRunArguments),
    /// Check a transcript offline: the log, the files, and who confirmed and signed.
    Verify(CeremonyVerifyArguments),
    /// Write a page for the binder: what a transcript says, with its digest, and room for signatures.
    Report(CeremonyReportArguments),
    /// Rehearse in this process; `rehearse` and `run` start it.
    #[command(hide = true)]
    RehearseHere(RehearseHereArguments),
}

/// `hallmark ceremony plan`.
#[derive(Clone, Debug, Args)]
pub struct CeremonyPlanArguments {
    /// The ceremony's file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `hallmark ceremony rehearse`.
#[derive(Clone, Debug, Args)]
pub struct CeremonyRehearseArguments {
    /// The ceremony's file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where to write what was foretold, so that `run --expected` holds the device to it.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `hallmark ceremony run`.
#[derive(Clone, Debug, Args)]
pub struct CeremonyRunArguments {
    /// The ceremony's file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Ask nobody and wait for nothing; the transcript says so. The PIN comes from `pin-file`.
    #[arg(long)]
    pub unattended: bool,
    /// What a rehearsal foretold that was reviewed: nothing is done if this one foretells something else.
    #[arg(long, value_name = "FILE")]
    pub expected: Option<PathBuf>,
    /// With --unattended and `pin-quorum`: the share of a custodian, sealed or as a line of text; repeatable.
    #[arg(long, value_name = "FILE", requires = "unattended")]
    pub share: Vec<PathBuf>,
    /// What opens sealed shares: an age identity, or an SSH key without a passphrase; repeatable.
    #[arg(long, value_name = "FILE", requires = "share")]
    pub identity: Vec<PathBuf>,
    /// Seconds that are counted down before anything that cannot be taken back.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, conflicts_with = "unattended",
          value_parser = clap::value_parser!(u8).range(0..=60))]
    pub countdown: u8,
    /// Letters with space between them, and words one a line, for those who sit far from the screen.
    #[arg(long, conflicts_with = "unattended")]
    pub large: bool,
}

/// `hallmark ceremony verify`.
#[derive(Clone, Debug, Args)]
pub struct CeremonyVerifyArguments {
    /// The transcript.
    #[arg(value_name = "TRANSCRIPT")]
    pub transcript: PathBuf,
    /// The published log of ceremonies: its directory.
    #[arg(long, value_name = "DIR")]
    pub log: PathBuf,
    /// Verifier key of the log, as a file or as text; from somewhere else than the transcript.
    #[arg(long, value_name = "VKEY")]
    pub key: String,
    /// The directory from which the paths in the transcript go [default: that of the transcript].
    #[arg(long, value_name = "DIR")]
    pub files: Option<PathBuf>,
    /// Log in to the token as well, and compare its key and what guards it with what the transcript says; no key signs.
    #[arg(long)]
    pub device: bool,
    /// The record of the quorum that has the PIN now, if the ceremony's file names another way.
    #[arg(long, value_name = "FILE", requires = "device")]
    pub pin_quorum: Option<PathBuf>,
    /// The share of a custodian, sealed or as a line of text; repeatable. Without, shares are asked for.
    #[arg(long, value_name = "FILE", requires = "device")]
    pub share: Vec<PathBuf>,
    /// What opens sealed shares: an age identity, or an SSH key without a passphrase; repeatable.
    #[arg(long, value_name = "FILE", requires = "share")]
    pub identity: Vec<PathBuf>,
}

/// `hallmark ceremony report`.
#[derive(Clone, Debug, Args)]
pub struct CeremonyReportArguments {
    /// The transcript.
    #[arg(value_name = "TRANSCRIPT")]
    pub transcript: PathBuf,
    /// Where to write the page, HTML; `-` is stdout.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub out: PathBuf,
}

/// `hallmark doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArguments {
    /// The configuration of a signer (`signer.toml`), or a ceremony's file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `hallmark ceremony rehearse-here`.
#[derive(Clone, Debug, Args)]
pub struct RehearseHereArguments {
    /// Directory from which the paths in the file go; the file itself is on stdin.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Directory for what is thrown away.
    #[arg(value_name = "SCRATCH")]
    pub scratch: PathBuf,
}
