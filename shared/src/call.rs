//! One request on its way through a function: who calls, what it carries, which services it may use, and the answer.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::{header, request::Parts, HeaderValue, Method, Request, Response};
use serde::Serialize;
use serde_json::{json, Value};
use uuid::Uuid;

use crate::{
    auth::{self, Service, User, UserVerifier},
    config::{Config, Need},
    db::Database,
    error::Error,
    input::Fields,
    log::Timings,
    outbound::Calls,
    time::{millis_since, now},
    zoom::Zoom,
};

/// The largest request body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// The headers of a request that anything here reads. Others are not fetched from the host.
pub const WANTED_HEADERS: [&str; 8] = [
    "access-control-request-headers",
    "apikey",
    "authorization",
    "content-type",
    "idempotency-key",
    "origin",
    "x-zm-request-timestamp",
    "x-zm-signature",
];

/// Marks a request as the host's clock's, which no caller from outside can.
#[derive(Debug, Clone, Copy)]
pub struct ByClock;

/// A request's body, which is read when somebody waits for it: who is refused before that costs less.
pub type Body = LocalBoxFuture<'static, Result<Bytes, Error>>;

/// A body that is here already.
pub fn body(bytes: Bytes) -> Body {
    Box::pin(std::future::ready(Ok(bytes)))
}

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

/// One request, and the services that its handler may use.
pub struct RequestContext<'a> {
    /// A fresh id, which is in the answer, in the log line and in our calls to the database.
    pub id: Uuid,
    /// The function's configuration.
    pub config: &'a Config,
    /// The database, as the service role sees it.
    pub db: Database,
    client: reqwest::Client,
    users: &'a UserVerifier,
    timings: Arc<Timings>,
    calls: Arc<Calls>,
    caller: Mutex<Value>,
    code: Mutex<&'static str>,
    parts: Parts,
    body: Mutex<Option<Body>>,
}

impl RequestContext<'_> {
    /// A request as it came.
    pub(crate) fn new<'a>(
        id: Uuid,
        config: &'a Config,
        users: &'a UserVerifier,
        timings: Arc<Timings>,
        request: Request<Body>,
    ) -> RequestContext<'a> {
        let (parts, body) = request.into_parts();
        let calls = Arc::new(Calls::default());
        RequestContext {
            id,
            config,
            db: Database::new(&config.supabase, id, Arc::clone(&timings), Arc::clone(&calls)),
            client: reqwest::Client::new(),
            users,
            timings,
            calls,
            caller: Mutex::new(json!({"kind": "anonymous"})),
            code: Mutex::new("ok"),
            parts,
            body: Mutex::new(Some(body)),
        }
    }

    /// What the log says of the caller, and how it ended.
    pub(crate) fn into_log(self) -> (Value, &'static str) {
        (
            self.caller.into_inner().unwrap_or_else(PoisonError::into_inner),
            self.code.into_inner().unwrap_or_else(PoisonError::into_inner),
        )
    }

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

    /// Whether the keys that sign users' tokens can be read.
    ///
    /// # Errors
    /// [`Error::ServiceUnavailable`].
    pub async fn key_set(&self) -> Result<(), Error> {
        self.users.key_set(self.config, &self.client).await
    }

    /// The caller as a service of the project: it presents a secret key in `apikey`, or is the host's clock.
    ///
    /// # Errors
    /// [`Error::Unauthorized`].
    pub fn service(&self) -> Result<Service, Error> {
        if self.parts.extensions.get::<ByClock>().is_some() {
            self.set_caller(json!({"kind": "cron"}));
            return Ok(Service);
        }
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
            Arc::clone(&self.calls),
        ))
    }

    /// A header's text; `None` when it is absent or not UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.raw_header(name)?).ok()
    }

    /// The bytes of one of the `WANTED_HEADERS`.
    pub fn raw_header(&self, name: &str) -> Option<&[u8]> {
        Some(self.parts.headers.get(name)?.as_bytes())
    }

    /// A parameter of the query string, decoded. The first counts where it stands twice.
    pub fn query(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.parts.uri.query().unwrap_or_default().as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// Reads the body, once: its bytes as they came.
    ///
    /// # Errors
    /// [`Error::PayloadTooLarge`], [`Error::InvalidJson`] for one that breaks off.
    pub async fn body(&self) -> Result<Bytes, Error> {
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner).take();
        match body {
            Some(body) => body.await,
            None => Err(Error::Internal("the body was read twice")),
        }
    }

    /// Reads the JSON object in the body, to be taken apart field by field.
    ///
    /// # Errors
    /// [`Error::UnsupportedMediaType`], [`Error::InvalidJson`], and those of [`RequestContext::body`].
    pub async fn fields(&self) -> Result<Fields, Error> {
        let media_type = self.header(header::CONTENT_TYPE.as_str()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err(Error::UnsupportedMediaType);
        }
        match serde_json::from_slice(&self.body().await?) {
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
