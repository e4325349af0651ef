//! The database by itself, through PostgREST as its callers see it.

#[path = "../support/mod.rs"]
mod support;

mod access;
mod app_rules;
mod baseline;
mod bent_calls;
mod client_types;
mod connection;
mod feed;
mod join;
mod legacy;
mod life;
mod one_rule;
mod outbox;
mod plans;
mod quotas;
mod schedule;
mod sessions;
mod takeover;
mod time_zones;
mod watch;
