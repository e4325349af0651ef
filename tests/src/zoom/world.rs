//! All of Zoom's side in one place, and everything that can happen to it. No clock and no network in here: whoever
//! calls says what time it is.

use anyhow::{anyhow, ensure, Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{json, Value};

use super::answer::Answer;
use super::calls::Calls;
use super::endpoint::Endpoint;
use super::events::Events;
use super::faults::Faults;
use super::limits::Limits;
use super::meeting_fields::{MeetingFields, Purpose};
use super::meetings::{Meeting, Meetings};
use super::opaque::IssuedSecret;
use super::options::{Rules, ZoomApp};
use super::request::Request;
use super::tokens::{Status, TokenId, TokenKind, Tokens};
use super::users::{AppAccess, Licence, User, UserId, Users};
use super::{api, authorize, oauth};

/// Zoom's side.
pub(crate) struct World {
    /// `http://127.0.0.1:PORT`
    pub(crate) origin: String,
    pub(crate) app: ZoomApp,
    pub(crate) rules: Rules,
    pub(crate) users: Users,
    pub(crate) tokens: Tokens,
    pub(crate) meetings: Meetings,
    pub(crate) limits: Limits,
    pub(crate) events: Events,
    pub(crate) faults: Faults,
    pub(crate) calls: Calls,
    /// How far the clock was put forward.
    advanced: TimeDelta,
}

/// What was learnt about a call while it was answered.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) token: Option<TokenId>,
    pub(crate) user: Option<UserId>,
}

impl World {
    pub(crate) fn new(origin: String, app: ZoomApp, rules: Rules, now: DateTime<Utc>) -> Result<Self> {
        Ok(Self {
            origin,
            app,
            rules,
            users: Users::seeded(now)?,
            tokens: Tokens::default(),
            meetings: Meetings::default(),
            limits: Limits::default(),
            events: Events::default(),
            faults: Faults::default(),
            calls: Calls::default(),
            advanced: TimeDelta::zero(),
        })
    }

    /// Does what a request asks, or says why not.
    pub(crate) fn act(
        &mut self,
        endpoint: Endpoint,
        meeting: Option<&str>,
        request: &Request,
        notes: &mut Notes,
        now: DateTime<Utc>,
    ) -> Answer {
        self.cut_free_meetings(now);
        let answer = match endpoint {
            Endpoint::Authorize => authorize::answer(self, request, notes, now),
            Endpoint::Token => oauth::token(self, request, notes, now),
            Endpoint::Revoke => oauth::revoke(self, request, notes, now),
            Endpoint::Unknown => Err(Answer::api_error(404, 2300, "This API endpoint is not recognized.")),
            _ => api::answer(self, endpoint, meeting.unwrap_or_default(), request, notes, now),
        };
        answer.unwrap_or_else(|refusal| refusal)
    }

    /// The email address of a user, also of one that was removed.
    pub(crate) fn email_of(&self, id: &UserId) -> String {
        self.users
            .by_id(id)
            .map_or_else(|| id.to_string(), |user| user.email.clone())
    }

    fn user(&self, email: &str) -> Result<&User> {
        self.users
            .by_email(email)
            .with_context(|| format!("there is no Zoom user {email}"))
    }

    /// Everything but secrets.
    pub(crate) fn state(&self, now: DateTime<Utc>) -> Value {
        let user = |user: &User| {
            let mut shown = json!(user);
            shown["changes_today"] = json!(self.limits.changes_today(&user.id, now));
            shown
        };
        json!({
            "clock": {"now": now, "advanced_seconds": self.advanced.num_seconds()},
            "rules": self.rules,
            "users": self.users.all().iter().map(user).collect::<Vec<_>>(),
            "tokens": self.tokens.to_json(|id| self.email_of(id), now),
            "meetings": self.meetings.shown(|id| self.email_of(id)),
            "faults": self.faults.to_json(),
            "events": {"held": self.events.held, "failed": self.events.failed},
        })
    }

    pub(crate) fn issued_secrets(&self) -> Vec<IssuedSecret> {
        self.tokens.secrets().chain(self.meetings.secrets()).collect()
    }

