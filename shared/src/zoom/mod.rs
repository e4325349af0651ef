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

use std::{sync::Arc, time::Duration};

use serde_json::json;
use uuid::Uuid;

use crate::{
    call::{self, Timings},
    config::ZoomApp,
    db::Database,
    exchange::{exchange, Reply},
    time::{millis_since, now},
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
        let reply = match exchange(request, DEADLINE).await {
            Ok(Ok(reply)) if reply.body.len() <= MAX_ANSWER_BYTES => Ok(reply),
            _ => Err(NoReply),
        };
        let millis = millis_since(start);
        self.timings.add_zoom(millis);
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
