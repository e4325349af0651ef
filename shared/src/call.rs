//! One request on its way through a function: who calls, what it carries, which services it may use, and the answer.
//!
//! [`serve`] is what every function's entry point hands its handler to. It answers CORS preflights, checks the method,
//! turns errors into answers, adds the headers that every answer carries, and writes one log line.

use std::sync::{
    atomic::{AtomicU64, Ordering},
    Arc, Mutex, PoisonError,
};

use bytes::Bytes;
use http::{header, request::Parts, HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use serde::Serialize;
use serde_json::{json, Value};
use uuid::Uuid;

use crate::{
    auth::{self, Service, User, UserVerifier},
    config::{AllowedOrigins, Config, ConfigError, Need},
    db::Database,
    error::Error,
    input::Fields,
    random,
    time::{millis_since, now},
    zoom::Zoom,
};

/// The largest request body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// What a function is, besides its handler.
#[derive(Debug)]
pub struct Endpoint {
    /// The function's name, as in its address.
    pub name: &'static str,
    /// The one method that it answers.
    pub method: Method,
    /// The configuration that it demands.
    pub needs: &'static [Need],
}

/// What an isolate keeps between requests: configuration and the key set. Nothing with I/O in it, since that may not
/// outlive its request at the edge.
#[derive(Debug)]
pub struct App {
    config: Result<Config, ConfigError>,
    users: UserVerifier,
}

impl App {
    /// Reads the configuration for a function.
    pub fn new(variable: impl Fn(&str) -> Option<String>, endpoint: &Endpoint) -> Self {
        Self {
            config: Config::read(variable, endpoint.needs),
            users: UserVerifier::default(),
        }
    }
}

/// Time spent waiting for others, in milliseconds: for `Server-Timing` and the log.
#[derive(Debug, Default)]
pub struct Timings {
    auth: AtomicU64,
    db: AtomicU64,
    zoom: AtomicU64,
}

impl Timings {
    /// Adds time spent on the caller's identity.
    pub fn add_auth(&self, millis: u64) {
        self.auth.fetch_add(millis, Ordering::Relaxed);
    }

    /// Adds time spent waiting for the database.
    pub fn add_db(&self, millis: u64) {
        self.db.fetch_add(millis, Ordering::Relaxed);
    }

    /// Adds time spent waiting for Zoom.
    pub fn add_zoom(&self, millis: u64) {
        self.zoom.fetch_add(millis, Ordering::Relaxed);
    }

    fn all(&self) -> [(&'static str, u64); 3] {
        [
            ("auth", self.auth.load(Ordering::Relaxed)),
            ("db", self.db.load(Ordering::Relaxed)),
            ("zoom", self.zoom.load(Ordering::Relaxed)),
        ]
    }
}

/// One request, and the services that its handler may use.
pub struct Call<'a> {
    /// A fresh id, which is in the answer, in the log line and in our calls to the database.
    pub id: Uuid,
    /// The function's configuration.
    pub config: &'a Config,
    /// The database, as the service role sees it.
    pub db: Database,
    client: reqwest::Client,
    users: &'a UserVerifier,
    timings: Arc<Timings>,
    caller: Mutex<Value>,
    code: Mutex<&'static str>,
    parts: Parts,
    body: Bytes,
}

impl Call<'_> {
    /// The caller as a user of the app.
    ///
    /// # Errors
    /// As [`UserVerifier::verify`]; [`Error::Unauthorized`] without a bearer token.
    pub async fn user(&self) -> Result<User, Error> {
        let token = self
            .header(header::AUTHORIZATION.as_str())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or(Error::Unauthorized)?;
        let start = now();
        let user = self.users.verify(token, self.config, &self.client).await;
        self.timings.add_auth(millis_since(start));
        let user = user?;
        self.set_caller(json!({"kind": "user", "user_id": user.id}));
        Ok(user)
    }

    /// The caller as a service of the project: it presents a secret key in `apikey`.
    ///
    /// # Errors
    /// [`Error::Unauthorized`].
    pub fn service(&self) -> Result<Service, Error> {
        let service = auth::service(self.header("apikey"), &self.config.supabase.secret_keys)?;
        self.set_caller(json!({"kind": "service"}));
        Ok(service)
    }

    /// Zoom, for a function that demands [`Need::Zoom`].
    ///
    /// # Errors
    /// [`Error::Internal`] in any other function.
    pub fn zoom(&self) -> Result<Zoom<'_>, Error> {
        Ok(Zoom::new(
            self.config.zoom()?,
            &self.db,
            self.client.clone(),
            self.id,
            Arc::clone(&self.timings),
        ))
    }

    /// A header's text; `None` when it is absent or not UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.raw_header(name)?).ok()
    }

    /// A header's bytes.
    pub fn raw_header(&self, name: &str) -> Option<&[u8]> {
        Some(self.parts.headers.get(name)?.as_bytes())
    }

    /// A parameter of the query string, decoded. The first counts where it stands twice.
    pub fn query(&self, name: &str) -> Option<String> {
        form_pairs(self.parts.uri.query().unwrap_or_default())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// The body's bytes as they came.
    pub fn raw_body(&self) -> &[u8] {
        &self.body
    }

    /// The JSON object in the body, to be taken apart field by field.
    ///
    /// # Errors
    /// [`Error::UnsupportedMediaType`], [`Error::InvalidJson`].
    pub fn fields(&self) -> Result<Fields, Error> {
        let media_type = self.header(header::CONTENT_TYPE.as_str()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err(Error::UnsupportedMediaType);
        }
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(fields)) => Ok(Fields::new(fields)),
            _ => Err(Error::InvalidJson),
        }
    }

    /// Says in the log line what kind of caller this is: a kind and ids, nothing else.
    pub fn set_caller(&self, caller: Value) {
        *self.caller.lock().unwrap_or_else(PoisonError::into_inner) = caller;
    }

    /// Says in the log line how it ended, where an answer that is no error has more than one meaning.
    pub fn set_code(&self, code: &'static str) {
        *self.code.lock().unwrap_or_else(PoisonError::into_inner) = code;
    }
}

