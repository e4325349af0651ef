//! One request, one session, one meeting: however often it is sent, and whatever becomes of it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::connection::{until, Host};
use crate::support::drift::{
    assert_in_step, connected_host, connected_hosts, create_with_key, delete, edit, on_shared_scene, settle, text,
    Scene,
};
use crate::support::{new_session, Reply};
use anyhow::{Context, Result};
use chrono::{SubsecRound, TimeDelta, Utc};
use futures_util::future::try_join_all;
use local_stack::zoom::{Answer, Endpoint, Fault};
use local_stack::{GatewayFault, Jwks, StackOptions};
use serde_json::{json, Value};

/// Two processes, which have nothing in common but the database.
fn options() -> StackOptions {
    StackOptions {
        worker_processes: 2,
        jwks: Jwks::Inline,
        ..StackOptions::default()
    }
}

/// How often Zoom was asked for a meeting since the record was cleared.
fn asked_for(scene: &Scene) -> usize {
    let calls = scene.zoom().calls();
    calls
        .iter()
        .filter(|call| call.endpoint == Endpoint::CreateMeeting)
        .count()
}

/// Repeats a request until it is not told to wait any more.
async fn until_settled(host: &Host, key: &str, body: &Value) -> Result<Reply> {
    let mut last = None;
    until("the creation is over", async || {
        let reply = create_with_key(host, Some(key), body).await?;
        let running = reply.code() == (409, "creation_running");
        assert!(!running || !reply.header("retry-after").is_empty(), "{}", reply.text);
        last = Some(reply);
        Ok(!running)
    })
    .await?;
    last.context("an answer")
}

#[test]
fn fifty_identical_requests_with_one_key_make_one_session() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        scene.zoom().clear_calls();
        // Long enough for the fifty to meet.
        scene
            .zoom()
            .order(Fault::at(Endpoint::CreateMeeting).delayed(Duration::from_millis(500)))?;
        let body = new_session(json!({"description": "Bring a mat."}));
        let at_once = try_join_all((0..50).map(|_| create_with_key(&host, Some("fifty"), &body))).await?;
        let mut told_to_wait = 0;
        for reply in &at_once {
            match reply.code() {
                (200, _) => {}
                (409, "creation_running") => told_to_wait += 1,
                other => panic!("{other:?} {}", reply.text),
            }
        }
        assert!(
            told_to_wait < 50 && told_to_wait > 0,
            "{told_to_wait} of 50 were told to wait"
        );
        let answers = try_join_all((0..50).map(|_| until_settled(&host, "fifty", &body))).await?;
        let different: BTreeSet<_> = at_once
            .iter()
            .filter(|reply| reply.status == 200)
            .chain(&answers)
            .map(|reply| &reply.text)
            .collect();
        assert_eq!(different.len(), 1, "{different:?}");
        assert_eq!(asked_for(scene), 1);
        let both = &assert_in_step(scene, std::slice::from_ref(&host)).await?[0];
        assert_eq!((both.live_sessions, both.live_meetings), (1, 1));
        Ok(())
    })
}

#[test]
fn fifty_identical_requests_without_a_key_make_fifty_sessions() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        let body = new_session(json!({}));
        let replies = try_join_all((0..50).map(|_| create_with_key(&host, None, &body))).await?;
        let mut ids = BTreeSet::new();
        for reply in replies {
            ids.insert(text(&reply.ok()?, "id").to_owned());
        }
        assert_eq!(ids.len(), 50);
        let both = &assert_in_step(scene, std::slice::from_ref(&host)).await?[0];
        assert_eq!((both.live_sessions, both.live_meetings), (50, 50));
        Ok(())
    })
}

#[test]
fn a_double_click_with_other_values_is_refused() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let hosts = connected_hosts(scene, 10).await?;
        let (one, other) = (
            new_session(json!({"title": "One"})),
            new_session(json!({"title": "Other"})),
        );
        for host in &hosts {
            let (first, second) = tokio::try_join!(
                create_with_key(host, Some("click"), &one),
                create_with_key(host, Some("click"), &other)
            )?;
            let mut codes = [first.code(), second.code()];
            codes.sort_unstable();
            assert_eq!(codes, [(200, "ok"), (422, "idempotency_key_reused")]);
            // And so it stays: the key is that of the first.
            let (wins, loses) = if first.status == 200 {
                (&one, &other)
            } else {
                (&other, &one)
            };
            assert_eq!(create_with_key(host, Some("click"), wins).await?.status, 200);
            assert_eq!(create_with_key(host, Some("click"), loses).await?.status, 422);
        }
        for both in assert_in_step(scene, &hosts).await? {
            assert_eq!((both.live_sessions, both.live_meetings), (1, 1));
        }
        Ok(())
    })
}

