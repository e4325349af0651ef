//! Zoom's events: late, twice, in any order, forged, or never taken the first time.

use std::collections::BTreeMap;

use crate::support::connection::{until, Host};
use crate::support::drift::{
    assert_in_step, connected_host, create, for_all, instant, meeting_of, on_shared_scene, read, settle, show, text,
    Scene,
};
use crate::support::{in_hours, new_session};
use anyhow::{ensure, Context, Result};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use futures_util::future::try_join_all;
use local_stack::zoom::{Answer, DeliveryPlan, Endpoint, Event, Fault, MeetingStatus, Rules, Signature, ZoomOptions};
use local_stack::{GatewayFault, Jwks, StackOptions};
use serde_json::{json, Value};

/// Events are of what hosts do in Zoom, and hosts create as many meetings as they like.
fn options() -> StackOptions {
    StackOptions {
        worker_processes: 2,
        jwks: Jwks::Inline,
        zoom: ZoomOptions {
            rules: Rules {
                events_of_api_changes: false,
                daily_limit: None,
                ..Rules::default()
            },
            ..ZoomOptions::default()
        },
        ..StackOptions::default()
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

/// What the events of a session have come to, but for what is its own: ids, links, and the second at which things
/// happened.
fn end_state(session: &Value) -> Value {
    let mut session = session.clone();
    if let Some(session) = session.as_object_mut() {
        for own in [
            "id",
            "host_id",
            "join_url",
            "passcode",
            "provider_meeting_id",
            "share_code",
            "created_at",
            "updated_at",
        ] {
            session.remove(own);
        }
        for at in ["started_at", "ended_at"] {
            let happened = !session[at].is_null();
            session.insert(at.to_owned(), json!(happened));
        }
    }
    session
}

const MEETINGS: usize = 50;
const EVENTS_EACH: usize = 40;

/// What a host does with the meeting of this number in Zoom: forty things, each of which makes an event. Some meetings
/// end in the end, and some are deleted; one that goes on is ended by that, which makes one event more.
fn play(scene: &Scene, meeting: &str, number: usize, start: DateTime<Utc>) -> Result<()> {
    let zoom = scene.zoom();
    for step in number..number + EVENTS_EACH - 1 {
        let mut changes = json!({"topic": format!("Title {step}")});
        match step % 6 {
            0 => changes["start_time"] = json!(zoom_time(start + TimeDelta::hours(i64::try_from(step)?))),
            1 => changes["duration"] = json!(30 + step),
            2 => changes["timezone"] = json!(["Europe/Berlin", "Asia/Kolkata", "UTC"][step % 9 / 3]),
            3 => {
                changes = json!({"start_time": zoom_time(start + TimeDelta::minutes(i64::try_from(step)?)), "duration": 100 + step})
            }
            4 => {
                match zoom.meeting(meeting)?.status {
                    MeetingStatus::Started => zoom.end_meeting(meeting)?,
                    _ => zoom.start_meeting(meeting)?,
                }
                continue;
            }
            _ => {}
        }
        zoom.edit_meeting(meeting, changes)?;
    }
    match number % 5 {
        0 => zoom.end_meeting(meeting),
        1 => zoom.delete_meeting(meeting),
        _ => zoom.edit_meeting(meeting, json!({"topic": "The last word"})),
    }
}

async fn sessions_with_a_history(scene: &Scene, host: &Host, start: DateTime<Utc>) -> Result<Vec<Value>> {
    let sessions = for_all(0..MEETINGS, 8, |_| create(host, json!({"scheduled_start": start}))).await?;
    for (number, session) in sessions.iter().enumerate() {
        play(scene, &meeting_of(session), number, start)?;
    }
    assert!(scene.zoom().held_events().len() >= MEETINGS * EVENTS_EACH);
    Ok(sessions)
}

/// Two thousand events, each delivered three times, in any order, a tenth of all deliveries forged or stale: what comes
/// of that is what comes of the same events in their order.
#[test]
fn deliveries_in_any_order_end_where_those_in_order_do() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        let start = in_hours(24);
        let in_order = sessions_with_a_history(scene, &host, start).await?;
        let events = by_meeting(scene.zoom().held_events());
        scene.zoom().discard_events();
        try_join_all(events.into_values().map(async |bodies| {
            for body in bodies {
                let report = scene.zoom().send(body, Signature::Genuine).await;
                ensure!(report.status == Some(200), "{report:?}");
            }
            Ok(())
        }))
        .await?;

        let shuffled = sessions_with_a_history(scene, &host, start).await?;
        let told = scene.zoom().held_events().len();
        let plan = DeliveryPlan {
            copies: 3,
            shuffle: Some(7),
            spoiled_share: 0.1,
            at_once: 8,
            ..DeliveryPlan::default()
        };
        let reports = scene.zoom().deliver(&plan).await?;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for report in &reports {
            let genuine = report.signature == Signature::Genuine;
            assert_eq!(report.status, Some(if genuine { 200 } else { 401 }), "{report:?}");
            let outcome: Value = serde_json::from_str(&report.answer)?;
            let what = if genuine { text(&outcome, "outcome") } else { "refused" };
            *counts.entry(what.to_owned()).or_default() += 1;
        }
        let mut millis: Vec<_> = reports.iter().map(|report| report.millis).collect();
        millis.sort_unstable();
        let (median, p99) = (millis[millis.len() / 2], millis[millis.len() * 99 / 100]);
        show(&format!(
            "{} deliveries, 8 at a time: {counts:?}; median {median} ms, p99 {p99} ms",
            reports.len()
        ));
        assert_eq!(counts["applied"], told);
        assert_eq!(counts["duplicate"], 2 * told);
        assert!(counts["refused"] * 10 >= reports.len(), "a tenth is not Zoom's");
        assert!(p99 < 1_000, "{p99} ms");

        for (one, other) in in_order.iter().zip(&shuffled) {
            let (one, other) = tokio::try_join!(read(&host, one), read(&host, other))?;
            assert_eq!(end_state(&one), end_state(&other));
        }
        settle(scene).await?;
        assert_in_step(scene, std::slice::from_ref(&host)).await?;
        Ok(())
    })
}

