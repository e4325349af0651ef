//! Random histories: what hosts do in the app and in Zoom, faults of both sides, runs of `zoom-sync` and events in any
//! order, against a model of sessions and meetings.
//!
//! Each host has a history of its own; all of them live on one stack at the same time. In the end faults are withdrawn,
//! every event is delivered, and `zoom-sync` runs until nothing is due. Then every live session has one live meeting
//! with the same details, and each session is what its history made it.
//!
//! A seed decides what happens in its histories; who is first among those that act at the same time, it does not.
//! Without more said, the seeds are the same every time. `MODEL_SEEDS=7,8` sets others, and `MODEL_SEEDS=fresh` draws
//! one; what fails names its seed.

use crate::support::connection::Host;
use crate::support::drift::{
    compare, connected_hosts, create_with_key, for_all, instant, meeting_of, open, settle, show, sync, text, Scene,
};
use crate::support::{in_hours, new_session, seeds};
use anyhow::{ensure, Context, Result};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use local_stack::zoom::{Answer, DeliveryPlan, Dice, Fault, Target, Truncation};
use local_stack::{GatewayFault, Jwks, StackOptions};
use serde_json::{json, Value};

const HOSTS: usize = 40;
const ROUNDS: u64 = 40;
/// Each has histories of its own.
const SEEDS: [u64; 2] = [1, 2];

/// A detail of a session: what it is worth, and who has changed it.
#[derive(Clone, Debug, Default)]
struct Detail {
    /// What the app has set, in turn.
    app: Vec<String>,
    /// What was set in Zoom since.
    zoom: Vec<String>,
}

impl Detail {
    fn created(value: &str) -> Self {
        Self {
            app: vec![value.to_owned()],
            zoom: Vec::new(),
        }
    }

    /// What was set in Zoom before is overridden, whether it was heard of or not; but where the app sets a detail to
    /// what it was once, that may be no change at all.
    fn set_by_app(&mut self, value: String) {
        if !self.app.contains(&value) {
            self.zoom.clear();
        }
        self.app.push(value);
    }

    fn was_edited_in_app(&self) -> bool {
        self.app.len() > 1
    }

    /// Whether this can be what it is in the end. Zoom is told all details of a session that the app has edited: what
    /// the host has changed in Zoom meanwhile, and nobody here has heard of, goes back to what it was, on both sides.
    fn may_be(&self, value: &String, edited_in_app: bool) -> bool {
        let app = self.app.last() == Some(value);
        match self.zoom.last() {
            None => app,
            Some(_) if edited_in_app => app || self.zoom.contains(value),
            Some(zoom) => value == zoom,
        }
    }
}

/// What a host does in the app with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InApp {
    Rename,
    Move,
    MoveAndResize,
    Cancel,
    Delete,
    Start,
}

/// Each as often as it is to happen.
const IN_APP: [InApp; 16] = [
    InApp::Rename,
    InApp::Rename,
    InApp::Rename,
    InApp::Rename,
    InApp::Rename,
    InApp::Move,
    InApp::Move,
    InApp::Move,
    InApp::MoveAndResize,
    InApp::MoveAndResize,
    InApp::MoveAndResize,
    InApp::Cancel,
    InApp::Delete,
    InApp::Start,
    InApp::Start,
    InApp::Start,
];

/// What a host does in Zoom with a meeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InZoom {
    Rename,
    Move,
    Start,
    End,
    Delete,
}

/// Each as often as it is to happen.
const IN_ZOOM: [InZoom; 13] = [
    InZoom::Rename,
    InZoom::Rename,
    InZoom::Rename,
    InZoom::Rename,
    InZoom::Move,
    InZoom::Move,
    InZoom::Move,
    InZoom::Move,
    InZoom::Start,
    InZoom::Start,
    InZoom::Start,
    InZoom::End,
    InZoom::Delete,
];

/// A session that the app knows of, as its history made it.
#[derive(Clone, Debug)]
struct Known {
    session: Value,
    title: Detail,
    start: Detail,
    minutes: Detail,
    cancelled: bool,
    deleted: bool,
    deleted_in_zoom: bool,
}

/// A host, its dice, and what is known of its sessions.
struct Case {
    host: Host,
    dice: Dice,
    known: Vec<Known>,
    /// Creations whose outcome the app was not told.
    unknown: usize,
    history: Vec<String>,
}