/// Decodes `application/x-www-form-urlencoded` pairs; what is not UTF-8 after decoding is replaced.
fn form_pairs(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    // A URL parser does this already; it only wants a URL around the text.
    reqwest::Url::parse("http://query.invalid/")
        .map(|mut url| {
            url.set_query(Some(text));
            url.query_pairs().into_owned().collect::<Vec<_>>()
        })
        .unwrap_or_default()
        .into_iter()
}

/// A handler's answer.
pub type Answer = Response<Bytes>;

/// 200 with a JSON body.
///
/// # Errors
/// [`Error::Internal`] for a value that is not JSON.
pub fn json_answer(value: &impl Serialize) -> Result<Answer, Error> {
    let body = serde_json::to_vec(value).map_err(|_| Error::Internal("the answer is not JSON"))?;
    let mut answer = Response::new(body.into());
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(answer)
}

/// Writes one JSON line to the log of the edge. Callers put ids and codes in it, never secrets or personal data.
pub fn log(line: &Value) {
    #[cfg(target_arch = "wasm32")]
    worker::console_log!("{line}");
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{line}");
}

/// Runs a request through a handler. Never fails: whatever happens becomes an answer.
///
/// `body` is an error where the request could not be read: too large, or headers that are none.
pub async fn serve(
    app: &App,
    endpoint: &Endpoint,
    parts: Parts,
    body: Result<Bytes, Error>,
    handler: impl AsyncFnOnce(&Call<'_>) -> Result<Answer, Error>,
) -> Answer {
    let start = now();
    let id = random::bytes().map_or(Uuid::nil(), |bytes| uuid::Builder::from_random_bytes(bytes).into_uuid());
    let timings = Arc::new(Timings::default());
    let mut caller = json!({"kind": "anonymous"});
    let mut code = "ok";
    let origin = parts.headers.get(header::ORIGIN).cloned();
    let method = parts.method.clone();

    let outcome = match &app.config {
        Ok(_) if method == Method::OPTIONS => Ok(preflight(endpoint)),
        Ok(_) if method != endpoint.method => Err(Error::MethodNotAllowed(endpoint.method.clone())),
        Ok(config) => match body {
            Ok(body) => {
                let call = Call {
                    id,
                    config,
                    db: Database::new(&config.supabase, id, Arc::clone(&timings)),
                    client: reqwest::Client::new(),
                    users: &app.users,
                    timings: Arc::clone(&timings),
                    caller: Mutex::new(caller.clone()),
                    code: Mutex::new(code),
                    parts,
                    body,
                };
                let outcome = handler(&call).await;
                caller = call.caller.into_inner().unwrap_or_else(PoisonError::into_inner);
                code = call.code.into_inner().unwrap_or_else(PoisonError::into_inner);
                outcome
            }
            Err(error) => Err(error),
        },
        Err(error) => {
            log(&json!({"event": "misconfigured", "function": endpoint.name, "problem": error.to_string()}));
            Err(Error::Misconfigured)
        }
    };

    let mut line = json!({
        "event": "request", "function": endpoint.name, "request_id": id, "method": method.as_str(), "caller": caller,
        "code": outcome.as_ref().map_or_else(Error::code, |_| code), "total_ms": millis_since(start),
    });
    if let Some(line) = line.as_object_mut() {
        for (name, millis) in timings.all() {
            line.insert(format!("{name}_ms"), json!(millis));
        }
        if let Err(Error::Internal(detail)) = &outcome {
            line.insert("detail".to_owned(), json!(detail));
        }
    }
    let mut answer = outcome.unwrap_or_else(|error| refusal(&error, id));
    if let Some(line) = line.as_object_mut() {
        line.insert("status".to_owned(), json!(answer.status().as_u16()));
    }
    log(&line);

    let allowed = app
        .config
        .as_ref()
        .map_or(&AllowedOrigins::Any, |config| &config.allowed_origins);
    add_common_headers(answer.headers_mut(), id, &timings, allowed, origin.as_ref());
    answer
}

fn preflight(endpoint: &Endpoint) -> Answer {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let methods = format!("{}, OPTIONS", endpoint.method);
    let headers = answer.headers_mut();
    if let Ok(methods) = HeaderValue::from_str(&methods) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "authorization, x-client-info, apikey, content-type, x-retry-count, traceparent, tracestate, baggage, idempotency-key",
        ),
    );
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    answer
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
    timings: &Timings,
    allowed: &AllowedOrigins,
    origin: Option<&HeaderValue>,
) {
    let timing = timings
        .all()
        .map(|(name, millis)| format!("{name};dur={millis}"))
        .join(", ");
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
        let (parts, body) = request.into_parts();
        serve(app, &ENDPOINT, parts, Ok(Bytes::from(body)), async |call: &Call<'_>| {
            call.service()?;
            let mut fields = call.fields()?;
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
}
