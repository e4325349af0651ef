//! `zoom-sync`: brings sessions and meetings together again. Runs by the clock, or by `POST` with a secret key.
//!
//! In this order: what the app changed is told to Zoom; creations whose outcome nobody knows are settled; connections
//! that were left are revoked; connections that are due are refreshed; what has run out is removed. Every part is
//! bounded and repeatable, and a part that fails does not keep the others from running.

mod creations;
mod departures;

use std::future::Future;

use chrono::TimeDelta;
use http::Method;
use serde::Serialize;
use serde_json::{json, Map, Value};
use shared::{
    call::{self, json_answer, Answer, Call, Endpoint},
    config::Need,
    error::Error,
    zoom::{due::refresh_due, outbox},
};

/// This function.
pub static ENDPOINT: Endpoint = Endpoint {
    name: "zoom-sync",
    method: Method::POST,
    needs: &[Need::Zoom],
};

/// No part begins anything more after this time.
const LONGEST_PART: TimeDelta = TimeDelta::seconds(20);

/// Runs for a service.
///
/// # Errors
/// [`Error::Unauthorized`], and the first failure of a part, after all have run.
pub async fn handle(call: &Call<'_>) -> Result<Answer, Error> {
    call.service()?;
    run(call).await
}

/// Runs by the clock.
///
/// # Errors
/// The first failure of a part, after all have run.
pub async fn handle_scheduled(call: &Call<'_>) -> Result<Answer, Error> {
    call.set_caller(json!({"kind": "cron"}));
    run(call).await
}

async fn run(call: &Call<'_>) -> Result<Answer, Error> {
    let zoom = call.zoom()?;
    let mut report = Report::default();
    report
        .part("outbox", outbox::drain(&zoom, &call.db, None, LONGEST_PART))
        .await;
    report
        .part("creations", creations::settle(call, &zoom, LONGEST_PART))
        .await;
    report
        .part("departures", departures::finish(call, &zoom, LONGEST_PART))
        .await;
    report
        .part("connections", refresh_due(&zoom, &call.db, LONGEST_PART))
        .await;
    report
        .part("purged", call.db.rpc::<Value>("sync_purge", &json!({})))
        .await;
    report.finish()
}

/// What the parts did, and the first failure among them.
#[derive(Default)]
struct Report {
    counts: Map<String, Value>,
    failure: Option<Error>,
}

impl Report {
    async fn part<T: Serialize>(&mut self, name: &str, part: impl Future<Output = Result<T, Error>>) {
        match part.await {
            Ok(counts) => {
                self.counts.insert(name.to_owned(), json!(counts));
            }
            Err(error) => {
                self.failure.get_or_insert(error);
            }
        }
    }

    fn finish(self) -> Result<Answer, Error> {
        call::log(&json!({"event": "synchronized", "counts": self.counts}));
        self.failure.map_or_else(|| json_answer(&self.counts), Err)
    }
}

#[cfg(target_arch = "wasm32")]
mod entry {
    #[worker::event(fetch)]
    async fn fetch(request: worker::Request, env: worker::Env, _: worker::Context) -> worker::Result<worker::Response> {
        shared::edge::serve(request, env, &super::ENDPOINT, super::handle).await
    }

    #[worker::event(scheduled)]
    async fn scheduled(_: worker::ScheduledEvent, env: worker::Env, _: worker::ScheduleContext) {
        shared::edge::run_scheduled(env, &super::ENDPOINT, super::handle_scheduled).await;
    }
}