impl Case {
    /// One thing that happens.
    async fn step(&mut self, scene: &Scene) -> Result<()> {
        if self.dice.below(3) == 0 {
            self.order_a_fault(scene)?;
        }
        match self.dice.below(12) {
            0 | 1 => self.create(scene).await,
            2..=7 => self.act_in_the_app(scene).await,
            _ => self.act_in_zoom(scene),
        }
    }

    fn order_a_fault(&mut self, scene: &Scene) -> Result<()> {
        let at = Fault::at(Target::ANY).of(&self.host.zoom_email);
        let busy = Answer::api_error(429, 429, "Too many.");
        let soon = (Utc::now() + TimeDelta::seconds(2)).format("%FT%TZ").to_string();
        let fault = match self.dice.below(9) {
            0 => at.dropping(),
            1 => at.dropping().after_acting(),
            2 => at.truncating(Truncation::Fitting),
            3 => at.answering(Answer::bad_gateway()).times(2),
            4 => at.answering(busy.with_header("retry-after", soon)).times(3),
            5 => at.answering(busy),
            6 => at.answering(Answer::api_error(401, 124, "Invalid access token.")),
            7 => at.answering(Answer::empty(500)).after_acting(),
            _ => {
                let steps = [
                    "edge_session_complete",
                    "edge_session_fail",
                    "edge_outbox_settle",
                    "edge_start_complete",
                    "edge_webhook_receive",
                ];
                let step = self.dice.pick(&steps).context("a step")?;
                let fault = GatewayFault::at_step(step);
                self.history.push(format!("a fault at {step}"));
                scene.gateway().order(if self.dice.below(2) == 0 {
                    fault.dropping()
                } else {
                    fault.dropping().after_acting()
                });
                return Ok(());
            }
        };
        self.history.push(format!("{:?}, {:?}", fault.moment, fault.effect));
        scene.zoom().order(fault)?;
        Ok(())
    }

    async fn create(&mut self, scene: &Scene) -> Result<()> {
        let (title, hours, minutes) = (self.title(), self.hours(), self.minutes());
        let body =
            new_session(json!({"title": title, "scheduled_start": in_hours(hours), "duration_minutes": minutes}));
        let key = format!("creation-{}", self.history.len());
        let key = (self.dice.below(2) == 0).then_some(key.as_str());
        let reply = create_with_key(&self.host, key, &body).await?;
        self.history.push(format!("create {title:?}: {:?}", reply.code()));
        match reply.code() {
            (200, _) => {
                self.known.push(Known {
                    title: Detail::created(text(&reply.json, "title")),
                    start: Detail::created(&start_as_text(scene, instant(&reply.json, "scheduled_start"))),
                    minutes: Detail::created(&minutes.to_string()),
                    session: reply.json,
                    cancelled: false,
                    deleted: false,
                    deleted_in_zoom: false,
                });
            }
            (503, "zoom_outcome_unknown") => self.unknown += 1,
            // After a refusal nothing may come of it, whatever it was.
            (403 | 429 | 502 | 503, _) => {}
            other => anyhow::bail!("{other:?} {}", reply.text),
        }
        Ok(())
    }

    async fn act_in_the_app(&mut self, scene: &Scene) -> Result<()> {
        let (title, hours, minutes) = (self.title(), self.hours(), self.minutes());
        let start = in_hours(hours);
        let wanted_start = start_as_text(scene, Some(start));
        let action = *self.dice.pick(&IN_APP).context("an action")?;
        let present: Vec<usize> = (0..self.known.len()).filter(|n| !self.known[*n].deleted).collect();
        let Some(at) = self.dice.pick(&present).copied() else {
            return Ok(());
        };
        let known = &mut self.known[at];
        let query = format!("video_sessions?id=eq.{}", text(&known.session, "id"));
        let (method, changes) = match action {
            InApp::Rename => (reqwest::Method::PATCH, json!({"title": title})),
            InApp::Move => (reqwest::Method::PATCH, json!({"scheduled_start": start})),
            InApp::MoveAndResize => (
                reqwest::Method::PATCH,
                json!({"scheduled_start": start, "duration_minutes": minutes}),
            ),
            InApp::Cancel => (reqwest::Method::PATCH, json!({"status": "cancelled"})),
            InApp::Delete => (reqwest::Method::DELETE, json!({})),
            InApp::Start => {
                let started = self
                    .host
                    .user
                    .call("start-session", &json!({"session_id": known.session["id"]}))
                    .await?;
                self.history.push(format!("start {at}: {:?}", started.code()));
                ensure!(
                    matches!(started.status, 200 | 403 | 410 | 502 | 503),
                    "{}",
                    started.text
                );
                return Ok(());
            }
        };
        let reply = self.host.user.write(method.clone(), &query, &changes).await?;
        self.history
            .push(format!("{method} {at} {changes}: {:?}", reply.code()));
        if reply.status != 200 {
            // Over, or cancelled in Zoom: it stays so.
            ensure!(reply.code() == (400, "23514"), "{}", reply.text);
            return Ok(());
        }
        match action {
            InApp::Rename => known.title.set_by_app(title),
            InApp::Move => known.start.set_by_app(wanted_start),
            InApp::MoveAndResize => {
                known.start.set_by_app(wanted_start);
                known.minutes.set_by_app(minutes.to_string());
            }
            InApp::Cancel => known.cancelled = true,
            InApp::Delete => known.deleted = true,
            InApp::Start => {}
        }
        Ok(())
    }

