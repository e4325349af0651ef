//! The clock, deadlines and waiting, on the edge and natively.
//!
//! `Instant::now` and `SystemTime::now` panic on `wasm32-unknown-unknown`; [`now`] works on both. At the edge the clock
//! stands still while the CPU works and moves with every answered I/O.

use std::{future::Future, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::future::{select, Either};

/// The current time.
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Waits.
#[cfg(target_arch = "wasm32")]
pub async fn sleep(duration: Duration) {
    worker::Delay::from(duration).await;
}

/// Waits.
#[cfg(not(target_arch = "wasm32"))]
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// The future did not finish in time. It was dropped, which aborts a request on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadlineExceeded;

/// Runs a future for at most `limit`. The HTTP client's own time-out is not used: on wasm its error cannot be told
/// from others.
///
/// # Errors
/// [`DeadlineExceeded`] when the time is over.
pub async fn with_deadline<T>(limit: Duration, future: impl Future<Output = T>) -> Result<T, DeadlineExceeded> {
    let future = std::pin::pin!(future);
    let timer = std::pin::pin!(sleep(limit));
    match select(future, timer).await {
        Either::Left((value, _)) => Ok(value),
        Either::Right(((), _)) => Err(DeadlineExceeded),
    }
}

/// Reads an instant: RFC 3339 text. The type's own reader also takes forms that nobody uses here.
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    let instant = DateTime::parse_from_rfc3339(text).ok()?;
    Some(instant.to_utc())
}

/// Milliseconds from `start` until now, never negative.
pub fn millis_since(start: DateTime<Utc>) -> u64 {
    u64::try_from(now().signed_duration_since(start).num_milliseconds()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_ends_what_takes_too_long() {
        let slow = with_deadline(Duration::from_secs(1), sleep(Duration::from_secs(2)));
        assert_eq!(slow.await, Err(DeadlineExceeded));
        let quick = with_deadline(Duration::from_secs(2), async { 7 });
        assert_eq!(quick.await, Ok(7));
    }
}
