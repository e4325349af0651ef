//! How a simulator is set up, and the rules that it plays by.

use serde::{Deserialize, Serialize};

/// How a simulator is started.
#[derive(Clone, Debug, Default)]
pub struct ZoomOptions {
    /// Its port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// What it starts with; a test can change them while it runs.
    pub rules: Rules,
}

/// The Zoom app, as it would be entered in Zoom's Marketplace. Not `Debug`: it holds secrets.
#[derive(Clone)]
pub struct ZoomApp {
    /// The app's id.
    pub client_id: String,
    /// The app's secret.
    pub client_secret: String,
    /// The one address on the allow list; a request must repeat it to the letter.
    pub redirect_uri: String,
    /// Where events go.
    pub webhook_url: String,
    /// Signs events.
    pub webhook_secret_token: String,
}

/// What Zoom's documentation leaves open, what differs between accounts, and what tests must be able to switch off. The
/// defaults are the strictest reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// What becomes of events.
    pub webhooks: Webhooks,
    /// Whether changes made by the API make events too, as at Zoom.
    pub events_of_api_changes: bool,
    /// Creates and updates per host and day; null switches the limit off.
    pub daily_limit: Option<usize>,
    /// Calls per account and day, all apps together; null switches the limits off.
    pub account_daily_limits: Option<AccountDailyLimits>,
    /// Calls per account and second; null switches the limits off.
    pub per_second_limits: Option<PerSecondLimits>,
    /// Whether a 429 says when to come back.
    pub retry_after: RetryAfter,
    /// What a refresh does to the access token of before.
    pub old_access_token: OldAccessToken,
    /// A spent refresh token still works for this long. No such grace is documented.
    pub old_refresh_token_grace_seconds: u32,
    /// What a second use of an authorization code does to the tokens that the first one gave.
    pub reused_code: ReusedCode,
    /// When a new authorization of the same user ends the tokens of before.
    pub overtaken_at: OvertakenAt,
    /// What a grant that was ended so is refused with.
    pub overtaken_says: OvertakenSays,
    /// The status of refused grants: 400, or 401 as in older reports.
    pub refused_grant_status: u16,
    /// What a repeated delivery is signed with.
    pub retry_timestamp: RetryTimestamp,
    /// Whether deliveries that were answered with a 4xx are repeated, as those are that got a 5xx or no answer.
    pub retries_after_4xx: bool,
    /// Whether a meeting that goes on can be changed and deleted.
    pub running_meeting: RunningMeeting,
    /// Whether a time zone is taken that is not among Zoom's own.
    pub unknown_time_zones: UnknownTimeZones,
    /// Meetings of free accounts are ended after so many minutes; null lets them go on.
    pub free_minutes: Option<u32>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            webhooks: Webhooks::Held,
            events_of_api_changes: true,
            daily_limit: Some(100),
            account_daily_limits: Some(AccountDailyLimits::default()),
            per_second_limits: None,
            retry_after: RetryAfter::Named,
            old_access_token: OldAccessToken::Dies,
            old_refresh_token_grace_seconds: 0,
            reused_code: ReusedCode::RevokesTokens,
            overtaken_at: OvertakenAt::Exchange,
            overtaken_says: OvertakenSays::Superseded,
            refused_grant_status: 400,
            retry_timestamp: RetryTimestamp::New,
            retries_after_4xx: false,
            running_meeting: RunningMeeting::TakesChanges,
            unknown_time_zones: UnknownTimeZones::Refused,
            free_minutes: Some(40),
        }
    }
}

impl ZoomOptions {
    /// For people, not for tests: events are delivered as they come.
    pub fn with_events_sent() -> Self {
        Self {
            rules: Rules {
                webhooks: Webhooks::Sent,
                ..Rules::default()
            },
            ..Self::default()
        }
    }
}

/// What becomes of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Webhooks {
    /// They wait until a test has them delivered.
    #[default]
    Held,
    /// They are delivered as they come, as Zoom does.
    Sent,
}

/// Calls per account and second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PerSecondLimits {
    /// To create and list meetings.
    pub medium: usize,
    /// To get, update and delete meetings, and to read a user.
    pub light: usize,
}

impl Default for PerSecondLimits {
    /// Those of a free account.
    fn default() -> Self {
        Self { medium: 2, light: 4 }
    }
}

/// Calls per account and day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccountDailyLimits {
    /// To create and list meetings.
    pub medium: usize,
    /// To get, update and delete meetings, and to read a user.
    pub light: usize,
}

impl Default for AccountDailyLimits {
    /// Those of a free account.
    fn default() -> Self {
        Self {
            medium: 2_000,
            light: 6_000,
        }
    }
}

/// Whether a meeting that goes on can be changed and deleted; descriptions differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunningMeeting {
    /// Yes.
    TakesChanges,
    /// No: 400 with code 3000.
    RefusedAsStarted,
    /// No: 400 with code 3002.
    RefusedAsInProgress,
}

/// What becomes of a time zone that is not among Zoom's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownTimeZones {
    /// 400 with code 300.
    Refused,
    /// It is taken, if it is an IANA name.
    Taken,
}

/// Whether a 429 says when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    /// `Retry-After` is an instant in ISO 8601.
    Named,
    /// Only `X-RateLimit-Reset` does, likewise.
    ResetOnly,
    /// There is no such header.
    Missing,
}

/// What a refresh does to the access token of before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OldAccessToken {
    /// It dies at once.
    Dies,
    /// It lives out its hour.
    LivesOn,
}

/// What a second use of an authorization code does, beside being refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReusedCode {
    /// It revokes the tokens that the first use gave, as RFC 6749 advises.
    RevokesTokens,
    /// Nothing.
    Refused,
}

/// When a new authorization of the same user ends the tokens of before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OvertakenAt {
    /// As soon as the user taps Allow.
    Consent,
    /// When the new tokens are handed out.
    Exchange,
}

/// What a grant that a newer authorization ended is refused with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OvertakenSays {
    /// That it was superseded, 4741.
    Superseded,
    /// Plain "Invalid Token!", as of every other dead token.
    InvalidToken,
}

/// What a repeated delivery is signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryTimestamp {
    /// The time of the repetition.
    New,
    /// The time of the first delivery.
    First,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_can_be_written_down_in_part() {
        let rules: Rules = serde_json::from_value(json!({
            "webhooks": "sent", "per_second_limits": {"light": 20}, "retry_after": "missing", "daily_limit": null,
        }))
        .unwrap();
        assert_eq!(rules.per_second_limits, Some(PerSecondLimits { medium: 2, light: 20 }));
        assert_eq!(rules.daily_limit, None);
        assert_eq!(rules.old_access_token, OldAccessToken::Dies);
        assert!(serde_json::from_value::<Rules>(json!({"webhook": "sent"})).is_err());
    }
}
