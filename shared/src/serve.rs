//! A function around its handler: CORS, the method, errors as answers, the headers of every answer, one line in the
//! log.

use std::sync::Arc;

use bytes::Bytes;
use http::{header, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::{json, Value};
use uuid::Uuid;

use crate::{
    auth::UserVerifier,
    call::{Answer, Body, Endpoint, RequestContext},
    check,
    config::{AllowedOrigins, Config, ConfigError, SecretKeys},
    error::Error,
    log::{self, Timings, ZoomCall},
    random,
    time::{millis_since, now},
};

/// What an isolate keeps between requests: configuration and the key set. Nothing with I/O in it, since that may not
/// outlive its request at the edge.
#[derive(Debug)]
pub struct App {
    config: Result<Config, ConfigError>,
    /// Known even where the configuration is not whole: who may be told what it lacks.
    secret_keys: Option<SecretKeys>,
    users: UserVerifier,
}

impl App {
    /// Reads the configuration for a function.
    pub fn new(variable: impl Fn(&str) -> Option<String>, endpoint: &Endpoint) -> Self {
        Self {
            secret_keys: Config::read_secret_keys(&variable),
            config: Config::read(variable, endpoint.needs),
            users: UserVerifier::default(),
        }
    }
}

/// The one line that the log has about a request.
#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    function: &'static str,
    request_id: Uuid,
    method: &'a str,
    caller: Value,
    code: &'static str,
    status: u16,
    total_ms: u64,
    auth_ms: u64,
    db_ms: u64,
    zoom_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    zoom_calls: Vec<ZoomCall>,
}

/// Runs a request through a handler. Never fails: whatever happens becomes an answer.
///
/// `request` is an error where its address or its headers could not be read.
pub async fn serve(
    app: &App,
    endpoint: &Endpoint,
    request: Result<Request<Body>, Error>,
    handler: impl AsyncFnOnce(&RequestContext<'_>) -> Result<Answer, Error>,
) -> Answer {
    let start = now();
    let id = random::bytes().map_or(Uuid::nil(), |bytes| uuid::Builder::from_random_bytes(bytes).into_uuid());
    let timings = Arc::new(Timings::default());
    let mut caller = json!({"kind": "anonymous"});
    let mut code = "ok";
    let (method, origin) = match &request {
        Ok(request) => (request.method().clone(), request.headers().get(header::ORIGIN).cloned()),
        Err(_) => (endpoint.method.clone(), None),
    };

    let asked_for = request.as_ref().ok().and_then(check::asked_for).map(str::to_owned);

    let outcome = match (&app.config, request) {
        (config, Ok(request)) if asked_for.as_deref() == Some("configuration") => {
            let apikey = request.headers().get("apikey").and_then(|value| value.to_str().ok());
            check::configuration(endpoint, config.as_ref().err(), apikey, app.secret_keys.as_ref())
        }
        (Err(error), _) => {
            log::write(&json!({"event": "misconfigured", "function": endpoint.name, "problem": error.to_string()}));
            Err(Error::Misconfigured)
        }
        (_, Err(error)) => Err(error),
        (Ok(_), Ok(request)) if method == Method::OPTIONS => Ok(preflight(endpoint, request.headers())),
        (Ok(_), _) if method != endpoint.method && asked_for.is_none() => {
            Err(Error::MethodNotAllowed(endpoint.method.clone()))
        }
        (Ok(config), Ok(request)) => {
            let call = RequestContext::new(id, config, &app.users, Arc::clone(&timings), request);
            let outcome = match &asked_for {
                Some(what) => check::answer(&call, what).await,
                None => handler(&call).await,
            };
            (caller, code) = call.into_log();
            outcome
        }
    };

    let (code, detail) = match &outcome {
        Ok(_) => (code, None),
        Err(Error::Internal(detail)) => ("internal", Some(*detail)),
        Err(error) => (error.code(), None),
    };
    let mut answer = outcome.unwrap_or_else(|error| refusal(&error, id));
    let [auth_ms, db_ms, zoom_ms] = timings.all();
    log::write(&Line {
        event: "request",
        function: endpoint.name,
        request_id: id,
        method: method.as_str(),
        caller,
        code,
        status: answer.status().as_u16(),
        total_ms: millis_since(start),
        auth_ms,
        db_ms,
        zoom_ms,
        detail,
        zoom_calls: timings.take_zoom_calls(),
    });

    let allowed = app
        .config
        .as_ref()
        .map_or(&AllowedOrigins::Any, |config| &config.allowed_origins);
    let timing = format!("auth;dur={auth_ms}, db;dur={db_ms}, zoom;dur={zoom_ms}");
    add_common_headers(answer.headers_mut(), id, timing, allowed, origin.as_ref());
    answer
}

/// What browsers may send: whatever they ask for, since new clients bring new headers and none is of any danger here.
fn preflight(endpoint: &Endpoint, asked: &HeaderMap) -> Answer {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let methods = format!("{}, OPTIONS", endpoint.method);
    let headers = answer.headers_mut();
    if let Ok(methods) = HeaderValue::from_str(&methods) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    let usual = HeaderValue::from_static("authorization, x-client-info, apikey, content-type, idempotency-key");
    let asked = asked
        .get(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .filter(|names| is_list_of_names(names.as_bytes()));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.cloned().unwrap_or(usual));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    answer
}

fn is_list_of_names(text: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b',' | b' ');
    !text.is_empty() && text.len() <= 2_000 && text.iter().all(fits)
}

