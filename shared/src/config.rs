//! Configuration: environment variables, read once per isolate and validated whole.
//!
//! One [`ConfigError`] lists every name that is missing or malformed, so that an operator mends a deployment in one
//! round. A function demands only what it uses: [`Need`].

use std::{fmt, sync::Arc};

use chrono::TimeDelta;
use http::HeaderValue;
use reqwest::Url;
use serde_json::{Map, Value};

use crate::{
    auth::jwks::Jwks, error::Error, json, seal::SealingKeys, secret::Secret, zoom::meeting_settings::MeetingSettings,
};

/// What a function demands beyond the Supabase variables, which all of them use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The Zoom app: `ZOOM_CLIENT_ID`, `ZOOM_CLIENT_SECRET`, `ZOOM_REDIRECT_URI`, and `TOKEN_ENCRYPTION_KEYS` to seal
    /// what Zoom gives us.
    Zoom,
    /// Zoom's events: `ZOOM_WEBHOOK_SECRET_TOKEN` and `ZOOM_CLIENT_ID`.
    Webhook,
    /// `APP_REDIRECT_URI`: where the browser returns to after Zoom's consent page.
    AppRedirect,
}

/// The configuration of one function.
#[derive(Debug)]
pub struct Config {
    /// The Supabase project.
    pub supabase: Supabase,
    /// The Zoom app, where [`Need::Zoom`] is demanded.
    zoom: Option<ZoomApp>,
    webhook: Option<Webhook>,
    app_redirect_uri: Option<Url>,
    /// `APP_INVITE_URI`: the page that takes invite links; without it sessions carry no `invite_url`.
    pub app_invite_uri: Option<Url>,
    /// `ALLOWED_ORIGINS`: origins that browsers may call from, comma separated; `*` by default.
    pub allowed_origins: AllowedOrigins,
    /// `ALLOW_ANONYMOUS_PARTICIPANTS`: whether anonymous sign-ins may join; `false` by default. They never host.
    pub allow_anonymous_participants: bool,
}

/// How Zoom's events are known.
#[derive(Debug)]
pub struct Webhook {
    /// `ZOOM_WEBHOOK_SECRET_TOKEN`: the secret token of the Zoom app's event subscription.
    pub secret_token: Secret<String>,
    /// `ZOOM_CLIENT_ID`: the app whose removal by a user counts.
    pub client_id: String,
    /// `ZOOM_WEBHOOK_MAX_AGE_SECONDS`: older events are refused; 2 hours by default, since Zoom's last retry comes
    /// after about 85 minutes.
    pub max_age: TimeDelta,
}

/// The Supabase project behind the functions.
#[derive(Debug)]
pub struct Supabase {
    /// `SUPABASE_URL`, without a slash at its end.
    pub url: String,
    /// `SUPABASE_SECRET_KEYS` (JSON object of names and keys), `SUPABASE_SECRET_KEY` or `SUPABASE_SERVICE_ROLE_KEY`.
    /// The first is used for our own calls; service callers may use any.
    pub secret_keys: SecretKeys,
    /// Where the keys that sign user tokens come from.
    pub jwks: JwksSource,
    /// `SUPABASE_JWT_ISSUER`: who user tokens are by, by default `SUPABASE_URL/auth/v1`. A project behind a custom
    /// domain keeps its old issuer.
    pub jwt_issuer: String,
}

/// Secret keys of the project, at least one.
#[derive(Debug)]
pub struct SecretKeys {
    first: Secret<String>,
    others: Vec<Secret<String>>,
}

impl SecretKeys {
    /// The key for our own calls.
    pub fn own(&self) -> &Secret<String> {
        &self.first
    }

