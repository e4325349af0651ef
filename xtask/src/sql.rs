//! `cargo xtask sql`: the baseline migration, made from `supabase/baseline.sql` and `supabase/schemas/`.
//!
//! Until the first release there is one migration, made again whenever the schemas change. From then on it is history:
//! a change of the schemas comes with a migration of its own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};

use crate::time_zones;

/// What `cargo xtask sql` takes.
#[derive(clap::Subcommand)]
pub enum Args {
    /// Make the baseline migration from `supabase/schemas/`.
    Baseline,
    /// Fail if the baseline migration is not what `baseline` would make.
    Check,
    /// Make the rows of `supabase/schemas/015_time_zones.sql` from the IANA database and Zoom's list.
    TimeZones,
}

/// Makes or checks the baseline.
///
/// # Errors
/// If the schemas cannot be read, or the baseline is not made from them.
pub fn run(args: &Args) -> Result<()> {
    let supabase = local_stack::repository().join("supabase");
    if let Args::TimeZones = args {
        let path = supabase.join("schemas/015_time_zones.sql");
        let sql = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        return fs::write(&path, time_zones::with_rows(&sql)?).with_context(|| path.display().to_string());
    }
    let path = baseline_path(&supabase)?;
    if released()? {
        match args {
            Args::Baseline => bail!(
                "{} has been released and is never changed: write a migration for what you changed in supabase/schemas/",
                path.display()
            ),
            Args::Check | Args::TimeZones => return Ok(()),
        }
    }
    let made = baseline(&supabase)?;
    match args {
        Args::Baseline => fs::write(&path, made).with_context(|| path.display().to_string()),
        Args::Check | Args::TimeZones => {
            let found = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            ensure!(
                found == made,
                "{} is not made from supabase/schemas/ as they are: run `cargo xtask sql baseline`",
                path.display()
            );
            Ok(())
        }
    }
}

/// Whether CHANGELOG.md has a release: a heading such as `## 0.1.0`.
pub fn released() -> Result<bool> {
    let path = local_stack::repository().join("CHANGELOG.md");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(text.lines().any(|line| {
        line.strip_prefix("## ")
            .is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
    }))
}

fn baseline_path(supabase: &Path) -> Result<PathBuf> {
    let names = fs::read_dir(supabase.join("migrations"))?;
    let mut paths = names.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    let is_baseline = |path: &PathBuf| path.to_string_lossy().ends_with("_video_sessions.sql");
    paths
        .into_iter()
        .find(is_baseline)
        .context("supabase/migrations has no <time>_video_sessions.sql")
}

fn baseline(supabase: &Path) -> Result<String> {
    let mut paths = fs::read_dir(supabase.join("schemas"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    let mut schemas = String::new();
    for path in &paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        schemas += &format!("\n-- {name}\n\n{text}");
    }
    ensure!(
        !schemas.contains("$schemas$") && !schemas.contains("$video_sessions$"),
        "the schemas use a quote of the baseline's"
    );
    let template = fs::read_to_string(supabase.join("baseline.sql"))?;
    let names: Vec<_> = names(&schemas)
        .iter()
        .map(|(kind, name)| format!("('{kind}', '{name}')"))
        .collect();
    Ok(template
        .replace("{{names}}", &names.join(",\n    "))
        .replace("{{schemas}}", schemas.trim_matches('\n')))
}

/// What the SQL creates where an app has things of its own: the kind and the name, with its schema.
fn names(sql: &str) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut statements = sql.split("\ncreate ");
    statements.next();
    for statement in statements {
        let mut words = statement.split_whitespace();
        let mut word = words.next().unwrap_or_default();
        if word == "unique" {
            word = words.next().unwrap_or_default();
        }
        let name = words.next().unwrap_or_default();
        let name = name.split('(').next().unwrap_or_default().trim_end_matches(';');
        // `create index x on public.y`, `create trigger x after delete on auth.users`
        let target = statement.split_once(" on ").or_else(|| statement.split_once("\non "));
        let on = |schema: &str| target.is_some_and(|(_, target)| target.trim_start().starts_with(schema));
        match word {
            "schema" => found.push(("schema", name.to_owned())),
            "table" | "view" | "sequence" if name.starts_with("public.") => found.push(("table", name.to_owned())),
            "function" if name.starts_with("public.") => found.push(("function", name.to_owned())),
            "index" if on("public.") => found.push(("index", format!("public.{name}"))),
            "trigger" if on("auth.users") => found.push(("trigger", format!("auth.users.{name}"))),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_where_an_app_has_its_own() {
        let sql = "
create schema ours;
create table public.rooms (
  id uuid primary key
);
create table ours.secrets (id uuid);
create unique index rooms_id_idx on public.rooms (id);
create index secrets_id_idx on ours.secrets (id);
create function public.enter(room uuid) returns void
create function ours.leave() returns void
create trigger left_room after delete on auth.users
create trigger touch before update on public.rooms
";
        let expected = [
            ("schema", "ours"),
            ("table", "public.rooms"),
            ("index", "public.rooms_id_idx"),
            ("function", "public.enter"),
            ("trigger", "auth.users.left_room"),
        ];
        let found = names(sql);
        let found: Vec<_> = found.iter().map(|(kind, name)| (*kind, name.as_str())).collect();
        assert_eq!(found, expected);
    }
}
