//! The local stack: PostgreSQL, PostgREST and the edge functions for real, and the parts that stand in for the rest of
//! the platform (gateway and sign-in) and for Zoom. `cargo xtask dev` and the tests run the same.

mod auth_issuer;
mod database;
mod forged_tokens;
mod gateway;
mod gateway_faults;
mod later_release;
mod leaks;
mod places;
mod postgres;
mod postgrest;
mod processes;
mod random;
mod sequence;
mod stack;
mod workers;
pub mod zoom;

pub use auth_issuer::{Issuer, Signing};
pub use forged_tokens::ForgedToken;
pub use gateway::{Caller, Gateway, LoggedRequest};
pub use gateway_faults::GatewayFault;
pub use places::repository;
pub use processes::Output;
pub use stack::{Beside, Jwks, OutboundCall, SignedIn, Stack, StackOptions, DEMO_PASSWORD, SHARED_DOMAIN};
pub use workers::EdgeRuntime;
