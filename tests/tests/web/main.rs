//! The clients: in a browser, and as packages.

#[path = "../support/mod.rs"]
mod support;

mod dart_client;
mod web_client;
