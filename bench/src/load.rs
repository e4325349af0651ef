//! Sends requests and keeps how long each took.

use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use reqwest::{Client, Request};

/// Whoever is not answered by then is not going to be.
const LONGEST: Duration = Duration::from_secs(10);

/// Sends `count` requests, `at_once` at a time; each must be answered with `status`.
pub async fn send(
    client: &Client,
    count: usize,
    at_once: usize,
    status: u16,
    make: impl Fn(usize) -> Result<Request>,
) -> Result<Vec<Duration>> {
    let one = |number: usize| {
        let request = make(number);
        async move {
            let start = Instant::now();
            let request = request?;
            // A host closes the connection of a caller whose body it has not read. The caller may be sending its next
            // request then, and sends it again: that is part of what it waits for.
            let answer = loop {
                let again = request.try_clone().context("a body that is sent at once")?;
                match client.execute(again).await {
                    Err(error) if error.is_request() && start.elapsed() < LONGEST => {}
                    answer => break answer?,
                }
            };
            let (found, text) = (answer.status().as_u16(), answer.text().await?);
            ensure!(found == status, "expected {status}, got {found} {text}");
            anyhow::Ok(start.elapsed())
        }
    };
    stream::iter(0..count)
        .map(one)
        .buffer_unordered(at_once)
        .try_collect()
        .await
}

/// The time within which this share of the requests was answered, in milliseconds.
pub fn percentile(times: &[Duration], share: f64) -> f64 {
    let mut sorted: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1_000.0).collect();
    sorted.sort_by(f64::total_cmp);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss
    )]
    let place = (sorted.len().saturating_sub(1) as f64 * share) as usize;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}
