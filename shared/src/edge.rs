//! The edge runtime: the only module that knows it. A request comes in as the host's, becomes plain `http` types for
//! [`crate::serve::serve`], and the answer goes back.

use std::cell::OnceCell;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use wasm_bindgen::JsValue;

use crate::{
    call::{self, Answer, Body, Endpoint, RequestContext, MAX_BODY_BYTES, WANTED_HEADERS},
    error::Error,
    serve::{self, App},
};

/// A request as the host's.
pub use web_sys::Request as HostRequest;
/// An answer as the host's.
pub use web_sys::Response as HostResponse;

/// The host refused to build a response. (The `worker` crate's own error brings the texts of all of its parts.)
#[derive(Debug, thiserror::Error)]
#[error("the host refused to build a response")]
pub struct NoResponse;

thread_local! {
    // One function per isolate, so one app; leaked once, since it lives as long as the isolate.
    static APP: OnceCell<&'static App> = const { OnceCell::new() };
}

/// Runs one request of the host through a function's handler.
///
/// # Errors
/// [`NoResponse`].
pub async fn serve(
    request: HostRequest,
    env: worker::Env,
    endpoint: &Endpoint,
    handler: impl AsyncFnOnce(&RequestContext<'_>) -> Result<Answer, Error>,
) -> Result<HostResponse, NoResponse> {
    let answer = serve::serve(app(&env, endpoint), endpoint, read(&request), handler).await;
    // A host may close the connection of a client whose body it has not read, while that sends its next request.
    if js::has_unread_body(&request) {
        // A body that breaks off is thrown away as well.
        let _ = js::discard_body(&request, MAX_BODY_BYTES, MAX_DISCARDED_BYTES).await;
    }
    let (parts, body) = answer.into_parts();
    js::respond(parts.status.as_u16(), &lines(&parts.headers), &body).map_err(|_| NoResponse)
}

/// Runs a function because the host's clock says so. Its outcome is in the log line.
pub async fn run_scheduled(
    env: worker::Env,
    endpoint: &Endpoint,
    handler: impl AsyncFnOnce(&RequestContext<'_>) -> Result<Answer, Error>,
) {
    let mut request = Request::new(call::body(Bytes::new()));
    *request.method_mut() = endpoint.method.clone();
    request.extensions_mut().insert(call::ByClock);
    serve::serve(app(&env, endpoint), endpoint, Ok(request), handler).await;
}

/// The isolate's app, its configuration read once.
pub fn app(env: &worker::Env, endpoint: &Endpoint) -> &'static App {
    APP.with(|app| {
        *app.get_or_init(|| {
            let variable = |name: &str| env.var(name).ok().map(|value| value.to_string());
            Box::leak(Box::new(App::new(variable, endpoint)))
        })
    })
}

/// The request with the headers that anybody here reads. Its body is read when it is asked for.
fn read(request: &HostRequest) -> Result<Request<Body>, Error> {
    let unreadable = || Error::field("request", "has an address or headers that cannot be read");
    let head = js::read_head(request, &WANTED_HEADERS.join("\n"));
    let mut head = head.split('\n');
    // Not `request.clone()`: the host's request has a method of that name that copies the body.
    let mut read = Request::builder()
        .method(head.next().unwrap_or_default())
        .uri(head.next().unwrap_or_default())
        .body(read_body(Clone::clone(request)))
        .map_err(|_| unreadable())?;
    *read.headers_mut() = read_headers(head).ok_or_else(unreadable)?;
    Ok(read)
}

/// What is read at most of a body that is too large, in bytes.
const MAX_DISCARDED_BYTES: usize = 4 * 1024 * 1024;

/// Reads the body up to the limit. The body of a `GET` means nothing, and not every host passes it on.
fn read_body(request: HostRequest) -> Body {
    Box::pin(async move {
        if request.method() == "GET" {
            return Ok(Bytes::new());
        }
        match js::read_body(&request, MAX_BODY_BYTES, MAX_DISCARDED_BYTES).await {
            Ok(body) if body.is_null() => Err(Error::PayloadTooLarge(MAX_BODY_BYTES / 1024)),
            Ok(body) => Ok(js_sys::Uint8Array::from(body).to_vec().into()),
            Err(_) => Err(Error::InvalidJson),
        }
    })
}

/// Headers as they cross: a name and its value, each on a line. One that is not text is left out.
pub(crate) fn lines(headers: &HeaderMap) -> String {
    let mut lines = String::new();
    for (name, value) in headers {
        if let Ok(value) = value.to_str() {
            lines.extend([name.as_str(), "\n", value, "\n"]);
        }
    }
    lines
}

/// Reads what [`lines`] writes. Bytes beyond ASCII are allowed: people's devices add headers that have some.
pub(crate) fn read_headers<'a>(mut lines: impl Iterator<Item = &'a str>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    while let (Some(name), Some(value)) = (lines.next(), lines.next()) {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    Some(headers)
}

/// Our own JavaScript, which `edge.mjs` describes.
pub(crate) mod js {
    use wasm_bindgen::prelude::wasm_bindgen;

    use super::{HostRequest, HostResponse, JsValue};

    #[wasm_bindgen(module = "/src/edge.mjs")]
    extern "C" {
        #[wasm_bindgen(js_name = readHead)]
        pub fn read_head(request: &HostRequest, names: &str) -> String;

        #[wasm_bindgen(js_name = readBody, catch)]
        pub async fn read_body(request: &HostRequest, most: usize, longest: usize) -> Result<JsValue, JsValue>;

        #[wasm_bindgen(js_name = hasUnreadBody)]
        pub fn has_unread_body(request: &HostRequest) -> bool;

        #[wasm_bindgen(js_name = discardBody, catch)]
        pub async fn discard_body(request: &HostRequest, most: usize, longest: usize) -> Result<JsValue, JsValue>;

        #[wasm_bindgen(catch)]
        pub fn respond(status: u16, headers: &str, body: &[u8]) -> Result<HostResponse, JsValue>;

        pub async fn send(
            method: &str,
            url: &str,
            headers: &str,
            body: &[u8],
            milliseconds: u32,
            names: &str,
        ) -> JsValue;
    }

    /// The three parts of what `send` gives.
    pub fn parts(answer: &JsValue) -> Option<(u16, String, Vec<u8>)> {
        let parts = js_sys::Array::from(answer);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let status = parts.get(0).as_f64()? as u16;
        Some((
            status,
            parts.get(1).as_string()?,
            js_sys::Uint8Array::from(parts.get(2)).to_vec(),
        ))
    }
}
