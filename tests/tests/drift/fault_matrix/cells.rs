//! The cells of the matrix: what functions ask for, and what goes wrong with it.

use std::fmt;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use chrono::{TimeDelta, Utc};
use local_stack::zoom::{Answer, Endpoint, Fault, Grant, Signature, Target, TokenKind, Truncation};
use local_stack::{Caller, GatewayFault};
use serde_json::{json, Value};
use strum::{EnumIter, IntoStaticStr};

use crate::support::connection::Host;
use crate::support::drift::{connected_host, create, edit, for_all, meeting_of, new_hosts, sync, text, Scene};
use crate::support::{in_hours, new_session, Reply, User};

/// A function waits so long for Zoom, at most.
const ZOOM_DEADLINE: Duration = Duration::from_secs(15);
/// A function waits so long for the database, at most.
const DATABASE_DEADLINE: Duration = Duration::from_secs(10);
/// Of one run of `zoom-sync`, calls of the same kind after these are like those before.
const MOST_OF_A_KIND: u32 = 2;
/// Longer than this test takes.
const FOR_EVER: Duration = Duration::from_secs(3600);
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Function {
    ZoomOauthStart,
    ZoomOauthCallback,
    ZoomDisconnect,
    RefreshToken,
    CreateSession,
    StartSession,
    JoinSession,
    ZoomWebhook,
    ZoomSync,
}
pub use Function::{
    CreateSession, JoinSession, RefreshToken, StartSession, ZoomDisconnect, ZoomOauthCallback, ZoomOauthStart,
    ZoomSync, ZoomWebhook,
};

/// What is amiss already when a function is called: it makes calls then that it does not make otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    Nothing,
    /// Zoom refuses what the function is there for.
    ZoomRefuses,
    /// Zoom gives tokens, and does not say whose they are.
    UserIsUnknown,
    /// Zoom has done it, and its answer is lost.
    AnswerIsLost,
    /// The meeting was deleted in Zoom.
    MeetingIsGone,
    /// The host has removed the app in Zoom. No event has told us.
    GrantHasEnded,
    /// The connection lacks a permission.
    ScopeIsMissing,
    /// Zoom has revoked the access token. No event has told us.
    TokenIsDead,
}
pub use Trouble::{
    AnswerIsLost, GrantHasEnded, MeetingIsGone, Nothing, ScopeIsMissing, TokenIsDead, UserIsUnknown, ZoomRefuses,
};

/// A function, and how things stand when it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scenario(pub Function, pub Trouble);

pub const WITH_TROUBLE: [Scenario; 9] = [
    Scenario(ZoomOauthCallback, ZoomRefuses),
    Scenario(ZoomOauthCallback, UserIsUnknown),
    Scenario(ZoomDisconnect, TokenIsDead),
    Scenario(RefreshToken, GrantHasEnded),
    Scenario(CreateSession, ZoomRefuses),
    Scenario(CreateSession, AnswerIsLost),
    Scenario(CreateSession, ScopeIsMissing),
    Scenario(CreateSession, TokenIsDead),
    Scenario(StartSession, MeetingIsGone),
];

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trouble = match self.1 {
            Nothing => "",
            ZoomRefuses => " (refused)",
            AnswerIsLost => " (lost)",
            UserIsUnknown => " (who?)",
            MeetingIsGone => " (gone)",
            GrantHasEnded => " (ended)",
            ScopeIsMissing => " (scope)",
            TokenIsDead => " (token)",
        };
        write!(f, "{}{trouble}", <&str>::from(self.0))
    }
}

impl Scenario {
    /// Makes the trouble for a cell's host.
    async fn begin(self, scene: &Scene, host: &Host) -> Result<()> {
        let zoom = scene.zoom();
        let at = |target: Target| Fault::at(target).of(&host.zoom_email).lasting();
        let create = || at(Endpoint::CreateMeeting.into());
        let order = |fault| zoom.order(fault).map(drop);
        match (self.1, self.0) {
            (Nothing, _) => Ok(()),
            (ZoomRefuses, ZoomOauthCallback) => order(at(Target::TOKEN_EXCHANGE).answering(zooms_answer("403"))),
            (ZoomRefuses, _) => order(create().answering(zooms_answer("403"))),
            (UserIsUnknown, _) => order(at(Endpoint::UsersMe.into()).answering(zooms_answer("403"))),
            (AnswerIsLost, _) => order(create().dropping().after_acting()),
            (ScopeIsMissing, _) => order(create().answering(Answer::api_error(400, 4711, "No such scope."))),
            (MeetingIsGone, _) => {
                let meetings = zoom.live_meetings();
                let mut own = meetings.iter().filter(|meeting| meeting.host == host.zoom_email);
                own.try_for_each(|meeting| zoom.delete_meeting(&meeting.id))
            }
            (GrantHasEnded, _) => zoom.revoke_tokens(&host.zoom_email),
            (TokenIsDead, _) => {
                zoom.expire_tokens(&host.zoom_email, Some(TokenKind::Access))?;
                run_out_in(scene, host, 3600).await
            }
        }
    }
}

