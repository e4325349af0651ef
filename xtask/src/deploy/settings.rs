//! The variables of a deployment: read from a file and the environment, and looked over before anything is shipped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{bail, Context, Result};
use shared::config::Config;

use super::needs::{needs_of, Variable, VARIABLES};
use crate::build::Host;

/// What stands in the example where something of one's own belongs, also in part of a value.
const PLACEHOLDERS: [&str; 4] = [
    "your-project-ref",
    "your-client-",
    "your-secret-token",
    "sb_secret_your-key",
];

/// What .dev.vars.example says of its own: nobody's project.
const EXAMPLE: &str = include_str!("../../../.dev.vars.example");

/// Values by name. They are secrets: nothing here prints one.
pub struct Settings {
    values: BTreeMap<String, String>,
    /// Whether the example itself was given, to try things out with.
    is_example: bool,
}

/// Whether this is what the example says, or a part of it.
fn is_placeholder(name: &str, value: &str) -> bool {
    let of_the_example = || parse(EXAMPLE).ok()?.remove(name);
    PLACEHOLDERS.iter().any(|part| value.contains(part)) || of_the_example().as_deref() == Some(value)
}

impl Settings {
    /// Reads the file; what it lacks is taken from the environment. Without the file, all of it is.
    ///
    /// # Errors
    /// If a line of the file is none of `NAME=value`.
    pub fn read(file: &Path) -> Result<Self> {
        let text = match fs::read_to_string(local_stack::repository().join(file)) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| file.display().to_string()),
        };
        let mut values = parse(&text).with_context(|| file.display().to_string())?;
        for variable in VARIABLES {
            if let (false, Ok(value)) = (values.contains_key(variable.name), std::env::var(variable.name)) {
                values.insert(variable.name.to_owned(), value);
            }
        }
        Ok(Self {
            values,
            is_example: text == EXAMPLE,
        })
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<String> {
        self.values.get(name).filter(|value| !value.is_empty()).cloned()
    }

    /// A variable's value, unless it is the example's.
    ///
    /// # Errors
    /// If it is missing, or still has the example's value.
    pub fn own(&self, name: &str) -> Result<String> {
        match self.get(name) {
            None => bail!("{name} is missing"),
            Some(value) if is_placeholder(name, &value) => bail!("{name} still has the example's value"),
            Some(value) => Ok(value),
        }
    }

    /// What a function is given: the variables that it uses, as far as they are set.
    pub fn of(&self, function: &str, host: Host) -> BTreeMap<&'static str, String> {
        VARIABLES
            .iter()
            .filter(|variable| variable.is_for(function) && !given_by(host, variable))
            .filter_map(|variable| Some((variable.name, self.get(variable.name)?)))
            .collect()
    }

    /// What is missing or malformed for these functions, and where to get it. They read their configuration as this
    /// does.
    ///
    /// # Errors
    /// If a function is not known here.
    pub fn problems(&self, host: Host, functions: &[&str]) -> Result<Vec<String>> {
        let mut problems = BTreeSet::<(&str, &str)>::new();
        for function in functions {
            let needs =
                needs_of(function).with_context(|| format!("{function} is missing in xtask/src/deploy/needs.rs"))?;
            let value = |name: &str| match (host, name) {
                // Any will do: the platform sets the real ones.
                (Host::Supabase, "SUPABASE_URL") => Some("https://example.supabase.co".to_owned()),
                (Host::Supabase, "SUPABASE_SECRET_KEY") => Some("sb_secret_example".to_owned()),
                (Host::Supabase, name) if name.starts_with("SUPABASE_") => None,
                _ => self.get(name),
            };
            if let Err(error) = Config::read(value, needs) {
                problems.extend(error.problems());
            }
        }
        if !self.is_example {
            let kept = VARIABLES.iter().filter(|variable| {
                functions.iter().any(|function| variable.is_for(function))
                    && !given_by(host, variable)
                    // A deep link may be anybody's.
                    && variable.name != "APP_REDIRECT_URI"
                    && self.values.get(variable.name).is_some_and(|value| is_placeholder(variable.name, value))
            });
            problems.extend(kept.map(|variable| (variable.name, "still has the example's value")));
        }
        Ok(problems.into_iter().map(with_source).collect())
    }

    /// What is wrong with `ZOOM_REDIRECT_URI`, where the functions' address is known.
    pub fn wrong_redirect(&self, base: Option<&str>, functions: &[&str]) -> Option<String> {
        let expected = format!("{}/zoom-oauth-callback", base?);
        let found = self.get("ZOOM_REDIRECT_URI")?;
        let used = functions
            .iter()
            .any(|function| needs_of(function).is_some_and(|needs| !needs.is_empty()));
        (used && found != expected && !self.is_example)
            .then(|| format!("ZOOM_REDIRECT_URI is {found}, but zoom-oauth-callback will be at {expected}"))
    }
}

fn given_by(host: Host, variable: &Variable) -> bool {
    host == Host::Supabase && variable.is_platforms()
}

