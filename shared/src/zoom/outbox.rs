//! The outbox: what the app changed in sessions, told to Zoom.
//!
//! Triggers write it, one row per session at most; [`drain`] sends what is due. PATCH and DELETE are repeatable, so
//! whatever is unclear is tried again, with the back-off that the database decides on.

use std::{collections::VecDeque, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::{future::LocalBoxFuture, stream::FuturesUnordered, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use uuid::Uuid;

use super::{
    api::{ApiRequest, MeetingDetails, MeetingId},
    api_failure::{ApiFailure, Obstacle},
    connection::TokenClaim,
    Zoom,
};
use crate::{
    error::{seconds_until, Error},
    json,
    run::Bounds,
    time::{self, millis_since, now},
};

/// Changes that are being sent at a time: as many as calls to Zoom may be on their way.
const AT_ONCE: usize = 5;
/// Changes that are claimed and wait to be sent, at most; more are claimed when half of them are left.
const MAX_QUEUED: usize = 24;
/// Results that are saved at a time, at most.
const MAX_RESULTS: usize = 40;
/// What was claimed is begun within this time, or given back: a minute after the claim others may send two more changes
/// of the same Zoom account.
const LATEST_BEGIN_MS: u64 = 30_000;
/// Times that saving results may fail, one after another, before the run ends.
const MAX_SAVE_FAILURES: u32 = 3;
/// How often a drain for one user looks whether another run has sent the rest.
const WAIT_FOR_OTHERS_MS: u64 = 300;
/// What becomes due within this time is waited for.
const LONGEST_PAUSE_MS: u64 = 2_000;
const SHORTEST_PAUSE_MS: u64 = 50;

/// Whose changes are sent, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// What is due, of all hosts.
    Everybodys,
    /// What is due of one user.
    Ones(Uuid),
    /// All of one user's, also what would be tried again later, once: the connection is about to end.
    AllOf(Uuid),
}

impl Whose {
    fn only_user(self) -> Option<Uuid> {
        match self {
            Self::Everybodys => None,
            Self::Ones(user_id) | Self::AllOf(user_id) => Some(user_id),
        }
    }

    fn scope(self) -> &'static str {
        match self {
            Self::Everybodys | Self::Ones(_) => "due",
            Self::AllOf(_) => "everything",
        }
    }
}

/// What a drain did, by count.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Drained {
    /// Told to Zoom, or nothing left to tell.
    pub sent: u64,
    /// To be tried again later.
    pub postponed: u64,
    /// Of one user: what Zoom has not confirmed yet.
    #[serde(skip)]
    pub waiting: u64,
}

#[derive(Deserialize)]
struct Claimed {
    tasks: Vec<Task>,
    /// Another run is sending some of this user's changes, or of their Zoom account's.
    busy: bool,
    /// Another claim may find more.
    more: bool,
    /// When more becomes due.
    next_due_in_ms: Option<u64>,
    waiting: u64,
}

#[derive(Deserialize)]
struct Task {
    task_id: i64,
    user_id: Uuid,
    session_id: Uuid,
    meeting_id: MeetingId,
    token: TokenClaim,
    kind: Kind,
    /// The meeting goes on, as far as is known.
    running: bool,
    /// The host has granted what is needed to end it.
    may_end: bool,
    /// Of an update.
    desired: Option<Desired>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Update,
    Delete,
    /// The meeting goes on, and the host has ended the session.
    End,
}

/// What of the meeting should be other than Zoom holds it.
#[derive(Deserialize)]
struct Desired {
    title: Option<String>,
    description: Option<String>,
    #[serde(default, deserialize_with = "json::optional_instant")]
    scheduled_start: Option<DateTime<Utc>>,
    timezone: Option<String>,
    duration_minutes: Option<u64>,
}

/// A change that was claimed, and when.
struct Queued {
    task: Task,
    claimed_at: DateTime<Utc>,
}

/// What came of a change.
#[derive(Debug, Clone)]
struct Settlement {
    task_id: i64,
    result: Sent,
}