/// A call of a function: to what, for which of the cell's hosts where it is to Zoom, and the how-manieth of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub to: To,
    /// How many of its kind came before.
    pub nth: u32,
    /// Its place among the function's calls.
    pub place: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    Zoom { target: Target, host: usize },
    Database(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            To::Zoom { target, host: 0 } => write!(f, "zoom {target}")?,
            To::Zoom { target, .. } => write!(f, "zoom {target} (account deleted)")?,
            To::Database(step) => write!(f, "{step}")?,
        }
        match self.nth {
            0 => Ok(()),
            nth => write!(f, " #{}", nth + 1),
        }
    }
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mishap {
    /// This answer, and nothing was done.
    Refused(&'static str),
    /// Done, but long after the function has given up.
    TimeOut,
    DroppedBefore,
    DroppedAfter,
    Truncated,
    Slow,
    /// The function's process is killed before the other side has acted.
    KilledBefore,
    /// The function's process is killed after the other side has acted, before it learns of that.
    KilledAfter,
}
pub use Mishap::{DroppedAfter, DroppedBefore, KilledAfter, KilledBefore, Refused, Slow, TimeOut, Truncated};

pub const MISHAPS: [Mishap; 15] = [
    Refused("400"),
    Refused("401"),
    Refused("403"),
    Refused("404"),
    Refused("429"),
    Refused("429 bare"),
    Refused("500"),
    Refused("502"),
    TimeOut,
    DroppedBefore,
    DroppedAfter,
    Truncated,
    Slow,
    KilledBefore,
    KilledAfter,
];

impl Mishap {
    pub fn name(self) -> &'static str {
        match self {
            Refused(answer) => answer,
            TimeOut => "time-out",
            DroppedBefore => "drop-",
            DroppedAfter => "drop+",
            Truncated => "cut",
            Slow => "slow",
            KilledBefore => "kill-",
            KilledAfter => "kill+",
        }
    }

    pub fn kills(self) -> bool {
        matches!(self, KilledBefore | KilledAfter)
    }
}

fn zooms_answer(name: &str) -> Answer {
    let error = |status, code| Answer::api_error(status, code, "On a test's order.");
    match name {
        "400" => error(400, 300),
        "401" => error(401, 124),
        "403" => error(403, 200),
        "404" => error(404, 3001),
        "429" => error(429, 429).with_header(
            "retry-after",
            (Utc::now() + TimeDelta::seconds(3)).format("%FT%TZ").to_string(),
        ),
        "429 bare" => error(429, 429),
        "500" => error(500, 500),
        _ => Answer::bad_gateway(),
    }
}

fn databases_answer(name: &str) -> Answer {
    let error = |status, code| {
        Answer::json(
            status,
            json!({"code": code, "message": "On a test's order.", "details": null, "hint": null}),
        )
    };
    match name {
        "400" => error(400, "22P02"),
        "401" => error(401, "PGRST301"),
        "403" => error(403, "42501"),
        "404" => error(404, "PGRST202"),
        "429" => Answer::empty(429).with_header("retry-after", "3"),
        "429 bare" => Answer::empty(429),
        "500" => error(500, "XX000"),
        _ => Answer::bad_gateway(),
    }
}