    /// Puts the clock forward: all that has happened is longer ago, and ends that much sooner. Plans stay where they
    /// are.
    ///
    /// What Zoom tells others, such as when to come back, therefore still is in everybody's time.
    pub(crate) fn advance(&mut self, by: TimeDelta, now: DateTime<Utc>) {
        self.cut_free_meetings(now);
        self.users.grow_older(by);
        self.tokens.grow_older(by);
        self.meetings.grow_older(by);
        self.limits.grow_older(by);
        self.events.grow_older(by);
        self.advanced += by;
        self.cut_free_meetings(now);
    }

    /// Zoom ends every meeting of a free account after 40 minutes, whoever is in it.
    pub(crate) fn cut_free_meetings(&mut self, now: DateTime<Utc>) {
        let Some(minutes) = self.rules.free_minutes else {
            return;
        };
        for meeting in self.meetings.running_mut() {
            let host = self
                .users
                .by_id(&meeting.host)
                .filter(|host| host.licence == Licence::Basic);
            let started_at = meeting.running().map(|running| running.started_at);
            let (Some(host), Some(started_at)) = (host, started_at) else {
                continue;
            };
            let ends_at = started_at + TimeDelta::minutes(minutes.into());
            if ends_at <= now {
                end(&mut self.events, host, meeting, ends_at);
            }
        }
    }

    /// As [`World::advance`] for a world whose plans were made by the same clock: they too are nearer.
    pub(crate) fn travel(&mut self, by: TimeDelta, now: DateTime<Utc>) {
        self.advance(by, now);
        self.meetings.bring_nearer(by);
    }

    /// Changes what a user grants, now and in the future.
    pub(crate) fn set_scopes(&mut self, email: &str, scopes: &[String]) -> Result<()> {
        let user = self.users.by_email_mut(email)?;
        user.scopes = scopes.to_vec();
        self.tokens.set_scopes(&user.id, scopes);
        Ok(())
    }

    /// An administrator decides on the app. Tokens do not come back to life when it is allowed again.
    pub(crate) fn set_app_access(&mut self, email: &str, access: AppAccess, now: DateTime<Utc>) -> Result<()> {
        let user = self.users.by_email_mut(email)?;
        user.app = access;
        if access == AppAccess::Disabled {
            self.tokens.end_all(&user.id, Status::Disabled, now);
        }
        Ok(())
    }

    /// A user is deleted from Zoom, with all meetings and without any event.
    pub(crate) fn remove_user(&mut self, email: &str, now: DateTime<Utc>) -> Result<()> {
        let user = self.users.by_email_mut(email)?;
        user.removed = true;
        self.tokens.end_all(&user.id, Status::OwnerGone, now);
        self.meetings.delete_all_of(&user.id, now);
        Ok(())
    }

    /// A user removes the app in Zoom.
    pub(crate) fn deauthorize(&mut self, email: &str, now: DateTime<Utc>) -> Result<()> {
        let user = self.user(email)?.clone();
        self.uninstall(&user, now);
        Ok(())
    }

    /// Lets a user's live tokens run out, of one kind or both.
    pub(crate) fn expire_tokens(&mut self, email: &str, kind: Option<TokenKind>, now: DateTime<Utc>) -> Result<()> {
        let id = self.user(email)?.id.clone();
        self.tokens.expire(&id, kind, now);
        Ok(())
    }

    /// Revokes a user's live tokens and codes, without an event.
    pub(crate) fn revoke_tokens(&mut self, email: &str, now: DateTime<Utc>) -> Result<()> {
        let id = self.user(email)?.id.clone();
        self.tokens.end_all(&id, Status::Revoked, now);
        Ok(())
    }

    /// The app is removed for a user: its tokens are revoked, and it is told.
    pub(crate) fn uninstall(&mut self, user: &User, now: DateTime<Utc>) {
        self.tokens.end_all(&user.id, Status::Revoked, now);
        self.events.deauthorized(user, &self.app.client_id, now);
    }

