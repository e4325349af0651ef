//! Faults of the platform that a test orders: what goes wrong with the edge functions' calls to the gateway, and that
//! is, to the database.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{bail, Result};
use axum::body::{self, Body};
use axum::extract::Request;
use axum::http::header;
use axum::response::Response;
use axum::Router;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::zoom::{to_response, Answer, Effect, Moment, Truncation};

/// No call of an edge function is longer, and no answer to one.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// Something that goes wrong with an edge function's call to the gateway. Without more said it happens once, at the
/// next call, before the gateway acts. As with Zoom, what was asked for is also done for a caller that has gone away.
///
/// ```
/// # use local_stack::{zoom::Answer, GatewayFault};
/// GatewayFault::at_step("edge_session_complete").after_acting().dropping();
/// GatewayFault::at_step("edge_webhook_receive").answering(Answer::bad_gateway()).about("85746065432").lasting();
/// ```
#[derive(Clone, Debug)]
pub struct GatewayFault {
    path: String,
    about: String,
    moment: Moment,
    delay: Duration,
    effect: Option<Effect>,
    skip: u32,
    times: Option<u32>,
}

impl GatewayFault {
    /// A fault at calls to this function of the database, that does nothing yet.
    pub fn at_step(function: &str) -> Self {
        Self::at_path(&format!("/rest/v1/rpc/{function}"))
    }

    /// A fault at calls to this path, that does nothing yet.
    pub fn at_path(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            about: String::new(),
            moment: Moment::Before,
            delay: Duration::ZERO,
            effect: None,
            skip: 0,
            times: Some(1),
        }
    }

    /// Happens only to calls of requests that have named this text to the gateway, in this call or one before.
    pub fn about(mut self, text: &str) -> Self {
        text.clone_into(&mut self.about);
        self
    }

    /// Gives this answer.
    pub fn answering(mut self, answer: Answer) -> Self {
        self.effect = Some(Effect::Answer(answer));
        self
    }

    /// Closes the connection without an answer.
    pub fn dropping(mut self) -> Self {
        self.effect = Some(Effect::Drop);
        self
    }

    /// Lets the call wait until the fault is withdrawn.
    pub fn hanging(mut self) -> Self {
        self.effect = Some(Effect::Hang);
        self
    }

    /// Lets the gateway act, and answers with half of what its answer would be.
    pub fn truncating(mut self) -> Self {
        self.effect = Some(Effect::Truncate(Truncation::Fitting));
        self.after_acting()
    }

    /// Lets the call wait for so long.
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Lets the gateway act first.
    pub fn after_acting(mut self) -> Self {
        self.moment = Moment::After;
        self
    }

    /// Lets so many calls pass first.
    pub fn skipping(mut self, calls: u32) -> Self {
        self.skip = calls;
        self
    }

    /// Happens for as long as it stands.
    pub fn lasting(mut self) -> Self {
        self.times = None;
        self
    }
}

struct Ordered {
    id: u64,
    fault: GatewayFault,
    /// The requests that it may happen to: those that have named its text.
    requests: HashSet<String>,
    seen: u32,
    happened: u32,
    /// Calls that it happened to and that are over.
    over: Arc<AtomicU32>,
    /// Gone: calls that hang go on.
    standing: watch::Sender<()>,
}

/// What happens to one call.
pub(crate) struct Happening {
    fault: GatewayFault,
    over: Arc<AtomicU32>,
    standing: watch::Receiver<()>,
}

/// All faults, in the order in which they were ordered.
#[derive(Default)]
pub(crate) struct GatewayFaults {
    ordered: Vec<Ordered>,
    next_id: u64,
}

impl GatewayFaults {
    pub(crate) fn order(&mut self, fault: GatewayFault) -> u64 {
        self.next_id += 1;
        self.ordered.push(Ordered {
            id: self.next_id,
            fault,
            requests: HashSet::new(),
            seen: 0,
            happened: 0,
            over: Arc::default(),
            standing: watch::Sender::new(()),
        });
        self.next_id
    }

    pub(crate) fn withdraw_all(&mut self) {
        self.ordered.clear();
    }

    /// How often a fault has happened; `None` for one that was withdrawn.
    pub(crate) fn happened(&self, id: u64) -> Option<u32> {
        let ordered = self.ordered.iter().find(|ordered| ordered.id == id);
        ordered.map(|ordered| ordered.happened)
    }

    /// How many of the calls that a fault happened to are over; `None` for one that was withdrawn.
    pub(crate) fn over(&self, id: u64) -> Option<u32> {
        let ordered = self.ordered.iter().find(|ordered| ordered.id == id);
        ordered.map(|ordered| ordered.over.load(Ordering::Relaxed))
    }

