//! Zoom's events: late, twice, in any order, forged, or never taken the first time.

mod support;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::try_join_all;
use local_stack::zoom::{Answer, DeliveryPlan, Event, Fault, Signature};
use local_stack::zoom::Endpoint;
use local_stack::{GatewayFault, Jwks, StackOptions};
use serde_json::{json, Value};
use support::connection::{until, Host};
use support::drift::{
    assert_in_step, connected_host, connected_hosts, create, edit, for_all, instant, meeting_of, on_shared_scene, read, settle, sync,
    text, Scene,
};
use support::{in_hours, new_session};

fn options() -> StackOptions {
    StackOptions {
        worker_processes: 2,
        jwks: Jwks::Inline,
        ..StackOptions::default()
    }
}

/// What a host does with a meeting in Zoom, as the number says.
fn act(scene: &Scene, meeting: &str, step: usize) -> Result<()> {
    let zoom = scene.zoom();
    match step % 8 {
        0 | 5 => zoom.edit_meeting(meeting, json!({"topic": format!("Title {step}")})),
        1 | 6 => zoom.edit_meeting(meeting, json!({"start_time": zoom_time(in_hours(30 + step as i64))})),
        2 => zoom.edit_meeting(meeting, json!({"duration": 30 + step})),
        3 => zoom.edit_meeting(meeting, json!({"timezone": ["Europe/Berlin", "Asia/Kolkata", "UTC"][step % 3]})),
        4 => zoom.edit_meeting(meeting, json!({"topic": format!("All of {step}"), "duration": 60 + step, "agenda": "Changed."})),
        _ => zoom.start_meeting(meeting),
    }
}

fn zoom_time(at: DateTime<Utc>) -> String {
    at.format("%FT%TZ").to_string()
}

/// The events of each meeting, in the order in which they happened.
fn by_meeting(events: Vec<Event>) -> BTreeMap<String, Vec<String>> {
    let mut by_meeting: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in events {
        let id = &event.body["payload"]["object"]["id"];
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        by_meeting.entry(id).or_default().push(event.body.to_string());
    }
    by_meeting
}

/// What the events of a session have come to, but for what is its own: ids, links, and the second at which things happened.
fn end_state(session: &Value) -> Value {
    let mut session = session.clone();
    if let Some(session) = session.as_object_mut() {
        for own in ["id", "host_id", "join_url", "passcode", "provider_meeting_id", "share_code", "created_at", "updated_at"] {
            session.remove(own);
        }
        for at in ["started_at", "ended_at"] {
            let happened = !session[at].is_null();
            session.insert(at.to_owned(), json!(happened));
        }
    }
    session
}

/// What is to happen to the session of this number: some end, some are deleted, most just change.
const MEETINGS: usize = 50;
const EVENTS_EACH: usize = 40;

fn play(scene: &Scene, meeting: &str, number: usize) -> Result<()> {
    for step in 0..EVENTS_EACH - 1 {
        act(scene, meeting, number + step)?;
    }
    match number % 5 {
        0 => scene.zoom().end_meeting(meeting),
        1 => scene.zoom().delete_meeting(meeting),
        _ => scene.zoom().edit_meeting(meeting, json!({"topic": "The last word"})),
    }
}

/// Two thousand events, each delivered three times in any order, a tenth of all deliveries forged or stale: what comes of that is
/// what comes of two thousand events in their order.
#[test]
fn deliveries_in_any_order_end_where_those_in_order_do() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        scene.zoom().change_rules(|rules| {
            rules.events_of_api_changes = false;
            rules.daily_limit = None;
        });
        let host = connected_host(scene).await?;
        let starts = in_hours(24);
        let sessions = |scene: &'static Scene| {
            let host = host.clone();
            async move {
                let sessions = for_all(0..MEETINGS, 8, |_| create(&host, json!({"scheduled_start": starts}))).await?;
                for (number, session) in sessions.iter().enumerate() {
                    play(scene, &meeting_of(session), number)?;
                }
                anyhow::Ok(sessions)
            }
        };
        let in_order = sessions(scene).await?;
        let events = scene.zoom().held_events();
        assert_eq!(events.len(), MEETINGS * EVENTS_EACH);
        scene.zoom().discard_events();
        try_join_all(by_meeting(events).into_values().map(|bodies| async move {
            for body in bodies {
                let report = scene.zoom().send(body, Signature::Genuine).await;
                anyhow::ensure!(report.status == Some(200), "{report:?}");
            }
            Ok(())
        }))
        .await?;

        let shuffled = sessions(scene).await?;
        let plan = DeliveryPlan {
            copies: 3,
            shuffle: Some(7),
            spoiled_share: 0.1,
            at_once: 8,
        };
        let reports = scene.zoom().deliver(&plan).await?;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for report in &reports {
            let outcome = serde_json::from_str::<Value>(&report.answer).unwrap_or_default();
            let genuine = report.signature == Signature::Genuine;
            assert_eq!(report.status, Some(if genuine { 200 } else { 401 }), "{report:?}");
            let what = if genuine { text(&outcome, "outcome").to_owned() } else { format!("{:?} refused", report.signature) };
            *counts.entry(what).or_default() += 1;
        }
        let mut millis: Vec<_> = reports.iter().map(|report| report.millis).collect();
        millis.sort_unstable();
        let p99 = millis[millis.len() * 99 / 100];
        support::drift::show(&format!(
            "{} deliveries, 8 at a time: {counts:?}; median {} ms, p99 {p99} ms, longest {} ms",
            reports.len(),
            millis[millis.len() / 2],
            millis[millis.len() - 1]
        ));
        assert_eq!(counts["applied"], MEETINGS * EVENTS_EACH);
        assert_eq!(counts["duplicate"], 2 * MEETINGS * EVENTS_EACH);
        assert!(p99 < 1_000, "{p99} ms");

        for (one, other) in in_order.iter().zip(&shuffled) {
            let (one, other) = tokio::try_join!(read(&host, one), read(&host, other))?;
            assert_eq!(end_state(&one), end_state(&other));
            assert_eq!(instant(&other, "started_at"), scene.zoom().meeting(&meeting_of(&other))?.started_at.map(whole_seconds));
        }
        settle(scene).await?;
        assert_in_step(scene, std::slice::from_ref(&host)).await?;
        scene.zoom().change_rules(|rules| *rules = Default::default());
        Ok(())
    })
}
