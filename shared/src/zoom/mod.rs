//! Zoom: OAuth, the API, and the life of a host's connection.
//!
//! | module | what it knows |
//! |---|---|
//! | [`oauth`] | the token endpoint: exchange, refresh, revoke |
//! | [`token_response`] | what the token endpoint's answers mean |
//! | [`scopes`] | the permissions that the functions need |
//! | [`connection`] | how a function comes by a usable access token |
//! | [`api`] | meetings and users |
//! | [`creations`] | meetings that were asked for, and no answer came |
//! | [`outbox`] | edits and cancellations on their way to Zoom |
//! | [`revocation`] | the end of a connection |
//! | [`keep_alive`] | connections that must be refreshed to stay alive |
//! | [`reseal`] | tokens that have to be sealed anew before an old key goes |
//! | [`meeting_settings`] | how a meeting behaves |
//! | [`limits`] | Zoom's `Retry-After` |

pub mod api;
pub mod api_failure;
pub mod connection;
pub mod creations;
pub mod keep_alive;
pub mod limits;
pub mod meeting_settings;
pub mod oauth;
pub mod outbox;
pub mod reseal;
pub mod revocation;
pub mod scopes;
pub mod token_response;

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::sync::SemaphorePermit;
use uuid::Uuid;

use crate::{
    config::ZoomApp,
    db::Database,
    log::{Timings, ZoomCall},
    outbound::{Calls, Reply},
    random,
    run::Bounds,
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
    request_id: Uuid,
    /// Names who holds a refresh lease: this request, or one of several things that it does at once.
    holder: Uuid,
    timings: Arc<Timings>,
    calls: Arc<Calls>,
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
        calls: Arc<Calls>,
    ) -> Self {
        Self {
            app,
            db,
            client,
            request_id,
            holder: request_id,
            timings,
            calls,
        }
    }

    /// The same for one of several things that this request does at once. Two that need the same connection's token are
    /// two holders of a lease: one of them refreshes, the other waits.
    pub fn beside(&self) -> Self {
        let holder = random::bytes().map_or(self.holder, |bytes| uuid::Builder::from_random_bytes(bytes).into_uuid());
        Self {
            app: self.app,
            db: self.db,
            client: self.client.clone(),
            request_id: self.request_id,
            holder,
            timings: Arc::clone(&self.timings),
            calls: Arc::clone(&self.calls),
        }
    }

    /// Bounds of this request's work: see [`Bounds::new`].
    pub fn bounds(&self, longest: TimeDelta, max_calls: u32) -> Bounds {
        Bounds::new(Arc::clone(&self.calls), longest, max_calls)
    }

    /// The Zoom app that hosts connect to.
    pub fn app(&self) -> &ZoomApp {
        self.app
    }

    /// The name under which leases and claims are held.
    pub fn holder(&self) -> Uuid {
        self.holder
    }

    /// The request's id, for the log.
    pub fn request_id(&self) -> Uuid {
        self.request_id
    }

    /// Sends a request once, in its turn. `what` is for the log.
    async fn send(&self, what: &'static str, request: reqwest::RequestBuilder) -> Result<Reply, NoReply> {
        let turn = self.calls.turn_to_zoom().await;
        self.send_in_turn(turn, what, request).await
    }

    async fn send_in_turn(
        &self,
        _turn: Option<SemaphorePermit<'_>>,
        what: &'static str,
        request: reqwest::RequestBuilder,
    ) -> Result<Reply, NoReply> {
        let start = now();
        let reply = match self.calls.send(request, DEADLINE).await {
            Ok(reply) if reply.body.len() <= MAX_ANSWER_BYTES => Ok(reply),
            _ => Err(NoReply),
        };
        let answer = reply.as_ref().ok();
        let tracking_id = answer.and_then(|reply| reply.headers.get("x-zm-trackingid")?.to_str().ok());
        let call = ZoomCall {
            call: what,
            status: answer.map(|reply| reply.status),
            ms: millis_since(start),
            tracking_id: tracking_id.map(str::to_owned),
        };
        self.timings.add_zoom(self.request_id, call);
        reply
    }
}