impl Settlement {
    /// As `edge_outbox_settle` takes it.
    fn to_record(&self) -> Value {
        let (result, code, retry_after_seconds) = match &self.result {
            Sent::Done { code } => ("done", *code, None),
            Sent::Gone { code } => ("gone", Some(*code), None),
            Sent::Wait {
                code,
                retry_after_seconds,
            } => ("wait", Some(*code), *retry_after_seconds),
            Sent::Failed { code } => ("failed", Some(*code), None),
            Sent::Unsent => ("unsent", None, None),
        };
        json!({"task_id": self.task_id, "result": result, "code": code, "retry_after_seconds": retry_after_seconds})
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Sent {
    /// Zoom holds it. `code`: the meeting that was to be deleted does not exist any more.
    Done { code: Option<Obstacle> },
    /// The meeting that was to be changed does not exist any more.
    Gone { code: Obstacle },
    /// It has to wait for something else, which is no try.
    Wait {
        code: Obstacle,
        retry_after_seconds: Option<u64>,
    },
    /// A try in vain.
    Failed { code: Obstacle },
    /// It was not begun.
    Unsent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Done,
    Gone,
    Postponed,
    /// Another run has it by now.
    Superseded,
    Unsent,
    /// Somebody else is changing the session at this moment.
    Locked,
}

#[derive(Deserialize)]
struct Settled {
    outcomes: Vec<Outcome>,
}

/// Something that a run waited for.
enum Event {
    Sent(Uuid, Settlement),
    Saved(Vec<Settlement>, Result<Settled, Error>),
    Claimed(Result<Claimed, Error>),
    Paused,
}

/// Sends what is to be sent, a few at a time, until nothing is left or the bounds are reached. Of one user, what
/// another run is sending is waited for.
///
/// # Errors
/// As [`crate::db::Database::rpc`]; rows that are claimed by then become due again by time.
pub async fn drain(zoom: &Zoom<'_>, whose: Whose, bounds: &Bounds) -> Result<Drained, Error> {
    let mut run = Run {
        zoom,
        whose,
        bounds,
        queue: VecDeque::new(),
        results: Vec::new(),
        locked: Vec::new(),
        enough_today: Vec::new(),
        sending: 0,
        asking_database: false,
        pausing: false,
        may_claim: true,
        save_failures: 0,
        failure: None,
        drained: Drained::default(),
    };
    let mut on_their_way = FuturesUnordered::new();
    loop {
        run.begin(&mut on_their_way);
        let Some(event) = on_their_way.next().await else {
            break;
        };
        if let Some(pause) = run.take(event) {
            run.pausing = true;
            on_their_way.push(Box::pin(async move {
                time::sleep(pause).await;
                Event::Paused
            }));
        }
    }
    if let Some(failure) = run.failure {
        return Err(failure);
    }
    if let (Some(_), true) = (whose.only_user(), bounds.reached()) {
        run.drained.waiting = claim(zoom, whose, 0).await?.waiting;
    }
    Ok(run.drained)
}

/// A drain between two events. Changes are sent, results saved and changes claimed beside each other; saving and
/// claiming take turns.
struct Run<'z> {
    zoom: &'z Zoom<'z>,
    whose: Whose,
    bounds: &'z Bounds,
    queue: VecDeque<Queued>,
    results: Vec<Settlement>,
    /// Results whose sessions were locked, to be saved one by one.
    locked: Vec<Settlement>,
    /// Users of whom Zoom takes no more changes today, and what it said. What is claimed of theirs is not sent.
    enough_today: Vec<(Uuid, Sent)>,
    sending: usize,
    asking_database: bool,
    pausing: bool,
    may_claim: bool,
    save_failures: u32,
    /// Nothing is begun after it. What is on its way is waited for: it may hold a token that Zoom has just renewed.
    failure: Option<Error>,
    drained: Drained,
}

impl<'z> Run<'z> {
    /// Begins whatever can be begun.
    fn begin(&mut self, on_their_way: &mut FuturesUnordered<LocalBoxFuture<'z, Event>>) {
        let zoom = self.zoom;
        let over = self.bounds.reached() || self.failure.is_some();
        while self.sending < AT_ONCE {
            let Some(Queued { task, claimed_at }) = self.queue.pop_front() else {
                break;
            };
            if over || millis_since(claimed_at) > LATEST_BEGIN_MS {
                self.results.push(task.settled(Sent::Unsent));
                continue;
            }
            let enough = self.enough_today.iter().find(|(user_id, _)| *user_id == task.user_id);
            if let (Kind::Update, Some((_, result))) = (task.kind, enough) {
                let settlement = task.settled(result.clone());
                self.keep(settlement);
                continue;
            }
            self.sending = self.sending.saturating_add(1);
            on_their_way.push(Box::pin(async move {
                let result = send(&zoom.beside(), &task).await;
                Event::Sent(task.user_id, task.settled(result))
            }));
        }
        if self.asking_database {
            return;
        }
        let idle = self.sending == 0 && self.queue.is_empty();
        let hungry = !over && self.queue.len() <= MAX_QUEUED / 2;
        if !self.results.is_empty() && (hungry || idle || self.results.len() >= MAX_RESULTS) {
            let results = std::mem::take(&mut self.results);
            on_their_way.push(Box::pin(save(zoom, results)));
        } else if let Some(result) = self.locked.pop() {
            on_their_way.push(Box::pin(save(zoom, vec![result])));
        } else if hungry && self.may_claim {
            self.may_claim = false;
            let (whose, max_rows) = (self.whose, MAX_QUEUED.saturating_sub(self.queue.len()));
            on_their_way.push(Box::pin(
                async move { Event::Claimed(claim(zoom, whose, max_rows).await) },
            ));
        } else {
            return;
        }
        self.asking_database = true;
    }

