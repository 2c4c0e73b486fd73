//! What operators can type about written forms of names.

use clap::{Args, Subcommand};

use super::ConnectionArguments;

/// The operators' commands about names whose dots are written as dashes, for their listener.
#[derive(Clone, Debug, Subcommand)]
pub enum NameCommand {
    /// List the written forms of an authority, and whose they are.
    List(NameListArguments),
    /// Free a written form, so that it belongs to the next name that comes with it.
    Release(NameReleaseArguments),
}

/// `hallmark name list`.
#[derive(Clone, Debug, Args)]
pub struct NameListArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Authority whose forms are wanted.
    #[arg(long, value_name = "NAME", env = "HALLMARK_AUTHORITY", hide_env_values = true)]
    pub authority: Option<String>,
    /// How many forms; at most 1,000.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub limit: u32,
    /// Only forms behind this one: for the next page.
    #[arg(long, value_name = "FORM")]
    pub after: Option<String>,
}

/// `hallmark name release`.
#[derive(Clone, Debug, Args)]
pub struct NameReleaseArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Authority of the form.
    #[arg(long, value_name = "NAME", env = "HALLMARK_AUTHORITY", hide_env_values = true)]
    pub authority: Option<String>,
    /// The written form, such as a-b-c.
    #[arg(value_name = "FORM")]
    pub form: String,
    /// The name that has it, such as a.b-c; another one keeps it.
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// Why, for the decision log.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Free it although certificates with it have not ended: until then two names can be written alike.
    #[arg(long)]
    pub force: bool,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}