    /// All keys that a service caller may present.
    pub fn accepted(&self) -> impl Iterator<Item = &Secret<String>> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// Where the keys that sign user tokens come from.
#[derive(Debug)]
pub enum JwksSource {
    /// `SUPABASE_JWKS`: the key set itself.
    Inline(Arc<Jwks>),
    /// `SUPABASE_JWKS_URL`, by default `SUPABASE_URL/auth/v1/.well-known/jwks.json`.
    Url(String),
}

/// The Zoom app that hosts connect to.
#[derive(Debug)]
pub struct ZoomApp {
    /// `ZOOM_CLIENT_ID`.
    pub client_id: String,
    /// `ZOOM_CLIENT_SECRET`.
    pub client_secret: Secret<String>,
    /// `ZOOM_REDIRECT_URI`: the public address of `zoom-oauth-callback`, exactly as entered at Zoom.
    pub redirect_uri: String,
    /// `ZOOM_OAUTH_URL`, by default `https://zoom.us/oauth`; no slash at its end.
    pub oauth_url: String,
    /// `ZOOM_API_URL`, by default `https://api.zoom.us/v2`; no slash at its end.
    pub api_url: String,
    /// `TOKEN_ENCRYPTION_KEYS`: `id:base64,…`, 32 bytes each; the first seals, all open.
    pub sealing_keys: SealingKeys,
    /// `ZOOM_MEETING_SETTINGS`: how new meetings behave; see [`MeetingSettings::parse`].
    pub meeting_settings: MeetingSettings,
}

/// Origins that browsers may call from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// `*`.
    Any,
    /// These and no others.
    Only(Vec<String>),
}

/// What is wrong with the environment, by variable name. Holds no values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(Vec<(&'static str, &'static str)>);

impl ConfigError {
    /// Names of variables, and what is wrong with each.
    pub fn problems(&self) -> &[(&'static str, &'static str)] {
        &self.0
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The configuration is not complete:")?;
        for (index, (name, problem)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ";" };
            write!(f, "{separator} {name} {problem}")?;
        }
        f.write_str(".")
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the configuration from environment variables.
    ///
    /// # Errors
    /// [`ConfigError`] with every variable that is missing or malformed.
    pub fn read(variable: impl Fn(&str) -> Option<String>, needs: &[Need]) -> Result<Self, ConfigError> {
        let mut reader = Reader {
            variable: &variable,
            problems: Vec::new(),
        };
        let supabase = reader.supabase();
        let zoom = needs.contains(&Need::Zoom).then(|| reader.zoom());
        let webhook = needs.contains(&Need::Webhook).then(|| reader.webhook());
        let app_redirect_uri = needs
            .contains(&Need::AppRedirect)
            .then(|| reader.required("APP_REDIRECT_URI", any_url));
        let app_invite_uri = reader.optional("APP_INVITE_URI", any_url);
        let allowed_origins = reader
            .optional("ALLOWED_ORIGINS", origins)
            .unwrap_or(AllowedOrigins::Any);
        let allow_anonymous_participants = reader.optional("ALLOW_ANONYMOUS_PARTICIPANTS", truth).unwrap_or(false);
        match (supabase, reader.problems.is_empty()) {
            (Some(supabase), true) => Ok(Self {
                supabase,
                zoom: zoom.flatten(),
                webhook: webhook.flatten(),
                app_redirect_uri: app_redirect_uri.flatten(),
                app_invite_uri,
                allowed_origins,
                allow_anonymous_participants,
            }),
            _ => Err(ConfigError(reader.problems)),
        }
    }

    /// The secret keys by themselves, for a configuration that is not whole otherwise.
    pub fn read_secret_keys(variable: &impl Fn(&str) -> Option<String>) -> Option<SecretKeys> {
        let problems = Vec::new();
        Reader { variable, problems }.secret_keys()
    }

    /// The Zoom app.
    ///
    /// # Errors
    /// [`Error::Internal`] in a function that does not demand [`Need::Zoom`].
    pub fn zoom(&self) -> Result<&ZoomApp, Error> {
        self.zoom
            .as_ref()
            .ok_or(Error::Internal("this function does not demand Need::Zoom"))
    }

    /// How Zoom's events are known.
    ///
    /// # Errors
    /// [`Error::Internal`] in a function that does not demand [`Need::Webhook`].
    pub fn webhook(&self) -> Result<&Webhook, Error> {
        self.webhook
            .as_ref()
            .ok_or(Error::Internal("this function does not demand Need::Webhook"))
    }

    /// Where the browser returns to after Zoom's consent page.
    ///
    /// # Errors
    /// [`Error::Internal`] in a function that does not demand [`Need::AppRedirect`].
    pub fn app_redirect_uri(&self) -> Result<&Url, Error> {
        self.app_redirect_uri
            .as_ref()
            .ok_or(Error::Internal("this function does not demand Need::AppRedirect"))
    }
}

struct Reader<'a, V> {
    variable: &'a V,
    problems: Vec<(&'static str, &'static str)>,
}

