//! The one origin that a client sees, as on the platform: `/rest/v1` is PostgREST, `/auth/v1` the auth issuer,
//! `/functions/v1` the edge functions, and `/` the web app.
//!
//! The edge functions get out through a second listener, a forward proxy that lets them reach this origin and the Zoom
//! simulator alone. So the record of requests tells their calls from everybody else's, and none leaves the machine.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{bail, Context, Result};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::uri::{Authority, PathAndQuery, Scheme};
use axum::http::{header, HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower_http::cors::{AllowHeaders, AllowMethods, Any, CorsLayer};
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::auth_issuer::{self, Issuer};
use crate::gateway_faults::{self, GatewayFault, GatewayFaults};
use crate::later_release;
use crate::leaks::{Answer, Reader};
use crate::places;
use crate::processes::{Logs, Output};
use crate::sequence;

/// No answer here is longer, in bytes.
const MAX_KEPT_ANSWER: usize = 64 * 1024 * 1024;

/// What a static host says by `app/_headers`, and a page cannot say of itself: no other page may frame it.
const WEB_CLIENT_POLICY: &str = "frame-ancestors 'none'";

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// An edge function.
    Edge,
    /// Anybody else: a client, a test, Zoom.
    Outside,
}

/// A request to the gateway.
#[derive(Clone, Debug)]
pub struct LoggedRequest {
    /// `GET`, `POST`, …
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Without the question mark; empty if there is none.
    pub query: String,
    /// Who sent it.
    pub caller: Caller,
    /// The header `x-request-id` of the request, else of the answer.
    pub x_request_id: Option<String>,
    /// The status of the answer, 0 as long as there is none.
    pub status: u16,
    /// Counts on with every request and with every call to Zoom: puts them all in order.
    pub number: u64,
    /// When it arrived.
    pub at: DateTime<Utc>,
}

/// What the gateway needs to know of the stack.
pub(crate) struct Parts {
    pub(crate) authority: Authority,
    pub(crate) publishable_key: String,
    pub(crate) secret_key: String,
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) postgrest_port: u16,
    /// Where the edge functions may go besides this origin.
    pub(crate) zoom: Option<Authority>,
    pub(crate) logs: Logs,
    pub(crate) output: Output,
}

/// The running gateway; dropped, it stops.
pub struct Gateway {
    shared: Arc<Shared>,
    _servers: JoinSet<()>,
}

struct Shared {
    parts: Parts,
    client: Client<HttpConnector, Body>,
    requests: Mutex<Vec<LoggedRequest>>,
    answers: Mutex<Vec<Answer>>,
    faults: Mutex<GatewayFaults>,
    workers: Mutex<Vec<SocketAddr>>,
    next_worker: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gateway {
    /// Serves the origin on `origin` and the edge functions' way out on `egress`.
    pub(crate) fn serve(parts: Parts, origin: TcpListener, egress: TcpListener) -> Self {
        let mut connector = HttpConnector::new();
        // Or every request whose head and body go out separately waits 40 ms for its other side.
        connector.set_nodelay(true);
        // Shorter than any server here keeps an idle connection, so that none is used just as it closes.
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(2))
            .build(connector);
        let shared = Arc::new(Shared {
            parts,
            client,
            requests: Mutex::default(),
            answers: Mutex::default(),
            faults: Mutex::default(),
            workers: Mutex::default(),
            next_worker: AtomicUsize::new(0),
        });
        let router = router(&shared);
        let mut servers = JoinSet::new();
        servers.spawn(serve_egress(shared.clone(), router.clone(), egress));
        servers.spawn(async move {
            // `serve` never ends by itself and retries what can go wrong.
            let origin = origin.tap_io(|stream| drop(stream.set_nodelay(true)));
            let _ = axum::serve(origin, router).await;
        });
        Self {
            shared,
            _servers: servers,
        }
    }