/// Delivers what Zoom has to tell, as it would.
async fn deliver(scene: &Scene) -> Result<()> {
    for report in scene.zoom().deliver(&DeliveryPlan::default()).await? {
        assert_eq!(report.status, Some(200), "{report:?}");
    }
    Ok(())
}

#[test]
fn what_a_host_does_in_zoom_is_seen_here() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        // Of three meetings, one has a number beyond 2^53. Events name it as a number, or as text.
        for _ in 0..3 {
            let session = create(&host, json!({"description": "Bring a mat."})).await?;
            let meeting = meeting_of(&session);
            let moved = in_hours(72);
            let changes =
                json!({"topic": "Moved", "start_time": zoom_time(moved), "duration": 75, "timezone": "Asia/Kolkata"});
            scene.zoom().edit_meeting(&meeting, changes)?;
            deliver(scene).await?;
            let seen = read(&host, &session).await?;
            assert_eq!(
                (
                    text(&seen, "title"),
                    &seen["duration_minutes"],
                    text(&seen, "timezone"),
                    text(&seen, "description")
                ),
                ("Moved", &json!(75), "Asia/Kolkata", "Bring a mat.")
            );
            assert_eq!(instant(&seen, "scheduled_start"), Some(moved.trunc_subsecs(0)));

            // A look, days before, leaves no trace.
            scene.zoom().start_meeting(&meeting)?;
            scene.zoom().host_leaves(&meeting)?;
            deliver(scene).await?;
            let seen = read(&host, &session).await?;
            assert_eq!(
                (text(&seen, "status"), &seen["started_at"]),
                ("scheduled", &Value::Null)
            );

            let now = json!({"start_time": zoom_time(in_hours(0))});
            scene.zoom().edit_meeting(&meeting, now)?;
            scene.zoom().start_meeting(&meeting)?;
            deliver(scene).await?;
            let seen = read(&host, &session).await?;
            let at_zoom = scene.zoom().meeting(&meeting)?;
            assert_eq!((text(&seen, "status"), instant(&seen, "ended_at")), ("scheduled", None));
            assert_eq!(
                instant(&seen, "started_at"),
                at_zoom.started_at.map(|at| at.trunc_subsecs(0))
            );

            scene.zoom().end_meeting(&meeting)?;
            deliver(scene).await?;
            let seen = read(&host, &session).await?;
            let at_zoom = scene.zoom().meeting(&meeting)?;
            // Interrupted, perhaps: the time that was planned is not over.
            assert_eq!(text(&seen, "status"), "scheduled");
            assert_eq!(
                instant(&seen, "started_at"),
                at_zoom.started_at.map(|at| at.trunc_subsecs(0))
            );
            assert_eq!(
                instant(&seen, "ended_at"),
                at_zoom.ended_at.map(|at| at.trunc_subsecs(0))
            );

            let session = create(&host, json!({})).await?;
            scene.zoom().delete_meeting(&meeting_of(&session))?;
            deliver(scene).await?;
            assert_eq!(read(&host, &session).await?["status"], "cancelled");
        }
        settle(scene).await?;
        assert_in_step(scene, std::slice::from_ref(&host)).await?;
        Ok(())
    })
}