fn zoom_fault(target: Target, host: &Host, nth: u32, mishap: Mishap) -> Fault {
    let fault = Fault::at(target).of(&host.zoom_email).skipping(nth);
    match mishap {
        // That a meeting to be deleted does not exist is taken for true: here it is.
        Refused("404") if target == Endpoint::DeleteMeeting.into() => {
            fault.answering(zooms_answer("404")).after_acting()
        }
        Refused(answer) => fault.answering(zooms_answer(answer)),
        TimeOut => fault.delayed(ZOOM_DEADLINE + Duration::from_secs(1)),
        DroppedBefore => fault.dropping(),
        DroppedAfter => fault.dropping().after_acting(),
        Truncated => fault.truncating(Truncation::Fitting),
        Slow => fault.delayed(Duration::from_secs(2)),
        KilledBefore => fault.delayed(FOR_EVER).dropping(),
        KilledAfter => fault.delayed(FOR_EVER).after_acting(),
    }
}

fn database_fault(step: &str, about: &str, nth: u32, mishap: Mishap) -> GatewayFault {
    let fault = GatewayFault::at_step(step).about(about).skipping(nth);
    match mishap {
        Refused(answer) => fault.answering(databases_answer(answer)),
        TimeOut => fault.delayed(DATABASE_DEADLINE + Duration::from_secs(1)),
        DroppedBefore => fault.dropping(),
        DroppedAfter => fault.dropping().after_acting(),
        Truncated => fault.truncating(),
        Slow => fault.delayed(Duration::from_secs(2)),
        KilledBefore => fault.delayed(FOR_EVER).dropping(),
        KilledAfter => fault.delayed(FOR_EVER).after_acting(),
    }
}

/// What a function is called with, and for whom.
pub struct Subject {
    /// The first is the one that it is about.
    pub hosts: Vec<Host>,
    /// What its calls to the database name; empty where nothing else calls at that time.
    about: String,
    caller: User,
    pub request: Request,
}

pub enum Request {
    /// Of the caller, as the app.
    Post(Value),
    /// Of a browser.
    Get(String),
    /// Of Zoom: an event.
    Event(String),
    /// Of the clock. The accounts of the other hosts are deleted just before.
    Sync,
}

/// What a caller hears.
#[derive(Clone, Debug)]
pub struct Heard {
    /// `None` for no answer, or one that is not the function's own.
    pub status: Option<u16>,
    pub body: Value,
    pub text: String,
}

impl Heard {
    fn of(reply: Reply) -> Self {
        // What the gateway says of a process that was killed is not the function's word.
        let own = reply.headers.contains_key("x-request-id");
        Self {
            status: Some(reply.status).filter(|_| own),
            body: reply.json,
            text: reply.text,
        }
    }

    pub fn code(&self) -> &str {
        text(&self.body, "code")
    }

    pub fn short(&self) -> String {
        match (self.status, self.code()) {
            (None, _) => "none".to_owned(),
            (Some(_), "zoom_outcome_unknown") => "unkn".to_owned(),
            (Some(200), _) if self.text.contains("error=") => "err".to_owned(),
            (Some(status), _) => status.to_string(),
        }
    }
}

/// How a function goes when nothing more goes wrong.
pub struct Course {
    pub steps: Vec<Step>,
    pub status: Option<u16>,
}

/// One cell of the matrix.
pub struct Cell {
    pub scenario: Scenario,
    pub step: Step,
    /// What the caller hears without the mishap.
    pub usual_status: Option<u16>,
    pub mishap: Mishap,
    pub subject: Subject,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.scenario, self.step, self.mishap.name())
    }
}

/// A fault that was ordered.
#[derive(Clone, Copy)]
pub enum Ordered {
    Zoom(u64),
    Gateway(u64),
}

impl Cell {
    pub fn function(&self) -> Function {
        self.scenario.0
    }

    pub async fn order(&self, scene: &Scene) -> Result<Ordered> {
        self.scenario.begin(scene, &self.subject.hosts[0]).await?;
        Ok(match &self.step.to {
            To::Zoom { target, host } => Ordered::Zoom(scene.zoom().order(zoom_fault(
                *target,
                &self.subject.hosts[*host],
                self.step.nth,
                self.mishap,
            ))?),
            To::Database(step) => Ordered::Gateway(scene.gateway().order(database_fault(
                step,
                &self.subject.about,
                self.step.nth,
                self.mishap,
            ))),
        })
    }
}

