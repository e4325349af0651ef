//! `cargo xtask dev`: the whole stack on this machine, until Ctrl-C.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use local_stack::{EdgeRuntime, Output, Stack, StackOptions, DEMO_PASSWORD};
use tokio::signal::unix::{signal, SignalKind};

use crate::deploy::settings::Settings;
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
    /// Zoom itself in place of the simulator, with the credentials in .dev.vars. README.md says how.
    #[arg(long)]
    real_zoom: bool,
}

/// Zoom's own addresses: of consent and tokens, and of the API.
const ZOOM: [(&str, &str); 2] = [
    ("ZOOM_OAUTH_URL", "https://zoom.us/oauth"),
    ("ZOOM_API_URL", "https://api.zoom.us/v2"),
];

/// Sets up what is missing, builds the functions, starts the stack, and stops it on Ctrl-C.
///
/// # Errors
/// If the port is taken, something does not build, or a part of the stack does not start.
pub fn run(args: &Args) -> Result<()> {
    let begun = Instant::now();
    let mut note = status::Note::take()?;
    check_port(args.port)?;
    let options = options(args)?;
    setup::run()?;
    build::everything(match EdgeRuntime::from_env()? {
        EdgeRuntime::Workerd => build::Host::Cloudflare,
        EdgeRuntime::Deno => build::Host::Supabase,
    })?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        println!("Starting the database, PostgREST, the functions and the simulators…");
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let stack = tokio::select! {
            stack = Stack::start_local(options) => stack.context("starting the stack")?,
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        };
        note.write(&stack)?;
        introduce(&stack, args);
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
            "port {port} is in use, perhaps by a `supabase start` or another clone's stack: \
             stop that, or choose another port with --port"
        ),
        Err(error) => Err(error).with_context(|| format!("port {port} of 127.0.0.1")),
        Ok(_) => Ok(()),
    }
}

fn options(args: &Args) -> Result<StackOptions> {
    let mut options = StackOptions {
        port: args.port,
        output: Output::Print,
        ..StackOptions::default()
    };
    if local_stack::repository().join("app/index.html").is_file() {
        // Back to the web client, which the stack serves.
        options.env.insert("APP_REDIRECT_URI".to_owned(), "{url}/".to_owned());
    }
    if args.real_zoom {
        let settings = Settings::read(Path::new(".dev.vars"))?;
        for name in ["ZOOM_CLIENT_ID", "ZOOM_CLIENT_SECRET"] {
            let value = settings.own(name).context(
                "--real-zoom takes your Zoom app's development credentials from .dev.vars \
                 (.dev.vars.example explains it)",
            )?;
            options.env.insert(name.to_owned(), value);
        }
        // Without it no event is believed: the watch finds out, later.
        if let Ok(token) = settings.own("ZOOM_WEBHOOK_SECRET_TOKEN") {
            options.env.insert("ZOOM_WEBHOOK_SECRET_TOKEN".to_owned(), token);
        }
        options.env.insert("ZOOM_REDIRECT_URI".to_owned(), redirect_uri(args));
        for (name, own) in ZOOM {
            let address = settings.get(name).unwrap_or_else(|| own.to_owned());
            options
                .outside
                .push(reqwest::Url::parse(&address)?.origin().ascii_serialization());
            options.env.insert(name.to_owned(), address);
        }
    }
    Ok(options)
}

/// What Zoom takes from an app in development without https.
fn redirect_uri(args: &Args) -> String {
    format!("http://localhost:{}/functions/v1/zoom-oauth-callback", args.port)
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

fn introduce(stack: &Stack, args: &Args) {
    println!();
    if args.real_zoom {
        println!(
            "Zoom is the real one: what is created here is created there. \
             At Zoom (marketplace.zoom.us, your app) the address is:\n  \
             OAuth redirect URL, and on its allow list:  {}\n\
             A tunnel to port {} brings events: <its address>/functions/v1/zoom-webhook.\n",
            redirect_uri(args),
            args.port,
        );
    }
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