    fn act_in_zoom(&mut self, scene: &Scene) -> Result<()> {
        let (title, hours) = (format!("Zoom {}", self.dice.below(1_000)), self.hours());
        let action = *self.dice.pick(&IN_ZOOM).context("an action")?;
        let meetings: Vec<_> = scene
            .zoom()
            .live_meetings()
            .into_iter()
            .filter(|m| m.host == self.host.zoom_email)
            .collect();
        let Some(meeting) = self.dice.pick(&meetings) else {
            return Ok(());
        };
        let start = in_hours(hours);
        let zooms_start = start.format("%FT%TZ").to_string();
        let wanted_start = start_as_text(scene, Some(start));
        let known = self
            .known
            .iter_mut()
            .find(|known| meeting_of(&known.session) == meeting.id);
        let zoom = scene.zoom();
        match action {
            InZoom::Rename => zoom.edit_meeting(&meeting.id, json!({"topic": title}))?,
            InZoom::Move => zoom.edit_meeting(&meeting.id, json!({"start_time": zooms_start, "duration": 50}))?,
            InZoom::Start => zoom.start_meeting(&meeting.id)?,
            InZoom::End => zoom.end_meeting(&meeting.id)?,
            InZoom::Delete => zoom.delete_meeting(&meeting.id)?,
        }
        self.history
            .push(format!("in Zoom {action:?} {title:?} {zooms_start} of {}", meeting.id));
        let Some(known) = known else {
            return Ok(());
        };
        match action {
            InZoom::Rename => known.title.zoom.push(title),
            InZoom::Move => {
                known.start.zoom.push(wanted_start);
                known.minutes.zoom.push("50".to_owned());
            }
            InZoom::Start | InZoom::End => {}
            InZoom::Delete => known.deleted_in_zoom = true,
        }
        Ok(())
    }

    fn title(&mut self) -> String {
        format!("App {}", self.dice.below(1_000))
    }

    fn hours(&mut self) -> i64 {
        100 + i64::try_from(self.dice.below(1_000)).unwrap_or_default()
    }

    fn minutes(&mut self) -> u64 {
        [30, 45, 60][self.dice.below(3)]
    }

    /// In what the sessions are not what their history made them.
    async fn what_is_wrong(&self, scene: &Scene, mut wrong: Vec<String>) -> Result<Vec<String>> {
        let rows = self.host.user.select("video_sessions?order=id").await?.ok()?;
        let rows = rows.as_array().context("rows")?;
        let mut found = 0;
        for known in &self.known {
            let row = rows.iter().find(|row| row["id"] == known.session["id"]);
            found += usize::from(row.is_some());
            let Some(row) = row.filter(|_| !known.deleted) else {
                if row.is_some() == known.deleted {
                    wrong.push(format!("deleted: {}, and yet: {row:?}", known.deleted));
                }
                continue;
            };
            // Whatever was started and ended was so days before its time, and leaves no trace.
            let over = known.cancelled || known.deleted_in_zoom;
            let status = if over { "cancelled" } else { "scheduled" };
            if text(row, "status") != status {
                wrong.push(format!("{status} expected, {row}"));
            }
            let details = [
                (&known.title, text(row, "title").to_owned()),
                (&known.start, start_as_text(scene, instant(row, "scheduled_start"))),
                (&known.minutes, row["duration_minutes"].to_string()),
            ];
            let edited = details.iter().any(|(detail, _)| detail.was_edited_in_app());
            for (detail, value) in details {
                if text(row, "status") == "scheduled" && !detail.may_be(&value, edited) {
                    wrong.push(format!("{detail:?} has become {value}"));
                }
            }
        }
        let others = rows.len() - found;
        if others > self.unknown {
            wrong.push(format!(
                "{others} sessions that the app was told would never be, {} may have come",
                self.unknown
            ));
        }
        Ok(wrong)
    }
}

