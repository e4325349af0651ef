//! A session lives as long as its meeting does: what happens to hosts, from end to end.

use crate::support::connection::Host;
use crate::support::drift::{
    assert_in_step, connected_host, create, edit, meeting_of, new_hosts, on_shared_scene, read, settle, sync, Scene,
};
use crate::support::{in_hours, Reply};
use anyhow::Result;
use chrono::{TimeDelta, Utc};
use local_stack::zoom::{DeliveryPlan, Licence, MeetingStatus, NewUser, RunningMeeting, GRANULAR_SCOPES};
use local_stack::{Jwks, StackOptions};
use serde_json::{json, Value};
use uuid::Uuid;

fn options() -> StackOptions {
    StackOptions {
        jwks: Jwks::Inline,
        ..StackOptions::default()
    }
}

async fn start(host: &Host, session: &Value) -> Result<Reply> {
    host.user
        .call("start-session", &json!({"session_id": session["id"]}))
        .await
}

/// Delivers what Zoom has to tell: each event three times, in any order.
async fn tell(scene: &Scene) -> Result<()> {
    let plan = DeliveryPlan {
        copies: 3,
        shuffle: Some(11),
        ..DeliveryPlan::default()
    };
    for report in scene.zoom().deliver(&plan).await? {
        assert_eq!(report.status, Some(200), "{report:?}");
    }
    Ok(())
}

/// Status, whether there is a start, and whether there is an end.
async fn life(host: &Host, session: &Value) -> Result<(String, bool, bool)> {
    let row = read(host, session).await?;
    let status = row["status"].as_str().unwrap_or_default().to_owned();
    Ok((status, !row["started_at"].is_null(), !row["ended_at"].is_null()))
}

fn scheduled(started: bool, ended: bool) -> (String, bool, bool) {
    ("scheduled".to_owned(), started, ended)
}

#[test]
fn a_group_of_three_on_friday() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        let session = create(&host, json!({"scheduled_start": in_hours(48)})).await?;
        let meeting = meeting_of(&session);
        // On Wednesday the host tries the camera.
        scene.zoom().start_meeting(&meeting)?;
        scene.zoom().host_leaves(&meeting)?;
        tell(scene).await?;
        assert_eq!(life(&host, &session).await?, scheduled(false, false));
        start(&host, &session).await?.ok()?;

        // Six minutes early, alone, the line drops.
        scene.travel(TimeDelta::hours(48) - TimeDelta::minutes(6)).await?;
        scene.zoom().start_meeting(&meeting)?;
        tell(scene).await?;
        assert_eq!(life(&host, &session).await?, scheduled(true, false));
        scene.travel(TimeDelta::minutes(2)).await?;
        scene.zoom().host_leaves(&meeting)?;
        tell(scene).await?;
        assert_eq!(life(&host, &session).await?, scheduled(false, false));
        start(&host, &session).await?.ok()?;

        // It is held, breaks off, goes on, and lasts longer than was planned.
        scene.travel(TimeDelta::minutes(4)).await?;
        for minutes in [10, 25] {
            scene.zoom().start_meeting(&meeting)?;
            scene.zoom().guest_joins(&meeting)?;
            scene.zoom().host_leaves(&meeting)?;
            tell(scene).await?;
            assert_eq!(
                life(&host, &session).await?,
                scheduled(true, false),
                "a guest is still there"
            );
            scene.travel(TimeDelta::minutes(minutes)).await?;
            scene.zoom().end_meeting(&meeting)?;
            tell(scene).await?;
            assert_eq!(life(&host, &session).await?, scheduled(true, true), "interrupted");
            start(&host, &session).await?.ok()?;
        }
        scene.travel(TimeDelta::minutes(14)).await?;
        sync(scene).await?;
        assert_eq!(life(&host, &session).await?, scheduled(true, true));
        scene.travel(TimeDelta::minutes(2)).await?;
        sync(scene).await?;
        assert_eq!(life(&host, &session).await?, ("ended".to_owned(), true, true));
        settle(scene).await?;
        assert_in_step(scene, std::slice::from_ref(&host)).await?;

        // Somebody has forgotten something: for a day the host may open it again, and then it goes on.
        start(&host, &session).await?.ok()?;
        scene.zoom().start_meeting(&meeting)?;
        tell(scene).await?;
        assert_eq!(life(&host, &session).await?, scheduled(true, false));
        edit(&host, &session, json!({"status": "ended"})).await?;
        assert_eq!(start(&host, &session).await?.code(), (410, "session_ended"));
        scene.zoom().end_meeting(&meeting)?;
        tell(scene).await?;
        assert_eq!(life(&host, &session).await?.0, "ended");
        Ok(())
    })
}

