//! Requests over HTTP and their whole answers, within deadlines, and a few at a time.
//!
//! Requests are built by `reqwest` everywhere. At the edge the host's own `fetch` sends them: it takes a signal that
//! ends the request and the reading of its answer in time, and only the headers that are wanted come back.

use std::{
    collections::HashMap,
    sync::{
        atomic::{AtomicU32, Ordering},
        Arc, Mutex, PoisonError,
    },
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use reqwest::RequestBuilder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use uuid::Uuid;

/// The headers of an answer that anything here reads: Zoom's, about its limits and for its support.
const WANTED_HEADERS: [&str; 3] = ["retry-after", "x-ratelimit-type", "x-zm-trackingid"];

/// Calls of one request that are on their way at a time. Cloudflare makes the seventh wait while its time limit runs.
const AT_ONCE: usize = 6;
/// Of these to Zoom: a Zoom that hangs does not keep the database waiting.
const AT_ONCE_TO_ZOOM: usize = 5;
/// Of these for one host: Zoom counts calls by account.
const AT_ONCE_FOR_A_HOST: usize = 2;

/// What came back, undecided.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Those of `WANTED_HEADERS` that it has.
    pub headers: HeaderMap,
    /// The body. It can hold tokens and start URLs: it is never logged.
    pub body: Bytes,
}

/// Why there is no answer. In both cases the other side may have acted, or may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The connection failed, or the answer was cut.
    #[error("no answer")]
    Failed,
    /// The time was over.
    #[error("no answer in time")]
    TooLate,
}

/// The calls that one request makes to the database and to Zoom, a few at a time.
#[derive(Debug)]
pub struct Calls {
    all: Semaphore,
    to_zoom: Semaphore,
    for_hosts: Mutex<HashMap<Uuid, Arc<Semaphore>>>,
    begun: AtomicU32,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            all: Semaphore::new(AT_ONCE),
            to_zoom: Semaphore::new(AT_ONCE_TO_ZOOM),
            for_hosts: Mutex::default(),
            begun: AtomicU32::new(0),
        }
    }
}

impl Calls {
    /// How many calls have been begun.
    pub fn begun(&self) -> u32 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Waits for a turn to call Zoom, which lasts until it is dropped.
    pub async fn turn_to_zoom(&self) -> Option<SemaphorePermit<'_>> {
        self.to_zoom.acquire().await.ok()
    }

    /// Waits for a turn to call Zoom's API for a host, which lasts until it is dropped.
    pub async fn turn_for_host(&self, user_id: Uuid) -> Option<OwnedSemaphorePermit> {
        let host = {
            let mut hosts = self.for_hosts.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Semaphore::new(AT_ONCE_FOR_A_HOST));
            Arc::clone(hosts.entry(user_id).or_insert_with(new))
        };
        host.acquire_owned().await.ok()
    }

    /// Sends a request once. `limit` counts from its turn on.
    ///
    /// # Errors
    /// As [`send`].
    pub async fn send(&self, request: RequestBuilder, limit: Duration) -> Result<Reply, SendError> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let _turn = self.all.acquire().await;
        send(request, limit).await
    }
}

/// Sends a request once, when nothing else is on its way: a caller's token is checked before anything else is asked.
/// Everything else goes through [`Calls::send`].
///
/// # Errors
/// [`SendError`].
#[cfg(not(target_arch = "wasm32"))]
pub async fn send(request: RequestBuilder, limit: Duration) -> Result<Reply, SendError> {
    let failed = |_| SendError::Failed;
    let answer = async {
        let answer = request.send().await.map_err(failed)?;
        let mut headers = HeaderMap::new();
        for name in WANTED_HEADERS {
            if let Some(value) = answer.headers().get(name) {
                headers.insert(name, value.clone());
            }
        }
        Ok(Reply {
            status: answer.status().as_u16(),
            headers,
            body: answer.bytes().await.map_err(failed)?,
        })
    };
    tokio::time::timeout(limit, answer)
        .await
        .map_err(|_| SendError::TooLate)?
}

/// Sends a request once.
///
/// # Errors
/// [`SendError`].
#[cfg(target_arch = "wasm32")]
pub async fn send(request: RequestBuilder, limit: Duration) -> Result<Reply, SendError> {
    use crate::edge::{js, lines, read_headers};

    let request = request.build().map_err(|_| SendError::Failed)?;
    let answer = js::send(
        request.method().as_str(),
        request.url().as_str(),
        &lines(request.headers()),
        request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default(),
        u32::try_from(limit.as_millis()).unwrap_or(u32::MAX),
        &WANTED_HEADERS.join("\n"),
    )
    .await;
    let (status, text, body) = js::parts(&answer).ok_or(SendError::Failed)?;
    match (status, text.as_str()) {
        (0, "TimeoutError") => Err(SendError::TooLate),
        (0, _) => Err(SendError::Failed),
        _ => Ok(Reply {
            status,
            headers: read_headers(text.lines()).ok_or(SendError::Failed)?,
            body: body.into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::with_deadline;

    #[tokio::test(start_paused = true)]
    async fn a_turn_lasts_until_it_is_dropped() {
        let calls = Calls::default();
        let (host, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let soon = Duration::from_secs(1);
        let first = calls.turn_for_host(host).await;
        let _second = calls.turn_for_host(host).await;
        assert!(with_deadline(soon, calls.turn_for_host(host)).await.is_err());
        assert!(with_deadline(soon, calls.turn_for_host(other)).await.is_ok());
        drop(first);
        assert!(with_deadline(soon, calls.turn_for_host(host)).await.is_ok());

        let mut to_zoom = Vec::new();
        for _ in 0..AT_ONCE_TO_ZOOM {
            to_zoom.push(calls.turn_to_zoom().await);
        }
        assert!(with_deadline(soon, calls.turn_to_zoom()).await.is_err());
        to_zoom.pop();
        assert!(with_deadline(soon, calls.turn_to_zoom()).await.is_ok());
    }
}
