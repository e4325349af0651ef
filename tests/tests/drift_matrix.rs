//! The fault matrix: every call that a function makes, to Zoom and to the database, times everything that can go wrong with it.
//!
//! Nobody lists the calls by hand: each function runs once without a fault, and what it asked for is what the matrix is made
//! of. It runs once more for each trouble that sends it another way, and what it asks for from there on is added; in the end no
//! step of the database may be missing. Each cell has hosts of its own, so that all of them share one stack: first everything goes
//! wrong at once, then faults are withdrawn, time passes and `zoom-sync` runs, then each cell is looked at.
//!
//! Deno by itself repeats a call without a body whose kept connection breaks, so that its functions may not notice such a drop.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use chrono::{TimeDelta, Utc};
use futures_util::stream::{self, StreamExt};
use local_stack::zoom::{
    Answer, DeliveryPlan, Endpoint, Fault, Grant, Rules, Signature, Target, TokenKind, Truncation, ZoomOptions,
};
use local_stack::{Caller, GatewayFault, Jwks, StackOptions};
use serde_json::{json, Value};
use support::connection::{until, Host};
use support::drift::{
    assert_in_step, connected_host, create, edit, for_all, meeting_of, new_hosts, settle, show, sync, text, Scene,
};
use support::{in_hours, new_session, Reply};
use tokio::task::JoinHandle;

/// A function waits so long for Zoom, at most.
const ZOOM_DEADLINE: Duration = Duration::from_secs(15);
/// A function waits so long for the database, at most.
const DATABASE_DEADLINE: Duration = Duration::from_secs(10);
/// Longer than this test takes.
const FOR_EVER: Duration = Duration::from_secs(3600);
/// Cells of users that go wrong at the same time.
const AT_ONCE: usize = 64;
/// `zoom-sync` runs that hang at the same time, until their process is killed: before the first of them gives up by itself.
const KILLED_TOGETHER: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Function {
    ZoomOauthStart,
    ZoomOauthCallback,
    ZoomDisconnect,
    RefreshToken,
    CreateSession,
    StartSession,
    ZoomWebhook,
    ZoomSync,
}
use Function::{
    CreateSession, RefreshToken, StartSession, ZoomDisconnect, ZoomOauthCallback, ZoomOauthStart, ZoomSync, ZoomWebhook,
};

impl Function {
    const ALL: [Self; 8] = [
        ZoomOauthStart,
        ZoomOauthCallback,
        ZoomDisconnect,
        RefreshToken,
        CreateSession,
        StartSession,
        ZoomWebhook,
        ZoomSync,
    ];

    fn name(self) -> &'static str {
        match self {
            ZoomOauthStart => "zoom-oauth-start",
            ZoomOauthCallback => "zoom-oauth-callback",
            ZoomDisconnect => "zoom-disconnect",
            RefreshToken => "refresh-token",
            CreateSession => "create-session",
            StartSession => "start-session",
            ZoomWebhook => "zoom-webhook",
            ZoomSync => "zoom-sync",
        }
    }
}

/// What is amiss already when a function is called: it makes calls then that it does not make otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Nothing,
    /// Zoom refuses what the function is there for.
    ZoomRefuses,
    /// Zoom gives tokens, and does not say whose they are.
    UserIsUnknown,
    /// Zoom has done it, and its answer is lost.
    AnswerIsLost,
    /// The meeting was deleted in Zoom.
    MeetingIsGone,
    /// The host has removed the app in Zoom, of which nobody here has heard.
    GrantHasEnded,
    /// The connection lacks a permission.
    ScopeIsMissing,
    /// Zoom does not take the access token any more, of which nobody here has heard.
    TokenIsDead,
}
use Trouble::{
    AnswerIsLost, GrantHasEnded, MeetingIsGone, Nothing, ScopeIsMissing, TokenIsDead, UserIsUnknown, ZoomRefuses,
};

/// A function, and how things stand when it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Scenario(Function, Trouble);