#[test]
fn zoom_finds_the_endpoint_to_be_ours() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        for _ in 0..3 {
            scene.zoom().validate_endpoint().await?;
        }
        let forged = json!({"event": "endpoint.url_validation", "event_ts": 1, "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}});
        for signature in [Signature::Forged, Signature::Missing, Signature::Stale(3 * 3600)] {
            let report = scene.zoom().send(forged.to_string(), signature).await;
            assert_eq!(report.status, Some(401), "{report:?}");
            assert!(!report.answer.contains("encryptedToken"));
        }
        Ok(())
    })
}

async fn stored_events(scene: &Scene) -> Result<i64> {
    Ok(scene
        .db
        .query_one("select count(*) from video_sessions_private.webhook_events", &[])
        .await?
        .get(0))
}

#[test]
fn what_is_no_event_changes_nothing() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let before = stored_events(scene).await?;
        let large = json!({"event": "meeting.deleted", "event_ts": 1, "payload": {"object": {"id": 1}}, "padding": "x".repeat(70_000)});
        let cases = [
            (large.to_string(), 413),
            (json!({"event": "meeting.deleted"}).to_string(), 400),
            (
                json!({"event": "meeting.started", "payload": {"object": {"id": "../x"}}}).to_string(),
                400,
            ),
            ("{".to_owned(), 400),
            (
                json!({"event": "user.created", "payload": {"object": {"id": "KDcuGIm1QgePTO8WbOqwIQ"}}}).to_string(),
                200,
            ),
            (
                json!({"event": "meeting.deleted", "event_ts": 1, "payload": {"object": {"id": 1}}}).to_string(),
                200,
            ),
        ];
        for (body, status) in cases {
            let report = scene.zoom().send(body, Signature::Genuine).await;
            assert_eq!(report.status, Some(status), "{report:?}");
        }
        assert_eq!(
            stored_events(scene).await?,
            before + 1,
            "the last one is an event, of a meeting that is not ours"
        );
        Ok(())
    })
}

/// What could not be kept is refused with a 5xx, and taken when Zoom repeats it: once, also if it had been kept.
#[test]
fn what_was_not_kept_is_taken_the_next_time() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        let at = || GatewayFault::at_step("edge_webhook_receive");
        let faults = [
            at().dropping(),
            at().dropping().after_acting(),
            at().truncating(),
            at().answering(Answer::bad_gateway()),
            at().answering(Answer::json(500, json!({"code": "XX000"}))),
            at().answering(Answer::json(503, json!({"code": "PGRST001"}))),
        ];
        for fault in faults {
            let session = create(&host, json!({})).await?;
            scene.zoom().start_meeting(&meeting_of(&session))?;
            scene.gateway().order(fault.clone());
            let reports = scene.zoom().deliver(&DeliveryPlan::default()).await?;
            let failed: Vec<_> = reports
                .iter()
                .filter(|report| report.status.is_none_or(|status| status >= 500))
                .collect();
            assert_eq!((failed.len(), reports.len()), (1, 1), "{fault:?}: {reports:?}");
            let again = scene.zoom().retry_failed().await;
            assert_eq!(again.len(), 1);
            assert_eq!(again[0].status, Some(200), "{fault:?}: {again:?}");
            assert!(!read(&host, &session).await?["started_at"].is_null(), "{fault:?}");
        }
        Ok(())
    })
}

