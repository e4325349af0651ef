//! The edge runtime: the only module that knows it. A request comes in as the host's, becomes plain `http` types for
//! [`crate::call::serve`], and the answer goes back.

use std::cell::OnceCell;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{request::Parts, HeaderName, HeaderValue, Request};

use crate::{
    call::{self, Answer, App, Call, Endpoint, MAX_BODY_BYTES},
    error::Error,
};

thread_local! {
    // One function per isolate, so one app; leaked once, since it lives as long as the isolate.
    static APP: OnceCell<&'static App> = const { OnceCell::new() };
}

/// Runs one request of the host through a function's handler.
///
/// # Errors
/// Only when the host refuses to build a response at all.
pub async fn serve(
    mut request: worker::Request,
    env: worker::Env,
    endpoint: &Endpoint,
    handler: impl AsyncFnOnce(&Call<'_>) -> Result<Answer, Error>,
) -> worker::Result<worker::Response> {
    let app = app(&env, endpoint);
    let (parts, body) = match parts(&request) {
        Ok(parts) => (parts, read_body(&mut request).await),
        Err(error) => {
            let (mut parts, ()) = Request::new(()).into_parts();
            parts.method = endpoint.method.clone();
            (parts, Err(error))
        }
    };
    let answer = call::serve(app, endpoint, parts, body, handler).await;
    respond(answer)
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

fn parts(request: &worker::Request) -> Result<Parts, Error> {
    let unreadable = |_| Error::field("request", "has an address or headers that cannot be read");
    let address = request.inner().url();
    let mut built = Request::builder()
        .method(request.inner().method().as_str())
        .uri(address)
        .body(())
        .map_err(|_| unreadable(()))?;
    for (name, value) in request.headers().entries() {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unreadable(()))?;
        // Bytes beyond ASCII are allowed, and hosts add headers of their own that have some.
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| unreadable(()))?;
        built.headers_mut().append(name, value);
    }
    Ok(built.into_parts().0)
}

/// What is read at most of a body that is too large, in bytes.
const MAX_DISCARDED_BYTES: usize = 4 * 1024 * 1024;

/// Reads the body up to the limit, whatever its length is said to be. What goes beyond is read and thrown away, so that a
/// client that is still sending hears why it was refused; one that sends without end is cut off. The body of a `GET` means
/// nothing, and not every host passes it on.
async fn read_body(request: &mut worker::Request) -> Result<Bytes, Error> {
    if request.method() == worker::Method::Get {
        return Ok(Bytes::new());
    }
    let Ok(mut stream) = request.stream() else {
        return Ok(Bytes::new());
    };
    let mut body = Vec::new();
    let mut length = 0_usize;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Error::InvalidJson)?;
        length = length.saturating_add(chunk.len());
        if length > MAX_DISCARDED_BYTES {
            break;
        }
        if length <= MAX_BODY_BYTES {
            body.extend_from_slice(&chunk);
        }
    }
    if length > MAX_BODY_BYTES {
        return Err(Error::PayloadTooLarge(MAX_BODY_BYTES / 1024));
    }
    Ok(body.into())
}

fn respond(answer: Answer) -> worker::Result<worker::Response> {
    let (parts, body) = answer.into_parts();
    let headers = worker::Headers::new();
    for (name, value) in &parts.headers {
        headers.append(name.as_str(), value.to_str().unwrap_or_default())?;
    }
    let response = if body.is_empty() {
        worker::Response::empty()?
    } else {
        worker::Response::from_bytes(body.to_vec())?
    };
    Ok(response.with_status(parts.status.as_u16()).with_headers(headers))
}

/// Runs a job that the host's clock has started. Its outcome is in the log line.
pub async fn run_scheduled(
    env: worker::Env,
    endpoint: &Endpoint,
    job: impl AsyncFnOnce(&Call<'_>) -> Result<Answer, Error>,
) {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = endpoint.method.clone();
    call::serve(app(&env, endpoint), endpoint, parts, Ok(Bytes::new()), job).await;
}
