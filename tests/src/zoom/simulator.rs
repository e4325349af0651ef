//! The simulator as tests hold it in their hands.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{TimeDelta, Utc};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::calls::RecordedCall;
use super::deliveries::{self, DeliveryPlan, DeliveryReport, Signature};
use super::events::Event;
use super::faults::Fault;
use super::meetings::{MeetingStatus, ZoomMeeting};
use super::opaque::IssuedSecret;
use super::options::{Rules, Webhooks, ZoomApp};
use super::server::{self, Shared};
use super::tokens::{Status, TokenKind};
use super::users::{AppAccess, NewUser};
use super::world::{HostAction, World};
use crate::processes::Logs;

/// How long [`ZoomSimulator::wait_for`] and [`ZoomSimulator::settled`] wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running Zoom simulator; dropped, it stops.
///
/// What is named an error here is a mistake of the test: a user, token, meeting or fault that does not exist.
pub struct ZoomSimulator {
    url: String,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl ZoomSimulator {
    /// Starts a simulator by itself, on a free port of 127.0.0.1.
    pub async fn start(app: ZoomApp, rules: Rules) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        Self::serve(listener, app, rules, Logs::default())
    }

    /// Serves a simulator on `listener`.
    pub(crate) fn serve(listener: TcpListener, app: ZoomApp, rules: Rules, logs: Logs) -> Result<Self> {
        let url = format!("http://{}", listener.local_addr()?);
        let world = World::new(url.clone(), app, rules, Utc::now())?;
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let shared = Arc::new(Shared::new(world, http, logs));
        let mut tasks = JoinSet::new();
        tasks.spawn(server::serve(shared.clone(), listener));
        let delivering = shared.clone();
        tasks.spawn(async move { deliveries::deliver_as_they_come(&delivering).await });
        Ok(Self {
            url,
            shared,
            _tasks: tasks,
        })
    }

    /// `http://127.0.0.1:PORT`: its front page, where the control surface is described.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for ZoomSimulator {
    fn drop(&mut self) {
        // Calls that hang would do so for ever.
        self.shared.world().faults.withdraw_all();
    }
}

/// What there is to see.
impl ZoomSimulator {
    /// Everything but secrets: `clock`, `rules`, `users`, `tokens` (each with `id`, `kind`, `status`, `user`, …),
    /// `meetings`, `faults` and `events`.
    pub fn state(&self) -> Value {
        self.shared.world().state(Utc::now())
    }

    /// The client id of the app that it knows.
    pub fn client_id(&self) -> String {
        self.shared.world().app.client_id.clone()
    }

    /// Every call since the start or the last [`ZoomSimulator::clear_calls`], in order of arrival.
    pub fn calls(&self) -> Vec<RecordedCall> {
        self.shared.world().calls.all().to_vec()
    }

    /// Forgets the calls so far.
    pub fn clear_calls(&self) {
        self.shared.world().calls.clear();
    }

    /// Waits until the record of calls is as wanted; `what` says so should that never be.
    pub async fn wait_for(&self, what: &str, wanted: impl Fn(&[RecordedCall]) -> bool) -> Result<()> {
        let mut changes = self.shared.changes.subscribe();
        let met = async {
            while !wanted(self.shared.world().calls.all()) {
                changes.changed().await?;
            }
            anyhow::Ok(())
        };
        let in_time = tokio::time::timeout(PATIENCE, met).await;
        in_time.with_context(|| format!("waited in vain for {what}; calls: {:?}", self.calls()))?
    }

    /// Every meeting that ever was, in order of creation.
    pub fn meetings(&self) -> Vec<ZoomMeeting> {
        let mut world = self.shared.world();
        world.cut_free_meetings(Utc::now());
        world.meetings.shown(|id| world.email_of(id))
    }

    /// The meetings that exist.
    pub fn live_meetings(&self) -> Vec<ZoomMeeting> {
        let mut meetings = self.meetings();
        meetings.retain(|meeting| meeting.status != MeetingStatus::Deleted);
        meetings
    }

    /// The meeting of this number, also if it was deleted.
    pub fn meeting(&self, id: &str) -> Result<ZoomMeeting> {
        let found = self.meetings().into_iter().find(|meeting| meeting.id == id);
        found.with_context(|| format!("there never was a meeting {id} in Zoom"))
    }

    /// Where a token is in its life; `None` for text that never was one.
    pub fn token_status(&self, token: &str) -> Option<Status> {
        self.shared.world().tokens.status_of(token, Utc::now())
    }