#[test]
fn the_forty_minutes_of_a_free_account() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        let email = format!("{}@zoom.test", Uuid::new_v4().simple());
        scene.zoom().create_user(NewUser {
            licence: Licence::Basic,
            ..NewUser::named(&email)
        })?;
        host.connect_as(&email).await?;
        let session = create(&host, json!({"scheduled_start": Utc::now(), "duration_minutes": 60})).await?;
        let meeting = meeting_of(&session);
        scene.zoom().start_meeting(&meeting)?;
        tell(scene).await?;
        scene.travel(TimeDelta::minutes(45)).await?;
        tell(scene).await?;
        assert_eq!(scene.zoom().meeting(&meeting)?.instances.len(), 1);
        assert_eq!(life(&host, &session).await?, scheduled(true, true), "Zoom has cut it");
        start(&host, &session).await?.ok()?;
        scene.zoom().start_meeting(&meeting)?;
        tell(scene).await?;
        assert_eq!(life(&host, &session).await?, scheduled(true, false));
        scene.zoom().end_meeting(&meeting)?;
        tell(scene).await?;
        assert_eq!(life(&host, &session).await?, scheduled(true, true));
        Ok(())
    })
}

/// Webhooks are lost for ever; a day later the clock has closed all that is over, and only that.
#[test]
fn what_was_never_heard_of_again_is_over_after_a_day() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        let (held, unheld, later) = (
            create(&host, json!({"scheduled_start": Utc::now()})).await?,
            create(&host, json!({"scheduled_start": Utc::now()})).await?,
            create(&host, json!({"scheduled_start": in_hours(72)})).await?,
        );
        let own =
            json!({"scheduled_start": Utc::now(), "provider": "external", "join_url": "https://meet.example.test/a"});
        let own = create(&host, own).await?;
        scene.zoom().start_meeting(&meeting_of(&held))?;
        tell(scene).await?;
        scene.zoom().end_meeting(&meeting_of(&held))?;
        scene.zoom().discard_events();
        sync(scene).await?;
        assert_eq!(life(&host, &held).await?, scheduled(true, false));
        assert_eq!(life(&host, &own).await?, scheduled(true, false));
        scene.travel(TimeDelta::hours(25)).await?;
        sync(scene).await?;
        assert_eq!(life(&host, &held).await?, ("ended".to_owned(), true, true));
        assert_eq!(life(&host, &unheld).await?, ("ended".to_owned(), false, true));
        assert_eq!(life(&host, &own).await?, ("ended".to_owned(), true, true));
        assert_eq!(life(&host, &later).await?, scheduled(false, false));
        assert_eq!(start(&host, &unheld).await?.code(), (410, "session_ended"));
        Ok(())
    })
}

/// A host cancels while people meet: the meeting is ended where Zoom has granted that, or goes as soon as Zoom lets it.
#[test]
fn cancelled_while_it_goes_on() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let before = scene.zoom().rules();
        use RunningMeeting::{RefusedAsInProgress, RefusedAsStarted, TakesChanges};
        for (is_told, may_end, zoom_rule) in [
            (true, true, RefusedAsStarted),
            (true, true, RefusedAsInProgress),
            (true, false, RefusedAsStarted),
            (true, false, RefusedAsInProgress),
            (true, false, TakesChanges),
            // Zoom's event has been lost.
            (false, true, RefusedAsStarted),
            (false, false, RefusedAsInProgress),
        ] {
            scene.zoom().change_rules(|rules| rules.running_meeting = zoom_rule);
            let host = &new_hosts(scene, 1).await?[0];
            if !may_end {
                scene.zoom().set_scopes(&host.zoom_email, &GRANULAR_SCOPES)?;
            }
            host.connect().await?;
            let session = create(host, json!({"scheduled_start": Utc::now()})).await?;
            let meeting = meeting_of(&session);
            scene.zoom().start_meeting(&meeting)?;
            scene.zoom().guest_joins(&meeting)?;
            if is_told {
                tell(scene).await?;
            }
            scene.zoom().discard_events();
            edit(host, &session, json!({"status": "cancelled"})).await?;
            sync(scene).await?;
            let waiting = host
                .user
                .select("rpc/video_sessions_waiting?select=kind,reason")
                .await?
                .ok()?;
            if !may_end && zoom_rule != TakesChanges {
                assert_eq!(waiting, json!([{"kind": "delete", "reason": "meeting_running"}]));
                assert_eq!(scene.zoom().meeting(&meeting)?.status, MeetingStatus::Started);
                scene.zoom().host_leaves(&meeting)?;
                scene.zoom().guest_leaves(&meeting)?;
                tell(scene).await?;
                sync(scene).await?;
            } else {
                assert_eq!(waiting, json!([]));
            }
            assert_eq!(
                scene.zoom().meeting(&meeting)?.status,
                MeetingStatus::Deleted,
                "{is_told} {may_end} {zoom_rule:?}"
            );
            tell(scene).await?;
            assert_eq!(life(host, &session).await?.0, "cancelled");
            assert_in_step(scene, std::slice::from_ref(host)).await?;
        }
        scene.zoom().change_rules(|rules| *rules = before);
        Ok(())
    })
}
