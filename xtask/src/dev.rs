//! `cargo xtask dev`: the whole stack on this machine, until Ctrl-C.

use std::time::Instant;

use anyhow::{Context, Result};
use local_stack::{Output, Stack, StackOptions, DEMO_PASSWORD};
use tokio::signal::unix::{signal, SignalKind};

use crate::{build, setup, status};

/// What `cargo xtask dev` takes.
#[derive(clap::Args)]
pub struct Args {
    /// The port of the API.
    #[arg(long, default_value_t = 54321)]
    port: u16,
}

/// Sets up what is missing, builds the functions, starts the stack, and stops it on Ctrl-C.
pub fn run(args: &Args) -> Result<()> {
    let begun = Instant::now();
    let mut note = status::Note::take()?;
    setup::run()?;
    build::run(&build::Args::default())?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        println!("Starting the database, PostgREST, the functions and the Zoom simulator…");
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let options = StackOptions {
            port: args.port,
            output: Output::Print,
            ..StackOptions::default()
        };
        let stack = tokio::select! {
            stack = Stack::start_local(options) => stack.context("starting the stack")?,
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        };
        note.write(&stack)?;
        introduce(&stack);
        println!("Up after {} s. Ctrl-C stops all of it.\n", begun.elapsed().as_secs());
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        println!("\nStopping…");
        stack.stop().await
    })
}

fn introduce(stack: &Stack) {
    println!();
    status::print_table(&status::values(stack));
    println!(
        "\nUsers: trainer@demo.test and nutritionist@demo.test host, client1@demo.test to client6@demo.test take part;\n\
         the password of all is {DEMO_PASSWORD}.\n\n\
         To try next, in a second terminal (from README.md):\n\n{}",
        the_path_with_curl()
    );
}

/// The README's commands, so that there is one text of them.
fn the_path_with_curl() -> String {
    let readme = include_str!("../../README.md");
    let block = readme.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next());
    block.unwrap_or_default().lines().map(|line| format!("    {line}\n")).collect()
}