/// A meeting whose creation was lost is edited and started in Zoom before anybody here knows whose it is.
#[test]
fn news_of_a_meeting_that_is_not_known_yet_is_kept() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        scene
            .zoom()
            .order(Fault::at(Endpoint::CreateMeeting).dropping().after_acting())?;
        let lost = host.user.call("create-session", &new_session(json!({}))).await?;
        assert_eq!(lost.code(), (503, "zoom_outcome_unknown"));
        let meetings = scene.zoom().live_meetings();
        let meeting = meetings
            .iter()
            .find(|meeting| meeting.host == host.zoom_email)
            .context("it was made")?;
        scene
            .zoom()
            .edit_meeting(&meeting.id, json!({"topic": "Known in Zoom", "duration": 40}))?;
        scene.zoom().start_meeting(&meeting.id)?;
        deliver(scene).await?;
        settle(scene).await?;
        let sessions = host.user.select("video_sessions").await?.ok()?;
        assert_eq!(
            (
                text(&sessions[0], "title"),
                &sessions[0]["duration_minutes"],
                sessions[0]["started_at"].is_null()
            ),
            ("Known in Zoom", &json!(40), false)
        );
        assert_in_step(scene, std::slice::from_ref(&host)).await?;
        Ok(())
    })
}

/// The step that connects a meeting with its session, and the one that takes an event of it, happen at the same moment:
/// whichever commits first, the event is not lost.
#[test]
fn an_event_that_comes_at_the_moment_of_creation_is_not_lost() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        for event_first in [true, false] {
            scene.gateway().order(
                GatewayFault::at_step("edge_session_complete")
                    .about(&host.id().to_string())
                    .dropping()
                    .lasting(),
            );
            // The function gives up in the end; what counts is the meeting.
            let creating = host.clone();
            let creation =
                tokio::spawn(async move { creating.user.call("create-session", &new_session(json!({}))).await });
            until("the meeting is made", async || {
                Ok(open_creation(scene, &host)
                    .await?
                    .is_some_and(|(_, meeting)| meeting.is_some()))
            })
            .await?;
            let (creation_id, meeting) = open_creation(scene, &host).await?.context("a creation")?;
            let meeting = meeting.context("a meeting")?;
            let complete = "select public.edge_session_complete($1, $2, jsonb_build_object(
                'id', $3::text, 'join_url', 'https://zoom.test/j/1', 'start_url', 'https://zoom.test/s/1'))";
            let receive = "select public.edge_webhook_receive(
                $1, 'meeting.started', (extract(epoch from now()) * 1000)::bigint, jsonb_build_object('meeting_id', $2::text))";
            let event_id = format!("event of {meeting}");
            let (mut one, other) = tokio::try_join!(scene.stack.db(), scene.stack.db())?;
            let transaction = one.transaction().await?;
            let waiting = if event_first {
                transaction.execute(receive, &[&event_id, &meeting]).await?;
                let (host, meeting) = (host.id(), meeting.clone());
                tokio::spawn(async move { other.execute(complete, &[&creation_id, &host, &meeting]).await })
            } else {
                transaction
                    .execute(complete, &[&creation_id, &host.id(), &meeting])
                    .await?;
                let meeting = meeting.clone();
                tokio::spawn(async move { other.execute(receive, &[&event_id, &meeting]).await })
            };
            until("one waits for the other", async || {
                let waits = "select exists (select from pg_locks where locktype = 'advisory' and not granted)";
                Ok(scene.db.query_one(waits, &[]).await?.get(0))
            })
            .await?;
            transaction.commit().await?;
            waiting.await??;
            let started = "select started_at is not null from public.video_sessions where id = $1";
            assert!(
                scene.db.query_one(started, &[&creation_id]).await?.get::<_, bool>(0),
                "the event first: {event_first}"
            );
            scene.gateway().withdraw_all();
            creation.await??;
        }
        Ok(())
    })
}

/// The host's creation that is open, and the meeting that was made for it.
async fn open_creation(scene: &Scene, host: &Host) -> Result<Option<(uuid::Uuid, Option<String>)>> {
    let query = "select id from video_sessions_private.session_creations where user_id = $1 and state in ('running', 'unknown')";
    let Some(row) = scene.db.query_opt(query, &[&host.id()]).await? else {
        return Ok(None);
    };
    let id: uuid::Uuid = row.get(0);
    let meetings = scene.zoom().live_meetings();
    let made = meetings
        .into_iter()
        .find(|meeting| meeting.agenda.starts_with(&id.to_string()));
    Ok(Some((id, made.map(|meeting| meeting.id))))
}