impl<V: Fn(&str) -> Option<String>> Reader<'_, V> {
    /// The trimmed value; an empty variable counts as missing.
    fn value(&self, name: &str) -> Option<String> {
        (self.variable)(name)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    fn optional<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, &'static str>) -> Option<T> {
        match parse(&self.value(name)?) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problems.push((name, problem));
                None
            }
        }
    }

    fn required<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, &'static str>) -> Option<T> {
        if self.value(name).is_none() {
            self.problems.push((name, "is missing"));
        }
        self.optional(name, parse)
    }

    fn secret_keys(&mut self) -> Option<SecretKeys> {
        self.optional("SUPABASE_SECRET_KEYS", secret_keys)
            .or_else(|| self.optional("SUPABASE_SECRET_KEY", secret_key))
            .or_else(|| self.optional("SUPABASE_SERVICE_ROLE_KEY", secret_key))
    }

    fn supabase(&mut self) -> Option<Supabase> {
        let url = self.required("SUPABASE_URL", http_url);
        let secret_keys = self.secret_keys();
        if secret_keys.is_none() {
            let name = "SUPABASE_SECRET_KEY";
            if !self.problems.iter().any(|(known, _)| *known == name) {
                self.problems.push((name, "is missing"));
            }
        }
        let inline = self.optional("SUPABASE_JWKS", |text| {
            Jwks::parse(text.as_bytes()).ok_or("is not a JSON Web Key Set")
        });
        let jwks_url = self.optional("SUPABASE_JWKS_URL", http_url);
        let jwt_issuer = self.optional("SUPABASE_JWT_ISSUER", http_url);
        let url = url?;
        let jwks = inline.map_or_else(
            || JwksSource::Url(jwks_url.unwrap_or_else(|| format!("{url}/auth/v1/.well-known/jwks.json"))),
            |keys| JwksSource::Inline(Arc::new(keys)),
        );
        Some(Supabase {
            secret_keys: secret_keys?,
            jwks,
            jwt_issuer: jwt_issuer.unwrap_or_else(|| format!("{url}/auth/v1")),
            url,
        })
    }

    fn webhook(&mut self) -> Option<Webhook> {
        let secret_token = self.required("ZOOM_WEBHOOK_SECRET_TOKEN", not_empty);
        let client_id = self.required("ZOOM_CLIENT_ID", not_empty);
        let max_age = self.optional("ZOOM_WEBHOOK_MAX_AGE_SECONDS", seconds);
        Some(Webhook {
            secret_token: Secret::new(secret_token?),
            client_id: client_id?,
            max_age: max_age.unwrap_or(TimeDelta::hours(2)),
        })
    }

    fn zoom(&mut self) -> Option<ZoomApp> {
        let client_id = self.required("ZOOM_CLIENT_ID", not_empty);
        let client_secret = self.required("ZOOM_CLIENT_SECRET", not_empty);
        let redirect_uri = self.required("ZOOM_REDIRECT_URI", |text| http_url(text).and(not_empty(text)));
        let oauth_url = self.optional("ZOOM_OAUTH_URL", zoom_url);
        let api_url = self.optional("ZOOM_API_URL", zoom_url);
        let sealing_keys = self.required("TOKEN_ENCRYPTION_KEYS", SealingKeys::parse);
        let meeting_settings = self.optional("ZOOM_MEETING_SETTINGS", MeetingSettings::parse);
        Some(ZoomApp {
            client_id: client_id?,
            client_secret: Secret::new(client_secret?),
            redirect_uri: redirect_uri?,
            oauth_url: oauth_url.unwrap_or_else(|| "https://zoom.us/oauth".to_owned()),
            api_url: api_url.unwrap_or_else(|| "https://api.zoom.us/v2".to_owned()),
            sealing_keys: sealing_keys?,
            meeting_settings: meeting_settings.unwrap_or_default(),
        })
    }
}

fn not_empty(text: &str) -> Result<String, &'static str> {
    Ok(text.to_owned())
}

fn truth(text: &str) -> Result<bool, &'static str> {
    text.parse().map_err(|_| "is neither true nor false")
}

fn seconds(text: &str) -> Result<TimeDelta, &'static str> {
    text.parse()
        .ok()
        .filter(|seconds| (60..=86_400).contains(seconds))
        .and_then(TimeDelta::try_seconds)
        .ok_or("is not a number of seconds from 60 to 86400")
}

