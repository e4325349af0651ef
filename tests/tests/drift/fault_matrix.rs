//! The fault matrix: every call that a function makes, to Zoom and to the database, times everything that can go wrong
//! with it.
//!
//! Nobody lists the calls by hand: each function runs without a fault, and what it asked for is what the matrix is made
//! of. It runs again for each trouble that sends it another way, and what it asks for from there on is added; in the
//! end no step of the database may be missing. Each cell has hosts of its own, so that all of them share one stack:
//! first everything goes wrong at once, then faults are withdrawn, time passes and `zoom-sync` runs. Then each cell is
//! looked at.

mod cells;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{ensure, Result};
use futures_util::stream::{self, StreamExt};
use local_stack::zoom::{DeliveryPlan, Endpoint, RecordedCall, Rules, Target, ZoomOptions};
use local_stack::{Jwks, StackOptions};
use strum::IntoEnumIterator;
use tokio::task::JoinHandle;

use self::cells::*;
use crate::support::connection::until;
use crate::support::drift::{assert_in_step, for_all, settle, show, text, Scene};

/// Cells of users that go wrong at the same time.
const AT_ONCE: usize = 64;
/// `zoom-sync` runs that hang at the same time: before the first of them gives up by itself.
const HANGING_TOGETHER: usize = 10;
/// No function takes these steps here. `tokens/keys` tests them.
const NOT_TAKEN: [&str; 2] = ["edge_reseal", "edge_reseal_claim"];
/// Steps that an operator takes, `doctor`, or another step.
const OF_OTHERS: [&str; 5] = [
    "edge_health",
    "edge_outbox_dead_letters",
    "edge_outbox_retry",
    "edge_sessions_settle",
    "edge_watch_all",
];

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

/// Starts a cell of `zoom-sync`, which works for all hosts, up to where its fault has happened.
async fn start(scene: &'static Scene, cell: Cell) -> Result<(Ordered, JoinHandle<Result<Ran>>)> {
    put_off(scene).await?;
    let (fault, mishap, name) = (cell.order(scene).await?, cell.mishap, cell.to_string());
    let run = tokio::spawn(async move {
        let heard = perform(scene, cell.function(), &cell.subject).await?;
        Ok(Ran { cell, heard })
    });
    let has_happened = async || {
        let ended_without = run.is_finished() && !fault.has_happened(scene, mishap);
        ensure!(!ended_without, "{name}: the fault never happened");
        Ok(fault.has_happened(scene, mishap))
    };
    until(&name, has_happened).await?;
    Ok((fault, run))
}

/// Waits until a run that hangs in one call asks for nothing else: its other parts would take what the next cell has
/// put there.
async fn until_quiet(scene: &Scene) -> Result<()> {
    let mut asked = 0;
    let mut looks_alike = 0;
    until("a run hangs", async || {
        // Whoever waits for the token that hangs goes on asking for it.
        let waits = |path: &str| path.ends_with("/edge_token_claim");
        let requests = scene.gateway().requests();
        let now = requests.iter().filter(|request| !waits(&request.path)).count() + scene.zoom().calls().len();
        // What hangs at Zoom is a fault's; all else there has been answered, a refresh of tokens above all.
        let asks_zoom = |call: &RecordedCall| call.ended.is_none() && call.fault.is_none();
        let is_quiet = now == asked && !scene.zoom().calls().iter().any(asks_zoom);
        looks_alike = if is_quiet { looks_alike + 1 } else { 0 };
        asked = now;
        Ok(looks_alike == 15)
    })
    .await
}

