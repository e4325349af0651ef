//! One count for everything that this process records, so that records of different servers can be put in order.

use std::sync::atomic::{AtomicU64, Ordering};

/// The next number.
pub(crate) fn next() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
