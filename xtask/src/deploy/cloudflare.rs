//! Shipping to Cloudflare Workers, by wrangler.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};

use super::private_file::PrivateFile;
use super::settings::Settings;
use super::Args;
use crate::build::{target_dir, Host};

/// Ships the functions with their secrets, one Worker each.
///
/// # Errors
/// If nobody is signed in to Cloudflare, or wrangler refuses.
pub fn ship(functions: &[&str], settings: &Settings, args: &Args) -> Result<()> {
    if !args.dry_run {
        check_sign_in()?;
    }
    for function in functions {
        println!("\n{function}:");
        let secrets = serde_json::to_string(&settings.of(function, Host::Cloudflare))?;
        let file = PrivateFile::write(
            target_dir().join("edge").join(format!("{function}.secrets.json")),
            &secrets,
        )?;
        let mut command = wrangler();
        command
            .args(["deploy", "--env", function, "--secrets-file"])
            .arg(file.path());
        if let Some(domain) = &args.domain {
            command.arg("--route").arg(format!("{domain}/functions/v1/{function}*"));
        }
        if args.dry_run {
            let home = target_dir().join("edge/wrangler");
            fs::create_dir_all(&home)?;
            command
                .arg("--dry-run")
                .arg("--outdir")
                .arg(home.join(function))
                // Nobody's account, and no questions to the network.
                .env("XDG_CONFIG_HOME", &home)
                .env("WRANGLER_LOG_PATH", &home)
                .env("CLOUDFLARE_API_TOKEN", "dry-run");
        }
        if !command.status().context("running wrangler")?.success() {
            bail!("wrangler did not deploy {function}: what it says above tells why");
        }
    }
    Ok(())
}

fn check_sign_in() -> Result<()> {
    if std::env::var_os("CLOUDFLARE_API_TOKEN").is_some_and(|token| !token.is_empty()) {
        return Ok(());
    }
    let output = wrangler()
        .arg("whoami")
        .stdin(Stdio::null())
        .output()
        .context("running wrangler")?;
    if !output.status.success() || String::from_utf8_lossy(&output.stdout).contains("not authenticated") {
        bail!(
            "nobody is signed in to Cloudflare: run `npx wrangler login`, or set CLOUDFLARE_API_TOKEN to a token with the \
             permission Workers Scripts: Edit (dash.cloudflare.com > My Profile > API Tokens)"
        );
    }
    Ok(())
}

fn wrangler() -> Command {
    let root = local_stack::repository();
    let mut command = Command::new("node");
    command
        .arg(root.join("node_modules/wrangler/bin/wrangler.js"))
        .current_dir(root)
        .env("WRANGLER_SEND_METRICS", "false")
        // Neither its name nor news of newer versions.
        .env("WRANGLER_HIDE_BANNER", "true");
    command
}
