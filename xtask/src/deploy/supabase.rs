//! Shipping to Supabase Edge Functions, by the Supabase CLI.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{bail, ensure, Context, Result};

use super::offline_api::OfflineApi;
use super::private_file::PrivateFile;
use super::settings::Settings;
use crate::build::{target_dir, Host};
use crate::setup::run_quietly;

/// Stands for a project in a dry run that names none.
const NO_PROJECT: &str = "abcdefghijklmnopqrst";

/// The project's reference: as given, or of `SUPABASE_URL`, or the linked project's.
pub fn project(given: Option<&str>, settings: &Settings) -> Option<String> {
    let of_url = || {
        let url = settings.get("SUPABASE_URL")?;
        Some(url.strip_prefix("https://")?.split_once(".supabase.co")?.0.to_owned())
    };
    let linked = || fs::read_to_string(local_stack::repository().join("supabase/.temp/project-ref")).ok();
    let found = given.map(str::to_owned).or_else(of_url).or_else(linked)?;
    Some(found.trim().to_owned()).filter(|project| is_reference(project))
}

/// References are 20 lower-case letters.
fn is_reference(text: &str) -> bool {
    text.len() == 20 && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// Sets the secrets and ships the functions. In a dry run, to a stand-in for Supabase's API on this machine.
///
/// # Errors
/// If nobody is signed in to Supabase, or the CLI refuses; in a dry run, if an upload lacks a file.
pub fn ship(functions: &[&str], settings: &Settings, project: Option<&str>, dry_run: bool) -> Result<()> {
    let cli = Cli {
        project: project.unwrap_or(NO_PROJECT),
        offline: dry_run.then(OfflineApi::start).transpose()?,
    };
    if !dry_run {
        cli.check_sign_in()?;
    }
    let mut secrets = BTreeMap::new();
    for function in functions {
        secrets.extend(settings.of(function, Host::Supabase));
    }
    if !secrets.is_empty() {
        let file = PrivateFile::write(target_dir().join("edge/supabase.secrets.env"), &env_file(&secrets)?)?;
        cli.run(&["secrets", "set", "--env-file", &file.path().to_string_lossy(), "--yes"])?;
    }
    let deploy = [&["functions", "deploy"], functions, &["--use-api", "--yes"]].concat();
    cli.run(&deploy)?;
    match &cli.offline {
        Some(api) => api.check(functions, &secrets),
        None => Ok(()),
    }
}

/// In single quotes nothing has a meaning.
fn env_file(values: &BTreeMap<&'static str, String>) -> Result<String> {
    let mut text = String::new();
    for (name, value) in values {
        ensure!(
            !value.contains(['\'', '\n', '\r']),
            "{name} has a quote or a line break in it"
        );
        text += &format!("{name}='{value}'\n");
    }
    Ok(text)
}

struct Cli<'a> {
    project: &'a str,
    offline: Option<OfflineApi>,
}

impl Cli<'_> {
    fn command(&self) -> Result<Command> {
        let root = local_stack::repository();
        let mut command = Command::new("node");
        command
            .arg(root.join("node_modules/supabase/dist/supabase.js"))
            .current_dir(root)
            .env("DO_NOT_TRACK", "1")
            .env("SUPABASE_TELEMETRY_DISABLED", "1")
            .stdin(Stdio::null());
        if let Some(api) = &self.offline {
            let home = target_dir().join("edge/supabase");
            fs::create_dir_all(&home)?;
            let profile = home.join("profile.yaml");
            fs::write(&profile, api.profile()).with_context(|| profile.display().to_string())?;
            command
                .arg("--profile")
                .arg(profile)
                .env("HOME", &home)
                .env("SUPABASE_ACCESS_TOKEN", format!("sbp_{}", "0".repeat(40)));
        }
        Ok(command)
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        println!("\nsupabase {} {}:", arguments[0], arguments[1]);
        let mut command = self.command()?;
        command.args(arguments).arg(format!("--project-ref={}", self.project));
        if self.offline.is_some() {
            // The CLI would say that it deployed.
            return run_quietly(&mut command);
        }
        if !command.status().context("running the Supabase CLI")?.success() {
            bail!("the Supabase CLI failed: what it says above tells why");
        }
        Ok(())
    }

    fn check_sign_in(&self) -> Result<()> {
        run_quietly(self.command()?.args(["projects", "list"])).context(
            "nobody is signed in to Supabase: run `npx supabase login`, or set SUPABASE_ACCESS_TOKEN \
             (supabase.com/dashboard/account/tokens)",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_has_a_reference() {
        assert!(is_reference("abcdefghijklmnopqrst"));
        for text in ["", "your-project-ref", "ABCDEFGHIJKLMNOPQRST", "abcdefghijklmnopqrstu"] {
            assert!(!is_reference(text), "{text}");
        }
    }

    #[test]
    fn secrets_are_quoted() {
        let values = BTreeMap::from([("A", "a b#c\"d$e".to_owned())]);
        assert_eq!(env_file(&values).unwrap(), "A='a b#c\"d$e'\n");
        assert!(env_file(&BTreeMap::from([("A", "it's".to_owned())])).is_err());
    }
}
