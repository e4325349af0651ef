//! Start URLs: whoever holds one is the host in Zoom, for two hours.

use crate::support::connection::Host;
use crate::support::drift::{
    assert_in_step, connected_host, connected_hosts, create, edit, instant, meeting_of, on_shared_scene, read, settle,
    sync, text, Scene,
};
use crate::support::Reply;
use anyhow::{Context, Result};
use chrono::{TimeDelta, Utc};
use local_stack::zoom::{Endpoint, NewUser, Webhooks};
use local_stack::{Jwks, StackOptions};
use serde_json::{json, Value};

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

/// The calls to Zoom since the record was cleared.
fn calls(scene: &Scene) -> Vec<Endpoint> {
    let calls = scene.zoom().calls();
    scene.zoom().clear_calls();
    calls.iter().map(|call| call.endpoint).collect()
}

async fn stored_urls(scene: &Scene, host: &Host) -> Result<i64> {
    let query = "select count(*) from public.video_session_host_meta where host_id = $1";
    Ok(scene.db.query_one(query, &[&host.id()]).await?.get(0))
}

#[test]
fn a_start_url_is_good_for_ten_minutes_at_least() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        let session = create(&host, json!({})).await?;
        let meeting = meeting_of(&session);
        calls(scene);
        let mut before = String::new();
        // Minutes that pass, and what Zoom is asked then. An access token lives for an hour.
        let hour = Endpoint::Token;
        let cases: [(i64, &[Endpoint]); 5] = [
            (0, &[]),
            (50, &[]),
            (58, &[]),
            // 109 minutes after the creation there are less than ten left.
            (2, &[hour, Endpoint::GetMeeting]),
            (0, &[]),
        ];
        for (minutes, expected) in cases {
            scene.travel(TimeDelta::minutes(minutes)).await?;
            let started = start(&host, &session).await?.ok()?;
            let url = text(&started, "host_start_url");
            assert_eq!(calls(scene), expected, "after {minutes} more minutes");
            assert_eq!(scene.zoom().opened_by(url).as_deref(), Some(meeting.as_str()));
            let left = instant(&started, "expires_at").context("expires_at")? - Utc::now();
            assert!(
                left > TimeDelta::minutes(10) && left <= TimeDelta::minutes(120),
                "{left}"
            );
            assert_eq!(
                url == before || before.is_empty(),
                expected.is_empty(),
                "after {minutes} more minutes"
            );
            url.clone_into(&mut before);
        }
        Ok(())
    })
}

#[test]
fn a_start_url_that_has_run_out_is_not_kept() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        create(&host, json!({})).await?;
        assert_eq!(stored_urls(scene, &host).await?, 1);
        sync(scene).await?.ok()?;
        assert_eq!(stored_urls(scene, &host).await?, 1, "it still works");
        scene.travel(TimeDelta::minutes(120)).await?;
        let counts = sync(scene).await?.ok()?;
        assert!(counts["purged"]["start_urls"].as_u64() >= Some(1), "{counts}");
        assert_eq!(stored_urls(scene, &host).await?, 0);
        Ok(())
    })
}

#[test]
fn nobody_but_the_host_gets_it() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let people = connected_hosts(scene, 3).await?;
        let [host, guest, stranger] = people.as_slice() else {
            unreachable!()
        };
        let session = create(host, json!({})).await?;
        let joined = guest
            .user
            .call("join-session", &json!({"share_code": session["share_code"]}))
            .await?
            .ok()?;
        assert_eq!(start(guest, &session).await?.code(), (403, "not_the_host"));
        assert_eq!(start(stranger, &session).await?.code(), (404, "session_not_found"));
        let url = text(&start(host, &session).await?.ok()?, "host_start_url").to_owned();
        let token = url.split_once("zak=").context("a start token")?.1;
        for person in [guest, stranger] {
            assert_eq!(person.user.select("video_session_host_meta").await?.ok()?, json!([]));
            assert!(!person.user.select("video_sessions").await?.text.contains(token));
        }
        assert!(!joined.to_string().contains(token) && !session.to_string().contains(token));
        Ok(())
    })
}