    /// Takes what an event brought, and gives the pause after which another claim may find something.
    fn take(&mut self, event: Event) -> Option<Duration> {
        match event {
            Event::Sent(user_id, settlement) => {
                self.sending = self.sending.saturating_sub(1);
                if let Sent::Wait {
                    code: Obstacle::DailyLimit,
                    ..
                } = settlement.result
                {
                    self.enough_today.push((user_id, settlement.result.clone()));
                }
                self.keep(settlement);
            }
            Event::Saved(results, saved) => {
                self.asking_database = false;
                // What was saved has made room for others of the same accounts.
                self.may_claim = true;
                match saved {
                    Ok(Settled { outcomes }) => {
                        self.save_failures = 0;
                        let locked = results.into_iter().zip(outcomes);
                        self.locked.extend(
                            locked.filter_map(|(result, outcome)| (outcome == Outcome::Locked).then_some(result)),
                        );
                    }
                    Err(error) => {
                        self.save_failures = self.save_failures.saturating_add(1);
                        if self.save_failures >= MAX_SAVE_FAILURES {
                            self.failure = Some(error);
                        } else {
                            self.results.extend(results);
                        }
                    }
                }
            }
            Event::Claimed(Err(error)) => {
                self.asking_database = false;
                self.failure = Some(error);
            }
            Event::Claimed(Ok(claimed)) => {
                self.asking_database = false;
                self.drained.waiting = claimed.waiting;
                let claimed_at = now();
                let queued = claimed.tasks.into_iter().map(|task| Queued { task, claimed_at });
                self.queue.extend(queued);
                self.may_claim = claimed.more;
                let later = match self.whose {
                    Whose::Everybodys => claimed.next_due_in_ms.filter(|millis| *millis <= LONGEST_PAUSE_MS),
                    Whose::Ones(_) | Whose::AllOf(_) => claimed.busy.then_some(WAIT_FOR_OTHERS_MS),
                };
                if let (false, false, Some(millis)) = (claimed.more, self.pausing || self.bounds.reached(), later) {
                    return Some(Duration::from_millis(millis.max(SHORTEST_PAUSE_MS)));
                }
            }
            Event::Paused => {
                self.pausing = false;
                self.may_claim = true;
            }
        }
        None
    }