#[test]
fn a_key_belongs_to_its_host() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let hosts = connected_hosts(scene, 2).await?;
        let body = new_session(json!({}));
        let mine = create_with_key(&hosts[0], Some("shared"), &body).await?.ok()?;
        let theirs = create_with_key(&hosts[1], Some("shared"), &body).await?.ok()?;
        assert_ne!(mine["id"], theirs["id"]);
        Ok(())
    })
}

#[test]
fn a_key_whose_creation_failed_works_again() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        let refusals = [
            (Answer::api_error(403, 200, "No permission."), (502, "zoom_rejected")),
            (
                Answer::api_error(400, 300, "Validation Failed."),
                (502, "zoom_rejected"),
            ),
            (Answer::api_error(429, 429, "Too many."), (503, "zoom_rate_limited")),
        ];
        for (number, (refusal, code)) in refusals.into_iter().enumerate() {
            let key = format!("failed-{number}");
            scene
                .zoom()
                .order(Fault::at(Endpoint::CreateMeeting).answering(refusal))?;
            let body = new_session(json!({"title": "Refused"}));
            assert_eq!(create_with_key(&host, Some(&key), &body).await?.code(), code);
            // Also with other values: nothing came of the first ones.
            let changed = new_session(json!({"title": "Taken"}));
            let session = create_with_key(&host, Some(&key), &changed).await?.ok()?;
            assert_eq!(session["title"], "Taken");
        }
        let both = &assert_in_step(scene, std::slice::from_ref(&host)).await?[0];
        assert_eq!((both.live_sessions, both.live_meetings), (3, 3));
        Ok(())
    })
}

/// The answer was lost, before Zoom acted or after. With the key, the caller learns what became of it.
#[test]
fn a_key_tells_what_became_of_a_lost_creation() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        let fault = || Fault::at(Endpoint::CreateMeeting).dropping();
        for (key, fault, comes_to_be) in [("made", fault().after_acting(), true), ("not-made", fault(), false)] {
            scene.zoom().clear_calls();
            scene.zoom().order(fault)?;
            let body = new_session(json!({"title": key}));
            let lost = create_with_key(&host, Some(key), &body).await?;
            assert_eq!(lost.code(), (503, "zoom_outcome_unknown"), "{}", lost.text);
            assert_eq!(lost.header("retry-after"), "60");
            assert_eq!(
                create_with_key(&host, Some(key), &body).await?.code(),
                (409, "creation_running")
            );
            settle(scene).await?;
            let session = create_with_key(&host, Some(key), &body).await?.ok()?;
            assert_eq!(session["title"], key);
            // One that came to be is not asked for again.
            assert_eq!(asked_for(scene), if comes_to_be { 1 } else { 2 }, "{key}");
        }
        let both = &assert_in_step(scene, std::slice::from_ref(&host)).await?[0];
        assert_eq!((both.live_sessions, both.live_meetings), (2, 2));
        Ok(())
    })
}

