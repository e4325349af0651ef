//! The Zoom simulator: stands in for Zoom on 127.0.0.1. Stricter than Zoom, never kinder.
//!
//! It plays Zoom's OAuth (with a consent page to click), the part of its API that the project uses, its limits and its
//! events. A test can order faults, move the clock, and act as hosts do in Zoom itself: by [`ZoomSimulator`]'s methods,
//! or over HTTP under `/simulator`, which the front page describes.
//!
//! | module | what it knows |
//! |---|---|
//! | `tokens` | codes and tokens, from consent to whatever ends them |
//! | `meetings`, `meeting_fields`, `meeting_lists` | meetings, what a request may say of one, and their lists |
//! | `users`, `scopes` | who there is, and what they grant |
//! | `limits` | calls per second, changes per day |
//! | `events`, `deliveries` | what Zoom tells the app's webhook, and how |
//! | `faults` | what goes wrong on a test's order |
//! | `world` | all of the above in one place |
//! | `authorize`, `oauth`, `api` | the endpoints: a request in, an answer out |
//! | `server`, `pages`, `control`, `simulator` | the listener, its pages, and the ways to control it |

mod answer;
mod api;
mod authorize;
mod calls;
mod control;
mod deliveries;
mod dice;
mod endpoint;
mod events;
mod faults;
mod limits;
mod meeting_fields;
mod meeting_lists;
mod meetings;
mod oauth;
mod opaque;
mod options;
mod pages;
mod request;
mod scopes;
mod server;
mod simulator;
mod tokens;
mod users;
mod world;

pub use answer::Answer;
pub use calls::RecordedCall;
pub use deliveries::{DeliveryPlan, DeliveryReport, Signature};
pub use dice::Dice;
pub use endpoint::{Endpoint, Grant, Target};
pub use events::Event;
pub use faults::{Effect, Fault, Moment, Often, Truncation};
pub use meetings::{Instance, MeetingStatus, ZoomMeeting};
pub use opaque::{IssuedSecret, SecretKind};
pub use options::{
    AccountDailyLimits, OldAccessToken, OvertakenAt, OvertakenSays, PerSecondLimits, RetryAfter, RetryTimestamp,
    ReusedCode, Rules, RunningMeeting, UnknownTimeZones, Webhooks, ZoomApp, ZoomOptions,
};
pub use scopes::{CLASSIC as CLASSIC_SCOPES, GRANULAR as GRANULAR_SCOPES, GRANULAR_END as END_SCOPE};
pub(crate) use server::to_response;
pub use simulator::ZoomSimulator;
pub use tokens::{Status as TokenStatus, TokenKind};
pub use users::{AppAccess, Licence, NewUser};

/// The names of the time zones that Zoom knows, one a line.
pub const TIME_ZONES: &str = include_str!("time-zones.txt");
