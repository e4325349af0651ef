//! What is answered to a call: all that a network, a database and Zoom are capable of.

use std::time::Duration;

use serde_json::{json, Value};
use tokio::sync::oneshot;

/// An answer to one call.
#[derive(Debug)]
pub struct Answer {
    /// `None`: the connection ends without an answer.
    pub(crate) status: Option<u16>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
    pub(crate) delay: Duration,
    pub(crate) gate: Option<oneshot::Receiver<()>>,
}

/// Holds an answer back, until it is opened or dropped.
#[derive(Debug)]
pub struct Gate(oneshot::Sender<()>);

impl Gate {
    /// Lets the answer go.
    pub fn open(self) {
        drop(self.0);
    }
}

impl Answer {
    /// JSON with a status.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::text(status, body.to_string()).header("content-type", "application/json")
    }

    /// Any text with a status, such as the HTML of a gateway that has lost its server.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status: Some(status),
            headers: Vec::new(),
            body: body.into(),
            delay: Duration::ZERO,
            gate: None,
        }
    }

    /// A status without a body: Zoom's answer to PATCH, PUT and DELETE.
    pub fn empty(status: u16) -> Self {
        Self::text(status, "")
    }

    /// No answer: the connection is dropped. Who asked cannot know what was done.
    pub fn none() -> Self {
        Self {
            status: None,
            ..Self::empty(0)
        }
    }

    /// A refusal of Zoom's API.
    pub fn zoom_error(status: u16, code: i64, message: &str) -> Self {
        Self::json(status, &json!({"code": code, "message": message}))
    }

    /// A refusal of Zoom's token endpoint.
    pub fn oauth_error(error: &str, reason: &str) -> Self {
        Self::json(400, &json!({"error": error, "reason": reason}))
    }

    /// New tokens from Zoom's token endpoint, with all permissions that the functions need.
    pub fn tokens(access_token: &str, refresh_token: &str) -> Self {
        let scope = "meeting:write meeting:read user:read";
        Self::from(json!({
            "access_token": access_token, "refresh_token": refresh_token, "token_type": "bearer", "expires_in": 3599,
            "scope": scope,
        }))
    }

    /// A refusal of PostgREST, with its code or PostgreSQL's.
    pub fn database_error(status: u16, code: &str) -> Self {
        Self::json(
            status,
            &json!({"code": code, "message": "no", "details": null, "hint": null}),
        )
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The same, later.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The same, when the test opens the gate.
    #[must_use]
    pub fn held(mut self) -> (Gate, Self) {
        let (open, gate) = oneshot::channel();
        self.gate = Some(gate);
        (Gate(open), self)
    }
}

impl From<Value> for Answer {
    fn from(body: Value) -> Self {
        Self::json(200, &body)
    }
}