/// A session that was to begin now, an answer that was lost, and a phone that asks again some minutes later.
#[test]
fn a_key_tells_of_a_session_whose_start_is_past_by_now() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        // A start may lie five minutes back. This one does so for some seconds to come.
        let tolerance = TimeDelta::minutes(5);
        let start = Utc::now().trunc_subsecs(0) - tolerance + TimeDelta::seconds(15);
        let own_link =
            json!({"provider": "external", "join_url": "https://meet.example/room", "scheduled_start": start});
        let bodies = [
            ("zoom", new_session(json!({"scheduled_start": start}))),
            ("link", new_session(own_link)),
        ];
        let mut sessions = Vec::new();
        for (key, body) in &bodies {
            sessions.push(create_with_key(&host, Some(key), body).await?);
        }
        let deleted = create_with_key(&host, Some("deleted"), &bodies[0].1).await?.ok()?;
        delete(&host, &deleted).await?;
        scene
            .zoom()
            .order(Fault::at(Endpoint::CreateMeeting).dropping().after_acting())?;
        let lost = create_with_key(&host, Some("lost"), &bodies[0].1).await?;
        assert_eq!(lost.code(), (503, "zoom_outcome_unknown"), "{}", lost.text);
        scene
            .zoom()
            .order(Fault::at(Endpoint::CreateMeeting).answering(Answer::api_error(403, 200, "No permission.")))?;
        let failed = create_with_key(&host, Some("failed"), &bodies[0].1).await?;
        assert_eq!(failed.code(), (502, "zoom_rejected"), "{}", failed.text);

        until("the start is too long ago", async || Ok(Utc::now() - start > tolerance)).await?;
        for ((key, body), session) in bodies.iter().zip(&sessions) {
            let again = create_with_key(&host, Some(key), body).await?;
            assert_eq!((again.status, &again.text), (200, &session.text), "{key}");
            let mut other = body.clone();
            other["title"] = json!("Other");
            let refused = create_with_key(&host, Some(key), &other).await?;
            assert_eq!(refused.code(), (422, "idempotency_key_reused"), "{}", refused.text);
            // A session that is yet to be made is refused as ever, and in the same words.
            for new in [None, Some("new"), Some("failed")] {
                let refused = create_with_key(&host, new, body).await?;
                assert_eq!(refused.code(), (400, "invalid_request"), "{new:?}: {}", refused.text);
                let fields = json!({"scheduled_start": "must not be in the past"});
                assert_eq!(refused.json["fields"], fields, "{key} {new:?}");
            }
        }
        for (key, code) in [("deleted", (410, "session_gone")), ("lost", (409, "creation_running"))] {
            let again = create_with_key(&host, Some(key), &bodies[0].1).await?;
            assert_eq!(again.code(), code, "{}", again.text);
        }
        settle(scene).await?;
        let found = create_with_key(&host, Some("lost"), &bodies[0].1).await?.ok()?;
        assert_eq!(found["title"], bodies[0].1["title"]);
        let both = &assert_in_step(scene, std::slice::from_ref(&host)).await?[0];
        assert_eq!((both.live_sessions, both.live_meetings), (2, 2));
        Ok(())
    })
}

#[test]
fn a_key_whose_session_was_deleted_makes_no_other() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        let body = new_session(json!({}));
        let session = create_with_key(&host, Some("once"), &body).await?.ok()?;
        delete(&host, &session).await?;
        let gone = create_with_key(&host, Some("once"), &body).await?;
        assert_eq!(gone.code(), (410, "session_gone"), "{}", gone.text);
        // A cancelled one is still there to be shown.
        let session = create_with_key(&host, Some("twice"), &body).await?.ok()?;
        edit(&host, &session, json!({"status": "cancelled"})).await?;
        let cancelled = create_with_key(&host, Some("twice"), &body).await?.ok()?;
        assert_eq!(
            (&cancelled["id"], &cancelled["status"]),
            (&session["id"], &json!("cancelled"))
        );
        settle(scene).await?;
        let both = &assert_in_step(scene, std::slice::from_ref(&host)).await?[0];
        assert_eq!((both.live_sessions, both.live_meetings), (0, 0));
        Ok(())
    })
}

/// An external session is created in one step: if nobody knows whether that was done, nobody says that it was not.
#[test]
fn a_lost_answer_about_an_external_session_is_no_refusal() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        let body = new_session(json!({"provider": "external", "join_url": "https://meet.example/room"}));
        for fault in [
            GatewayFault::at_step("edge_session_begin").after_acting().dropping(),
            GatewayFault::at_step("edge_session_begin").truncating(),
        ] {
            scene.gateway().order(fault);
            let lost = create_with_key(&host, None, &body).await?;
            assert_eq!(lost.code(), (503, "zoom_outcome_unknown"), "{}", lost.text);
        }
        scene
            .gateway()
            .order(GatewayFault::at_step("edge_session_begin").after_acting().dropping());
        assert_eq!(
            create_with_key(&host, Some("external"), &body).await?.code(),
            (503, "zoom_outcome_unknown")
        );
        let session = create_with_key(&host, Some("external"), &body).await?.ok()?;
        let sessions = host.user.select("video_sessions?select=id").await?.ok()?;
        let ids: Vec<_> = sessions
            .as_array()
            .into_iter()
            .flatten()
            .map(|row| &row["id"])
            .collect();
        assert_eq!(ids.len(), 3, "two without a key, and one with");
        assert!(ids.contains(&&session["id"]));
        Ok(())
    })
}