    /// The meeting that a start URL makes its holder the host of; `None` if it has run out.
    pub fn opened_by(&self, start_url: &str) -> Option<String> {
        let (_, token) = start_url.split_once("zak=")?;
        let world = self.shared.world();
        world
            .meetings
            .opened_by(token, Utc::now())
            .map(|meeting| meeting.id.to_string())
    }

    /// Every code, token and start URL that was ever given out, for leak checks.
    pub fn issued_secrets(&self) -> Vec<IssuedSecret> {
        self.shared.world().issued_secrets()
    }
}

/// The rules and the clock.
impl ZoomSimulator {
    /// The rules that it plays by.
    pub fn rules(&self) -> Rules {
        self.shared.world().rules.clone()
    }

    /// Changes the rules.
    pub fn change_rules(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.shared.world().rules);
        self.shared.new_events.notify_one();
    }

    /// Puts Zoom's clock forward: everything that has happened is longer ago, and what runs out does so that much
    /// sooner. Meetings stay planned for when they are planned. [`Stack::travel`](crate::Stack::travel) takes everybody
    /// along.
    pub fn advance(&self, by: TimeDelta) {
        self.shared.world().advance(by, Utc::now());
        self.shared.new_events.notify_one();
    }

    pub(crate) fn travel(&self, by: TimeDelta) {
        self.shared.world().travel(by, Utc::now());
        self.shared.new_events.notify_one();
    }
}

/// Users and their tokens.
impl ZoomSimulator {
    /// Makes a user.
    pub fn create_user(&self, user: NewUser) -> Result<()> {
        self.shared.world().users.create(user, Utc::now()).map(drop)
    }

    /// Deletes a user from Zoom, meetings and all, without any event.
    pub fn remove_user(&self, email: &str) -> Result<()> {
        self.shared.world().remove_user(email, Utc::now())
    }

    /// Changes what a user grants: when they next connect, and to tokens that are out.
    pub fn set_scopes(&self, email: &str, scopes: &[&str]) -> Result<()> {
        let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        self.shared.world().set_scopes(email, &scopes)
    }

    /// An administrator decides on the app for a user. Disabling it ends the user's tokens for good.
    pub fn set_app_access(&self, email: &str, access: AppAccess) -> Result<()> {
        self.shared.world().set_app_access(email, access, Utc::now())
    }

    /// Sets whether a user may host meetings; else Zoom refuses with 3161.
    pub fn set_may_host(&self, email: &str, may_host: bool) -> Result<()> {
        self.shared.world().users.by_email_mut(email)?.may_host = may_host;
        Ok(())
    }

    /// Sets whether `GET /users/me` leaves a user's email address out.
    pub fn hide_email(&self, email: &str, hides: bool) -> Result<()> {
        self.shared.world().users.by_email_mut(email)?.hides_email = hides;
        Ok(())
    }

    /// A user removes the app in Zoom: tokens are revoked, `app_deauthorized` is sent.
    pub fn deauthorize(&self, email: &str) -> Result<()> {
        self.shared.world().deauthorize(email, Utc::now())?;
        self.shared.new_events.notify_one();
        Ok(())
    }

    /// Lets a user's live tokens run out, of one kind or both.
    pub fn expire_tokens(&self, email: &str, kind: Option<TokenKind>) -> Result<()> {
        self.shared.world().expire_tokens(email, kind, Utc::now())
    }

    /// Revokes a user's live tokens, without an event.
    pub fn revoke_tokens(&self, email: &str) -> Result<()> {
        self.shared.world().revoke_tokens(email, Utc::now())
    }

    /// Ends one token, by the id that the state shows it under, in whatever way.
    pub fn end_token(&self, id: &str, status: Status) -> Result<()> {
        self.shared.world().tokens.end_one(id, status, Utc::now())
    }
}

/// Faults.
impl ZoomSimulator {
    /// Orders a fault; gives its id.
    pub fn order(&self, fault: Fault) -> Result<u64> {
        self.shared.world().faults.order(fault)
    }

    /// Lets the calls go on that a fault has hang.
    pub fn release(&self, fault: u64) -> Result<()> {
        self.shared.world().faults.release(fault)
    }

    /// Takes a fault back, and lets its calls go on.
    pub fn withdraw(&self, fault: u64) -> Result<()> {
        self.shared.world().faults.withdraw(fault)
    }

    /// Takes all faults back, and lets their calls go on.
    pub fn withdraw_all(&self) {
        self.shared.world().faults.withdraw_all();
    }

    /// How often a fault has happened; `None` for one that was withdrawn.
    pub fn happened(&self, fault: u64) -> Option<u32> {
        self.shared.world().faults.happened(fault)
    }
}

