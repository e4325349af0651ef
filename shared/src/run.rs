//! A run over more work than one request may do: how far it goes, and a few things at a time.

use std::{cell::RefCell, future::Future, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{future::LocalBoxFuture, stream, StreamExt};

use crate::{outbound::Calls, time::now};

/// How far a run goes. What is left is for the next one.
#[derive(Debug, Clone)]
pub struct Bounds {
    until: DateTime<Utc>,
    max_calls: u32,
    calls: Arc<Calls>,
}

impl Bounds {
    /// Nothing is begun any more when `longest` is over, or when the request has made `max_calls` calls.
    pub fn new(calls: Arc<Calls>, longest: TimeDelta, max_calls: u32) -> Self {
        Self {
            until: now().checked_add_signed(longest).unwrap_or(DateTime::<Utc>::MAX_UTC),
            max_calls,
            calls,
        }
    }

    /// Whether nothing more is to be begun.
    pub fn reached(&self) -> bool {
        self.calls.begun() >= self.max_calls || now() > self.until
    }
}

/// Works through `items`, `at_once` at a time, in any order. Gives what came of each; `None` for those that were not
/// begun, because the run's bounds were reached.
pub async fn each<T, R, F: Future<Output = R>>(
    items: Vec<T>,
    at_once: usize,
    bounds: &Bounds,
    work: impl Fn(T) -> F,
) -> Vec<Option<R>> {
    let results = RefCell::new(Vec::with_capacity(items.len()));
    let (results_of, work) = (&results, &work);
    let one = |item| -> LocalBoxFuture<'_, ()> {
        Box::pin(async move {
            let result = if bounds.reached() { None } else { Some(work(item).await) };
            results_of.borrow_mut().push(result);
        })
    };
    all(items.into_iter().map(one).collect(), at_once).await;
    results.into_inner()
}

/// Of one type, so that the wasm has it once.
fn all(work: Vec<LocalBoxFuture<'_, ()>>, at_once: usize) -> LocalBoxFuture<'_, ()> {
    Box::pin(stream::iter(work).buffer_unordered(at_once).collect())
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;
    use crate::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn a_few_at_a_time_and_none_when_time_is_up() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = async |item: usize| {
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            sleep(Duration::from_millis(10)).await;
            now.fetch_sub(1, Ordering::Relaxed);
            item
        };
        let bounds = Bounds::new(Arc::default(), TimeDelta::hours(1), 1);
        let mut done = each((0..10).collect(), 3, &bounds, work).await;
        done.sort_unstable();
        assert_eq!(done, (0..10).map(Some).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::Relaxed), 3);

        let over = Bounds::new(Arc::default(), TimeDelta::hours(-1), 1);
        let no_calls = Bounds::new(Arc::default(), TimeDelta::hours(1), 0);
        for bounds in [over, no_calls] {
            assert_eq!(each(vec![1, 2], 3, &bounds, work).await, [None, None]);
        }
    }
}
