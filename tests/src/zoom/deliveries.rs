//! Deliveries of events to the app's webhook: as Zoom makes them, and as a forger would.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use chrono::Utc;
use futures_util::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use tokio::time::Instant;

use super::dice::Dice;
use super::events::{encrypted_token, signature, Event};
use super::opaque::opaque;
use super::options::{RetryTimestamp, Webhooks};
use super::server::Shared;

/// Zoom waits this long for an answer.
const DEADLINE: Duration = Duration::from_secs(3);
/// A delivery that failed is repeated so often (after about 5, 25 and 85 minutes; here, when a test asks for it).
const RETRIES: u32 = 3;

/// How a delivery is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    /// As Zoom signs.
    #[default]
    Genuine,
    /// With another secret.
    Forged,
    /// As Zoom signs, but so many seconds ago: a recording, played again.
    Stale(u32),
    /// Not at all.
    Missing,
}

/// How the events that wait are delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveryPlan {
    /// Only these, by their ids; the others go on waiting.
    pub only: Option<Vec<u64>>,
    /// Each so often.
    pub copies: u32,
    /// In an order that this seed decides, not that of the events.
    pub shuffle: Option<u64>,
    /// The share of all deliveries that are not Zoom's, below 1: forged or stale ones, by turns, which would do harm if
    /// they were believed. They come on top of the genuine ones.
    pub spoiled_share: f64,
    /// So many at the same time.
    pub at_once: usize,
}

impl Default for DeliveryPlan {
    fn default() -> Self {
        Self {
            only: None,
            copies: 1,
            shuffle: None,
            spoiled_share: 0.0,
            at_once: 1,
        }
    }
}

/// What came of a delivery.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct DeliveryReport {
    /// The event's id; `None` for a body of a test's own.
    pub event_id: Option<u64>,
    /// The event's name.
    pub event: String,
    /// How it was signed.
    pub signature: Signature,
    /// The status of the answer; `None` if none came within three seconds.
    pub status: Option<u16>,
    /// The body of the answer.
    pub answer: String,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

struct Delivery {
    event_id: Option<u64>,
    event: String,
    body: String,
    signature: Signature,
    /// Seconds since 1970, for all but stale ones.
    timestamp: i64,
}

impl Delivery {
    fn new(event: &Event, signature: Signature, timestamp: i64) -> Self {
        Self {
            event_id: Some(event.id),
            event: event.name.clone(),
            body: event.body.to_string(),
            signature,
            timestamp,
        }
    }

    /// What somebody would send who wants to do harm.
    fn spoiled(event: &Event, signature: Signature) -> Self {
        let mut event = event.clone();
        match event.name.as_str() {
            "meeting.deleted" => event.name = "meeting.started".to_owned(),
            "app_deauthorized" => {}
            _ => event.name = "meeting.deleted".to_owned(),
        }
        event.body["event"] = json!(event.name);
        event.body["event_ts"] = json!(event.body["event_ts"].as_i64().map(|at| at + 1_000));
        Self::new(&event, signature, Utc::now().timestamp())
    }
}