impl Ordered {
    /// Whether it has happened, and if Zoom or the database were to act first, they have.
    pub fn has_happened(self, scene: &Scene, mishap: Mishap) -> bool {
        let happened = match self {
            Self::Zoom(id) => scene.zoom().happened(id),
            Self::Gateway(id) => scene.gateway().happened(id),
        };
        // Zoom has done what was asked, or has looked at the token and refused.
        let acted = || match self {
            Self::Zoom(id) => scene
                .zoom()
                .calls()
                .iter()
                .any(|call| call.fault == Some(id) && (call.acted || call.token.is_some())),
            // Those that wait to act are not on record.
            Self::Gateway(_) => scene
                .gateway()
                .requests()
                .iter()
                .all(|r| r.caller != Caller::Edge || r.status != 0),
        };
        happened == Some(1) && (mishap != KilledAfter || acted())
    }

    /// Whether all that comes of it has come.
    pub fn is_over(self, scene: &Scene) -> bool {
        match self {
            Self::Zoom(id) => scene
                .zoom()
                .calls()
                .iter()
                .any(|call| call.fault == Some(id) && call.status.is_some()),
            Self::Gateway(id) => scene.gateway().over(id) == Some(1),
        }
    }
}

async fn prepare(scene: &Scene, scenario: Scenario) -> Result<Subject> {
    let post = |host: Host, body: Value| Subject {
        about: host.id().to_string(),
        caller: host.user.clone(),
        hosts: vec![host],
        request: Request::Post(body),
    };
    let new_host = async || new_hosts(scene, 1).await?.pop().context("one was asked for");
    Ok(match scenario.0 {
        ZoomOauthStart => post(new_host().await?, json!({})),
        ZoomOauthCallback => {
            let host = new_host().await?;
            let started = host.user.call("zoom-oauth-start", &json!({})).await?.ok()?;
            let callback = host.user.consent(&started, &host.zoom_email, "allow").await?;
            let url = reqwest::Url::parse(&callback)?;
            let state = url
                .query_pairs()
                .find(|(name, _)| name == "state")
                .context("a state")?
                .1
                .into_owned();
            Subject {
                about: sha256_hex(&state),
                caller: host.user.clone(),
                hosts: vec![host],
                request: Request::Get(callback),
            }
        }
        // Nothing is to be told to Zoom before.
        ZoomDisconnect if scenario.1 == TokenIsDead => post(connected_host(scene).await?, json!({})),
        ZoomDisconnect => {
            let host = connected_host(scene).await?;
            let (renamed, cancelled) = (create(&host, json!({})).await?, create(&host, json!({})).await?);
            edit(&host, &renamed, json!({"title": "Renamed"})).await?;
            edit(&host, &cancelled, json!({"status": "cancelled"})).await?;
            lose_a_creation(scene, &host, "Lost", true).await?;
            run_out(scene, &host).await?;
            post(host, json!({}))
        }
        RefreshToken => {
            let host = connected_host(scene).await?;
            run_out(scene, &host).await?;
            post(host, json!({}))
        }
        CreateSession => {
            let host = connected_host(scene).await?;
            run_out(scene, &host).await?;
            post(host, new_session(json!({"description": "Bring a mat."})))
        }
        StartSession => {
            let host = connected_host(scene).await?;
            let session = create(&host, json!({})).await?;
            let forget = "update public.video_session_host_meta set expires_at = now() where host_id = $1";
            scene.db.execute(forget, &[&host.id()]).await?;
            run_out(scene, &host).await?;
            post(host, json!({"session_id": session["id"]}))
        }
        JoinSession => {
            let host = connected_host(scene).await?;
            let session = create(&host, json!({})).await?;
            let guest = new_hosts(scene, 1).await?.pop().context("one was asked for")?;
            Subject {
                about: guest.id().to_string(),
                caller: guest.user,
                hosts: vec![host],
                request: Request::Post(json!({"share_code": session["share_code"]})),
            }
        }
        ZoomWebhook => {
            let host = connected_host(scene).await?;
            let meeting = meeting_of(&create(&host, json!({})).await?);
            let moved = json!({"start_time": in_hours(48).format("%FT%TZ").to_string(), "duration": 50});
            scene.zoom().edit_meeting(&meeting, moved)?;
            let events = scene.zoom().held_events();
            let event = events.iter().find(|event| event.body.to_string().contains(&meeting));
            Subject {
                caller: host.user.clone(),
                hosts: vec![host],
                request: Request::Event(event.context("an event")?.body.to_string()),
                about: meeting,
            }
        }
        ZoomSync => {
            let new = || connected_host(scene);
            let (host, leaving, revoked) = tokio::try_join!(new(), new(), new())?;
            let (renamed, cancelled) = (create(&host, json!({})).await?, create(&host, json!({})).await?);
            create(&leaving, json!({})).await?;
            edit(&host, &renamed, json!({"title": "Renamed"})).await?;
            edit(&host, &cancelled, json!({"status": "cancelled"})).await?;
            lose_a_creation(scene, &host, "Lost", true).await?;
            lose_a_creation(scene, &host, "Never", false).await?;
            cancel_while_it_runs(scene, &host).await?;
            Subject {
                caller: host.user.clone(),
                hosts: vec![host, leaving, revoked],
                about: String::new(),
                request: Request::Sync,
            }
        }
    })
}