    /// Every request since the start or the last [`Gateway::clear`], in order of arrival. A stack that prints its log
    /// lines keeps none.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        lock(&self.shared.requests).clone()
    }

    /// Every answer to the outside since the start, for the leak check.
    pub(crate) fn answers(&self) -> Vec<Answer> {
        lock(&self.shared.answers).clone()
    }

    /// Forgets the requests so far.
    pub fn clear(&self) {
        lock(&self.shared.requests).clear();
    }

    /// Orders a fault at calls of the edge functions to this origin; gives its id.
    pub fn order(&self, fault: GatewayFault) -> u64 {
        lock(&self.shared.faults).order(fault)
    }

    /// How often a fault has happened; `None` for one that was withdrawn.
    pub fn happened(&self, fault: u64) -> Option<u32> {
        lock(&self.shared.faults).happened(fault)
    }

    /// How many of the calls that a fault happened to are over; `None` for one that was withdrawn.
    pub fn over(&self, fault: u64) -> Option<u32> {
        lock(&self.shared.faults).over(fault)
    }

    /// Takes all faults back, and lets their calls go on.
    pub fn withdraw_all(&self) {
        lock(&self.shared.faults).withdraw_all();
    }

    /// The processes that serve the functions, in turns.
    pub(crate) fn set_workers(&self, workers: Vec<SocketAddr>) {
        *lock(&self.shared.workers) = workers;
    }
}

fn router(shared: &Arc<Shared>) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            header::CONTENT_LOCATION,
            header::CONTENT_RANGE,
            header::LOCATION,
            HeaderName::from_static("preference-applied"),
        ])
        .max_age(Duration::from_secs(3600));
    let keys = middleware::from_fn_with_state(shared.clone(), check_key);
    let api = Router::new()
        .route("/rest/v1", any(rest))
        .route("/rest/v1/{*path}", any(rest))
        .route("/rest/v1/", any(rest))
        .nest_service("/auth/v1", auth_issuer::router(shared.parts.issuer.clone()))
        .layer(keys)
        .layer(cors);
    Router::new()
        .merge(api)
        .route("/functions/v1/{*path}", any(functions))
        .route("/config.json", get(web_client_config))
        .fallback_service(
            Router::new()
                .fallback_service(
                    ServeDir::new(places::repository().join("app")).fallback(any(about).with_state(shared.clone())),
                )
                .layer(SetResponseHeaderLayer::overriding(
                    header::CONTENT_SECURITY_POLICY,
                    HeaderValue::from_static(WEB_CLIENT_POLICY),
                )),
        )
        .layer(middleware::from_fn_with_state(shared.clone(), check_host))
        .layer(middleware::from_fn_with_state(shared.clone(), record))
        .with_state(shared.clone())
}

/// A page elsewhere whose name leads to this machine is none of this origin's pages. Events are signed, and come
/// through a tunnel under any name.
async fn check_host(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let own = shared.parts.authority.as_str();
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| request.uri().authority().map(Authority::as_str));
    // As a person may type it.
    let by_name = own.replace("127.0.0.1", "localhost");
    let is_own = host.is_some_and(|host| host == own || host == by_name);
    if is_own || request.uri().path() == "/functions/v1/zoom-webhook" {
        next.run(request).await
    } else {
        refusal(
            StatusCode::MISDIRECTED_REQUEST,
            "This local stack has another name",
            &format!("Use http://{own}"),
        )
    }
}

async fn record(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let request_id = |headers: &HeaderMap| {
        let value = headers.get("x-request-id")?;
        Some(value.to_str().ok()?.to_owned())
    };
    let mut logged = LoggedRequest {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        caller: *request.extensions().get().unwrap_or(&Caller::Outside),
        x_request_id: request_id(request.headers()),
        status: 0,
        number: sequence::next(),
        at: Utc::now(),
    };
    let keeps = shared.parts.output == Output::Keep;
    if keeps {
        lock(&shared.requests).push(logged.clone());
    }
    let reader = Reader::identify(request.headers(), &shared.parts.secret_key);
    let start = Instant::now();
    let mut response = next.run(request).await;
    if keeps && logged.caller == Caller::Outside {
        response = keep_answer(&shared, reader, format!("{} {}", logged.method, logged.path), response).await;
    }
    logged.status = response.status().as_u16();
    logged.x_request_id = logged.x_request_id.or_else(|| request_id(response.headers()));
    // The query stays out of the log: it may carry codes and keys.
    let line = format!(
        "{} {} {} {} ms{}",
        logged.method,
        logged.path,
        logged.status,
        start.elapsed().as_millis(),
        if logged.caller == Caller::Edge { " (edge)" } else { "" }
    );
    shared.parts.logs.line("gateway", &line);
    if let Some(entry) = lock(&shared.requests)
        .iter_mut()
        .rev()
        .find(|r| r.number == logged.number)
    {
        *entry = logged;
    }
    response
}

