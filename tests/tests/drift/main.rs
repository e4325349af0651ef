//! A session and its meeting stay in step, whatever happens.

#[path = "../support/mod.rs"]
mod support;

mod edits;
mod fault_matrix;
mod idempotency;
mod life_stories;
mod lost_events;
mod many_at_once;
mod model;
mod start;
mod webhooks;
mod week_without_events;
