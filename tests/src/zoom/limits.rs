//! Zoom's rate limits: so many calls per account and second, and so many meetings made or changed per host and day.

use std::collections::HashMap;

use chrono::{DateTime, NaiveTime, SecondsFormat, TimeDelta, Utc};

use super::answer::Answer;
use super::endpoint::Endpoint;
use super::options::{AccountDailyLimits, PerSecondLimits, RetryAfter, Rules};
use super::users::{User, UserId};

/// How heavy a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Weight {
    Light,
    Medium,
}

impl Weight {
    fn of(endpoint: Endpoint) -> Self {
        match endpoint {
            Endpoint::CreateMeeting | Endpoint::ListMeetings => Self::Medium,
            _ => Self::Light,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Light => "Light",
            Self::Medium => "Medium",
        }
    }
}

/// The calls that count.
#[derive(Default)]
pub(crate) struct Limits {
    of_accounts: HashMap<(String, Weight), Vec<DateTime<Utc>>>,
    of_account_days: HashMap<(String, Weight), Vec<DateTime<Utc>>>,
    of_hosts: HashMap<UserId, Vec<DateTime<Utc>>>,
}

impl Limits {
    /// Counts a call, and gives the headers that say what is left; or the refusal of a call too many, which does not
    /// count.
    pub(crate) fn count(
        &mut self,
        user: &User,
        endpoint: Endpoint,
        rules: &Rules,
        now: DateTime<Utc>,
    ) -> Result<Vec<(&'static str, String)>, Answer> {
        let weight = Weight::of(endpoint);
        let mut headers = vec![("x-ratelimit-category", weight.name().to_owned())];
        if let Some(PerSecondLimits { light, medium }) = rules.per_second_limits {
            let limit = match weight {
                Weight::Light => light,
                Weight::Medium => medium,
            };
            let calls = self.of_accounts.entry((user.account_id.clone(), weight)).or_default();
            let second = TimeDelta::seconds(1);
            calls.retain(|at| now - *at < second);
            if calls.len() >= limit {
                let message = "You have reached the maximum per-second rate limit for this API. Try again later.";
                headers.extend(left("QPS", limit, 0));
                return Err(refusal(message, headers, calls[0] + second, rules));
            }
            calls.push(now);
            headers.extend(left("QPS", limit, limit - calls.len()));
        }
        let midnight = now.date_naive().and_time(NaiveTime::MIN).and_utc();
        if let Some(AccountDailyLimits { light, medium }) = rules.account_daily_limits {
            let limit = match weight {
                Weight::Light => light,
                Weight::Medium => medium,
            };
            let calls = self
                .of_account_days
                .entry((user.account_id.clone(), weight))
                .or_default();
            calls.retain(|at| *at >= midnight);
            if calls.len() >= limit {
                let message = "You have reached the maximum daily rate limit for this API. Refer to the response \
                               header for details on when you can make another request.";
                headers.truncate(1);
                headers.extend(left("Daily-limit", limit, 0));
                return Err(refusal(message, headers, midnight + TimeDelta::days(1), rules));
            }
            calls.push(now);
        }
        let changes = matches!(endpoint, Endpoint::CreateMeeting | Endpoint::UpdateMeeting);
        if let (true, Some(limit)) = (changes, rules.daily_limit) {
            let calls = self.of_hosts.entry(user.id.clone()).or_default();
            calls.retain(|at| *at >= midnight);
            headers.truncate(1);
            if calls.len() >= limit {
                let message = format!(
                    "You have exceeded the daily rate limit ({limit}) of Meeting Create/Update API requests permitted for \
                     this particular user. You may resume these requests at GMT 00:00:00."
                );
                headers.extend(left("Daily-limit", limit, 0));
                return Err(refusal(&message, headers, midnight + TimeDelta::days(1), rules));
            }
            calls.push(now);
            headers.extend(left("Daily-limit", limit, limit - calls.len()));
        }
        Ok(headers)
    }

    /// The meetings that a host has made or changed today.
    pub(crate) fn changes_today(&self, user: &UserId, now: DateTime<Utc>) -> usize {
        let today = now.date_naive();
        let calls = self.of_hosts.get(user).into_iter().flatten();
        calls.filter(|at| at.date_naive() == today).count()
    }

    pub(crate) fn grow_older(&mut self, by: TimeDelta) {
        for at in self
            .of_accounts
            .values_mut()
            .chain(self.of_account_days.values_mut())
            .chain(self.of_hosts.values_mut())
            .flatten()
        {
            *at -= by;
        }
    }
}