/// Reads an answer whole and keeps it.
async fn keep_answer(shared: &Shared, reader: Reader, request: String, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    match axum::body::to_bytes(body, MAX_KEPT_ANSWER).await {
        Ok(body) => {
            lock(&shared.answers).push(Answer {
                reader,
                request,
                body: body.to_vec(),
            });
            Response::from_parts(parts, Body::from(body))
        }
        Err(error) => bad_gateway(&error.into()),
    }
}

fn refusal(status: StatusCode, message: &str, hint: &str) -> Response {
    (status, Json(json!({"message": message, "hint": hint}))).into_response()
}

/// What the platform's gateway does with API keys: an unknown one is refused; a known one becomes the role that
/// PostgREST sees, unless the request carries a user's token.
async fn check_key(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    if request.uri().path() == "/auth/v1/.well-known/jwks.json" {
        return next.run(request).await;
    }
    let query = request.uri().query().unwrap_or_default();
    let in_query = query.split('&').find_map(|pair| pair.strip_prefix("apikey="));
    let headers = request.headers();
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(key) = text(HeaderName::from_static("apikey")).or(in_query) else {
        return refusal(
            StatusCode::UNAUTHORIZED,
            "No API key found in request",
            "No `apikey` request header or url param was found.",
        );
    };
    let secret = key == shared.parts.secret_key;
    if !secret && key != shared.parts.publishable_key {
        return refusal(StatusCode::UNAUTHORIZED, "Invalid API key", "Double check the API key.");
    }
    if secret && text(header::USER_AGENT).is_some_and(|agent| agent.contains("Mozilla/")) {
        return refusal(
            StatusCode::UNAUTHORIZED,
            "Forbidden use of secret API key in browser",
            "Secret API keys can only be used in a protected environment and should never be used in a browser.",
        );
    }
    // Client libraries without a user repeat the key here.
    let token = text(header::AUTHORIZATION).filter(|value| value.strip_prefix("Bearer ") != Some(key));
    let authorization = match token {
        Some(token) => Some(token.to_owned()),
        None if secret => match shared.parts.issuer.service_role_token() {
            Ok(token) => Some(format!("Bearer {token}")),
            Err(error) => return refusal(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}"), ""),
        },
        None => None,
    };
    let headers = request.headers_mut();
    headers.remove(header::AUTHORIZATION);
    if let Some(value) = authorization.and_then(|text| HeaderValue::try_from(text).ok()) {
        headers.insert(header::AUTHORIZATION, value);
    }
    next.run(request).await
}

async fn rest(State(shared): State<Arc<Shared>>, mut request: Request) -> Response {
    let uri = request.uri();
    let path = uri.path().strip_prefix("/rest/v1").unwrap_or_default();
    let query: Vec<_> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|p| !p.starts_with("apikey="))
        .collect();
    let path = format!("/{}?{}", path.trim_start_matches('/'), query.join("&"));
    let headers = request.headers_mut();
    headers.remove("apikey");
    // PostgREST would answer with CORS headers of its own.
    headers.remove(header::ORIGIN);
    let port = shared.parts.postgrest_port;
    forward(&shared, request, SocketAddr::from(([127, 0, 0, 1], port)), Some(path))
        .await
        .unwrap_or_else(|error| bad_gateway(&error))
}

async fn functions(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let worker = {
        let workers = lock(&shared.workers);
        let turn = shared.next_worker.fetch_add(1, Ordering::Relaxed);
        workers.get(turn % workers.len().max(1)).copied()
    };
    let Some(worker) = worker else {
        return refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "No process serves the edge functions",
            "This stack was started without worker processes, or all of them were killed.",
        );
    };
    forward(&shared, request, worker, None)
        .await
        .unwrap_or_else(|error| bad_gateway(&error))
}

fn bad_gateway(error: &anyhow::Error) -> Response {
    refusal(
        StatusCode::BAD_GATEWAY,
        "An upstream service broke off",
        &format!("{error:#}"),
    )
}

