//! Zoom's rate limits: how long to wait.
//!
//! Zoom's `Retry-After` is an ISO-8601 instant, not seconds, and can be missing for the limit of 100 meeting changes
//! per host and day, which is then named in the message and ends at 00:00 UTC.

use chrono::{DateTime, Days, NaiveTime, TimeDelta, Utc};
use http::{header, HeaderMap};

use crate::time;

/// The wait where Zoom says nothing about it.
const DEFAULT_WAIT: TimeDelta = TimeDelta::seconds(2);
/// No wait is longer: whoever says so is wrong.
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(24);

/// A 429 of Zoom's, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// When it is worth trying again.
    pub until: DateTime<Utc>,
    /// Whether it is a limit per day.
    pub daily: bool,
    /// Whose limit it is.
    pub whose: Whose,
}

/// Whose limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The host's: 100 changes of meetings a day.
    Hosts,
    /// The Zoom account's, all its users and apps together.
    Accounts,
}

impl RateLimit {
    /// Reads a 429's headers and message.
    pub fn read(headers: &HeaderMap, message: &str, now: DateTime<Utc>) -> Self {
        let named = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let daily = named("x-ratelimit-type").eq_ignore_ascii_case("daily-limit")
            || message.to_ascii_lowercase().contains("daily");
        let said = parse_retry_after(named(header::RETRY_AFTER.as_str()), now);
        let until = said.unwrap_or_else(|| {
            if daily {
                next_midnight(now)
            } else {
                after(now, DEFAULT_WAIT)
            }
        });
        Self {
            until: until.clamp(now, after(now, LONGEST_WAIT)),
            daily,
            whose: if message.to_ascii_lowercase().contains("create/update") {
                Whose::Hosts
            } else {
                Whose::Accounts
            },
        }
    }
}

/// `now + wait`, or the end of time where a header asks for more than that.
fn after(now: DateTime<Utc>, wait: TimeDelta) -> DateTime<Utc> {
    now.checked_add_signed(wait).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn parse_retry_after(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let seconds = || Some(after(now, TimeDelta::try_seconds(text.parse().ok()?)?));
    time::parse(text).or_else(seconds)
}

fn next_midnight(now: DateTime<Utc>) -> DateTime<Utc> {
    now.date_naive()
        .checked_add_days(Days::new(1))
        .map_or(after(now, LONGEST_WAIT), |day| day.and_time(NaiveTime::MIN).and_utc())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(retry_after: Option<&str>, message: &str) -> (i64, bool) {
        let now = "2026-03-01T22:30:00Z".parse().unwrap();
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_str(value).unwrap());
        }
        let limit = RateLimit::read(&headers, message, now);
        ((limit.until - now).num_seconds(), limit.daily)
    }

    #[test]
    fn the_wait_is_zooms_or_a_sensible_one() {
        assert_eq!(read(Some("2026-03-01T22:31:00Z"), ""), (60, false));
        assert_eq!(read(Some("7"), ""), (7, false));
        assert_eq!(
            read(None, "You have reached the maximum per-second rate limit"),
            (2, false)
        );
        assert_eq!(
            read(
                None,
                "You have exceeded the daily rate limit (100) of Meeting Create/Update"
            ),
            (90 * 60, true)
        );
        assert_eq!(
            read(Some("2026-03-01T10:00:00Z"), ""),
            (0, false),
            "an instant in the past"
        );
        assert_eq!(
            read(Some("2036-03-01T10:00:00Z"), ""),
            (24 * 3600, false),
            "an instant years ahead"
        );
        assert_eq!(read(Some("soon"), ""), (2, false));
        assert_eq!(
            read(Some("9000000000000000"), ""),
            (24 * 3600, false),
            "beyond the end of time"
        );
    }

    #[test]
    fn a_daily_limit_is_the_hosts_or_the_accounts() {
        let whose = |message| RateLimit::read(&HeaderMap::new(), message, DateTime::UNIX_EPOCH).whose;
        let hosts =
            "You have exceeded the daily rate limit (100) of Meeting Create/Update API requests permitted for a user";
        assert_eq!(whose(hosts), Whose::Hosts);
        assert_eq!(
            whose("You have reached the maximum daily rate limit for this API."),
            Whose::Accounts
        );
    }

    proptest! {
        #[test]
        fn no_header_breaks_it(header in "[ -~]{0,40}", message in ".{0,80}") {
            let (seconds, _) = read(Some(&header), &message);
            prop_assert!((0..=24 * 3600).contains(&seconds));
        }
    }
}