    fn keep(&mut self, settlement: Settlement) {
        let count = match settlement.result {
            Sent::Done { .. } | Sent::Gone { .. } => &mut self.drained.sent,
            Sent::Wait { .. } | Sent::Failed { .. } => &mut self.drained.postponed,
            Sent::Unsent => return self.results.push(settlement),
        };
        *count = count.saturating_add(1);
        self.results.push(settlement);
    }
}

impl Task {
    fn settled(&self, result: Sent) -> Settlement {
        Settlement {
            task_id: self.task_id,
            result,
        }
    }
}

async fn claim(zoom: &Zoom<'_>, whose: Whose, max_rows: usize) -> Result<Claimed, Error> {
    let arguments = json!({
        "holder": zoom.holder(), "max_rows": max_rows, "only_user": whose.only_user(), "scope": whose.scope(),
    });
    zoom.db.rpc("edge_outbox_claim", &arguments).await
}

async fn save(zoom: &Zoom<'_>, results: Vec<Settlement>) -> Event {
    let records: Vec<_> = results.iter().map(Settlement::to_record).collect();
    let arguments = json!({"holder": zoom.holder(), "results": records});
    let saved = zoom.db.rpc("edge_outbox_settle", &arguments).await;
    Event::Saved(results, saved)
}

/// What Zoom refuses to a meeting that goes on: 400 with one of these codes.
const REFUSED_WHILE_RUNNING: [i64; 2] = [3000, 3002];
/// The event of its end makes such a change due at once.
const WAIT_FOR_THE_END: u64 = 300;

/// Sends one change.
async fn send(zoom: &Zoom<'_>, task: &Task) -> Sent {
    let call = |request| zoom.api(task.user_id, task.token.clone(), request);
    let end = ApiRequest::end_meeting(&task.meeting_id);
    let request = match (task.kind, &task.desired) {
        (Kind::Update, Some(desired)) => ApiRequest::update_meeting(
            &task.meeting_id,
            &MeetingDetails {
                topic: desired.title.as_deref(),
                description: desired.description.as_deref(),
                start: desired.scheduled_start,
                duration_minutes: desired.duration_minutes,
                timezone: desired.timezone.as_deref(),
            },
            task.session_id,
        ),
        (Kind::Update, None) => {
            return Sent::Failed {
                code: Obstacle::Internal,
            }
        }
        (Kind::Delete | Kind::End, _) => ApiRequest::delete_meeting(&task.meeting_id),
    };
    let mut ends_it = task.kind == Kind::End || task.kind == Kind::Delete && task.running && task.may_end;
    loop {
        if ends_it {
            match call(&end).await {
                // Refused: it does not go on any more.
                Ok(_) | Err(ApiFailure::Refused(..) | ApiFailure::MeetingGone) if task.kind == Kind::End => {
                    return Sent::Done { code: None };
                }
                Ok(_) | Err(ApiFailure::Refused(..) | ApiFailure::MeetingGone | ApiFailure::MissingScope) => {}
                Err(failure) => return Sent::without(&failure, task.kind),
            }
        }
        return match call(&request).await {
            Ok(_) => Sent::Done { code: None },
            Err(ApiFailure::Refused(400, code)) if REFUSED_WHILE_RUNNING.contains(&code) => {
                if task.kind == Kind::Delete && task.may_end && !ends_it {
                    // Nobody had told that it goes on.
                    ends_it = true;
                    continue;
                }
                if task.running {
                    Sent::Wait {
                        code: Obstacle::MeetingRunning,
                        retry_after_seconds: Some(WAIT_FOR_THE_END),
                    }
                } else {
                    // As far as Zoom's refusal says. It may mean something else, and so this was a try.
                    Sent::Failed {
                        code: Obstacle::MeetingRunning,
                    }
                }
            }
            Err(failure) => Sent::without(&failure, task.kind),
        };
    }
}

impl Sent {
    /// What a failure means for a change: whether it is tried again, when, and whether this was a try.
    fn without(failure: &ApiFailure, kind: Kind) -> Self {
        let code = failure.obstacle();
        match (code, kind) {
            (Obstacle::MeetingGone, Kind::Delete | Kind::End) => Self::Done { code: Some(code) },
            (Obstacle::MeetingGone, Kind::Update) => Self::Gone { code },
            (
                Obstacle::NotConnected
                | Obstacle::DailyLimit
                | Obstacle::RateLimit
                | Obstacle::NoToken
                | Obstacle::MeetingRunning
                | Obstacle::Misconfigured,
                _,
            ) => Self::Wait {
                code,
                retry_after_seconds: match failure {
                    ApiFailure::RateLimited(limit) => Some(seconds_until(limit.until, now())),
                    ApiFailure::NoToken(Error::ZoomUnavailable(seconds)) => Some(*seconds),
                    _ => None,
                },
            },
            (Obstacle::Unclear | Obstacle::Refused | Obstacle::CannotHost | Obstacle::Internal, _) => {
                Self::Failed { code }
            }
        }
    }
}
