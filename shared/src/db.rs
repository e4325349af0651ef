//! The database, through PostgREST: one remote procedure call per step, each one transaction.
//!
//! The rules live in SQL. A step answers one JSON object whose `outcome` says what happened; the types that read them
//! stand beside the code that decides on them. Function names are constants and values travel in JSON bodies only,
//! since the client encodes neither names nor filters.

use std::{sync::Arc, time::Duration};

use futures_util::future::LocalBoxFuture;
use http::StatusCode;
use postgrest::Postgrest;
use serde::de::DeserializeOwned;
use serde_json::{json, Value};
use uuid::Uuid;

use crate::{
    config::Supabase,
    error::Error,
    json,
    log::{self, Timings},
    outbound::Calls,
    time::{self, millis_since, now},
};

const DEADLINE: Duration = Duration::from_secs(10);
/// Waits between the attempts of [`Database::commit`]: about a quarter of a minute in all.
const COMMIT_RETRIES_MS: [u64; 6] = [200, 500, 1_000, 2_000, 4_000, 8_000];

/// The database as the service role sees it.
pub struct Database {
    client: Postgrest,
    request_id: Uuid,
    timings: Arc<Timings>,
    calls: Arc<Calls>,
}

impl Database {
    /// A connection to the project's PostgREST. The request id travels along for the logs.
    pub fn new(supabase: &Supabase, request_id: Uuid, timings: Arc<Timings>, calls: Arc<Calls>) -> Self {
        let key = supabase.secret_keys.own().expose();
        let mut client = Postgrest::new(format!("{}/rest/v1", supabase.url))
            .insert_header("apikey", key)
            .insert_header("x-request-id", request_id.to_string());
        // A legacy service-role key is a JWT and has to stand in both headers; an `sb_secret_` key may only be in one.
        if key.starts_with("eyJ") {
            client = client.insert_header("authorization", format!("Bearer {key}"));
        }
        Self {
            client,
            request_id,
            timings,
            calls,
        }
    }

    /// Runs one step.
    ///
    /// # Errors
    /// [`Error::ServiceUnavailable`] when the database did not answer in ten seconds or is overloaded: the step may or
    /// may not have happened. [`Error::Internal`] when it refused the call, which is a fault of ours and is logged.
    pub async fn rpc<T: DeserializeOwned>(&self, function: &'static str, arguments: &Value) -> Result<T, Error> {
        self.read(function, self.call(function, arguments).await?)
    }

    /// Runs a step that must not be lost, because it saves what nobody could fetch again. Whatever goes wrong, it is
    /// retried for about a quarter of a minute, for a refusal may pass too (a stale schema cache, a clock that is off)
    /// and what could not be read may have been done; the step has to be repeatable.
    ///
    /// # Errors
    /// As [`Database::rpc`], after the last attempt.
    pub async fn commit<T: DeserializeOwned>(&self, function: &'static str, arguments: &Value) -> Result<T, Error> {
        self.read(function, self.call_until_done(function, arguments).await?)
    }

    async fn call_until_done(&self, function: &'static str, arguments: &Value) -> Result<Value, Error> {
        for wait in COMMIT_RETRIES_MS {
            if let Ok(done) = self.call(function, arguments).await {
                return Ok(done);
            }
            time::sleep(Duration::from_millis(wait)).await;
        }
        self.call(function, arguments).await
    }

    fn call<'a>(&'a self, function: &'static str, arguments: &'a Value) -> LocalBoxFuture<'a, Result<Value, Error>> {
        Box::pin(async move {
            let start = now();
            let request = self.client.rpc(function, arguments.to_string()).build();
            let reply = self.calls.send(request, DEADLINE).await;
            self.timings.add_db(millis_since(start));
            let reply = match reply {
                Ok(reply) => reply,
                Err(error) => return Err(self.unavailable(function, &error.to_string())),
            };
            let answer: Option<Value> = serde_json::from_slice(&reply.body).ok();
            if (200..300).contains(&reply.status) {
                return answer.ok_or_else(|| self.unexpected(function));
            }
            // Only PostgREST's code is logged: its message can quote arguments.
            let code = answer
                .and_then(|body| body.get("code")?.as_str().map(str::to_owned))
                .unwrap_or_default();
            if is_passing(reply.status, &code) {
                return Err(self.unavailable(function, &code));
            }
            self.log_failure(function, &code);
            Err(Error::Internal("the database refused the call"))
        })
    }

    fn read<T: DeserializeOwned>(&self, function: &str, answer: Value) -> Result<T, Error> {
        json::read(answer).ok_or_else(|| self.unexpected(function))
    }

    fn unexpected(&self, function: &str) -> Error {
        self.log_failure(function, "unexpected answer");
        Error::Internal("the database gave an unexpected answer")
    }

    fn unavailable(&self, function: &str, reason: &str) -> Error {
        self.log_failure(function, reason);
        Error::ServiceUnavailable
    }

    fn log_failure(&self, function: &str, reason: &str) {
        log::write(&json!({
            "event": "database_failure", "request_id": self.request_id, "step": function, "reason": reason,
        }));
    }
}

/// Whether the same call may succeed later: overload, lost connections, deadlocks and serialization failures.
fn is_passing(status: u16, code: &str) -> bool {
    let class = code.get(..2).unwrap_or_default();
    matches!(class, "08" | "40" | "53" | "57")
        || matches!(code, "PGRST000" | "PGRST001" | "PGRST002" | "PGRST003" | "55P03")
        || status >= 500 && code.is_empty()
        || status == StatusCode::TOO_MANY_REQUESTS.as_u16()
}

#[cfg(test)]
mod tests {
    use super::is_passing;

    #[test]
    fn what_is_worth_another_try() {
        for (status, code) in [
            (503, "PGRST002"),
            (504, "PGRST003"),
            (500, "40001"),
            (500, "40P01"),
            (502, ""),
            (429, ""),
        ] {
            assert!(is_passing(status, code), "{status} {code}");
        }
        for (status, code) in [
            (400, "22P02"),
            (401, "42501"),
            (404, "PGRST202"),
            (409, "23505"),
            (500, "P0001"),
            (400, ""),
        ] {
            assert!(!is_passing(status, code), "{status} {code}");
        }
    }
}