/// A session that is cancelled while its meeting goes on.
async fn cancel_while_it_runs(scene: &Scene, host: &Host) -> Result<()> {
    let session = create(host, json!({"title": "Running"})).await?;
    let meeting = meeting_of(&session);
    scene.zoom().start_meeting(&meeting)?;
    let events = scene.zoom().held_events();
    let started = events.iter().filter(|event| event.body.to_string().contains(&meeting));
    for event in started {
        let heard = deliver(scene, &event.body.to_string()).await;
        ensure!(heard.status == Some(200), "{heard:?}");
    }
    edit(host, &session, json!({"status": "cancelled"})).await
}

/// A creation whose answer is lost, and whose meeting has come to be or has not.
async fn lose_a_creation(scene: &Scene, host: &Host, title: &str, has_come: bool) -> Result<()> {
    let lost = Fault::at(Endpoint::CreateMeeting).of(&host.zoom_email).dropping();
    scene.zoom().order(if has_come { lost.after_acting() } else { lost })?;
    let body = new_session(json!({"title": title}));
    let answer = host.user.call("create-session", &body).await?;
    ensure!(answer.code() == (503, "zoom_outcome_unknown"), "{}", answer.text);
    Ok(())
}

fn sha256_hex(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Puts everything off that is due, so that the next run of `zoom-sync` finds what its own cell has put there.
pub async fn put_off(scene: &Scene) -> Result<()> {
    let statements = "
        update video_sessions_private.zoom_outbox set next_attempt_at = now() + interval '30 minutes'
        where next_attempt_at < now() + interval '20 minutes';
        update video_sessions_private.session_creations set next_check_at = now() + interval '30 minutes'
        where state in ('running', 'unknown') and next_check_at < now() + interval '20 minutes';
        update video_sessions_private.zoom_revocations set claimed_until = now() + interval '30 minutes'
        where claimed_until < now() + interval '20 minutes';
        update video_sessions_private.watched_sessions set ask_at = now() + interval '30 minutes'
        where ask_at < now() + interval '20 minutes';
        update video_sessions_private.watched_hosts set list_at = now() + interval '30 minutes'
        where list_at < now() + interval '20 minutes';
        update public.user_integrations_zoom set access_token_expires_at = now() + interval '50 minutes'
        where access_token_expires_at < now() + interval '20 minutes';";
    Ok(scene.db.batch_execute(statements).await?)
}

/// Makes everything due that waits for these hosts, and deletes the accounts of all but the first.
async fn make_due(scene: &Scene, hosts: &[Host]) -> Result<()> {
    let ids: Vec<_> = hosts.iter().map(Host::id).collect();
    for statement in [
        "delete from auth.users where id = any (($1::uuid[])[2:])",
        "update video_sessions_private.zoom_outbox set next_attempt_at = now() where user_id = any ($1)",
        "update video_sessions_private.session_creations set next_check_at = now()
         where user_id = any ($1) and closed_at is null",
        "update video_sessions_private.watched_sessions watched set ask_at = now(), urgent_at = now()
         from public.video_sessions v where v.id = watched.session_id and v.host_id = any ($1) and v.status = 'scheduled'",
        "update video_sessions_private.watched_hosts set list_at = now() where user_id = any ($1)",
        "update public.video_session_host_meta set expires_at = now() where host_id = any ($1)",
    ] {
        scene.db.execute(statement, &[&ids]).await?;
    }
    run_out(scene, &hosts[0]).await
}

/// The access token has to be refreshed before it is used.
pub async fn run_out(scene: &Scene, host: &Host) -> Result<()> {
    run_out_in(scene, host, 0).await
}

/// The access token is taken for good for so long.
async fn run_out_in(scene: &Scene, host: &Host, seconds: i32) -> Result<()> {
    let statement =
        "update public.user_integrations_zoom set access_token_expires_at = now() + make_interval(secs => $2)
      where user_id = $1";
    let changed = scene.db.execute(statement, &[&host.id(), &f64::from(seconds)]).await?;
    ensure!(changed == 1, "no connection");
    Ok(())
}

pub async fn perform(scene: &Scene, function: Function, subject: &Subject) -> Result<Heard> {
    let user = &subject.caller;
    Ok(match &subject.request {
        Request::Post(body) => Heard::of(user.call(function.into(), body).await?),
        // Whoever comes back successfully confirms.
        Request::Get(address) => Heard::of(user.come_back(address).await?),
        Request::Event(body) => deliver(scene, body).await,
        Request::Sync => {
            make_due(scene, &subject.hosts).await?;
            Heard::of(sync(scene).await?)
        }
    })
}

pub async fn deliver(scene: &Scene, body: &str) -> Heard {
    let report = scene.zoom().send(body, Signature::Genuine).await;
    Heard {
        status: report.status,
        body: serde_json::from_str(&report.answer).unwrap_or_default(),
        text: report.answer,
    }
}

/// Runs a function without a fault, and gives the calls that it made: of `zoom-sync`, whose parts run beside each other
/// and wait for each other's tokens, those that it makes each time.
pub async fn discover(scene: &Scene, scenario: Scenario) -> Result<Course> {
    let mut course = run_without_fault(scene, scenario).await?;
    for _ in 0..if scenario.0 == ZoomSync { 2 } else { 0 } {
        let again = run_without_fault(scene, scenario).await?.steps;
        let made = |step: &Step| again.iter().any(|other| (&other.to, other.nth) == (&step.to, step.nth));
        course.steps.retain(|step| made(step) && step.nth < MOST_OF_A_KIND);
    }
    Ok(course)
}

async fn run_without_fault(scene: &Scene, scenario: Scenario) -> Result<Course> {
    let Scenario(function, trouble) = scenario;
    let subject = prepare(scene, scenario).await?;
    scenario.begin(scene, &subject.hosts[0]).await?;
    scene.gateway().clear();
    scene.zoom().clear_calls();
    let heard = perform(scene, function, &subject).await?;
    ensure!(trouble != Nothing || heard.status == Some(200), "{scenario}: {heard:?}");
    let mut calls: Vec<(u64, To)> = Vec::new();
    for request in scene
        .gateway()
        .requests()
        .iter()
        .filter(|request| request.caller == Caller::Edge)
    {
        let step = request.path.strip_prefix("/rest/v1/rpc/").context("a call to a step")?;
        calls.push((request.number, To::Database(step.to_owned())));
    }
    for call in scene.zoom().calls() {
        let target = match call.grant {
            Some(Grant::AuthorizationCode) => Target::TOKEN_EXCHANGE,
            Some(Grant::RefreshToken) => Target::TOKEN_REFRESH,
            None => call.endpoint.into(),
        };
        let host = subject
            .hosts
            .iter()
            .position(|host| Some(&host.zoom_email) == call.user.as_ref());
        calls.push((
            call.number,
            To::Zoom {
                target,
                // Zoom did not look at whose it was.
                host: host.unwrap_or_default(),
            },
        ));
    }
    scene.zoom().withdraw_all();
    calls.sort_by_key(|(number, _)| *number);
    let mut steps: Vec<Step> = Vec::new();
    for (_, to) in calls {
        let nth = steps.iter().filter(|step| step.to == to).count() as u32;
        let place = steps.len();
        steps.push(Step { to, nth, place });
    }
    Ok(Course {
        steps,
        status: heard.status,
    })
}

/// Prepares a cell for each call of a scenario and each mishap that is wanted.
pub async fn cells(
    scene: &Scene,
    scenario: Scenario,
    course: &Course,
    wanted: impl Fn(Mishap) -> bool,
) -> Result<Vec<Cell>> {
    let mishaps = MISHAPS.into_iter().filter(|mishap| wanted(*mishap));
    let all = mishaps.flat_map(|mishap| course.steps.iter().map(move |step| (step.clone(), mishap)));
    for_all(all, 12, async |(step, mishap)| {
        Ok(Cell {
            scenario,
            step,
            usual_status: course.status,
            mishap,
            subject: prepare(scene, scenario).await?,
        })
    })
    .await
}