/// A meeting belongs to the Zoom account that made it: another one neither starts nor deletes nor changes it.
#[test]
fn another_zoom_account_knows_nothing_of_the_meeting() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        let session = create(&host, json!({})).await?;
        let answer = host.user.call("zoom-disconnect", &json!({})).await?.ok()?;
        let nothing = json!({"changes": 0, "deletions": 0, "creations": 0});
        assert_eq!(answer, json!({"state": "not_connected", "left_at_zoom": nothing}));
        let other = format!("other-{}", host.zoom_email);
        scene.zoom().create_user(NewUser::named(&other))?;
        host.connect_as(&other).await?;
        edit(&host, &session, json!({"title": "Renamed"})).await?;
        calls(scene);
        let refused = start(&host, &session).await?;
        assert_eq!(refused.code(), (403, "zoom_other_account"), "{}", refused.text);
        sync(scene).await?.ok()?;
        assert!(calls(scene).is_empty(), "nothing is asked of the other account");
        assert_eq!(read(&host, &session).await?["status"], "scheduled");

        host.connect().await?;
        let started = start(&host, &session).await?.ok()?;
        assert_eq!(
            scene.zoom().opened_by(text(&started, "host_start_url")),
            Some(meeting_of(&session))
        );
        settle(scene).await?;
        let both = &assert_in_step(scene, std::slice::from_ref(&host)).await?[0];
        assert_eq!((both.live_sessions, both.live_meetings), (1, 1));
        Ok(())
    })
}

#[test]
fn what_will_not_take_place_cannot_be_started() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        scene.zoom().change_rules(|rules| rules.webhooks = Webhooks::Sent);
        let mut sessions = Vec::new();
        for _ in 0..4 {
            sessions.push(create(&host, json!({})).await?);
        }
        let [cancelled, deleted, looked_at, ended_here] = sessions.as_slice() else {
            unreachable!()
        };
        edit(&host, cancelled, json!({"status": "cancelled"})).await?;
        scene.zoom().delete_meeting(&meeting_of(deleted))?;
        scene.zoom().start_meeting(&meeting_of(looked_at))?;
        scene.zoom().end_meeting(&meeting_of(looked_at))?;
        edit(&host, ended_here, json!({"status": "ended"})).await?;
        scene.zoom().settled().await?;
        for (session, code) in [
            (cancelled, "session_gone"),
            (deleted, "session_gone"),
            (ended_here, "session_ended"),
        ] {
            assert_eq!(start(&host, session).await?.code(), (410, code));
        }
        // A look at the meeting before its time ends nothing.
        start(&host, looked_at).await?.ok()?;
        settle(scene).await?;
        assert_eq!(stored_urls(scene, &host).await?, 1);
        let both = &assert_in_step(scene, std::slice::from_ref(&host)).await?[0];
        assert_eq!((both.live_sessions, both.live_meetings), (1, 1));
        scene.zoom().change_rules(|rules| rules.webhooks = Webhooks::Held);
        Ok(())
    })
}

/// Zoom's event of it was never delivered.
#[test]
fn a_meeting_that_was_deleted_in_zoom_is_noticed_at_the_start() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        let session = create(&host, json!({})).await?;
        scene.zoom().delete_meeting(&meeting_of(&session))?;
        scene.zoom().discard_events();
        scene.travel(TimeDelta::hours(2)).await?;
        for _ in 0..2 {
            let refused = start(&host, &session).await?;
            assert_eq!(refused.code(), (410, "session_gone"), "{}", refused.text);
        }
        assert_eq!(read(&host, &session).await?["status"], "cancelled");
        settle(scene).await?;
        assert_in_step(scene, std::slice::from_ref(&host)).await?;
        Ok(())
    })
}
