//! Zoom's tokens: refreshed, raced for, refused, sealed under new keys, revoked.

#[path = "../support/mod.rs"]
mod support;

mod idle;
mod keys;
mod model;
mod races;
mod refresh;
mod verdicts;