/// The problem and, in brackets, where the variable comes from.
fn with_source((name, problem): (&str, &str)) -> String {
    match VARIABLES.iter().find(|variable| variable.name == name) {
        Some(variable) => format!("{name} {problem} ({})", variable.source),
        None => format!("{name} {problem}"),
    }
}

/// `NAME=value` lines as wrangler and the Supabase CLI read them: comments, and quotes around a value, which may then
/// hold a `#`.
fn parse(text: &str) -> Result<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').unwrap_or_default();
        let name = name.trim();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            bail!("line {number} is none of NAME=value");
        }
        let value = value.trim();
        let quoted = ['\'', '"']
            .into_iter()
            .find_map(|quote| value.strip_prefix(quote)?.split_once(quote).map(|(inside, _)| inside));
        let value = quoted.unwrap_or_else(|| value.split(" #").next().unwrap_or_default().trim_end());
        values.insert(name.to_owned(), value.to_owned());
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 3] = ["create-session", "zoom-oauth-callback", "zoom-webhook"];

    fn settings(text: &str) -> Settings {
        Settings {
            values: parse(text).unwrap(),
            is_example: text == EXAMPLE,
        }
    }

    #[test]
    fn lines_are_names_and_values() {
        let values = parse("# x\n\nA=1\n B = two words # why\nC='{\"k\":\"a#b\"}'\nD=\nE=\"q\"\n").unwrap();
        let pairs: Vec<(&str, &str)> = values
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            pairs,
            [
                ("A", "1"),
                ("B", "two words"),
                ("C", "{\"k\":\"a#b\"}"),
                ("D", ""),
                ("E", "q")
            ]
        );
        assert!(parse("A=1\nnonsense").unwrap_err().to_string().contains("line 2"));
    }

    #[test]
    fn all_problems_come_at_once_with_where_to_turn() {
        let problems = settings("ZOOM_CLIENT_ID=x\nZOOM_API_URL=https://evil.example")
            .problems(Host::Cloudflare, &ALL)
            .unwrap()
            .join("\n");
        for expected in [
            "SUPABASE_URL is missing (Supabase dashboard",
            "SUPABASE_SECRET_KEY is missing",
            "ZOOM_CLIENT_SECRET is missing (marketplace.zoom.us",
            "TOKEN_ENCRYPTION_KEYS is missing (`cargo xtask keys new`",
            "ZOOM_WEBHOOK_SECRET_TOKEN is missing",
            "APP_REDIRECT_URI is missing",
            "ZOOM_API_URL is neither",
        ] {
            assert!(problems.contains(expected), "{expected} in {problems}");
        }
        assert!(!problems.contains("ZOOM_CLIENT_ID"));
    }

    #[test]
    fn the_example_is_complete_but_nobodys() {
        assert_eq!(
            settings(EXAMPLE).problems(Host::Cloudflare, &ALL).unwrap(),
            Vec::<String>::new()
        );
        let copied = settings(&format!("{EXAMPLE}\nALLOWED_ORIGINS=*"));
        let problems = copied.problems(Host::Cloudflare, &ALL).unwrap().join("\n");
        assert!(
            problems.contains("TOKEN_ENCRYPTION_KEYS still has the example's value"),
            "{problems}"
        );
        assert!(problems.contains("SUPABASE_URL still"), "{problems}");
        assert!(!problems.contains("APP_REDIRECT_URI"), "{problems}");
        let partly = settings("ZOOM_REDIRECT_URI=https://your-project-ref.supabase.co/functions/v1/mine");
        let problems = partly.problems(Host::Cloudflare, &ALL).unwrap().join("\n");
        assert!(
            problems.contains("ZOOM_REDIRECT_URI still has the example's value"),
            "{problems}"
        );
    }

    #[test]
    fn supabase_gives_its_own_variables_itself() {
        let example = settings(EXAMPLE);
        assert!(example.problems(Host::Supabase, &ALL).unwrap().is_empty());
        let given = example.of("zoom-webhook", Host::Supabase);
        assert_eq!(
            given.keys().copied().collect::<Vec<_>>(),
            ["ZOOM_CLIENT_ID", "ZOOM_WEBHOOK_SECRET_TOKEN"]
        );
        let given = example.of("zoom-webhook", Host::Cloudflare);
        assert_eq!(
            given.keys().copied().collect::<Vec<_>>(),
            [
                "SUPABASE_SECRET_KEY",
                "SUPABASE_URL",
                "ZOOM_CLIENT_ID",
                "ZOOM_WEBHOOK_SECRET_TOKEN"
            ]
        );
    }

    #[test]
    fn the_redirect_has_to_be_where_the_callback_is() {
        let settings = settings("ZOOM_REDIRECT_URI=https://a.example/functions/v1/zoom-oauth-callback");
        assert_eq!(
            settings.wrong_redirect(Some("https://a.example/functions/v1"), &ALL),
            None
        );
        assert_eq!(settings.wrong_redirect(None, &ALL), None);
        let wrong = settings
            .wrong_redirect(Some("https://b.example/functions/v1"), &ALL)
            .unwrap();
        assert!(wrong.contains("https://b.example/functions/v1/zoom-oauth-callback"));
    }
}