fn any_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL such as https://app.example/path or app://path")?;
    match url.scheme() {
        "javascript" | "data" | "vbscript" | "file" | "blob" => Err("has a scheme that no app can own"),
        _ => Ok(url),
    }
}

/// An `http` or `https` URL as text without a slash at its end.
fn http_url(text: &str) -> Result<String, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("is not an http or https URL");
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Zoom's own hosts over TLS, or loopback for local runs: credentials go there.
fn zoom_url(text: &str) -> Result<String, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    let host = url.host_str().unwrap_or_default();
    let zoom = url.scheme() == "https" && (host == "zoom.us" || host.ends_with(".zoom.us"));
    let loopback = matches!(url.scheme(), "http" | "https") && matches!(host, "127.0.0.1" | "[::1]" | "localhost");
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if (zoom || loopback) && plain {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err("is neither https://*.zoom.us nor a loopback address")
    }
}

fn secret_key(text: &str) -> Result<SecretKeys, &'static str> {
    let key = HeaderValue::from_str(text)
        .ok()
        .and_then(|value| value.to_str().map(str::to_owned).ok())
        .ok_or("has characters that a header cannot carry")?;
    Ok(SecretKeys {
        first: Secret::new(key),
        others: Vec::new(),
    })
}

/// `{"name": "key", …}`; the key named `default` comes first.
fn secret_keys(text: &str) -> Result<SecretKeys, &'static str> {
    const PROBLEM: &str = "is not a JSON object of names and keys";
    let named: Map<String, Value> = json::parse(text.as_bytes()).ok_or(PROBLEM)?;
    let key = |value: &Value| secret_key(value.as_str().ok_or(PROBLEM)?);
    let first = named
        .get_key_value("default")
        .or_else(|| named.iter().next())
        .ok_or(PROBLEM)?;
    let mut keys = key(first.1)?;
    for (name, value) in &named {
        if name != first.0 {
            keys.others.push(key(value)?.first);
        }
    }
    Ok(keys)
}