/// Runs cells of `zoom-sync` one after another; those that wait there, some at a time.
async fn run_in_turn(scene: &'static Scene, cells: Vec<Cell>) -> Result<Vec<Ran>> {
    let mut running = Vec::new();
    let mut all_ran = Vec::new();
    for cell in cells {
        let waits = matches!(cell.mishap, TimeOut | Slow);
        let (fault, run) = start(scene, cell).await?;
        if waits {
            until_quiet(scene).await?;
            running.push((fault, run));
            continue;
        }
        all_ran.push(run.await??);
        // Records that nobody needs any more make looking things up slow.
        scene.gateway().clear();
        scene.zoom().clear_calls();
    }
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

/// Starts cells of `zoom-sync` whose process is killed, as many at a time as hang without asking for more: who waits
/// for a token that hangs, does.
async fn kill_in_turn(scene: &'static Scene, cells: Vec<Cell>) -> Result<Vec<Ran>> {
    let mut cells = cells.into_iter().peekable();
    let (mut all_ran, mut running) = (Vec::new(), Vec::new());
    while let Some(cell) = cells.next() {
        let waits = matches!(&cell.step.to, To::Database(step) if step == "edge_token_claim");
        running.push(start(scene, cell).await?.1);
        if waits || running.len() == HANGING_TOGETHER || cells.peek().is_none() {
            kill_workers(scene).await?;
            scene.zoom().withdraw_all();
            scene.gateway().withdraw_all();
            for run in running.drain(..) {
                all_ran.push(run.await??);
            }
            // What the killed process had asked for is over.
            scene.gateway().clear();
            scene.zoom().clear_calls();
        } else {
            until_quiet(scene).await?;
        }
    }
    Ok(all_ran)
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

/// How the connection of a cell's host stands, and whether it works: a token is asked for that has to be refreshed
/// first.
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

/// Whether Zoom has spent the refresh token and nobody has seen what came for it: only the host can mend that.
fn may_have_lost_its_token(cell: &Cell) -> bool {
    match &cell.step.to {
        To::Zoom { target, .. } if *target == Target::TOKEN_REFRESH => {
            matches!(cell.mishap, TimeOut | DroppedAfter | Truncated | KilledAfter)
        }
        To::Database(step) if step == "edge_refresh_commit" => cell.mishap == KilledBefore,
        // Another part of the run may hold the lease, and refresh the tokens in this moment.
        To::Database(step) if step == "edge_token_claim" && cell.function() == ZoomSync => cell.mishap.kills(),
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
        (To::Database(step), _) if step == "edge_oauth_consume" => true,
        (To::Database(_), Refused(answer)) => ["400", "401", "403", "404", "500"].contains(&answer),
        (To::Database(_), Truncated) => true,
        _ => false,
    };
    let fitting = [200, 403, 410, 502, 503].contains(&status) || status == 500 && misfit;
    assert!(fitting, "{cell}: {heard:?}");
}

/// Sees to it that what the caller heard was true. `state` is the connection's, `sessions` those that the host has in
/// the end.
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
            ZoomOauthStart | ZoomWebhook | ZoomSync | ZoomDisconnect | RefreshToken | StartSession | JoinSession
            | ZoomOauthCallback,
            _,
        ) => {}
    }
    // Zoom says that there is no such meeting. The database believes it.
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
        (JoinSession, _) => 1,
        (StartSession | ZoomWebhook, _) => 1 - usize::from(denied),
        (ZoomDisconnect | ZoomSync, _) => 2 - usize::from(denied),
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
            ZoomSync => &cell.subject.hosts[2],
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
        and has_function_privilege('service_role', oid, 'execute')
        and not has_function_privilege('authenticated', oid, 'execute')";
    let rows = scene.db.query(steps, &[]).await?;
    let mut missing: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    ensure!(missing.len() > 20, "{missing:?}");
    for Ran { cell, .. } in ran {
        if let To::Database(step) = &cell.step.to {
            missing.remove(step);
        }
    }
    let expected: BTreeSet<_> = NOT_TAKEN.into_iter().chain(OF_OTHERS).map(str::to_owned).collect();
    assert_eq!(missing, expected, "steps without a cell");
    let targets: BTreeSet<_> = ran
        .iter()
        .filter_map(|ran| match &ran.cell.step.to {
            To::Zoom { target, .. } => Some(target.to_string()),
            To::Database(_) => None,
        })
        .collect();
    ensure!(targets.len() == 10, "Zoom is asked for ten things, not {targets:?}");
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
    for function in Function::iter() {
        let of_function: Vec<_> = ran.iter().filter(|ran| ran.cell.function() == function).collect();
        let steps = rows.keys().filter(|(of, _)| of.0 == function).count();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for ran in &of_function {
            *counts.entry(ran.heard.short()).or_default() += 1;
        }
        show(&format!(
            "{:<20} {steps:>3} calls, {:>4} cells: {counts:?}",
            <&str>::from(function),
            of_function.len()
        ));
    }
}

/// Runs the cells of all functions that are called for one host.
async fn run_for_users(scene: &'static Scene, log: &Log) -> Result<Vec<Ran>> {
    let mut courses = BTreeMap::new();
    for function in Function::iter().filter(|function| *function != ZoomSync) {
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
    let mut late = cells(scene, scenario, &course, takes_long).await?;
    let killed = cells(scene, scenario, &course, Mishap::kills).await?;
    log.line("zoom-sync: prepared");
    let mut ran = run_in_turn(scene, prompt).await?;
    log.line("zoom-sync: run");
    while !late.is_empty() {
        let rest = late.split_off(late.len().min(HANGING_TOGETHER));
        ran.extend(run_in_turn(scene, std::mem::replace(&mut late, rest)).await?);
    }
    log.line("zoom-sync: timed out");
    ran.extend(kill_in_turn(scene, killed).await?);
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
        // What was lost on the way, and what a disconnect could not tell Zoom any more, waits for the host.
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
        .filter_map(|ran| ran.cell.subject.hosts.get(1..))
        .flatten()
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
    let of_users = async {
        let ran = run_for_users(users, &log).await?;
        let sum = look_at(users, &ran, &log).await?;
        anyhow::Ok((ran, sum))
    };
    let of_clock = async {
        let ran = run_for_the_clock(clock, &log).await?;
        let sum = look_at(clock, &ran, &log).await?;
        anyhow::Ok((ran, sum))
    };
    let ((mut ran, of_users), (ran_by_clock, of_clock)) = tokio::try_join!(of_users, of_clock)?;
    ran.extend(ran_by_clock);
    assert_nothing_is_missing(users, &ran).await?;
    print(&ran);
    let sessions = of_users.live_sessions + of_clock.live_sessions;
    let meetings = of_users.live_meetings + of_clock.live_meetings;
    show(&format!(
        "\n{} cells: {sessions} live sessions and {meetings} live meetings, each bound to the other; {} deleted accounts \
         without a meeting; nothing open after {} and {} runs of zoom-sync; {} hosts had to connect again",
        ran.len(),
        of_clock.deleted_accounts,
        of_users.runs,
        of_clock.runs,
        of_users.connected_again + of_clock.connected_again
    ));
    assert_eq!(sessions, meetings);
    Ok(())
}
