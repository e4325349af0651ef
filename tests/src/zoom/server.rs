//! The simulator's listener: it takes a call, lets Zoom act, and lets happen to the call what a test has ordered.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{anyhow, Result};
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{header, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::Router;
use chrono::Utc;
use futures_util::stream::{self, StreamExt};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{watch, Notify};
use tokio::task::JoinSet;
use tower::ServiceExt;
use uuid::Uuid;

use super::answer::Answer;
use super::control;
use super::deliveries::DeliveryReport;
use super::endpoint::Endpoint;
use super::faults::{Effect, Happening, Moment, Truncation};
use super::pages::{self, Visitor};
use super::request::Request;
use super::users::User;
use super::world::{Notes, World};
use crate::processes::Logs;
use crate::sequence;

/// No request to Zoom is longer.
const MAX_BODY: usize = 1024 * 1024;

/// What the listener, the deliveries and the tests work on.
pub(crate) struct Shared {
    world: Mutex<World>,
    /// Moves with every call that arrives, acts or is answered, and with every delivery.
    pub(crate) changes: watch::Sender<()>,
    /// There are new events.
    pub(crate) new_events: Notify,
    pub(crate) reports: Mutex<Vec<DeliveryReport>>,
    /// For deliveries.
    pub(crate) http: reqwest::Client,
    logs: Logs,
}

impl Shared {
    pub(crate) fn new(world: World, http: reqwest::Client, logs: Logs) -> Self {
        Self {
            world: Mutex::new(world),
            changes: watch::Sender::new(()),
            new_events: Notify::new(),
            reports: Mutex::default(),
            http,
            logs,
        }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log(&self, line: &str) {
        self.logs.line("zoom", line);
    }
}

/// What becomes of a call.
enum Outcome {
    Answered(Answer),
    Cut(Answer, Truncation),
    Dropped,
}

/// Marks an answer in whose place the connection is closed.
#[derive(Clone, Copy)]
struct Broken;

/// Serves the simulator until the task is dropped.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let router = router(&shared);
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        // Or answers wait for 40 ms; if it cannot be set, they do.
        let _ = stream.set_nodelay(true);
        while connections.try_join_next().is_some() {}
        let router = router.clone();
        connections.spawn(async move {
            let service = hyper::service::service_fn(|request: hyper::Request<hyper::body::Incoming>| {
                let router = router.clone();
                async move {
                    let answer: Result<Response, Infallible> = router.oneshot(request.map(Body::new)).await;
                    let answer = answer?;
                    match answer.extensions().get::<Broken>() {
                        None => Ok(answer),
                        // An error is how hyper is told to close a connection without an answer.
                        Some(Broken) => Err(anyhow!("dropped on a test's order")),
                    }
                }
            });
            // What breaks a connection is the caller's to notice.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn router(shared: &Arc<Shared>) -> Router {
    let ours = Router::new()
        .route("/", get(index))
        .route("/j/{id}", get(join))
        .route("/s/{id}", get(start))
        .nest("/simulator", control::router())
        .layer(middleware::from_fn_with_state(shared.clone(), check_origin));
    Router::new()
        .merge(ours)
        .route("/oauth/{*path}", any(call))
        .route("/v2/{*path}", any(call))
        .fallback(|| async {
            to_response(&pages::message(
                404,
                "Nothing here",
                "There is no such page in the simulator.",
            ))
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(shared.clone())
}

/// Control is for this machine's own tools: a page from elsewhere in somebody's browser gets nowhere.
async fn check_origin(State(shared): State<Arc<Shared>>, request: axum::extract::Request, next: Next) -> Response {
    let own = shared.world().origin.clone();
    if !is_from_here(request.headers(), &own) {
        let refusal = "The simulator's own pages and control are for this machine alone.\n";
        return (StatusCode::FORBIDDEN, refusal).into_response();
    }
    next.run(request).await
}

fn is_from_here(headers: &HeaderMap, own: &str) -> bool {
    // As a person may type it.
    let by_name = own.replace("http://127.0.0.1", "http://localhost");
    let is_own = |value: &str| value == own || value == by_name;
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host_is_own = text(header::HOST).is_some_and(|host| is_own(&format!("http://{host}")));
    host_is_own && text(header::ORIGIN).is_none_or(is_own)
}

async fn index(State(shared): State<Arc<Shared>>) -> Response {
    let world = shared.world();
    let users: Vec<&User> = world.users.present().collect();
    to_response(&pages::index(&users, &world.meetings.shown(|id| world.email_of(id))))
}

#[derive(Deserialize)]
struct JoinQuery {
    #[serde(default)]
    pwd: String,
}

/// What a participant finds behind the join URL.
async fn join(State(shared): State<Arc<Shared>>, Path(id): Path<String>, Query(query): Query<JoinQuery>) -> Response {
    let world = shared.world();
    to_response(&match world.meetings.get(&id) {
        Some(meeting) if meeting.password == query.pwd => pages::meeting(meeting, Visitor::Participant),
        Some(_) => pages::message(
            403,
            "Passcode needed",
            "The link does not carry this meeting's passcode.",
        ),
        None => pages::message(404, "Invalid meeting", "There is no meeting of this number."),
    })
}

#[derive(Deserialize)]
struct StartQuery {
    #[serde(default)]
    zak: String,
}

/// What the host finds behind the start URL.
async fn start(State(shared): State<Arc<Shared>>, Path(id): Path<String>, Query(query): Query<StartQuery>) -> Response {
    let world = shared.world();
    let opened = world
        .meetings
        .opened_by(&query.zak, Utc::now())
        .filter(|meeting| meeting.id.to_string() == id);
    to_response(&match opened {
        Some(meeting) => pages::meeting(meeting, Visitor::Host),
        None => pages::message(
            403,
            "This link has run out",
            "A start URL works for two hours, for its own meeting.",
        ),
    })
}

/// A call to Zoom.
async fn call(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = Request {
        method: method.to_string(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        headers,
        body,
    };
    // In a task of its own: Zoom acts also for a caller that has gone away.
    let outcome = tokio::spawn(answer(shared, request)).await;
    match outcome {
        Ok(Outcome::Answered(answer)) => to_response(&answer),
        Ok(Outcome::Cut(answer, truncation)) => cut(&answer, truncation),
        Ok(Outcome::Dropped) => {
            let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
            response.extensions_mut().insert(Broken);
            response
        }
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the simulator broke: {error}"),
        )
            .into_response(),
    }
}

async fn answer(shared: Arc<Shared>, request: Request) -> Outcome {
    let (endpoint, meeting) = Endpoint::of(&request.method, &request.path);
    let grant = request.grant(endpoint);
    let (number, mut happening) = {
        let mut world = shared.world();
        let number = world.calls.arrived(endpoint, grant, &request.method, &request.path);
        let credential = request.credential();
        let owner = credential.and_then(|secret| world.tokens.owner(&secret).cloned());
        let user = owner.map(|id| world.email_of(&id));
        let happening = world.faults.take(endpoint, grant, user.as_deref());
        if let Some(call) = world.calls.get_mut(number) {
            call.fault = happening.as_ref().map(|happening| happening.id);
        }
        (number, happening)
    };
    shared.changes.send_replace(());

    let outcome = match happening
        .as_mut()
        .filter(|happening| happening.moment == Moment::Before)
    {
        Some(happening) => happen(happening, None).await,
        None => None,
    };
    let outcome = match outcome {
        Some(outcome) => outcome,
        None => {
            let answer = act(&shared, number, endpoint, meeting, &request);
            match happening.as_mut().filter(|happening| happening.moment == Moment::After) {
                Some(happening) => happen(happening, Some(&answer))
                    .await
                    .unwrap_or(Outcome::Answered(answer)),
                None => Outcome::Answered(answer),
            }
        }
    };
    let status = match &outcome {
        Outcome::Answered(answer) | Outcome::Cut(answer, _) => Some(answer.status),
        Outcome::Dropped => None,
    };
    if let Some(call) = shared.world().calls.get_mut(number) {
        call.status = status;
        call.ended = Some(sequence::next());
    }
    shared.changes.send_replace(());
    let status = status.map_or_else(|| "dropped".to_owned(), |status| status.to_string());
    let fault = happening
        .map(|happening| format!(", fault {}", happening.id))
        .unwrap_or_default();
    shared.log(&format!("{} {} {status}{fault}", request.method, request.path));
    outcome
}

/// Lets Zoom do what is asked.
fn act(shared: &Shared, number: u64, endpoint: Endpoint, meeting: Option<&str>, request: &Request) -> Answer {
    let mut notes = Notes::default();
    let mut world = shared.world();
    let answer = world.act(endpoint, meeting, request, &mut notes, Utc::now());
    let user = notes.user.map(|id| world.email_of(&id));
    if let Some(call) = world.calls.get_mut(number) {
        call.acted = answer.is_success();
        call.token = notes.token.map(|id| id.to_string());
        call.user = user;
    }
    drop(world);
    shared.changes.send_replace(());
    shared.new_events.notify_one();
    answer
}

/// What the fault makes of the call; `None` lets it go on.
async fn happen(happening: &mut Happening, answer: Option<&Answer>) -> Option<Outcome> {
    tokio::time::sleep(happening.delay).await;
    match (happening.effect.clone()?, answer) {
        (Effect::Answer(answer), _) => Some(Outcome::Answered(answer)),
        (Effect::Drop, _) => Some(Outcome::Dropped),
        (Effect::Truncate(truncation), Some(answer)) => Some(Outcome::Cut(answer.clone(), truncation)),
        (Effect::Truncate(_), None) => None,
        (Effect::Hang, _) => {
            happening.released().await;
            None
        }
    }
}

/// Half of an answer's body.
fn cut(answer: &Answer, truncation: Truncation) -> Response {
    let whole = answer.bytes();
    let half = Bytes::copy_from_slice(&whole[..whole.len() / 2]);
    let mut response = to_response(answer);
    match truncation {
        Truncation::Fitting => *response.body_mut() = Body::from(half),
        Truncation::Broken => {
            let broken = async {
                // Lets the half go out first.
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(std::io::Error::other("cut off on a test's order"))
            };
            let body = stream::iter([Ok(half)]).chain(stream::once(broken));
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
            *response.body_mut() = Body::from_stream(body);
        }
    }
    response
}

pub(crate) fn to_response(answer: &Answer) -> Response {
    let mut response = Response::new(Body::from(answer.bytes()));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Some(content_type) = answer.default_content_type() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    let tracking_id = format!("v=2.0;clid=us05;rid=WEB_{}", Uuid::new_v4().simple());
    let tracking_id = [("x-zm-trackingid", tracking_id.as_str())].into_iter();
    let named = answer
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in tracking_id.chain(named) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    response
}