/// What hosts do in Zoom itself. Each makes an event.
impl ZoomSimulator {
    /// Schedules a meeting, with the fields of `POST /users/me/meetings`; gives its number.
    pub fn schedule_meeting(&self, host: &str, fields: &Value) -> Result<String> {
        self.shared.world().host_schedules(host, fields, Utc::now())
    }

    /// Starts a meeting, or comes back to it as its host while it goes on.
    pub fn start_meeting(&self, id: &str) -> Result<()> {
        self.host_acts(id, &HostAction::Start)
    }

    /// Ends a meeting for all.
    pub fn end_meeting(&self, id: &str) -> Result<()> {
        self.host_acts(id, &HostAction::End)
    }

    /// Edits or moves a meeting, with the fields of `PATCH /meetings/{id}`.
    pub fn edit_meeting(&self, id: &str, fields: Value) -> Result<()> {
        self.host_acts(id, &HostAction::Edit(fields))
    }

    /// The host leaves a meeting, or loses the line. It ends if nobody else is in it.
    pub fn host_leaves(&self, id: &str) -> Result<()> {
        self.host_acts(id, &HostAction::HostLeaves)
    }

    /// Somebody joins a meeting that goes on.
    pub fn guest_joins(&self, id: &str) -> Result<()> {
        self.host_acts(id, &HostAction::GuestJoins)
    }

    /// Somebody other than the host leaves a meeting. It ends if nobody else is in it.
    pub fn guest_leaves(&self, id: &str) -> Result<()> {
        self.host_acts(id, &HostAction::GuestLeaves)
    }

    /// Deletes a meeting. One that goes on is ended first.
    pub fn delete_meeting(&self, id: &str) -> Result<()> {
        self.host_acts(id, &HostAction::Delete)
    }

    /// Takes a deleted meeting out of the bin.
    pub fn recover_meeting(&self, id: &str) -> Result<()> {
        self.host_acts(id, &HostAction::Recover)
    }

    /// Deletes a deleted meeting for good.
    pub fn purge_meeting(&self, id: &str) -> Result<()> {
        self.host_acts(id, &HostAction::Purge)
    }

    /// Moves or edits one occurrence of a recurring meeting: an event, while the meeting stays as it is.
    pub fn edit_occurrence(&self, id: &str, fields: Value) -> Result<()> {
        self.host_acts(id, &HostAction::EditOccurrence(fields))
    }

    /// Deletes one occurrence of a recurring meeting: an event, while the meeting stays as it is.
    pub fn delete_occurrence(&self, id: &str) -> Result<()> {
        self.host_acts(id, &HostAction::DeleteOccurrence)
    }

    fn host_acts(&self, id: &str, action: &HostAction) -> Result<()> {
        self.shared.world().host_acts(id, action, Utc::now())?;
        self.shared.new_events.notify_one();
        Ok(())
    }
}

/// Events.
impl ZoomSimulator {
    /// The events that wait for their delivery.
    pub fn held_events(&self) -> Vec<Event> {
        self.shared.world().events.held.clone()
    }

    /// Forgets the events that wait.
    pub fn discard_events(&self) {
        self.shared.world().events.held.clear();
    }

    /// Delivers the events that wait.
    pub async fn deliver(&self, plan: &DeliveryPlan) -> Result<Vec<DeliveryReport>> {
        deliveries::deliver(&self.shared, plan).await
    }

    /// Delivers again what failed: with a 5xx, or without an answer in time.
    pub async fn retry_failed(&self) -> Vec<DeliveryReport> {
        deliveries::retry(&self.shared).await
    }

    /// Delivers a body of the test's own, JSON or not.
    pub async fn send(&self, body: impl Into<String>, signature: Signature) -> DeliveryReport {
        deliveries::send_body(&self.shared, body.into(), signature).await
    }

    /// Checks the endpoint, as Zoom does every 72 hours.
    ///
    /// # Errors
    /// If it does not answer as it must.
    pub async fn validate_endpoint(&self) -> Result<()> {
        deliveries::validate(&self.shared).await
    }

    /// A report of every delivery so far.
    pub fn deliveries(&self) -> Vec<DeliveryReport> {
        self.shared
            .reports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until every event has been delivered, or has failed to be, where they are delivered as they come.
    pub async fn settled(&self) -> Result<()> {
        let mut changes = self.shared.changes.subscribe();
        let nothing_on_its_way = || {
            let world = self.shared.world();
            let waits = world.rules.webhooks == Webhooks::Sent && !world.events.held.is_empty();
            !waits && world.events.in_delivery == 0
        };
        let settled = async {
            while !nothing_on_its_way() {
                changes.changed().await?;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, settled)
            .await
            .context("events are still on their way")?
    }
}
