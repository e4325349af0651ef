//! What each function is configured with.

use shared::config::Need;

/// What a function demands beyond the Supabase variables: as the `ENDPOINT` of its crate has it.
pub fn needs_of(function: &str) -> Option<&'static [Need]> {
    match function {
        "create-session" | "refresh-token" | "start-session" | "zoom-disconnect" | "zoom-oauth-start" | "zoom-sync" => {
            Some(&[Need::Zoom])
        }
        "join-session" => Some(&[]),
        "zoom-oauth-callback" => Some(&[Need::Zoom, Need::AppRedirect]),
        "zoom-webhook" => Some(&[Need::Webhook]),
        _ => None,
    }
}

/// A variable: who uses it, and where its value comes from.
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Whether a function gets it.
    used_by: Users,
    /// Where an operator finds the value.
    pub source: &'static str,
}

enum Users {
    All,
    /// Those with one of these needs.
    Needs(&'static [Need]),
    Function(&'static str),
}

impl Variable {
    /// Whether this function uses it.
    pub fn is_for(&self, function: &str) -> bool {
        match self.used_by {
            Users::All => true,
            Users::Needs(any) => needs_of(function).is_some_and(|needs| needs.iter().any(|need| any.contains(need))),
            Users::Function(name) => name == function,
        }
    }

    /// Whether Supabase gives it to every function itself, and takes none of this name.
    pub fn is_platforms(&self) -> bool {
        self.name.starts_with("SUPABASE_")
    }
}

const PROJECT_KEYS: &str = "Supabase dashboard > Project Settings > API Keys > Secret keys";
const ZOOM_CREDENTIALS: &str = "marketplace.zoom.us > your app > App Credentials";

/// All variables, in the order of .dev.vars.example.
pub const VARIABLES: &[Variable] = &[
    variable(
        "SUPABASE_URL",
        Users::All,
        "Supabase dashboard > Project Settings > Data API > Project URL",
    ),
    variable("SUPABASE_SECRET_KEYS", Users::All, PROJECT_KEYS),
    variable("SUPABASE_SECRET_KEY", Users::All, PROJECT_KEYS),
    variable("SUPABASE_SERVICE_ROLE_KEY", Users::All, PROJECT_KEYS),
    variable(
        "SUPABASE_JWKS",
        Users::All,
        "SUPABASE_URL/auth/v1/.well-known/jwks.json",
    ),
    variable(
        "SUPABASE_JWKS_URL",
        Users::All,
        "SUPABASE_URL/auth/v1/.well-known/jwks.json",
    ),
    variable(
        "SUPABASE_JWT_ISSUER",
        Users::All,
        "the `iss` of a user's token, where SUPABASE_URL is a custom domain",
    ),
    variable(
        "ZOOM_CLIENT_ID",
        Users::Needs(&[Need::Zoom, Need::Webhook]),
        ZOOM_CREDENTIALS,
    ),
    variable("ZOOM_CLIENT_SECRET", Users::Needs(&[Need::Zoom]), ZOOM_CREDENTIALS),
    variable(
        "ZOOM_REDIRECT_URI",
        Users::Needs(&[Need::Zoom]),
        "the public address of zoom-oauth-callback, as entered at Zoom",
    ),
    variable(
        "ZOOM_WEBHOOK_SECRET_TOKEN",
        Users::Needs(&[Need::Webhook]),
        "marketplace.zoom.us > your app > Features > Access > Secret Token",
    ),
    variable(
        "ZOOM_WEBHOOK_MAX_AGE_SECONDS",
        Users::Needs(&[Need::Webhook]),
        "7200 unless you know better",
    ),
    variable(
        "ZOOM_MEETING_SETTINGS",
        Users::Function("create-session"),
        "how new meetings behave; see the README",
    ),
    variable(
        "TOKEN_ENCRYPTION_KEYS",
        Users::Needs(&[Need::Zoom]),
        "`cargo xtask keys new` makes one",
    ),
    variable(
        "APP_REDIRECT_URI",
        Users::Needs(&[Need::AppRedirect]),
        "the deep link or page of your app, such as cotrainr://video/zoom-connected",
    ),
    variable(
        "APP_INVITE_URI",
        Users::Function("create-session"),
        "the page of your app that takes invite links",
    ),
    variable(
        "ALLOW_ANONYMOUS_PARTICIPANTS",
        Users::Function("join-session"),
        "true, if your app has anonymous sign-ins who take part",
    ),
    variable(
        "ALLOWED_ORIGINS",
        Users::All,
        "the origins of your web app, comma separated",
    ),
    variable("ZOOM_OAUTH_URL", Users::Needs(&[Need::Zoom]), "for simulators only"),
    variable("ZOOM_API_URL", Users::Needs(&[Need::Zoom]), "for simulators only"),
];

const fn variable(name: &'static str, used_by: Users, source: &'static str) -> Variable {
    Variable { name, used_by, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_those_of_the_crates() {
        let endpoints = [
            &create_session::ENDPOINT,
            &refresh_token::ENDPOINT,
            &join_session::ENDPOINT,
            &start_session::ENDPOINT,
            &zoom_disconnect::ENDPOINT,
            &zoom_oauth_callback::ENDPOINT,
            &zoom_oauth_start::ENDPOINT,
            &zoom_sync::ENDPOINT,
            &zoom_webhook::ENDPOINT,
        ];
        for endpoint in endpoints {
            assert_eq!(needs_of(endpoint.name), Some(endpoint.needs), "{}", endpoint.name);
        }
    }

    #[test]
    fn every_variable_is_explained_and_every_function_documented() {
        let example = include_str!("../../../.dev.vars.example");
        let wrangler = include_str!("../../../wrangler.toml");
        for variable in VARIABLES {
            assert!(
                example.contains(variable.name),
                "{} in .dev.vars.example",
                variable.name
            );
            if !variable.source.contains("simulators") {
                assert!(wrangler.contains(variable.name), "{} in wrangler.toml", variable.name);
            }
        }
    }
}
