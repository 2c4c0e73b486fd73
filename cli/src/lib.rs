//! `hallmark`: the command line for operators and auditors.
//!
//! It asks a signer for certificates and chains, looks after its health, checks published decision logs offline, and checks, explains and tests policies. What
//! a signer answers is checked here again before anything is called a success: the certificate is over the key that was
//! sent, its chain leads to the root, the log's entry is about this certificate, and the receipt proves that entry.
//!
//! Data goes to stdout and everything that is said to people to stderr. Every sentence says what happened; a line that
//! begins with `hint:` says what to do. With `--json` stdout has one JSON object, also of failures.
//!
//! It must never hold a CA key, never print a secret, never overwrite a file that it was not told to overwrite, and never
//! show bytes of others on a terminal as they came.

pub mod arguments;
mod authority;
mod backup;
mod bundle;
mod ceremony;
mod certificate;
mod certificates;
mod chain;
mod checks;
mod config;
mod confirm;
mod connection;
mod doctor;
mod documents;
mod epoch;
mod epochs;
mod exit;
mod files;
mod health;
mod hex;
mod instance;
mod log;
mod metrics;
mod mint;
mod name;
mod pem;
mod policy;
mod problem;
mod refusal;
mod rotate;
mod screen;
mod settings;
mod signer_url;
mod status;
mod table;
mod verify_chain;
mod watched;
mod when;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{
    arguments::{Arguments, Command, LogCommand, PolicyCommand},
    exit::Exit,
    problem::Problem,
    screen::Screen,
};

/// Reads the arguments, does what they ask for, and gives the exit code.
#[must_use]
pub fn start() -> ExitCode {
    let arguments = Arguments::parse();
    let screen = Screen::new(arguments.json);
    let exit = obey(&arguments, &screen).unwrap_or_else(|problem| {
        screen.problem(&problem);
        problem.exit()
    });
    exit.into()
}

fn obey(arguments: &Arguments, screen: &Screen) -> Result<Exit, Problem> {
    let config = arguments.config.as_deref();
    match &arguments.command {
        Command::Mint(mint) => mint::mint(mint, config, screen),
        Command::Chain(chain) => chain::chain(chain, config, screen),
        Command::Rotate(rotate) => rotate::rotate(rotate, config, screen),
        Command::Epochs(epochs) => epochs::epochs(epochs, config, screen),
        Command::Epoch(command) => epoch::epoch(command, config, screen),
        Command::VerifyChain(verify) => verify_chain::verify_chain(verify, screen),
        Command::Health(health) => health::health(health, config, screen),
        Command::Log(LogCommand::Verify(verify)) => log::verify::verify(verify, config, screen),
        Command::Log(LogCommand::Show(show)) => log::show::show(show, screen),
        Command::Log(LogCommand::Receipt(receipt)) => log::receipt::receipt(receipt, config, screen),
        Command::Log(LogCommand::Prove(prove)) => log::prove::prove(prove, config, screen),
        Command::Log(LogCommand::Query(query)) => log::query::query(query, config, screen),
        Command::Log(LogCommand::Range(range)) => log::range::range(range, config, screen),
        Command::Log(LogCommand::Reconcile(reconcile)) => log::reconcile::reconcile(reconcile, config, screen),
        Command::Log(LogCommand::Stats(stats)) => log::stats::stats(stats, config, screen),
        Command::Log(LogCommand::Export(export)) => log::export::export(export, config, screen),
        Command::Policy(PolicyCommand::Check(check)) => policy::check::check(check, screen),
        Command::Policy(PolicyCommand::Explain(explain)) => policy::explain::explain(explain, screen),
        Command::Policy(PolicyCommand::Test(test)) => policy::test::test(test, screen),
        Command::Policy(PolicyCommand::Apply(apply)) => policy::in_force::apply(apply, config, screen),
        Command::Policy(PolicyCommand::Status(status)) => policy::in_force::status(status, config, screen),
        Command::Name(command) => name::name(command, config, screen),
        Command::Instance(command) => instance::instance(command, config, screen),
        Command::Certificate(command) => certificates::certificate(command, config, screen),
        Command::Authority(command) => authority::authority(command, config, screen),
        Command::Backup(arguments) => backup::backup(arguments, config, screen),
        Command::Status(arguments) => status::status(arguments, config, screen),
        Command::Metrics(arguments) => metrics::metrics(arguments, config, screen),
        Command::Ceremony(command) => ceremony::ceremony(command, screen),
        Command::Doctor(arguments) => doctor::doctor(arguments, screen),
        Command::Completions(completions) => documents::completions(completions, screen),
        Command::Man(man) => documents::man(man, screen),
    }
}