fn refusal(error: &Error, id: Uuid) -> Answer {
    let mut answer = Response::new(Bytes::from(error.to_body(id).to_string()));
    *answer.status_mut() = error.status();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in error.headers() {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    answer
}

fn add_common_headers(
    headers: &mut HeaderMap,
    id: Uuid,
    timing: String,
    allowed: &AllowedOrigins,
    origin: Option<&HeaderValue>,
) {
    let computed = [
        (HeaderName::from_static("x-request-id"), id.to_string()),
        (HeaderName::from_static("server-timing"), timing),
    ];
    for (name, value) in computed {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("x-request-id, server-timing, retry-after"),
    );
    match (allowed, origin) {
        (AllowedOrigins::Any, _) => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        // Several origins in one header are refused by browsers: the one that asks is echoed, if it may.
        (AllowedOrigins::Only(origins), origin) => {
            headers.insert(header::VARY, HeaderValue::from_static("origin"));
            let echoed = origin.filter(|origin| origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()));
            if let Some(origin) = echoed {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::call::{body, json_answer};

    const ENDPOINT: Endpoint = Endpoint {
        name: "echo",
        method: Method::POST,
        needs: &[],
    };

    fn app(origins: &str) -> App {
        let origins = origins.to_owned();
        App::new(
            move |name| match name {
                "SUPABASE_URL" => Some("http://127.0.0.1:1".to_owned()),
                "SUPABASE_SECRET_KEY" => Some("sb_secret_1".to_owned()),
                "ALLOWED_ORIGINS" => Some(origins.clone()),
                _ => None,
            },
            &ENDPOINT,
        )
    }

    async fn answer(app: &App, request: Request<&'static str>) -> Answer {
        let request = request.map(|text| body(Bytes::from(text)));
        serve(app, &ENDPOINT, Ok(request), async |call: &RequestContext<'_>| {
            call.service()?;
            let mut fields = call.fields().await?;
            let name = fields.required("name", crate::input::text(1, 10));
            fields.finish()?;
            json_answer(&json!({"name": name, "q": call.query("q")}))
        })
        .await
    }

    fn request() -> http::request::Builder {
        Request::post("http://x/functions/v1/echo?q=a%20b+c&q=d")
            .header("apikey", "sb_secret_1")
            .header("content-type", "application/json; charset=utf-8")
    }

    fn code(answer: &Answer) -> (u16, String) {
        let body: Value = serde_json::from_slice(answer.body()).unwrap();
        (
            answer.status().as_u16(),
            body["code"].as_str().unwrap_or("ok").to_owned(),
        )
    }

    #[tokio::test]
    async fn an_answer_carries_what_every_answer_carries() {
        let app = app("*");
        let answer = answer(&app, request().body(r#"{"name":"x"}"#).unwrap()).await;
        assert_eq!(answer.status(), 200);
        let body: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(body, json!({"name": "x", "q": "a b c"}));
        let header = |name| answer.headers()[name].to_str().unwrap();
        assert!(Uuid::try_parse(header("x-request-id")).is_ok());
        assert_eq!(header("server-timing"), "auth;dur=0, db;dur=0, zoom;dur=0");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("access-control-allow-origin"), "*");
    }

    #[tokio::test]
    async fn what_is_wrong_is_told_by_code() {
        let app = app("*");
        let cases: Vec<(Request<&'static str>, u16, &str)> = vec![
            (Request::get("http://x/").body("").unwrap(), 405, "method_not_allowed"),
            (Request::head("http://x/").body("").unwrap(), 405, "method_not_allowed"),
            (Request::post("http://x/").body("{}").unwrap(), 401, "unauthorized"),
            (request().body("").unwrap(), 400, "invalid_json"),
            (request().body("[]").unwrap(), 400, "invalid_json"),
            (request().body(r#"{"name":"x"#).unwrap(), 400, "invalid_json"),
            (
                request().body(r#"{"name":"x","other":1}"#).unwrap(),
                400,
                "invalid_request",
            ),
            (
                Request::post("http://x/")
                    .header("apikey", "sb_secret_1")
                    .header("content-type", "text/plain")
                    .body("{}")
                    .unwrap(),
                415,
                "unsupported_media_type",
            ),
        ];
        for (request, status, expected) in cases {
            let described = format!("{request:?}");
            assert_eq!(
                code(&answer(&app, request).await),
                (status, expected.to_owned()),
                "{described}"
            );
        }
    }

    #[tokio::test]
    async fn an_incomplete_configuration_is_told_in_general_words() {
        let app = App::new(|_| None, &ENDPOINT);
        let answer = answer(&app, request().body("{}").unwrap()).await;
        assert_eq!(code(&answer), (500, "misconfigured".to_owned()));
        assert!(!String::from_utf8_lossy(answer.body()).contains("SUPABASE"));
    }

    #[tokio::test]
    async fn browsers_may_call_from_allowed_origins_only() {
        let app = app("https://a.example, https://b.example");
        for (origin, echoed) in [
            ("https://b.example", Some("https://b.example")),
            ("https://c.example", None),
            ("https://b.example.evil", None),
        ] {
            let preflight = Request::options("http://x/").header("origin", origin).body("").unwrap();
            let answer = answer(&app, preflight).await;
            assert_eq!(answer.status(), 204);
            let allowed = answer
                .headers()
                .get("access-control-allow-origin")
                .map(|value| value.to_str().unwrap());
            assert_eq!(allowed, echoed);
            assert_eq!(answer.headers()["vary"], "origin");
            assert_eq!(answer.headers()["access-control-allow-methods"], "POST, OPTIONS");
            assert!(answer.headers()["access-control-allow-headers"]
                .to_str()
                .unwrap()
                .contains("idempotency-key"));
        }
    }

    #[tokio::test]
    async fn apps_with_a_scheme_of_their_own_may_call_and_opaque_origins_may_not() {
        let app = app("capacitor://localhost, http://localhost:8080, app://host:1");
        for (origin, may) in [
            ("capacitor://localhost", true),
            ("http://localhost:8080", true),
            ("app://host:1", true),
            ("null", false),
            ("capacitor://elsewhere", false),
            ("http://localhost", false),
        ] {
            let preflight = Request::options("http://x/").header("origin", origin).body("").unwrap();
            let answer = answer(&app, preflight).await;
            let allowed = answer.headers().get("access-control-allow-origin");
            assert_eq!(allowed.is_some(), may, "{origin}");
        }
        for wrong in ["null", "capacitor:", "data:x", "about:blank", "localhost"] {
            let app = super::App::new(
                |name| match name {
                    "SUPABASE_URL" => Some("http://127.0.0.1:1".to_owned()),
                    "SUPABASE_SECRET_KEY" => Some("sb_secret_1".to_owned()),
                    "ALLOWED_ORIGINS" => Some(wrong.to_owned()),
                    _ => None,
                },
                &ENDPOINT,
            );
            assert_eq!(
                code(&answer(&app, request().body("{}").unwrap()).await).0,
                500,
                "{wrong}"
            );
        }
    }

    #[tokio::test]
    async fn a_preflight_allows_the_headers_that_are_asked_for() {
        let app = app("*");
        for (asked, allowed) in [
            ("x-region, x-supabase-api-version,sentry-trace", true),
            ("X-Client-Info", true),
            ("<script>", false),
            ("", false),
        ] {
            let preflight = Request::options("http://x/")
                .header("access-control-request-headers", asked)
                .body("")
                .unwrap();
            let answer = answer(&app, preflight).await;
            let heard = answer.headers()["access-control-allow-headers"]
                .to_str()
                .unwrap()
                .to_owned();
            assert_eq!(heard == asked, allowed, "{asked}: {heard}");
        }
    }
}