fn origins(text: &str) -> Result<AllowedOrigins, &'static str> {
    let list: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .filter(|origin| !origin.is_empty())
        .collect();
    if list.contains(&"*") {
        return Ok(AllowedOrigins::Any);
    }
    list.into_iter()
        .map(|origin| {
            const PROBLEM: &str =
                "has an entry that is not an origin such as https://app.example or capacitor://localhost";
            let url = Url::parse(origin).map_err(|_| PROBLEM)?;
            match (url.origin().ascii_serialization(), url.host_str()) {
                // An app's own scheme. Browsers call its origin by scheme and host; `null` would be everybody's.
                (opaque, Some(host)) if opaque == "null" => Ok(url.port().map_or_else(
                    || format!("{}://{host}", url.scheme()),
                    |port| format!("{}://{host}:{port}", url.scheme()),
                )),
                (opaque, None) if opaque == "null" => Err(PROBLEM),
                (origin, _) => Ok(origin),
            }
        })
        .collect::<Result<_, _>>()
        .map(AllowedOrigins::Only)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const KEY: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn read(variables: &[(&str, &str)], needs: &[Need]) -> Result<Config, ConfigError> {
        let map: HashMap<String, String> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Config::read(|name| map.get(name).cloned(), needs)
    }

    fn complete() -> Vec<(&'static str, &'static str)> {
        vec![
            ("SUPABASE_URL", "http://127.0.0.1:54321/"),
            ("SUPABASE_SECRET_KEY", "sb_secret_x"),
            ("ZOOM_CLIENT_ID", "id"),
            ("ZOOM_CLIENT_SECRET", "hush"),
            (
                "ZOOM_REDIRECT_URI",
                "https://ref.supabase.co/functions/v1/zoom-oauth-callback",
            ),
            ("TOKEN_ENCRYPTION_KEYS", KEY),
        ]
    }

    #[test]
    fn one_error_lists_every_missing_or_malformed_name() {
        let error = read(
            &[("ZOOM_API_URL", "https://evil.example")],
            &[Need::Zoom, Need::Webhook, Need::AppRedirect],
        )
        .unwrap_err()
        .to_string();
        for name in [
            "SUPABASE_URL is missing",
            "SUPABASE_SECRET_KEY is missing",
            "ZOOM_CLIENT_ID is missing",
            "ZOOM_CLIENT_SECRET is missing",
            "ZOOM_REDIRECT_URI is missing",
            "TOKEN_ENCRYPTION_KEYS is missing",
            "ZOOM_WEBHOOK_SECRET_TOKEN is missing",
            "APP_REDIRECT_URI is missing",
            "ZOOM_API_URL is neither",
        ] {
            assert!(error.contains(name), "{name} in {error}");
        }
    }

    #[test]
    fn a_function_demands_only_what_it_uses() {
        let config = read(&complete()[..2], &[]).unwrap();
        assert_eq!(config.supabase.url, "http://127.0.0.1:54321");
        assert!(matches!(&config.supabase.jwks, JwksSource::Url(url)
            if url == "http://127.0.0.1:54321/auth/v1/.well-known/jwks.json"));
        assert_eq!(config.allowed_origins, AllowedOrigins::Any);
        assert!(config.zoom().is_err());
    }

    #[test]
    fn zoom_has_its_own_hosts_or_loopback() {
        let config = read(&complete(), &[Need::Zoom]).unwrap();
        assert_eq!(config.zoom().unwrap().oauth_url, "https://zoom.us/oauth");
        for (url, good) in [
            ("https://api.zoom.us/v2", true),
            ("https://eu01api-www4local.zoom.us/v2/", true),
            ("http://127.0.0.1:4000/v2", true),
            ("http://[::1]:4000/v2", true),
            ("http://localhost:4000", true),
            ("http://api.zoom.us/v2", false),
            ("https://zoom.us.evil.example", false),
            ("https://evilzoom.us", false),
            ("https://user:pass@api.zoom.us", false),
            ("https://127.0.0.1.evil.example", false),
            ("ftp://127.0.0.1", false),
            ("nonsense", false),
        ] {
            let mut variables = complete();
            variables.push(("ZOOM_API_URL", url));
            assert_eq!(read(&variables, &[Need::Zoom]).is_ok(), good, "{url}");
        }
    }

    #[test]
    fn secret_keys_come_from_any_of_the_three_names() {
        let keys = |name, value| {
            read(&[("SUPABASE_URL", "https://x.supabase.co"), (name, value)], &[]).map(|config| {
                let keys = &config.supabase.secret_keys;
                (keys.own().expose().clone(), keys.accepted().count())
            })
        };
        let both = r#"{"automations": "sb_secret_b", "default": "sb_secret_a"}"#;
        assert_eq!(
            keys("SUPABASE_SECRET_KEYS", both).unwrap(),
            ("sb_secret_a".to_owned(), 2)
        );
        assert_eq!(keys("SUPABASE_SECRET_KEY", "k").unwrap(), ("k".to_owned(), 1));
        assert_eq!(keys("SUPABASE_SERVICE_ROLE_KEY", "k").unwrap(), ("k".to_owned(), 1));
        for bad in ["{}", "[]", "sb_secret_a", r#"{"default": 1}"#] {
            assert!(keys("SUPABASE_SECRET_KEYS", bad).is_err(), "{bad}");
        }
        assert!(keys("SUPABASE_SECRET_KEY", "two\nlines").is_err());
    }

    #[test]
    fn values_never_show_in_an_error_or_in_debug() {
        let mut variables = complete();
        variables.push(("ZOOM_OAUTH_URL", "https://hush.example"));
        assert!(!format!("{:?}", read(&variables, &[Need::Zoom])).contains("hush"));
        assert!(!format!("{:?}", read(&complete(), &[Need::Zoom])).contains("hush"));
    }

    #[test]
    fn origins_are_a_list_or_any() {
        let origins = |text| {
            let mut variables = complete();
            variables.push(("ALLOWED_ORIGINS", text));
            read(&variables, &[]).map(|config| config.allowed_origins)
        };
        assert_eq!(origins("*").unwrap(), AllowedOrigins::Any);
        let list = AllowedOrigins::Only(vec!["https://a.example".to_owned(), "http://127.0.0.1:3000".to_owned()]);
        assert_eq!(origins("https://a.example/, http://127.0.0.1:3000").unwrap(), list);
        assert!(origins("a.example").is_err());
    }

    #[test]
    fn no_script_is_an_app() {
        let mut variables = complete();
        variables.push(("APP_REDIRECT_URI", "javascript:alert(1)"));
        assert!(read(&variables, &[Need::AppRedirect]).is_err());
        variables.pop();
        variables.push(("APP_REDIRECT_URI", "cotrainr://video/zoom-connected"));
        assert!(read(&variables, &[Need::AppRedirect]).is_ok());
    }
}