    /// What happens to a call: the first fault whose turn it is.
    fn take(&mut self, path: &str, request_id: &str, body: &[u8]) -> Option<Happening> {
        let text = String::from_utf8_lossy(body);
        let mut happening = None;
        let standing = |ordered: &&mut Ordered| ordered.fault.times.is_none_or(|times| ordered.happened < times);
        for ordered in self.ordered.iter_mut().filter(standing) {
            if text.contains(&ordered.fault.about) {
                ordered.requests.insert(request_id.to_owned());
            }
            let concerns = ordered.fault.path == path && ordered.requests.contains(request_id);
            if !concerns || happening.is_some() {
                continue;
            }
            ordered.seen += 1;
            if ordered.seen > ordered.fault.skip {
                ordered.happened += 1;
                happening = Some(Happening {
                    fault: ordered.fault.clone(),
                    over: ordered.over.clone(),
                    standing: ordered.standing.subscribe(),
                });
            }
        }
        happening
    }
}

/// Passes an edge function's call on to the gateway, as far as the faults let it. An error breaks the connection.
pub(crate) async fn call(faults: &Mutex<GatewayFaults>, gateway: Router, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let body = body::to_bytes(body, MAX_BODY).await?;
    let request_id = parts.headers.get("x-request-id").and_then(|id| id.to_str().ok());
    let happening = {
        let mut faults = faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.take(parts.uri.path(), request_id.unwrap_or_default(), &body)
    };
    let act = act(gateway, Request::from_parts(parts, Body::from(body)));
    match happening {
        None => act.await,
        // In a task of its own: the gateway also acts for a caller that has gone away.
        Some(happening) => {
            let over = happening.over.clone();
            let happening = async move {
                let response = happen(happening, act).await;
                over.fetch_add(1, Ordering::Relaxed);
                response
            };
            tokio::spawn(happening).await?
        }
    }
}

async fn act(gateway: Router, request: Request) -> Result<Response> {
    let response: Result<_, Infallible> = gateway.oneshot(request).await;
    Ok(response?)
}

async fn happen(mut happening: Happening, act: impl Future<Output = Result<Response>>) -> Result<Response> {
    if happening.fault.moment == Moment::Before {
        return match happening.instead().await? {
            Some(response) => Ok(response),
            None => act.await,
        };
    }
    let response = act.await?;
    if let Some(instead) = happening.instead().await? {
        return Ok(instead);
    }
    match happening.fault.effect {
        Some(Effect::Truncate(_)) => halve(response).await,
        _ => Ok(response),
    }
}

impl Happening {
    /// What is answered in place of the gateway's answer, if anything. An error: nothing at all.
    async fn instead(&mut self) -> Result<Option<Response>> {
        tokio::time::sleep(self.fault.delay).await;
        match &self.fault.effect {
            Some(Effect::Answer(answer)) => Ok(Some(to_response(answer))),
            Some(Effect::Drop) => bail!("dropped on a test's order"),
            Some(Effect::Hang) => {
                // An error says that the fault was withdrawn.
                let _ = self.standing.changed().await;
                Ok(None)
            }
            Some(Effect::Truncate(_)) | None => Ok(None),
        }
    }
}

/// Half of an answer, that looks like a whole one.
async fn halve(response: Response) -> Result<Response> {
    let (mut parts, body) = response.into_parts();
    let whole = body::to_bytes(body, MAX_BODY).await?;
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(parts, Body::from(whole.slice(..whole.len() / 2))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of these calls (path, request, body) a fault happens at.
    fn pattern(fault: GatewayFault, calls: &[(&str, &str, &str)]) -> String {
        let mut faults = GatewayFaults::default();
        let id = faults.order(fault);
        let take = |(path, request, body): &(&str, &str, &str)| {
            let happens = faults.take(&format!("/rest/v1/rpc/{path}"), request, body.as_bytes());
            if happens.is_some() {
                'x'
            } else {
                '.'
            }
        };
        let pattern: String = calls.iter().map(take).collect();
        let happened = pattern.matches('x').count();
        assert_eq!(faults.happened(id), u32::try_from(happened).ok());
        pattern
    }

    #[test]
    fn a_fault_happens_at_the_calls_it_is_ordered_for() {
        let calls = [
            ("begin", "1", "anna"),
            ("begin", "2", "bert"),
            ("settle", "2", "7"),
            ("settle", "1", "8"),
            ("settle", "1", "9"),
        ];
        let at = || GatewayFault::at_step("settle").dropping();
        assert_eq!(pattern(at(), &calls), "..x..");
        assert_eq!(pattern(at().about("anna"), &calls), "...x.");
        assert_eq!(pattern(at().about("anna").skipping(1), &calls), "....x");
        assert_eq!(pattern(at().lasting(), &calls), "..xxx");
        assert_eq!(pattern(at().about("carl"), &calls), ".....");
    }
}
