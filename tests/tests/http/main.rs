//! What the functions answer over HTTP.

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod edge_hosts;
mod log_lines;
mod meeting_settings;
mod openapi;
mod openapi_database;
mod outbound_calls;
mod sign_in;
mod whole_path;