    /// A user schedules a meeting in Zoom itself; gives its number.
    pub(crate) fn host_schedules(&mut self, email: &str, fields: &Value, now: DateTime<Utc>) -> Result<String> {
        let host = self.user(email)?.clone();
        let fields = MeetingFields::parse(fields, Purpose::Create).map_err(|refusal| anyhow!("{}", refusal.body))?;
        Ok(self.meetings.create(&host, fields, now).id.to_string())
    }

    /// A host does something with a meeting in Zoom itself, which makes an event.
    pub(crate) fn host_acts(&mut self, id: &str, action: &HostAction, now: DateTime<Utc>) -> Result<()> {
        self.cut_free_meetings(now);
        let found = match action {
            HostAction::Recover | HostAction::Purge => self.meetings.get_deleted_mut(id),
            _ => self.meetings.get_mut(id),
        };
        let meeting = found.with_context(|| format!("there is no meeting {id} in Zoom"))?;
        let host = self.users.by_id(&meeting.host).context("a meeting has a host")?;
        match action {
            HostAction::Start => {
                if meeting.start(now) {
                    self.events.started(host, meeting, now);
                }
            }
            HostAction::End => {
                // What never began ends at once, as if the event of its start had been lost.
                meeting.start(now);
                end(&mut self.events, host, meeting, now);
            }
            HostAction::HostLeaves | HostAction::GuestLeaves => {
                ensure!(
                    meeting.running().is_some(),
                    "nobody is in a meeting that does not go on"
                );
                match action {
                    HostAction::HostLeaves => meeting.host_is_in = false,
                    _ => meeting.guests = meeting.guests.saturating_sub(1),
                }
                if !meeting.host_is_in && meeting.guests == 0 {
                    end(&mut self.events, host, meeting, now);
                }
            }
            HostAction::GuestJoins => {
                ensure!(meeting.running().is_some(), "a guest waits until the meeting goes on");
                meeting.guests += 1;
            }
            HostAction::Edit(fields) => {
                let fields =
                    MeetingFields::parse(fields, Purpose::Update).map_err(|refusal| anyhow!("{}", refusal.body))?;
                let changes = meeting.update(fields, &host.locked_settings);
                self.events.updated(host, meeting.id, changes, now);
            }
            HostAction::Delete => {
                end(&mut self.events, host, meeting, now);
                meeting.deleted_at = Some(now);
                self.events.deleted(host, meeting, now);
            }
            HostAction::Recover => {
                ensure!(
                    meeting.deleted_at.is_some() && !meeting.purged,
                    "only what was deleted can be recovered"
                );
                meeting.deleted_at = None;
                self.events.recovered(host, meeting, now);
            }
            HostAction::Purge => {
                ensure!(
                    meeting.deleted_at.is_some() && !meeting.purged,
                    "only what was deleted can go for good"
                );
                meeting.purged = true;
                self.events.permanently_deleted(host, meeting, now);
            }
            HostAction::EditOccurrence(fields) => {
                MeetingFields::parse(fields, Purpose::Update).map_err(|refusal| anyhow!("{}", refusal.body))?;
                self.events.of_occurrence(host, meeting, fields.as_object(), now);
            }
            HostAction::DeleteOccurrence => self.events.of_occurrence(host, meeting, None, now),
        }
        Ok(())
    }
}

/// Ends a meeting that goes on, and tells so.
pub(crate) fn end(events: &mut Events, host: &User, meeting: &mut Meeting, now: DateTime<Utc>) {
    if let Some(instance) = meeting.end(now) {
        events.ended(host, meeting, &instance, now);
    }
}

/// What a host does with a meeting in Zoom itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum HostAction {
    /// Or comes back to what goes on.
    Start,
    /// For all.
    End,
    /// Also a line that drops. A meeting ends when the last one leaves.
    HostLeaves,
    GuestJoins,
    GuestLeaves,
    /// The fields are those of `PATCH /meetings/{id}`.
    Edit(Value),
    Delete,
    /// Takes a deleted meeting out of the bin.
    Recover,
    /// Empties the bin.
    Purge,
    /// Of a recurring meeting: the meeting itself stays as it is.
    EditOccurrence(Value),
    DeleteOccurrence,
}
