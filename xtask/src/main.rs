//! The project's commands: `cargo xtask <command>`. Each command is one module.

// These functions panic on wasm32, where this never runs.
#![allow(clippy::disallowed_methods)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod build;
mod deploy;
mod dev;
mod keys;
mod package;
mod setup;
mod sql;
mod status;
mod test;
mod time_zones;

/// Video Sessions: run, test, build and deploy.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Set everything up and run the whole stack on this machine, until Ctrl-C.
    Dev(dev::Args),
    /// Print the running stack's URLs and keys.
    Status(status::Args),
    /// Run every test, or those of one kind.
    Test(test::Args),
    /// Build the functions: WebAssembly, JavaScript glue, and the size of each.
    Build(build::Args),
    /// Measure what the project costs, as ratios.
    Bench(bench::Args),
    /// Check the configuration, build the functions and ship them.
    Deploy(deploy::Args),
    /// Make the baseline migration from `supabase/schemas/`, or check it.
    #[command(subcommand)]
    Sql(sql::Args),
    /// Make the release's archive, `video-sessions-VERSION.tgz`.
    Package,
    /// Put the functions and migrations into an app's supabase/ folder.
    Add(package::AddArgs),
    /// Make keys that seal Zoom's tokens.
    #[command(subcommand)]
    Keys(keys::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Dev(args) => dev::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Build(args) => setup::run().and_then(|()| build::run(&args)),
        Command::Bench(args) => bench::run(&args),
        Command::Deploy(args) => deploy::run(&args),
        Command::Sql(args) => sql::run(&args),
        Command::Package => package::run(),
        Command::Add(args) => package::add(&args),
        Command::Keys(args) => keys::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
