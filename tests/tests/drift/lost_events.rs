//! Random stories of sessions at their time: meetings that are started, break off and start again, edits on both sides,
//! cancellations, deletions and recoveries, while the clock goes on and a share of Zoom's events is lost for ever. Then
//! everything is looked at, as an operator does after an outage: each session says what the simulator says. A day later
//! the clock has closed what is over.
//!
//! Stories are played some at a time, on one clock. What fails is shrunk to the shortest story of the fewest sessions.

use crate::support::connection::Host;
use crate::support::drift::{
    compare, connected_hosts, create, for_all, instant, meeting_of, open, settle, show, sync, text, Scene,
};
use crate::support::seeds;
use anyhow::{ensure, Result};
use chrono::{TimeDelta, Utc};
use local_stack::zoom::{DeliveryPlan, MeetingStatus, RunningMeeting, ZoomMeeting};
use local_stack::{Jwks, StackOptions};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::{json, Value};
use std::collections::BTreeSet;

/// Stories that are played side by side, on one clock.
const AT_ONCE: usize = 8;
const CASES: u32 = 10;
const STEPS: usize = 9;
/// All sessions are planned for then.
const STARTS_IN_MINUTES: i64 = 60;
const MINUTES: i64 = 30;

/// What somebody does. What cannot be done as things stand is left out of the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Nothing,
    StartInZoom,
    EndInZoom,
    /// The line of a host who may be alone.
    Drop,
    RenameInZoom,
    MoveInZoom,
    NewPasscode,
    DeleteInZoom,
    Recover,
    RenameHere,
    MoveHere,
    CancelHere,
    EndHere,
    StartHere,
}
use Act::{
    CancelHere, DeleteInZoom, Drop, EndHere, EndInZoom, MoveHere, MoveInZoom, NewPasscode, Nothing, Recover,
    RenameHere, RenameInZoom, StartHere, StartInZoom,
};

/// What becomes of the events of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Once,
    Twice,
    /// After all else, in any order.
    Late,
    Never,
}

/// What happens to one session, step by step.
type Story = Vec<(Act, Told)>;

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Nothing),
        8 => Just(StartInZoom),
        4 => Just(EndInZoom),
        4 => Just(Drop),
        2 => Just(RenameInZoom),
        2 => Just(MoveInZoom),
        1 => Just(NewPasscode),
        2 => Just(DeleteInZoom),
        3 => Just(Recover),
        2 => Just(RenameHere),
        2 => Just(MoveHere),
        1 => Just(CancelHere),
        1 => Just(EndHere),
        2 => Just(StartHere),
    ]
}

/// Stories, and by how many minutes the clock goes on before each of their steps.
fn stories() -> impl Strategy<Value = (Vec<Story>, Vec<i64>)> {
    let told =
        prop_oneof![3 => Just(Told::Once), 1 => Just(Told::Twice), 1 => Just(Told::Late), 3 => Just(Told::Never)];
    let story = prop::collection::vec((acts(), told), 1..=STEPS);
    let minutes = prop::sample::select(vec![0, 1, 4, 11, 20, 45]);
    (
        prop::collection::vec(story, 1..=AT_ONCE),
        prop::collection::vec(minutes, STEPS),
    )
}

/// A session, and what people did to it.
struct Played {
    host: Host,
    session: Value,
    story: Story,
    /// The status that a person gave it first, which stays, and how often it had been started in Zoom by then.
    word: Option<(&'static str, usize)>,
    /// Events that come late.
    late: Vec<u64>,
}

impl Played {
    fn meeting(&self, scene: &Scene) -> Result<ZoomMeeting> {
        scene.zoom().meeting(&meeting_of(&self.session))
    }