fn left(kind: &str, limit: usize, remaining: usize) -> [(&'static str, String); 3] {
    [
        ("x-ratelimit-type", kind.to_owned()),
        ("x-ratelimit-limit", limit.to_string()),
        ("x-ratelimit-remaining", remaining.to_string()),
    ]
}

fn refusal(message: &str, headers: Vec<(&'static str, String)>, until: DateTime<Utc>, rules: &Rules) -> Answer {
    let mut answer = Answer::api_error(429, 429, message);
    // Rounded up: whoever comes back at that instant must not be too early.
    let until = (until + TimeDelta::milliseconds(999)).to_rfc3339_opts(SecondsFormat::Secs, true);
    if rules.retry_after != RetryAfter::Missing {
        answer = answer.with_header("x-ratelimit-reset", until.clone());
    }
    if rules.retry_after == RetryAfter::Named {
        answer = answer.with_header("retry-after", until);
    }
    headers
        .into_iter()
        .fold(answer, |answer, (name, value)| answer.with_header(name, value))
}

#[cfg(test)]
mod tests {
    use super::super::users::Users;
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-03-01T22:30:00Z".parse().unwrap()
    }

    #[test]
    fn a_host_makes_and_changes_a_hundred_meetings_a_day() {
        let users = Users::seeded(now()).unwrap();
        let (trainer, other) = (&users.all()[0], &users.all()[1]);
        let mut limits = Limits::default();
        let mut rules = Rules::default();
        for at in 0..100 {
            let endpoint = [Endpoint::CreateMeeting, Endpoint::UpdateMeeting][at % 2];
            let headers = limits.count(trainer, endpoint, &rules, now()).unwrap();
            assert!(headers.contains(&("x-ratelimit-remaining", (99 - at).to_string())));
        }
        assert_eq!(limits.changes_today(&trainer.id, now()), 100);
        let refused = limits
            .count(trainer, Endpoint::CreateMeeting, &rules, now())
            .unwrap_err();
        assert_eq!(refused.status, 429);
        assert!(refused.body["message"]
            .as_str()
            .unwrap()
            .contains("daily rate limit (100)"));
        assert_eq!(refused.headers["retry-after"], "2026-03-02T00:00:00Z");
        assert_eq!(refused.headers["x-ratelimit-type"], "Daily-limit");
        assert!(limits.count(trainer, Endpoint::DeleteMeeting, &rules, now()).is_ok());
        assert!(limits.count(other, Endpoint::CreateMeeting, &rules, now()).is_ok());

        rules.retry_after = RetryAfter::Missing;
        let refused = limits
            .count(trainer, Endpoint::UpdateMeeting, &rules, now())
            .unwrap_err();
        assert!(!refused.headers.contains_key("retry-after"));
        assert!(limits
            .count(trainer, Endpoint::CreateMeeting, &rules, now() + TimeDelta::minutes(90))
            .is_ok());
        limits.grow_older(TimeDelta::days(1));
        assert_eq!(limits.changes_today(&trainer.id, now() + TimeDelta::minutes(90)), 0);
    }

    #[test]
    fn an_account_has_so_many_calls_a_day_whoever_makes_them() {
        let users = Users::seeded(now()).unwrap();
        let (trainer, colleague, stranger) = (&users.all()[0], &users.all()[1], &users.all()[4]);
        let mut limits = Limits::default();
        let rules = Rules {
            account_daily_limits: Some(AccountDailyLimits { medium: 2, light: 3 }),
            retry_after: RetryAfter::ResetOnly,
            ..Rules::default()
        };
        assert!(limits.count(trainer, Endpoint::ListMeetings, &rules, now()).is_ok());
        assert!(limits.count(colleague, Endpoint::CreateMeeting, &rules, now()).is_ok());
        let refused = limits
            .count(trainer, Endpoint::CreateMeeting, &rules, now())
            .unwrap_err();
        assert_eq!(refused.headers["x-ratelimit-type"], "Daily-limit");
        assert_eq!(refused.headers["x-ratelimit-reset"], "2026-03-02T00:00:00Z");
        assert!(!refused.headers.contains_key("retry-after"));
        assert!(!refused.body["message"].as_str().unwrap().contains("(100)"));
        assert_eq!(limits.changes_today(&trainer.id, now()), 0);
        assert!(limits.count(trainer, Endpoint::GetMeeting, &rules, now()).is_ok());
        assert!(limits.count(stranger, Endpoint::CreateMeeting, &rules, now()).is_ok());
        let tomorrow = now() + TimeDelta::minutes(90);
        assert!(limits.count(trainer, Endpoint::ListMeetings, &rules, tomorrow).is_ok());
    }

    #[test]
    fn an_account_has_so_many_calls_a_second() {
        let users = Users::seeded(now()).unwrap();
        let (trainer, colleague, stranger) = (&users.all()[0], &users.all()[1], &users.all()[4]);
        let mut limits = Limits::default();
        let rules = Rules {
            per_second_limits: Some(PerSecondLimits::default()),
            ..Rules::default()
        };
        assert!(limits.count(trainer, Endpoint::ListMeetings, &rules, now()).is_ok());
        assert!(limits.count(colleague, Endpoint::ListMeetings, &rules, now()).is_ok());
        let refused = limits
            .count(trainer, Endpoint::ListMeetings, &rules, now())
            .unwrap_err();
        assert_eq!(refused.headers["retry-after"], "2026-03-01T22:30:01Z");
        assert_eq!(
            (
                &*refused.headers["x-ratelimit-type"],
                &*refused.headers["x-ratelimit-category"]
            ),
            ("QPS", "Medium")
        );
        assert!(limits.count(stranger, Endpoint::ListMeetings, &rules, now()).is_ok());
        for _ in 0..4 {
            assert!(limits.count(trainer, Endpoint::GetMeeting, &rules, now()).is_ok());
        }
        assert!(limits.count(trainer, Endpoint::GetMeeting, &rules, now()).is_err());
        assert!(limits
            .count(trainer, Endpoint::GetMeeting, &rules, now() + TimeDelta::seconds(1))
            .is_ok());
    }
}