async fn send(shared: &Shared, delivery: Delivery) -> DeliveryReport {
    let (url, secret) = {
        let world = shared.world();
        (world.app.webhook_url.clone(), world.app.webhook_secret_token.clone())
    };
    let (secret, timestamp) = match delivery.signature {
        Signature::Genuine | Signature::Missing => (secret, delivery.timestamp),
        Signature::Forged => (opaque(22), delivery.timestamp),
        Signature::Stale(seconds) => (secret, Utc::now().timestamp() - i64::from(seconds)),
    };
    let mut request = shared
        .http
        .post(url)
        .timeout(DEADLINE)
        .header("content-type", "application/json; charset=utf-8")
        .header("user-agent", "Zoom Marketplace/1.0a")
        .header("x-zm-trackingid", format!("v=2.0;clid=us05;rid=WEB_{}", opaque(32)));
    if delivery.signature != Signature::Missing {
        request = request.header("x-zm-request-timestamp", timestamp.to_string()).header(
            "x-zm-signature",
            signature(&secret, timestamp, delivery.body.as_bytes()),
        );
    }
    let begun = Instant::now();
    let read = async {
        let answer = request.body(delivery.body).send().await?;
        Ok::<_, reqwest::Error>((answer.status().as_u16(), answer.text().await?))
    };
    let (status, answer) = match read.await {
        Ok((status, answer)) => (Some(status), answer),
        Err(_) => (None, String::new()),
    };
    let report = DeliveryReport {
        event_id: delivery.event_id,
        event: delivery.event,
        signature: delivery.signature,
        status,
        answer,
        millis: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    let shown = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    shared.log(&format!("event {} {shown}", report.event));
    shared
        .reports
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .push(report.clone());
    shared.changes.send_replace(());
    report
}

async fn send_all(shared: &Shared, deliveries: Vec<Delivery>, at_once: usize) -> Vec<DeliveryReport> {
    let sending = deliveries.into_iter().map(|delivery| send(shared, delivery));
    stream::iter(sending).buffer_unordered(at_once.max(1)).collect().await
}

/// Delivers the events that wait.
pub(crate) async fn deliver(shared: &Shared, plan: &DeliveryPlan) -> Result<Vec<DeliveryReport>> {
    ensure!(
        (0.0..1.0).contains(&plan.spoiled_share),
        "a spoiled share lies between 0 and 1, and is not 1"
    );
    let events = shared.world().events.take_held(plan.only.as_deref());
    when_all_have_happened(&events).await;
    let now = Utc::now().timestamp();
    let copies = |event| (0..plan.copies).map(move |_| Delivery::new(event, Signature::Genuine, now));
    let mut deliveries: Vec<Delivery> = events.iter().flat_map(copies).collect();
    let spoiled = deliveries.len() as f64 * plan.spoiled_share / (1.0 - plan.spoiled_share);
    for (at, event) in events.iter().cycle().take(spoiled.ceil() as usize).enumerate() {
        let signature = [Signature::Forged, Signature::Stale(3 * 3600)][at % 2];
        // Among the others, also where nothing is shuffled.
        let place = at * 7919 % (deliveries.len() + 1);
        deliveries.insert(place, Delivery::spoiled(event, signature));
    }
    if let Some(seed) = plan.shuffle {
        Dice::new(seed).shuffle(&mut deliveries);
    }
    let reports = send_all(shared, deliveries, plan.at_once).await;
    let events = events.into_iter().map(|event| Event {
        attempts: event.attempts + 1,
        first_timestamp: Some(now),
        ..event
    });
    keep_failed(shared, events.collect(), &reports);
    Ok(reports)
}

/// Waits for the time of the last event: many that are made at once have times that run ahead, as no two are the same.
async fn when_all_have_happened(events: &[Event]) {
    let last_at = events.iter().filter_map(|event| event.body["event_ts"].as_i64()).max();
    let ahead = last_at.unwrap_or(0) - Utc::now().timestamp_millis();
    tokio::time::sleep(Duration::from_millis(u64::try_from(ahead).unwrap_or(0))).await;
}

/// Delivers again what failed.
pub(crate) async fn retry(shared: &Shared) -> Vec<DeliveryReport> {
    let (mut events, rule) = {
        let mut world = shared.world();
        (world.events.take_failed(), world.rules.retry_timestamp)
    };
    let now = Utc::now().timestamp();
    let delivery = |event: &mut Event| {
        event.attempts += 1;
        let first = event.first_timestamp.filter(|_| rule == RetryTimestamp::First);
        Delivery::new(event, Signature::Genuine, first.unwrap_or(now))
    };
    let deliveries = events.iter_mut().map(delivery).collect();
    let reports = send_all(shared, deliveries, 1).await;
    keep_failed(shared, events, &reports);
    reports
}

/// Keeps the events that no delivery got through, as long as Zoom would try again.
fn keep_failed(shared: &Shared, events: Vec<Event>, reports: &[DeliveryReport]) {
    let mut world = shared.world();
    let final_4xx = !world.rules.retries_after_4xx;
    let is_settled = |report: &&DeliveryReport| {
        let refused = |status| final_4xx && (400..500).contains(&status);
        report.signature == Signature::Genuine
            && report
                .status
                .is_some_and(|status| (200..300).contains(&status) || refused(status))
    };
    world.events.in_delivery -= events.len();
    let settled: HashSet<_> = reports
        .iter()
        .filter(is_settled)
        .filter_map(|report| report.event_id)
        .collect();
    let failed = events
        .into_iter()
        .filter(|event| !settled.contains(&event.id) && event.attempts <= RETRIES);
    world.events.failed.extend(failed);
    drop(world);
    shared.changes.send_replace(());
}

/// Delivers a body of a test's own.
pub(crate) async fn send_body(shared: &Shared, body: String, signature: Signature) -> DeliveryReport {
    let parsed: Value = serde_json::from_str(&body).unwrap_or_default();
    let delivery = Delivery {
        event_id: None,
        event: parsed["event"].as_str().unwrap_or("(no event)").to_owned(),
        body,
        signature,
        timestamp: Utc::now().timestamp(),
    };
    send(shared, delivery).await
}

/// Checks that the endpoint is the app's, as Zoom does every 72 hours.
pub(crate) async fn validate(shared: &Shared) -> Result<()> {
    let plain_token = opaque(22);
    let body = json!({
        "event": "endpoint.url_validation", "event_ts": Utc::now().timestamp_millis(),
        "payload": {"plainToken": plain_token},
    });
    let report = send_body(shared, body.to_string(), Signature::Genuine).await;
    let secret = shared.world().app.webhook_secret_token.clone();
    let expected = json!({"plainToken": plain_token, "encryptedToken": encrypted_token(&secret, &plain_token)});
    let found: Value = serde_json::from_str(&report.answer).unwrap_or_default();
    let status = report.status.context("the endpoint did not answer in three seconds")?;
    ensure!(
        status == 200 && found == expected,
        "the endpoint failed its validation: {status} {}",
        report.answer
    );
    Ok(())
}

/// Delivers events as they come, as long as the rules say so.
pub(crate) async fn deliver_as_they_come(shared: &Shared) {
    loop {
        shared.new_events.notified().await;
        let due = {
            let world = shared.world();
            world.rules.webhooks == Webhooks::Sent && !world.events.held.is_empty()
        };
        if due {
            // Only a plan that makes no sense is an error.
            let _ = deliver(shared, &DeliveryPlan::default()).await;
        }
    }
}
