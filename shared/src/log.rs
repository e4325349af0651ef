//! What a request leaves in the log of the edge, and how long it waited for others.

use std::sync::{
    atomic::{AtomicU64, Ordering},
    Mutex, PoisonError,
};

use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

/// Writes one JSON line to the log of the edge. Callers put ids and codes in it, never secrets or personal data.
pub fn write(line: &impl Serialize) {
    let Ok(line) = serde_json::to_string(line) else {
        return; // Texts and numbers can always be written.
    };
    #[cfg(target_arch = "wasm32")]
    worker::console_log!("{line}");
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{line}");
}

/// Time spent waiting for others, in milliseconds: for `Server-Timing` and the log.
#[derive(Debug, Default)]
pub struct Timings {
    auth: AtomicU64,
    db: AtomicU64,
    zoom: AtomicU64,
    zoom_calls: Mutex<Vec<ZoomCall>>,
}

/// A call to Zoom, for the log.
#[derive(Debug, Serialize)]
pub struct ZoomCall {
    /// What was asked for.
    pub call: &'static str,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// How long it took.
    pub ms: u64,
    /// By which Zoom's support finds it.
    pub tracking_id: Option<String>,
}

/// A line of the log names no more calls to Zoom than this: hosts cut lines that are long.
const MOST_CALLS_IN_A_LINE: usize = 20;

impl Timings {
    /// Adds time spent on the caller's identity.
    pub fn add_auth(&self, millis: u64) {
        self.auth.fetch_add(millis, Ordering::Relaxed);
    }

    /// Adds time spent waiting for the database.
    pub fn add_db(&self, millis: u64) {
        self.db.fetch_add(millis, Ordering::Relaxed);
    }

    /// Adds a call to Zoom. The request's line in the log will name it; one that failed has a line of its own, at once.
    /// A request that makes many calls, as `zoom-sync` does, gets further lines for them.
    pub fn add_zoom(&self, request_id: Uuid, call: ZoomCall) {
        self.zoom.fetch_add(call.ms, Ordering::Relaxed);
        if call.status.is_none_or(|status| status >= 400) {
            write(&json!({
                "event": "zoom_call", "request_id": request_id, "call": call.call, "status": call.status,
                "ms": call.ms, "tracking_id": call.tracking_id,
            }));
            return;
        }
        let mut calls = self.zoom_calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(call);
        if calls.len() >= MOST_CALLS_IN_A_LINE {
            write(&json!({"event": "zoom_calls", "request_id": request_id, "zoom_calls": *calls}));
            calls.clear();
        }
    }

    /// The calls to Zoom that no line of the log has named yet.
    pub fn take_zoom_calls(&self) -> Vec<ZoomCall> {
        std::mem::take(&mut *self.zoom_calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// For identity, database and Zoom.
    pub fn all(&self) -> [u64; 3] {
        [&self.auth, &self.db, &self.zoom].map(|millis| millis.load(Ordering::Relaxed))
    }
}
