//! What all functions share: configuration, callers, HTTP, sealing, the database and Zoom.
//!
//! Everything here compiles and is tested natively, except `edge`, the thin adapter that turns a request of the
//! edge runtime into a [`call::RequestContext`] and its answer back.
//!
//! | module | what it knows |
//! |---|---|
//! | [`config`] | the environment variables, validated whole |
//! | [`call`] | one request on its way through a function: who calls, what it carries, which services it may use |
//! | [`serve`] | a function around its handler: CORS, errors as answers, headers, the line in the log |
//! | [`log`] | what a request leaves in the log, and how long it waited |
//! | [`auth`] | who the caller is: user tokens against the project's JWKS, secret keys in constant time |
//! | [`json`] | JSON text |
//! | [`input`] | request bodies, parsed field by field into values that cannot be invalid |
//! | [`error`] | every way a function can say no, with its status, code and sentence |
//! | [`outbound`] | requests to others and their whole answers, a few at a time |
//! | [`run`] | a run over much work: how far it goes, and a few things at a time |
//! | [`seal`] | tokens at rest |
//! | [`db`] | PostgREST |
//! | [`zoom`] | Zoom: OAuth, the API, and the life of a host's connection |
//! | [`time`] | the clock, deadlines and waiting |

#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

pub mod auth;
pub mod call;
pub mod check;
pub mod config;
pub mod db;
#[cfg(target_arch = "wasm32")]
pub mod edge;
pub mod error;
pub mod hash;
pub mod input;
pub mod json;
pub mod log;
pub mod outbound;
pub mod random;
pub mod run;
pub mod seal;
pub mod secret;
pub mod serve;
pub mod time;
pub mod zoom;
