//! Zoom: OAuth, the API, and the life of a host's connection.
//!
//! | module | what it knows |
//! |---|---|
//! | [`oauth`] | the token endpoint: exchange, refresh, revoke |
//! | [`verdict`] | what the token endpoint's answers mean |
//! | [`scopes`] | the permissions that the functions need |
//! | [`connection`] | how a function comes by a usable access token |
//! | [`api`] | meetings and users |
//! | [`outbox`] | edits and cancellations on their way to Zoom |
//! | [`departure`] | the end of a connection |
//! | [`due`] | connections that must be refreshed to stay alive |
//! | [`reseal`] | tokens that have to be sealed anew before an old key goes |
//! | [`limits`] | Zoom's `Retry-After` |

pub mod api;
pub mod connection;
pub mod departure;
pub mod due;
pub mod limits;
pub mod oauth;
pub mod outbox;
pub mod reseal;
pub mod scopes;
pub mod verdict;

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use serde_json::json;
use uuid::Uuid;

use crate::{
    call::{self, Timings},
    config::ZoomApp,
    db::Database,
    time::{self, millis_since, now},
};

/// How long one call to Zoom may take. Zoom itself answers within a few seconds or not at all.
const DEADLINE: Duration = Duration::from_secs(15);
/// The largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Zoom, for one request.
pub struct Zoom<'a> {
    app: &'a ZoomApp,
    db: &'a Database,
    client: reqwest::Client,
    /// Names this request as the holder of a refresh lease.
    holder: Uuid,
    timings: Arc<Timings>,
}

/// What came back from Zoom, undecided.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body. It can hold tokens and start URLs: it is never logged.
    pub body: Bytes,
}

/// No complete answer came: the connection failed or the time was over. Zoom may or may not have acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoReply;

impl<'a> Zoom<'a> {
    /// Zoom for one request, whose id names the holder of a refresh lease.
    pub fn new(
        app: &'a ZoomApp,
        db: &'a Database,
        client: reqwest::Client,
        request_id: Uuid,
        timings: Arc<Timings>,
    ) -> Self {
        Self {
            app,
            db,
            client,
            holder: request_id,
            timings,
        }
    }

    /// The Zoom app that hosts connect to.
    pub fn app(&self) -> &ZoomApp {
        self.app
    }

    /// The name under which this request holds a refresh lease.
    pub fn holder(&self) -> Uuid {
        self.holder
    }

    /// Sends a request once. `what` is for the log.
    async fn send(&self, what: &'static str, request: reqwest::RequestBuilder) -> Result<Reply, NoReply> {
        let start = now();
        let reply = time::with_deadline(DEADLINE, read(request.send())).await;
        let millis = millis_since(start);
        self.timings.add_zoom(millis);
        let reply = match reply {
            Ok(reply) => reply,
            Err(time::DeadlineExceeded) => Err(NoReply),
        };
        let (status, tracking_id) = match &reply {
            Ok(reply) => (Some(reply.status), reply.headers.get("x-zm-trackingid")),
            Err(NoReply) => (None, None),
        };
        call::log(&json!({
            "event": "zoom_call", "request_id": self.holder, "call": what, "status": status, "ms": millis,
            "tracking_id": tracking_id.and_then(|id| id.to_str().ok()),
        }));
        reply
    }
}

async fn read(answer: impl Future<Output = Result<reqwest::Response, reqwest::Error>>) -> Result<Reply, NoReply> {
    let answer = answer.await.map_err(|_| NoReply)?;
    let status = answer.status().as_u16();
    let headers = answer.headers().clone();
    let body = answer.bytes().await.map_err(|_| NoReply)?;
    if body.len() > MAX_ANSWER_BYTES {
        return Err(NoReply);
    }
    Ok(Reply { status, headers, body })
}