    /// A step of the story, as far as it can be done.
    async fn act(&mut self, scene: &Scene, step: usize) -> Result<()> {
        let Some((act, _)) = self.story.get(step) else {
            return Ok(());
        };
        let (zoom, meeting) = (scene.zoom(), self.meeting(scene)?);
        let (id, status) = (meeting.id, meeting.status);
        let in_zoom = |minutes: i64| {
            let start = Utc::now() + TimeDelta::minutes(minutes);
            json!({"start_time": start.format("%FT%TZ").to_string()})
        };
        match (act, status) {
            (StartInZoom, MeetingStatus::Waiting) => zoom.start_meeting(&id),
            (EndInZoom, MeetingStatus::Started) => zoom.end_meeting(&id),
            (Drop, MeetingStatus::Started) => zoom.host_leaves(&id),
            (DeleteInZoom, MeetingStatus::Waiting) => zoom.delete_meeting(&id),
            (Recover, MeetingStatus::Deleted) => zoom.recover_meeting(&id),
            (RenameInZoom, MeetingStatus::Waiting) => zoom.edit_meeting(&id, json!({"topic": format!("Zoom {step}")})),
            (MoveInZoom, MeetingStatus::Waiting) => zoom.edit_meeting(&id, in_zoom(70)),
            (NewPasscode, MeetingStatus::Waiting) => {
                zoom.edit_meeting(&id, json!({"password": format!("passcode{step}")}))
            }
            (RenameHere, _) => self.change(json!({"title": format!("Here {step}")})).await.map(drop),
            (MoveHere, _) => {
                let start = Utc::now() + TimeDelta::minutes(40);
                self.change(json!({"scheduled_start": start})).await.map(drop)
            }
            (CancelHere, _) => self.say(scene, "cancelled").await,
            (EndHere, _) => self.say(scene, "ended").await,
            (StartHere, _) => {
                let body = json!({"session_id": self.session["id"]});
                let reply = self.host.user.call("start-session", &body).await?;
                ensure!(matches!(reply.status, 200 | 410), "{}", reply.text);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// An edit by the app; false where the session is over.
    async fn change(&self, changes: Value) -> Result<bool> {
        let query = format!("video_sessions?id=eq.{}", text(&self.session, "id"));
        let reply = self.host.user.write(reqwest::Method::PATCH, &query, &changes).await?;
        ensure!(reply.status == 200 || reply.code() == (400, "23514"), "{}", reply.text);
        Ok(reply.status == 200)
    }

    async fn say(&mut self, scene: &Scene, word: &'static str) -> Result<()> {
        // Who cancels what Zoom has cancelled says nothing new.
        let is_news = text(&self.row().await?, "status") != word;
        if self.change(json!({"status": word})).await? && is_news && self.word.is_none() {
            self.word = Some((word, self.meeting(scene)?.instances.len()));
        }
        Ok(())
    }

    /// The session as a client reads it, with its phase.
    async fn row(&self) -> Result<Value> {
        let query = format!("video_sessions?select=*,phase&id=eq.{}", text(&self.session, "id"));
        Ok(self.host.user.select(&query).await?.ok()?[0].take())
    }

    /// Sees to it that the session says what the simulator says.
    async fn check(&self, scene: &Scene) -> Result<()> {
        let (row, meeting) = (self.row().await?, self.meeting(scene)?);
        let wrong = what_is_wrong(&row, &meeting, self.word);
        ensure!(wrong.is_none(), "{}:\n{row:#}\n{meeting:#?}", wrong.unwrap_or_default());
        Ok(())
    }
}

/// In what a session and its meeting disagree, after Zoom was asked.
fn what_is_wrong(row: &Value, meeting: &ZoomMeeting, word: Option<(&str, usize)>) -> Option<&'static str> {
    let (status, phase) = (text(row, "status"), text(row, "phase"));
    let (has_start, has_end) = (instant(row, "started_at").is_some(), instant(row, "ended_at").is_some());
    // Zoom is asked from shortly before its time on, and for a day.
    let start = instant(row, "scheduled_start").unwrap_or_default();
    let asked_about = (-TimeDelta::hours(24)..TimeDelta::minutes(10)).contains(&(start - Utc::now()));
    if has_start && meeting.instances.is_empty() {
        return Some("it was never held");
    }
    if let Some((word, starts)) = word {
        return match (status == word, &meeting.status) {
            (false, _) => Some("what a person said does not stay"),
            // What the host starts again in Zoom, though the session is over, is the host's.
            (true, MeetingStatus::Started) if word == "cancelled" || meeting.instances.len() == starts => {
                Some("the meeting of what a person closed still goes on")
            }
            (true, MeetingStatus::Waiting) if word == "cancelled" || !has_start => Some("an open door at Zoom"),
            _ => None,
        };
    }
    match meeting.status {
        MeetingStatus::Deleted if status == "scheduled" => Some("its meeting is gone"),
        MeetingStatus::Deleted if status == "cancelled" && has_start => Some("it was held"),
        MeetingStatus::Started if asked_about && (phase != "ongoing" || !has_start || has_end) => {
            Some("its meeting goes on")
        }
        MeetingStatus::Waiting if asked_about && has_start && !has_end => Some("its meeting has ended"),
        MeetingStatus::Waiting if status == "cancelled" => Some("its meeting is there"),
        MeetingStatus::Waiting | MeetingStatus::Started
            if status == "scheduled" && asked_about && !text(row, "join_url").ends_with(&meeting.password) =>
        {
            Some("the link is an old one")
        }
        _ => None,
    }
}

/// Plays stories side by side, and looks at what has become of them.
async fn play(scene: &Scene, stories: &[Story], minutes: &[i64]) -> Result<()> {
    let hosts = &connected_hosts(scene, stories.len()).await?;
    let mut played = for_all(stories.iter().zip(hosts), AT_ONCE, async |(story, host)| {
        let start = Utc::now() + TimeDelta::minutes(STARTS_IN_MINUTES);
        let session = create(host, json!({"scheduled_start": start, "duration_minutes": MINUTES})).await?;
        anyhow::Ok(Played {
            host: host.clone(),
            session,
            story: story.clone(),
            word: None,
            late: Vec::new(),
        })
    })
    .await?;
    let held = || -> BTreeSet<u64> { scene.zoom().held_events().iter().map(|event| event.id).collect() };
    for (step, minutes) in minutes.iter().enumerate() {
        scene.travel(TimeDelta::minutes(*minutes)).await?;
        let (mut once, mut twice) = (Vec::new(), Vec::new());
        for one in &mut played {
            let before = held();
            one.act(scene, step).await?;
            let events = held().into_iter().filter(|id| !before.contains(id));
            match one.story.get(step).map(|(_, told)| told) {
                Some(Told::Once) => once.extend(events),
                Some(Told::Twice) => twice.extend(events),
                Some(Told::Late) => one.late.extend(events),
                Some(Told::Never) | None => {}
            }
        }
        deliver(scene, once, 1).await?;
        deliver(scene, twice, 2).await?;
        let ran = sync(scene).await?;
        ensure!(ran.status == 200, "{}", ran.text);
    }
    deliver(scene, played.iter().flat_map(|one| one.late.clone()).collect(), 1).await?;
    scene.zoom().discard_events();

    look_at_everything(scene).await?;
    let mut quiet = Vec::new();
    for one in &played {
        one.check(scene).await?;
        // A meeting that goes on takes no change.
        if one.meeting(scene)?.status != MeetingStatus::Started {
            quiet.push(one.host.clone());
        }
    }
    assert_agreement(scene, &quiet).await?;

    // Whoever is still there leaves, and nobody hears of it.
    for one in &played {
        let meeting = one.meeting(scene)?;
        if meeting.status == MeetingStatus::Started {
            scene.zoom().end_meeting(&meeting.id)?;
        }
    }
    for _ in 0..4 {
        scene.zoom().discard_events();
        scene.travel(TimeDelta::hours(9)).await?;
        settle(scene).await?;
    }
    for one in &played {
        let row = one.row().await?;
        ensure!(
            text(&row, "phase") == "past" && text(&row, "status") != "scheduled",
            "not over: {row:#}"
        );
        one.check(scene).await?;
    }
    // Of these hosts: while a story is shrunk, those of longer ones are still there.
    let mut open = open(scene).await?;
    open.retain(|one| hosts.iter().any(|host| one.contains(&host.id().to_string())));
    ensure!(open.is_empty(), "{open:#?}");
    assert_agreement(scene, hosts).await
}

async fn deliver(scene: &Scene, events: Vec<u64>, copies: u32) -> Result<()> {
    let plan = DeliveryPlan {
        only: Some(events),
        copies,
        shuffle: Some(7),
        ..DeliveryPlan::default()
    };
    for report in scene.zoom().deliver(&plan).await? {
        ensure!(report.status == Some(200), "{report:?}");
    }
    Ok(())
}

/// What the operations guide says to do after an outage of webhooks.
async fn look_at_everything(scene: &Scene) -> Result<()> {
    scene.db.execute("select public.edge_watch_all()", &[]).await?;
    settle(scene).await?;
    scene.zoom().discard_events();
    Ok(())
}

async fn assert_agreement(scene: &Scene, hosts: &[Host]) -> Result<()> {
    let drift: Vec<_> = compare(scene, hosts)
        .await?
        .into_iter()
        .flat_map(|both| both.drift)
        .collect();
    ensure!(drift.is_empty(), "{drift:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_lost_sessions_say_what_zoom_says() -> Result<()> {
    let scene = Scene::start(StackOptions {
        jwks: Jwks::Inline,
        ..StackOptions::default()
    })
    .await?;
    scene
        .zoom()
        .change_rules(|rules| rules.running_meeting = RunningMeeting::RefusedAsStarted);
    let handle = tokio::runtime::Handle::current();
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    for seed in seeds(&[1, 13])? {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let dice = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let told = tokio::task::block_in_place(|| {
            TestRunner::new_with_rng(config.clone(), dice).run(&stories(), |(stories, minutes)| {
                let played = handle.block_on(play(&scene, &stories, &minutes));
                played.map_err(|error| TestCaseError::fail(format!("{error:#}")))
            })
        });
        told.map_err(|error| anyhow::anyhow!("MODEL_SEEDS={seed} plays the same stories: {error}"))?;
        show(&format!(
            "seed {seed}: {CASES} times up to {AT_ONCE} stories of up to {STEPS} steps"
        ));
    }
    scene.stack.stop().await
}
