//! A week in which no event of Zoom's arrives: forty hosts hold, move, rename and delete two hundred sessions in Zoom,
//! and the watch finds out.

use crate::support::connection::zoom_calls;
use crate::support::drift::{
    assert_in_step, connected_hosts, create, edit, for_all, instant, meeting_of, read, settle, show, sync, Scene,
};
use anyhow::{ensure, Result};
use chrono::{TimeDelta, Utc};
use local_stack::{Jwks, StackOptions};
use serde_json::{json, Value};

const HOSTS: usize = 40;
const SESSIONS_A_HOST: usize = 5;
/// How far the clock goes between two runs, in minutes.
const STEP: i64 = 30;
const WEEK: i64 = 7 * 24 * 60;

/// What happens to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Held,
    HeldForLonger,
    Interrupted,
    NeverHeld,
    MovedInZoom,
    RenamedInZoom,
    RenamedHere,
    DeletedInZoom,
}
use Fate::{DeletedInZoom, Held, HeldForLonger, Interrupted, MovedInZoom, NeverHeld, RenamedHere, RenamedInZoom};

const FATES: [Fate; 8] = [
    Held,
    HeldForLonger,
    Interrupted,
    NeverHeld,
    MovedInZoom,
    RenamedInZoom,
    RenamedHere,
    DeletedInZoom,
];

struct Planned {
    host: usize,
    session: Value,
    fate: Fate,
    /// When it begins, in minutes from the beginning of the week.
    start: i64,
}

impl Planned {
    /// When it is started, in Zoom's time.
    fn begins(&self) -> i64 {
        match self.fate {
            MovedInZoom => self.start + 12 * 60,
            _ => self.start,
        }
    }

    /// What its host does at this minute of the week.
    async fn act(&self, scene: &Scene, host: &crate::support::connection::Host, minute: i64) -> Result<()> {
        let zoom = scene.zoom();
        let meeting = meeting_of(&self.session);
        let a_day_before = minute == self.start - 24 * 60;
        match self.fate {
            MovedInZoom if a_day_before => {
                let moved = Utc::now() + TimeDelta::minutes(self.begins() - minute);
                zoom.edit_meeting(
                    &meeting,
                    json!({"start_time": moved.format("%Y-%m-%dT%H:%M:%SZ").to_string()}),
                )?;
            }
            RenamedInZoom if a_day_before => zoom.edit_meeting(&meeting, json!({"topic": "Renamed in Zoom"}))?,
            RenamedHere if a_day_before => edit(host, &self.session, json!({"title": "Renamed here"})).await?,
            DeletedInZoom if a_day_before => zoom.delete_meeting(&meeting)?,
            _ => {}
        }
        if matches!(self.fate, NeverHeld | DeletedInZoom) {
            return Ok(());
        }
        let since = minute - self.begins();
        let length = if self.fate == HeldForLonger { 3 * STEP } else { STEP };
        let restarts = self.fate == Interrupted && since == 2 * STEP;
        if since == 0 || restarts {
            zoom.start_meeting(&meeting)?;
        }
        if since == length || self.fate == Interrupted && since == 3 * STEP {
            zoom.end_meeting(&meeting)?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_week_without_a_single_event() -> Result<()> {
    let scene = Scene::start(StackOptions {
        jwks: Jwks::Inline,
        ..StackOptions::default()
    })
    .await?;
    let hosts = connected_hosts(&scene, HOSTS).await?;
    let begun = Utc::now();
    let plans = (0..HOSTS * SESSIONS_A_HOST).map(|number| {
        let (host, nth) = (number % HOSTS, number / HOSTS);
        // From the second day on, one a day, at all hours.
        let start = (i64::try_from(nth)? + 1) * 24 * 60 + i64::try_from(host % 20)? * STEP;
        anyhow::Ok((host, FATES[(number + nth) % FATES.len()], start))
    });
    let plans: Vec<_> = plans.collect::<Result<_>>()?;
    let planned = for_all(plans, 8, |(host, fate, start)| {
        let hosts = &hosts;
        async move {
            let body = json!({"scheduled_start": begun + TimeDelta::minutes(start), "duration_minutes": 30});
            let session = create(&hosts[host], body).await?;
            Ok(Planned {
                host,
                session,
                fate,
                start,
            })
        }
    })
    .await?;
    scene.zoom().discard_events();
    scene.zoom().clear_calls();
    scene.gateway().clear();

    let (mut asked, mut lists) = (0, 0);
    let mut count = || {
        for call in zoom_calls(&scene) {
            asked += usize::from(call.starts_with("get_meeting"));
            lists += usize::from(call.starts_with("list_meetings"));
        }
        scene.zoom().clear_calls();
        scene.gateway().clear();
    };
    for minute in (0..=WEEK).step_by(usize::try_from(STEP)?) {
        for plan in &planned {
            plan.act(&scene, &hosts[plan.host], minute).await?;
        }
        let ran = sync(&scene).await?;
        ensure!(ran.status == 200, "minute {minute}: {}", ran.text);
        count();
        scene.zoom().discard_events();
        scene.travel(TimeDelta::minutes(STEP)).await?;
    }
    // What nobody held closes a day after its end.
    for _ in 0..4 {
        scene.travel(TimeDelta::hours(12)).await?;
        sync(&scene).await?;
        count();
    }
    settle(&scene).await?;
    count();

    assert_in_step(&scene, &hosts).await?;
    for plan in &planned {
        let row = read(&hosts[plan.host], &plan.session).await?;
        let was_held = !matches!(plan.fate, NeverHeld | DeletedInZoom);
        let status = if plan.fate == DeletedInZoom {
            "cancelled"
        } else {
            "ended"
        };
        assert_eq!(row["status"], status, "{:?}: {row}", plan.fate);
        assert_eq!(
            instant(&row, "started_at").is_some(),
            was_held,
            "{:?}: {row}",
            plan.fate
        );
        match plan.fate {
            RenamedInZoom => assert_eq!(row["title"], "Renamed in Zoom"),
            RenamedHere => assert_eq!(row["title"], "Renamed here"),
            _ => {}
        }
    }
    let sessions = planned.len();
    let days = usize::try_from(WEEK / (24 * 60))? + 2;
    show(&format!(
        "{sessions} sessions of {HOSTS} hosts in {days} days without an event: {asked} questions, {:.2} a session; {lists} \
         lists, {:.2} a host and day",
        f64::from(u32::try_from(asked)?) / f64::from(u32::try_from(sessions)?),
        f64::from(u32::try_from(lists)?) / f64::from(u32::try_from(HOSTS * days)?),
    ));
    assert!(asked <= 4 * sessions, "{asked} questions");
    assert!(lists <= 2 * HOSTS * days, "{lists} lists");
    scene.stack.stop().await
}