/// Passes a request on to `address`, both bodies streamed. The path stays the same unless another is given, and so does
/// the header `Host`.
async fn forward(shared: &Shared, mut request: Request, address: SocketAddr, path: Option<String>) -> Result<Response> {
    let path = match path {
        Some(path) => PathAndQuery::try_from(path)?,
        None => request
            .uri()
            .path_and_query()
            .cloned()
            .context("a request has a path")?,
    };
    if !request.headers().contains_key(header::HOST) {
        let host = request
            .uri()
            .authority()
            .map_or(shared.parts.authority.as_str(), Authority::as_str);
        let host = HeaderValue::try_from(host)?;
        request.headers_mut().insert(header::HOST, host);
    }
    *request.uri_mut() = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(address.to_string())
        .path_and_query(path)
        .build()?;
    let headers = request.headers_mut();
    for hop_by_hop in [
        header::CONNECTION,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ] {
        headers.remove(hop_by_hop);
    }
    let mut response = shared.client.request(request).await?;
    response.headers_mut().remove(header::CONNECTION);
    response.headers_mut().remove(header::TRANSFER_ENCODING);
    Ok(response.map(Body::new))
}

/// The edge functions' way out: a forward proxy (requests name the whole URL) that knows two destinations.
async fn serve_egress(shared: Arc<Shared>, router: Router, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        // As elsewhere here; if it cannot be set, calls are slower.
        let _ = stream.set_nodelay(true);
        while connections.try_join_next().is_some() {}
        let (shared, router) = (shared.clone(), router.clone());
        connections.spawn(async move {
            let service = hyper::service::service_fn(|request: hyper::Request<hyper::body::Incoming>| {
                egress(shared.clone(), router.clone(), request.map(Body::new))
            });
            // An error is how a broken connection on the far side reaches the function: as a broken connection.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn egress(shared: Arc<Shared>, router: Router, mut request: Request) -> Result<Response> {
    let target = request.uri().authority().cloned();
    let secure = request.uri().scheme() == Some(&Scheme::HTTPS);
    if !secure && target.as_ref() == Some(&shared.parts.authority) {
        request.extensions_mut().insert(Caller::Edge);
        let is_step = request.uri().path().starts_with("/rest/v1/rpc/edge_");
        let response = gateway_faults::call(&shared.faults, router, request).await?;
        return if is_step {
            later_release::add_fields(response).await
        } else {
            Ok(response)
        };
    }
    let log = |outcome: &str, request: &(String, String)| {
        shared
            .parts
            .logs
            .line("egress", &format!("{} {} {outcome}", request.0, request.1));
    };
    let line = (
        request.method().to_string(),
        request
            .uri()
            .to_string()
            .split('?')
            .next()
            .unwrap_or_default()
            .to_owned(),
    );
    let zoom = shared
        .parts
        .zoom
        .as_ref()
        .filter(|zoom| !secure && target.as_ref() == Some(zoom));
    let Some(zoom) = zoom else {
        log("refused: not the gateway, not the Zoom simulator", &line);
        bail!("{} is out of bounds", line.1);
    };
    let address = zoom.as_str().parse()?;
    match forward(&shared, request, address, None).await {
        Ok(response) => {
            log(response.status().as_str(), &line);
            Ok(response)
        }
        Err(error) => {
            log("broke off", &line);
            Err(error)
        }
    }
}

/// Where the web client finds the platform. On a real host this file lies beside its index.html.
async fn web_client_config(State(shared): State<Arc<Shared>>) -> Response {
    let config = json!({
        "supabase_url": format!("http://{}", shared.parts.authority),
        "publishable_key": shared.parts.publishable_key,
    });
    ([(header::CACHE_CONTROL, "no-store")], Json(config)).into_response()
}

async fn about(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    if uri.path() != "/" {
        return refusal(StatusCode::NOT_FOUND, "There is nothing at this address", "Try /");
    }
    let zoom =
        shared.parts.zoom.as_ref().map(|zoom| {
            format!("<li><a href=\"http://{zoom}/\">Zoom simulator</a>: what stands in for Zoom here</li>")
        });
    Html(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Video Sessions: local stack</title>\
         <h1>Video Sessions: local stack</h1><p>This is the API that a client of the project sees.</p>\
         <ul><li><code>/rest/v1/</code>: PostgREST</li><li><code>/auth/v1/</code>: sign-in</li>\
         <li><code>/functions/v1/</code>: the edge functions</li>{}</ul>\
         <p><code>cargo xtask status</code> prints its keys.</p></html>",
        zoom.unwrap_or_default()
    ))
    .into_response()
}