const WITH_TROUBLE: [Scenario; 9] = [
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

/// Steps that are none of the functions' ways here: what `zoom-sync` gives back when it runs out of time, and keys that change,
/// which has a test of its own.
const NOT_TAKEN: [&str; 3] = ["outbox_release", "zoom_reseal", "zoom_reseal_claim"];
/// Steps that an operator takes.
const OF_OPERATORS: [&str; 2] = ["outbox_dead_letters", "outbox_retry"];

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
        write!(f, "{}{trouble}", self.0.name())
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
struct Step {
    to: To,
    nth: u32,
    /// Its place among the function's calls.
    place: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum To {
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
enum Mishap {
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
use Mishap::{DroppedAfter, DroppedBefore, KilledAfter, KilledBefore, Refused, Slow, TimeOut, Truncated};

const MISHAPS: [Mishap; 15] = [
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
    fn name(self) -> &'static str {
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

    fn kills(self) -> bool {
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
struct Subject {
    /// The first is the one that it is about.
    hosts: Vec<Host>,
    /// What its calls to the database name; empty where nothing else calls at that time.
    about: String,
    request: Request,
}

enum Request {
    /// Of the first host, as the app.
    Post(Value),
    /// Of a browser.
    Get(String),
    /// Of Zoom: an event.
    Event(String),
    /// Of the clock. The second host's account is deleted just before.
    Sync,
}

/// What a caller hears.
#[derive(Clone, Debug)]
struct Heard {
    /// `None` for no answer, or one that is not the function's own.
    status: Option<u16>,
    body: Value,
    text: String,
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

    fn code(&self) -> &str {
        text(&self.body, "code")
    }

    fn short(&self) -> String {
        match (self.status, self.code()) {
            (None, _) => "none".to_owned(),
            (Some(_), "zoom_outcome_unknown") => "unkn".to_owned(),
            (Some(200), _) if self.text.contains("error=") => "err".to_owned(),
            (Some(status), _) => status.to_string(),
        }
    }
}

/// How a function goes when nothing more goes wrong.
struct Course {
    steps: Vec<Step>,
    status: Option<u16>,
}

/// One cell of the matrix.
struct Cell {
    scenario: Scenario,
    step: Step,
    /// What the caller hears without the mishap.
    usual_status: Option<u16>,
    mishap: Mishap,
    subject: Subject,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.scenario, self.step, self.mishap.name())
    }
}

/// A fault that was ordered.
#[derive(Clone, Copy)]
enum Ordered {
    Zoom(u64),
    Gateway(u64),
}

impl Cell {
    fn function(&self) -> Function {
        self.scenario.0
    }

    async fn order(&self, scene: &Scene) -> Result<Ordered> {
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
    fn has_happened(self, scene: &Scene, mishap: Mishap) -> bool {
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
    fn is_over(self, scene: &Scene) -> bool {
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
        ZoomWebhook => {
            let host = connected_host(scene).await?;
            let meeting = meeting_of(&create(&host, json!({})).await?);
            let moved = json!({"start_time": in_hours(48).format("%FT%TZ").to_string(), "duration": 50});
            scene.zoom().edit_meeting(&meeting, moved)?;
            let events = scene.zoom().held_events();
            let event = events.iter().find(|event| event.body.to_string().contains(&meeting));
            Subject {
                hosts: vec![host],
                request: Request::Event(event.context("an event")?.body.to_string()),
                about: meeting,
            }
        }
        ZoomSync => {
            let (host, leaving) = tokio::try_join!(connected_host(scene), connected_host(scene))?;
            let (renamed, cancelled) = (create(&host, json!({})).await?, create(&host, json!({})).await?);
            create(&leaving, json!({})).await?;
            edit(&host, &renamed, json!({"title": "Renamed"})).await?;
            edit(&host, &cancelled, json!({"status": "cancelled"})).await?;
            // One that has come to be, and one that has not.
            let lost = Fault::at(Endpoint::CreateMeeting).of(&host.zoom_email).dropping();
            for (title, fault) in [("Lost", lost.clone().after_acting()), ("Never", lost)] {
                scene.zoom().order(fault)?;
                let body = new_session(json!({"title": title}));
                let answer = host.user.call("create-session", &body).await?;
                ensure!(answer.code() == (503, "zoom_outcome_unknown"), "{}", answer.text);
            }
            Subject {
                hosts: vec![host, leaving],
                about: String::new(),
                request: Request::Sync,
            }
        }
    })
}

fn sha256_hex(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Puts everything off that is due, so that the next run of `zoom-sync` finds what its own cell has put there.
async fn put_off(scene: &Scene) -> Result<()> {
    let statements = "
        update private.zoom_outbox set next_attempt_at = now() + interval '30 minutes'
        where next_attempt_at < now() + interval '20 minutes';
        update private.session_creations set next_check_at = now() + interval '30 minutes'
        where state in ('running', 'unknown') and next_check_at < now() + interval '20 minutes';
        update private.zoom_departures set claimed_until = now() + interval '30 minutes'
        where claimed_until < now() + interval '20 minutes';
        update public.user_integrations_zoom set access_token_expires_at = now() + interval '50 minutes'
        where access_token_expires_at < now() + interval '20 minutes';";
    Ok(scene.db.batch_execute(statements).await?)
}

/// Makes everything due that waits for these hosts, and deletes the second one's account.
async fn make_due(scene: &Scene, hosts: &[Host]) -> Result<()> {
    let ids: Vec<_> = hosts.iter().map(Host::id).collect();
    let db = &scene.db;
    db.execute("delete from auth.users where id = $1", &[&ids[1]]).await?;
    db.execute(
        "update private.zoom_outbox set next_attempt_at = now() where user_id = any ($1)",
        &[&ids],
    )
    .await?;
    db.execute(
        "update private.session_creations set next_check_at = now() where user_id = any ($1) and closed_at is null",
        &[&ids],
    )
    .await?;
    run_out(scene, &hosts[0]).await
}

/// The access token has to be refreshed before it is used.
async fn run_out(scene: &Scene, host: &Host) -> Result<()> {
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

async fn perform(scene: &Scene, function: Function, subject: &Subject) -> Result<Heard> {
    let user = &subject.hosts[0].user;
    Ok(match &subject.request {
        Request::Post(body) => Heard::of(user.call(function.name(), body).await?),
        Request::Get(address) => Heard::of(user.browse(address).await?),
        Request::Event(body) => deliver(scene, body).await,
        Request::Sync => {
            make_due(scene, &subject.hosts).await?;
            Heard::of(sync(scene).await?)
        }
    })
}

async fn deliver(scene: &Scene, body: &str) -> Heard {
    let report = scene.zoom().send(body, Signature::Genuine).await;
    Heard {
        status: report.status,
        body: serde_json::from_str(&report.answer).unwrap_or_default(),
        text: report.answer,
    }
}

/// Runs a function without a fault, and gives the calls that it made.
async fn discover(scene: &Scene, scenario: Scenario) -> Result<Course> {
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
async fn cells(
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

/// A cell after its mishap.
struct Ran {
    cell: Cell,
    heard: Heard,
}

async fn order_all(scene: &Scene, cells: &[Cell]) -> Result<Vec<Ordered>> {
    for_all(cells, 1, |cell| cell.order(scene)).await
}

/// Runs cells of functions that are called for one host, all at once.
async fn run_together(scene: &Scene, cells: Vec<Cell>) -> Result<Vec<Ran>> {
    let faults = order_all(scene, &cells).await?;
    let late: Vec<_> = cells
        .iter()
        .zip(&faults)
        .filter(|(cell, _)| cell.mishap == TimeOut)
        .map(|(_, fault)| *fault)
        .collect();
    let running = cells.into_iter().zip(&faults).map(|(cell, fault)| async move {
        let heard = perform(scene, cell.function(), &cell.subject).await?;
        ensure!(
            fault.has_happened(scene, cell.mishap),
            "{cell}: the fault never happened"
        );
        Ok(Ran { cell, heard })
    });
    let ran: Vec<_> = stream::iter(running).buffer_unordered(AT_ONCE).collect().await;
    until("what was late has been done", async || {
        Ok(late.iter().all(|fault| fault.is_over(scene)))
    })
    .await?;
    scene.zoom().withdraw_all();
    scene.gateway().withdraw_all();
    ran.into_iter().collect()
}

/// Runs cells whose process is killed, all at once.
async fn kill_together(scene: &Scene, cells: Vec<Cell>) -> Result<Vec<Ran>> {
    let faults = order_all(scene, &cells).await?;
    let running = cells.iter().map(|cell| perform(scene, cell.function(), &cell.subject));
    let killing = async {
        for (cell, fault) in cells.iter().zip(&faults) {
            until(&cell.to_string(), async || Ok(fault.has_happened(scene, cell.mishap))).await?;
        }
        kill_workers(scene).await
    };
    let (heard, ()) = tokio::try_join!(futures_util::future::try_join_all(running), killing)?;
    scene.zoom().withdraw_all();
    scene.gateway().withdraw_all();
    Ok(cells
        .into_iter()
        .zip(heard)
        .map(|(cell, heard)| Ran { cell, heard })
        .collect())
}

async fn kill_workers(scene: &Scene) -> Result<()> {
    tokio::try_join!(scene.kill_worker(0), scene.kill_worker(1))?;
    tokio::try_join!(scene.restart_worker(0), scene.restart_worker(1))?;
    Ok(())
}

/// Starts cells of `zoom-sync`, which works for all hosts: one after another, each up to where its fault has happened; runs that
/// do not hang there, to their end.
async fn start_in_turn(scene: &'static Scene, cells: Vec<Cell>) -> Result<Vec<(Ordered, JoinHandle<Result<Ran>>)>> {
    let mut running = Vec::new();
    for cell in cells {
        put_off(scene).await?;
        let (fault, mishap, name) = (cell.order(scene).await?, cell.mishap, cell.to_string());
        let mut run = tokio::spawn(async move {
            let heard = perform(scene, cell.function(), &cell.subject).await?;
            Ok(Ran { cell, heard })
        });
        let hangs = matches!(mishap, TimeOut | Slow) || mishap.kills();
        if hangs {
            until(&name, async || Ok(fault.has_happened(scene, mishap))).await?;
        } else {
            let ran = (&mut run).await?;
            ensure!(fault.has_happened(scene, mishap), "{name}: the fault never happened");
            run = tokio::spawn(async { ran });
            // Records that nobody needs any more make looking things up slow.
            scene.gateway().clear();
            scene.zoom().clear_calls();
        }
        running.push((fault, run));
    }
    Ok(running)
}

async fn run_in_turn(scene: &'static Scene, cells: Vec<Cell>) -> Result<Vec<Ran>> {
    let running = start_in_turn(scene, cells).await?;
    let mut all_ran = Vec::new();
    for (fault, run) in running {
        let ran = run.await??;
        if ran.cell.mishap == TimeOut {
            until("what was late has been done", async || Ok(fault.is_over(scene))).await?;
        }
        all_ran.push(ran);
    }
    scene.zoom().withdraw_all();
    scene.gateway().withdraw_all();
    Ok(all_ran)
}

async fn kill_in_turn(scene: &'static Scene, cells: Vec<Cell>) -> Result<Vec<Ran>> {
    let running = start_in_turn(scene, cells).await?;
    kill_workers(scene).await?;
    scene.zoom().withdraw_all();
    scene.gateway().withdraw_all();
    for_all(running, 1, async |(_, run)| run.await?).await
}

/// A start URL that was given out opens the session's meeting.
fn assert_start_urls_work(scene: &Scene, ran: &[Ran]) {
    for Ran { cell, heard } in ran
        .iter()
        .filter(|ran| ran.cell.function() == StartSession && ran.heard.status == Some(200))
    {
        let opened = scene.zoom().opened_by(text(&heard.body, "host_start_url"));
        let meeting = scene
            .zoom()
            .live_meetings()
            .into_iter()
            .find(|meeting| meeting.host == cell.subject.hosts[0].zoom_email);
        assert!(
            opened.is_some() && opened == meeting.map(|meeting| meeting.id),
            "{cell}: {heard:?}"
        );
    }
}

/// Zoom repeats what was not taken.
async fn deliver_again(scene: &Scene, ran: &[Ran]) -> Result<()> {
    for Ran { cell, heard } in ran {
        if let (Request::Event(body), true) = (&cell.subject.request, heard.status != Some(200)) {
            let again = deliver(scene, body).await;
            assert_eq!(again.status, Some(200), "{cell}: {again:?}");
        }
    }
    Ok(())
}

/// How the connection of a cell's host stands, and whether it works: a token is asked for that has to be refreshed first.
async fn state_of(scene: &Scene, ran: &Ran) -> Result<String> {
    let host = &ran.cell.subject.hosts[0];
    let (state, _) = host.state().await?;
    if state != "connected" {
        return Ok(state);
    }
    run_out(scene, host).await?;
    let refreshed = host.refresh().await?;
    let (state, reason) = host.state().await?;
    match refreshed.code() {
        (200, _) => assert_eq!(state, "connected", "{}", ran.cell),
        (403, "zoom_expired") => assert_eq!((&*state, &*reason), ("expired", "revoked"), "{}", ran.cell),
        other => panic!("{}: {other:?}", ran.cell),
    }
    Ok(state)
}

/// Whether Zoom has spent the refresh token and nobody has seen what came for it: no program can mend that, only the host.
fn may_have_lost_its_token(cell: &Cell) -> bool {
    match &cell.step.to {
        To::Zoom { target, .. } if *target == Target::TOKEN_REFRESH => {
            matches!(cell.mishap, TimeOut | DroppedAfter | Truncated | KilledAfter)
        }
        To::Database(step) if step == "zoom_refresh_commit" => cell.mishap == KilledBefore,
        _ => false,
    }
}

/// Sees to it that the caller heard something that fits what went wrong.
fn assert_fitting(ran: &Ran) {
    let Ran { cell, heard } = ran;
    let Some(status) = heard.status else {
        // Zoom waits for three seconds.
        let given_up = (cell.function(), cell.mishap) == (ZoomWebhook, TimeOut);
        assert!(cell.mishap.kills() || given_up, "{cell}: no answer");
        return;
    };
    if cell.mishap == Slow {
        assert_eq!(heard.status, cell.usual_status, "{cell}: {heard:?}");
    }
    // A fault of ours, or a database that does not fit. Browsers are told the same of one that cannot be reached.
    let misfit = match (&cell.step.to, cell.mishap) {
        (To::Database(step), _) if step == "zoom_oauth_consume" => true,
        (To::Database(_), Refused(answer)) => ["400", "401", "403", "404", "500"].contains(&answer),
        (To::Database(_), Truncated) => true,
        _ => false,
    };
    let fitting = [200, 403, 410, 502, 503].contains(&status) || status == 500 && misfit;
    assert!(fitting, "{cell}: {heard:?}");
}

/// Sees to it that what the caller heard was true. `state` is the connection's, `sessions` those that the host has in the end.
fn assert_truth(ran: &Ran, state: &str, sessions: usize) {
    let Ran { cell, heard } = ran;
    match (cell.function(), heard.status) {
        (CreateSession, Some(200)) => assert_eq!(sessions, 1, "{cell}: {heard:?}"),
        // It may still come, or nobody has heard anything.
        (CreateSession, None) => assert!(sessions <= 1, "{cell}"),
        (CreateSession, Some(503)) if heard.code() == "zoom_outcome_unknown" => assert!(sessions <= 1, "{cell}"),
        (CreateSession, Some(_)) => assert_eq!(sessions, 0, "{cell}: {heard:?}, and yet there is a session"),
        (ZoomOauthCallback, Some(_)) => {
            let connected = heard.text.contains("success=1");
            assert!(connected || heard.text.contains("error="), "{cell}: {heard:?}");
            assert_eq!(state == "connected", connected, "{cell}: {heard:?}");
        }
        (ZoomDisconnect, Some(200)) => assert_eq!(state, "not_connected", "{cell}"),
        (RefreshToken, Some(200)) => assert_eq!(text(&heard.body, "state"), state, "{cell}"),
        (
            ZoomOauthStart | ZoomWebhook | ZoomSync | ZoomDisconnect | RefreshToken | StartSession | ZoomOauthCallback,
            _,
        ) => {}
    }
    // Zoom has said of a meeting that there is none: that is taken for true.
    let denied = match &cell.step.to {
        To::Zoom { target, .. } => {
            let about_one = [Endpoint::GetMeeting, Endpoint::UpdateMeeting].map(Target::from);
            cell.mishap == Refused("404") && about_one.contains(target)
        }
        To::Database(_) => false,
    };
    let expected = match (cell.function(), cell.scenario.1) {
        (CreateSession, _) => sessions,
        (ZoomOauthStart | ZoomOauthCallback | RefreshToken, _) | (ZoomDisconnect, TokenIsDead) => 0,
        (StartSession, MeetingIsGone) => 0,
        (StartSession | ZoomDisconnect | ZoomWebhook, _) => 1 - usize::from(denied),
        (ZoomSync, _) => 2 - usize::from(denied),
    };
    assert_eq!(sessions, expected, "{cell}: {heard:?}");
    if (cell.function(), heard.status) == (StartSession, Some(410)) {
        assert_eq!(sessions, 0, "{cell}: {heard:?}");
    }
    if state == "expired" {
        let ended = matches!(cell.scenario.1, GrantHasEnded | ScopeIsMissing);
        assert!(ended || may_have_lost_its_token(cell), "{cell}: the connection ended");
    }
}

/// Who has tokens that work at Zoom.
fn emails_with_tokens(scene: &Scene) -> BTreeSet<String> {
    let state = scene.zoom().state();
    let tokens = state["tokens"].as_array().into_iter().flatten();
    let live = tokens.filter(|token| token["status"] == "live");
    live.map(|token| text(token, "user").to_owned()).collect()
}

/// Whoever left, or was not let in, has no token left at Zoom, unless Zoom would not hear of it.
fn assert_revoked(ran: &[Ran], with_tokens: &BTreeSet<String>) {
    for Ran { cell, heard } in ran {
        let not_heard = match (&cell.step.to, cell.mishap) {
            (_, Slow) => false,
            (To::Zoom { target, .. }, _) if *target == Endpoint::Revoke.into() => true,
            // To revoke a grant takes an access token.
            (To::Zoom { target, .. }, _) if *target == Target::TOKEN_REFRESH => cell.scenario.1 == TokenIsDead,
            // What Zoom gave was lost.
            (To::Zoom { target, .. }, _) => *target == Target::TOKEN_EXCHANGE,
            _ => false,
        };
        let left = match cell.function() {
            ZoomDisconnect if heard.status == Some(200) => &cell.subject.hosts[0],
            ZoomOauthCallback if heard.status.is_some() && !heard.text.contains("success=1") => &cell.subject.hosts[0],
            ZoomSync => &cell.subject.hosts[1],
            _ => continue,
        };
        // Of zoom-sync's two hosts the other one's tokens are refreshed.
        let lost = may_have_lost_its_token(cell) && cell.function() != ZoomSync;
        assert!(
            not_heard || lost || !with_tokens.contains(&left.zoom_email),
            "{cell}: a token lives on"
        );
    }
}

/// Every step that the database has for the functions, and everything that Zoom is asked for, is among what went wrong.
async fn assert_nothing_is_missing(scene: &Scene, ran: &[Ran]) -> Result<()> {
    let steps = "select proname::text from pg_proc
      where pronamespace = 'public'::regnamespace and prorettype = 'jsonb'::regtype
        and has_function_privilege('service_role', oid, 'execute') and not has_function_privilege('authenticated', oid, 'execute')";
    let rows = scene.db.query(steps, &[]).await?;
    let mut missing: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    ensure!(missing.len() > 20, "{missing:?}");
    for Ran { cell, .. } in ran {
        if let To::Database(step) = &cell.step.to {
            missing.remove(step);
        }
    }
    let expected: BTreeSet<_> = NOT_TAKEN.into_iter().chain(OF_OPERATORS).map(str::to_owned).collect();
    assert_eq!(missing, expected, "steps without a cell");
    let targets: BTreeSet<_> = ran
        .iter()
        .filter_map(|ran| match &ran.cell.step.to {
            To::Zoom { target, .. } => Some(target.to_string()),
            To::Database(_) => None,
        })
        .collect();
    ensure!(targets.len() == 9, "Zoom is asked for nine things, not {targets:?}");
    Ok(())
}

fn print(ran: &[Ran]) {
    let mut rows: BTreeMap<(Scenario, usize), (String, BTreeMap<Mishap, String>)> = BTreeMap::new();
    for Ran { cell, heard } in ran {
        let row = rows.entry((cell.scenario, cell.step.place)).or_default();
        row.0 = cell.step.to_string();
        row.1.insert(cell.mishap, heard.short());
    }
    let line = |name: &str, of: &dyn Fn(Mishap) -> String| {
        let columns: String = MISHAPS.iter().map(|mishap| format!("{:>9}", of(*mishap))).collect();
        show(&format!("{name:<56}{columns}"));
    };
    show("\nWhat the caller heard (unkn: it may still come; err: the app is told of an error; none: no answer):\n");
    line("", &|mishap| mishap.name().to_owned());
    for ((scenario, _), (step, heard)) in &rows {
        let name = format!("{scenario} / {step}");
        line(&name, &|mishap| heard.get(&mishap).cloned().unwrap_or_default());
    }
    show("");
    for function in Function::ALL {
        let of_function: Vec<_> = ran.iter().filter(|ran| ran.cell.function() == function).collect();
        let steps = rows.keys().filter(|(of, _)| of.0 == function).count();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for ran in &of_function {
            *counts.entry(ran.heard.short()).or_default() += 1;
        }
        show(&format!(
            "{:<20} {steps:>3} calls, {:>4} cells: {counts:?}",
            function.name(),
            of_function.len()
        ));
    }
}

/// Runs the cells of all functions that are called for one host.
async fn run_for_users(scene: &'static Scene, log: &Log) -> Result<Vec<Ran>> {
    let mut courses = BTreeMap::new();
    for function in Function::ALL.into_iter().filter(|function| *function != ZoomSync) {
        let scenario = Scenario(function, Nothing);
        courses.insert(scenario, discover(scene, scenario).await?);
    }
    for scenario in WITH_TROUBLE {
        let mut course = discover(scene, scenario).await?;
        let known = &courses[&Scenario(scenario.0, Nothing)].steps;
        let both = course.steps.iter().zip(known);
        let common = both.take_while(|(step, known)| step == known).count();
        course.steps.drain(..common);
        ensure!(!course.steps.is_empty(), "{scenario} makes no other calls");
        courses.insert(scenario, course);
    }
    let (mut together, mut killed) = (Vec::new(), Vec::new());
    for (scenario, course) in &courses {
        together.extend(cells(scene, *scenario, course, |mishap| !mishap.kills()).await?);
        killed.extend(cells(scene, *scenario, course, Mishap::kills).await?);
    }
    // Those that take longest go first.
    together.sort_by_key(|cell| cell.mishap != TimeOut);
    log.line("users: prepared");
    let mut ran = run_together(scene, together).await?;
    log.line("users: run");
    ran.extend(kill_together(scene, killed).await?);
    log.line("users: killed");
    assert_start_urls_work(scene, &ran);
    deliver_again(scene, &ran).await?;
    Ok(ran)
}

/// Runs the cells of `zoom-sync`.
async fn run_for_the_clock(scene: &'static Scene, log: &Log) -> Result<Vec<Ran>> {
    let scenario = Scenario(ZoomSync, Nothing);
    let course = discover(scene, scenario).await?;
    let takes_long = |mishap| matches!(mishap, TimeOut | Slow);
    let prompt = cells(scene, scenario, &course, |mishap| {
        !takes_long(mishap) && !mishap.kills()
    })
    .await?;
    let late = cells(scene, scenario, &course, takes_long).await?;
    let mut killed = cells(scene, scenario, &course, Mishap::kills).await?;
    log.line("zoom-sync: prepared");
    let mut ran = run_in_turn(scene, prompt).await?;
    log.line("zoom-sync: run");
    ran.extend(run_in_turn(scene, late).await?);
    log.line("zoom-sync: timed out");
    while !killed.is_empty() {
        let rest = killed.split_off(killed.len().min(KILLED_TOGETHER));
        ran.extend(kill_in_turn(scene, std::mem::replace(&mut killed, rest)).await?);
    }
    log.line("zoom-sync: killed");
    Ok(ran)
}

/// What there is in the end.
#[derive(Default)]
struct Sum {
    live_sessions: usize,
    live_meetings: usize,
    deleted_accounts: usize,
    connected_again: usize,
    runs: usize,
}

/// Lets everything settle, and looks at each cell.
async fn look_at(scene: &Scene, ran: &[Ran], log: &Log) -> Result<Sum> {
    // What hosts have done in Zoom is told in the end, or told again.
    for report in scene.zoom().deliver(&DeliveryPlan::default()).await? {
        assert_eq!(report.status, Some(200), "{report:?}");
    }
    let runs = settle(scene).await?;
    let states = for_all(ran, 16, |ran| state_of(scene, ran)).await?;
    assert_revoked(ran, &emails_with_tokens(scene));
    let mut sum = Sum::default();
    for (ran, state) in ran.iter().zip(&states) {
        // What was lost on the way, and what a disconnect could not tell Zoom any more, waits for the host to come back.
        if state == "expired" || ran.cell.function() == ZoomDisconnect && state == "not_connected" {
            ran.cell.subject.hosts[0].connect().await?;
            sum.connected_again += usize::from(state == "expired");
        }
    }
    sum.runs = runs + settle(scene).await?;
    log.line("settled");

    let hosts: Vec<_> = ran.iter().map(|ran| ran.cell.subject.hosts[0].clone()).collect();
    for ((ran, state), both) in ran.iter().zip(&states).zip(assert_in_step(scene, &hosts).await?) {
        assert_fitting(ran);
        assert_truth(ran, state, both.live_sessions);
        sum.live_sessions += both.live_sessions;
        sum.live_meetings += both.live_meetings;
    }
    let left: Vec<_> = ran
        .iter()
        .filter_map(|ran| ran.cell.subject.hosts.get(1))
        .cloned()
        .collect();
    for (host, both) in left.iter().zip(assert_in_step(scene, &left).await?) {
        assert_eq!((both.live_sessions, both.live_meetings), (0, 0), "{}", host.zoom_email);
        sum.deleted_accounts += 1;
    }
    log.line("looked at");
    scene.check()?;
    Ok(sum)
}

struct Log(tokio::time::Instant);

impl Log {
    fn line(&self, what: &str) {
        show(&format!("{:>6.1} s  {what}", self.0.elapsed().as_secs_f32()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_times_everything_that_can_go_wrong() -> Result<()> {
    let options = StackOptions {
        worker_processes: 2,
        jwks: Jwks::Inline,
        zoom: ZoomOptions {
            rules: Rules {
                events_of_api_changes: false,
                ..Rules::default()
            },
            ..ZoomOptions::default()
        },
        ..StackOptions::default()
    };
    let log = Log(tokio::time::Instant::now());
    let (users, clock) = tokio::try_join!(Scene::start(options.clone()), Scene::start(options))?;
    // Runs of zoom-sync go on in tasks of their own.
    let (users, clock): (&Scene, &Scene) = (Box::leak(Box::new(users)), Box::leak(Box::new(clock)));
    let (mut ran, ran_by_clock) = tokio::try_join!(run_for_users(users, &log), run_for_the_clock(clock, &log))?;
    let (of_users, of_clock) = tokio::try_join!(look_at(users, &ran, &log), look_at(clock, &ran_by_clock, &log))?;
    ran.extend(ran_by_clock);
    assert_nothing_is_missing(users, &ran).await?;
    print(&ran);
    let sessions = of_users.live_sessions + of_clock.live_sessions;
    let meetings = of_users.live_meetings + of_clock.live_meetings;
    show(&format!(
        "\n{} cells: {sessions} live sessions and {meetings} live meetings, each bound to the other; {} deleted accounts without a \
         meeting; nothing open after {} and {} runs of zoom-sync; {} hosts had to connect again",
        ran.len(),
        of_clock.deleted_accounts,
        of_users.runs,
        of_clock.runs,
        of_users.connected_again + of_clock.connected_again
    ));
    assert_eq!(sessions, meetings);
    Ok(())
}
