//! All of Zoom's side in one place, and everything that can happen to it. No clock and no network in here: whoever calls
//! says what time it is.

use anyhow::{anyhow, Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{json, Value};

use super::answer::Answer;
use super::calls::Calls;
use super::endpoint::Endpoint;
use super::events::Events;
use super::faults::Faults;
use super::limits::Limits;
use super::meeting_fields::{MeetingFields, Purpose};
use super::meetings::Meetings;
use super::opaque::IssuedSecret;
use super::options::{Rules, ZoomApp};
use super::request::Request;
use super::tokens::{Status, TokenId, TokenKind, Tokens};
use super::users::{AppAccess, User, UserId, Users};
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

    /// Puts the clock forward: all that has happened is longer ago, and ends that much sooner. Plans stay where they are.
    ///
    /// What Zoom tells others, such as when to come back, therefore still is in everybody's time.
    pub(crate) fn advance(&mut self, by: TimeDelta) {
        self.users.grow_older(by);
        self.tokens.grow_older(by);
        self.meetings.grow_older(by);
        self.limits.grow_older(by);
        self.events.grow_older(by);
        self.advanced += by;
    }

    /// As [`World::advance`] for a world whose plans were made by the same clock: they too are nearer.
    pub(crate) fn travel(&mut self, by: TimeDelta) {
        self.advance(by);
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
        let meeting = self
            .meetings
            .get_mut(id)
            .with_context(|| format!("there is no meeting {id} in Zoom"))?;
        let host = self.users.by_id(&meeting.host).context("a meeting has a host")?;
        match action {
            HostAction::Start => {
                meeting.started_at = Some(now);
                meeting.ended_at = None;
                self.events.started(host, meeting, now);
            }
            HostAction::End => {
                meeting.started_at = meeting.started_at.or(Some(now));
                meeting.ended_at = Some(now);
                self.events.ended(host, meeting, now);
            }
            HostAction::Edit(fields) => {
                let fields =
                    MeetingFields::parse(fields, Purpose::Update).map_err(|refusal| anyhow!("{}", refusal.body))?;
                let changes = meeting.update(fields, &host.locked_settings);
                self.events.updated(host, meeting.id, changes, now);
            }
            HostAction::Delete => {
                meeting.deleted_at = Some(now);
                self.events.deleted(host, meeting, now);
            }
        }
        Ok(())
    }
}

/// What a host does with a meeting in Zoom itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum HostAction {
    Start,
    End,
    /// The fields are those of `PATCH /meetings/{id}`.
    Edit(Value),
    Delete,
}