/// A start as text, without fractions, since Zoom has none, and as it was before all travels.
fn start_as_text(scene: &Scene, at: Option<DateTime<Utc>>) -> String {
    at.map(|at| (at + scene.travelled()).trunc_subsecs(0).to_rfc3339())
        .unwrap_or_default()
}

/// Plays the histories of a seed, and gives how many live sessions there are in the end, and how many runs of
/// `zoom-sync` it took to settle.
async fn play(scene: &Scene, seed: u64) -> Result<(usize, usize)> {
    let mut dice = Dice::new(seed);
    let hosts = connected_hosts(scene, HOSTS).await?;
    let mut cases: Vec<Case> = hosts
        .iter()
        .map(|host| Case {
            host: host.clone(),
            dice: Dice::new(dice.roll()),
            known: Vec::new(),
            unknown: 0,
            history: Vec::new(),
        })
        .collect();
    for _ in 0..ROUNDS {
        // What hosts do, and what the clock does, happens at the same time.
        let sync_runs = async {
            match dice.below(3) {
                0 => sync(scene).await.map(drop),
                _ => Ok(()),
            }
        };
        let steps = for_all(&mut cases, 8, async |case| {
            let stepped = case.step(scene).await;
            stepped.with_context(|| format!("after {:#?}", case.history))
        });
        tokio::try_join!(steps, sync_runs)?;
        if dice.below(3) == 0 {
            let plan = DeliveryPlan {
                copies: 1 + u32::try_from(dice.below(2))?,
                shuffle: Some(dice.roll()),
                at_once: 4,
                ..DeliveryPlan::default()
            };
            scene.zoom().deliver(&plan).await?;
        }
        if dice.below(4) == 0 {
            let seconds = i64::try_from(dice.below(400))?;
            scene.travel(TimeDelta::seconds(seconds)).await?;
        }
    }

    scene.zoom().withdraw_all();
    scene.gateway().withdraw_all();
    let mut runs = 0;
    loop {
        let plan = DeliveryPlan {
            shuffle: Some(dice.roll()),
            ..DeliveryPlan::default()
        };
        scene.zoom().deliver(&plan).await?;
        while !scene.zoom().retry_failed().await.is_empty() {}
        if runs > 0 && scene.zoom().held_events().is_empty() && open(scene).await?.is_empty() {
            break;
        }
        runs += settle(scene).await?;
        // A refresh whose answer was lost ends a connection: only its host can mend that.
        for host in &hosts {
            if host.state().await?.0 == "expired" {
                host.connect().await?;
            }
        }
        ensure!(runs < 400, "{:?}", open(scene).await?);
    }

    let mut failures = Vec::new();
    let all = compare(scene, &hosts).await?;
    for (case, both) in cases.iter().zip(&all) {
        let wrong = case.what_is_wrong(scene, both.drift.clone()).await?;
        if !wrong.is_empty() {
            failures.push(format!("{wrong:#?}\nafter {:#?}", case.history));
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok((all.iter().map(|both| both.live_sessions).sum(), runs))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_sessions_and_meetings_stay_together() -> Result<()> {
    let options = StackOptions {
        worker_processes: 2,
        jwks: Jwks::Inline,
        ..StackOptions::default()
    };
    let scene = &Scene::start(options).await?;
    for seed in seeds(&SEEDS)? {
        let (live, runs) = play(scene, seed)
            .await
            .with_context(|| format!("MODEL_SEEDS={seed} plays the same histories"))?;
        show(&format!(
            "seed {seed}: {HOSTS} histories of {ROUNDS} steps: {live} live sessions, each with its meeting; {runs} runs of zoom-sync \
             in the end"
        ));
        ensure!(2 * live > HOSTS, "these histories say little");
    }
    scene.check()
}
