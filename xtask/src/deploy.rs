//! `cargo xtask deploy`: looks the configuration over, builds the functions, and ships them with the host's own tool.

mod cloudflare;
mod needs;
mod offline_api;
mod private_file;
pub mod settings;
mod supabase;

use std::path::PathBuf;

use anyhow::{bail, Result};

use crate::build::{self, Function, Host};
use crate::setup;
use settings::Settings;

/// What `cargo xtask deploy` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Where to.
    #[arg(value_enum)]
    host: Host,
    /// Ship one function only.
    #[arg(long)]
    only: Option<String>,
    /// Do all but ship, without the network: what is missing in the configuration is told and stops nothing.
    #[arg(long)]
    dry_run: bool,
    /// The file with the variables, such as .dev.vars.example explains; what it lacks is taken from the environment.
    #[arg(long, value_name = "FILE", default_value = ".dev.vars")]
    vars: PathBuf,
    /// Cloudflare: a domain of yours on which each function gets the route DOMAIN/functions/v1/NAME.
    #[arg(long)]
    domain: Option<String>,
    /// Supabase: the project's reference. By default that of SUPABASE_URL, or the linked project's.
    #[arg(long, value_name = "REF")]
    project: Option<String>,
}

/// Checks, builds, ships, and prints what to enter at Zoom.
///
/// # Errors
/// If something is missing or malformed: all of it at once, with where to get it; and if building or shipping fails.
pub fn run(args: &Args) -> Result<()> {
    let functions = build::select(Function::all(args.host)?, args.only.as_deref())?;
    let names: Vec<&str> = functions.iter().map(Function::name).collect();
    let settings = Settings::read(&args.vars)?;
    let target = match args.host {
        Host::Cloudflare => None,
        Host::Supabase => supabase::project(args.project.as_deref(), &settings),
    };
    let base = match args.host {
        Host::Cloudflare => args
            .domain
            .as_ref()
            .map(|domain| format!("https://{domain}/functions/v1")),
        Host::Supabase => target
            .as_ref()
            .map(|project| format!("https://{project}.supabase.co/functions/v1")),
    };
    let mut problems = settings.problems(args.host, &names)?;
    problems.extend(settings.wrong_redirect(base.as_deref(), &names));
    if args.host == Host::Supabase && target.is_none() {
        problems
            .push("the project is not known: say --project REF, the part of SUPABASE_URL before .supabase.co".into());
    }
    report(&problems, args)?;

    setup::run()?;
    build::run(&build::Args {
        host: args.host,
        only: args.only.clone(),
    })?;
    match args.host {
        Host::Cloudflare => cloudflare::ship(&names, &settings, args)?,
        Host::Supabase => supabase::ship(&names, &settings, target.as_deref(), args.dry_run)?,
    }
    if args.dry_run {
        println!("\nNothing was shipped: this was a dry run.");
    } else {
        introduce(base.as_deref(), &settings);
        if let (Host::Supabase, Some(base)) = (args.host, base.as_deref()) {
            println!(
                "\nThe clock, once, in the SQL editor, with a secret key of the project:\n  \
                 select vault.create_secret('{base}', 'video_sessions_functions_url');\n  \
                 select vault.create_secret('sb_secret_…', 'video_sessions_secret_key');\n\
                 `video-sessions doctor` says whether it runs."
            );
        }
    }
    Ok(())
}

/// Tells what is missing, and stops unless this is a dry run.
fn report(problems: &[String], args: &Args) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    let list: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    if args.dry_run {
        println!("A deployment would stop here, since the configuration is not complete:{list}\n");
        return Ok(());
    }
    let file = args.vars.display();
    bail!(
        "the configuration is not complete:{list}\n\
         Put the values into {file} (.dev.vars.example explains them) or the environment"
    )
}

/// What to enter at Zoom.
fn introduce(base: Option<&str>, settings: &Settings) {
    let (redirect, webhook) = match base {
        Some(base) => (format!("{base}/zoom-oauth-callback"), format!("{base}/zoom-webhook")),
        None => {
            let redirect = settings.get("ZOOM_REDIRECT_URI").unwrap_or_default();
            (redirect, "the address of video-sessions-zoom-webhook above".to_owned())
        }
    };
    println!(
        "\nAt Zoom (marketplace.zoom.us, your app) the addresses are:\n  \
         OAuth redirect URL, and on its allow list:  {redirect}\n  \
         Event notification endpoint URL:            {webhook}\n  \
         Deauthorization notification endpoint URL:  the same as for events"
    );
}
