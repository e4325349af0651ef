//! `cargo xtask dev`: the whole stack on this machine, until Ctrl-C.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use local_stack::{EdgeRuntime, Output, Stack, StackOptions, DEMO_PASSWORD};
use tokio::signal::unix::{signal, SignalKind};

use crate::{build, setup, status};

const SYNC_EVERY: Duration = Duration::from_secs(60);

/// What `cargo xtask dev` takes.
#[derive(clap::Args)]
#[command(
    after_help = "Environment:\n  EDGE_RUNTIME=deno   the functions on Deno, as on Supabase; by default workerd, as on Cloudflare\n  \
    EDGE_BUILD=quick    functions in seconds, larger and slower than those that are deployed\n  \
    POSTGREST_BIN=PATH  PostgREST, where npm has none for this machine"
)]
pub struct Args {
    /// The port of the API.
    #[arg(long, default_value_t = 54321)]
    port: u16,
}

/// Sets up what is missing, builds the functions, starts the stack, and stops it on Ctrl-C.
///
/// # Errors
/// If the port is taken, something does not build, or a part of the stack does not start.
pub fn run(args: &Args) -> Result<()> {
    let begun = Instant::now();
    let mut note = status::Note::take()?;
    check_port(args.port)?;
    setup::run()?;
    build::everything(match EdgeRuntime::from_env()? {
        EdgeRuntime::Workerd => build::Host::Cloudflare,
        EdgeRuntime::Deno => build::Host::Supabase,
    })?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        println!("Starting the database, PostgREST, the functions and the Zoom simulator…");
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let stack = tokio::select! {
            stack = Stack::start_local(options(args.port)) => stack.context("starting the stack")?,
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        };
        note.write(&stack)?;
        introduce(&stack);
        println!("Up after {} s. Ctrl-C stops all of it.", begun.elapsed().as_secs());
        if local_stack::repository().join("app/index.html").is_file() {
            println!("\nThe web client: {}/\n", stack.url());
        }
        tokio::select! {
            () = run_zoom_sync(&stack) => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        println!("\nStopping…");
        stack.stop().await
    })
}

/// Looks before anything is built whether the stack will get its port.
fn check_port(port: u16) -> Result<()> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
            "port {port} is in use, perhaps by a `supabase start` or another clone's stack: stop that, or choose another port with --port"
        ),
        Err(error) => Err(error).with_context(|| format!("port {port} of 127.0.0.1")),
        Ok(_) => Ok(()),
    }
}

fn options(port: u16) -> StackOptions {
    let mut options = StackOptions {
        port,
        output: Output::Print,
        ..StackOptions::default()
    };
    if local_stack::repository().join("app/index.html").is_file() {
        // Back to the web client, which the stack serves.
        options.env.insert("APP_REDIRECT_URI".to_owned(), "{url}/".to_owned());
    }
    options
}

/// Once a minute, as a cron trigger does where the functions are deployed. Its outcome is in the functions' log.
async fn run_zoom_sync(stack: &Stack) {
    let http = reqwest::Client::new();
    let url = format!("{}/functions/v1/zoom-sync", stack.url());
    loop {
        tokio::time::sleep(SYNC_EVERY).await;
        let _ = http.post(&url).header("apikey", stack.secret_key()).send().await;
    }
}

fn introduce(stack: &Stack) {
    println!();
    print!("{}", status::table(&status::values(stack)));
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
    block
        .unwrap_or_default()
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect()
}
