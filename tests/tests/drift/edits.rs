//! What the app changes in sessions, told to Zoom: all of it, once, within Zoom's limits, whatever goes wrong on the
//! way.

use std::collections::BTreeMap;

use crate::support::connection::{until, Host};
use crate::support::drift::{
    assert_in_step, connected_host, connected_hosts, create, delete, edit, for_all, meeting_of, on_shared_scene, open,
    read, settle, show, sync, text, Scene, MOST_RUNS,
};
use crate::support::in_hours;
use anyhow::{ensure, Context, Result};
use chrono::{NaiveDate, TimeDelta, Utc};
use local_stack::zoom::{Answer, DeliveryPlan, Endpoint, Fault, RecordedCall, Rules};
use local_stack::{Jwks, StackOptions};
use serde_json::{json, Value};

fn options() -> StackOptions {
    StackOptions {
        worker_processes: 2,
        jwks: Jwks::Inline,
        ..StackOptions::default()
    }
}

/// Takes the calls to Zoom since the last look.
fn take_calls(scene: &Scene) -> Vec<RecordedCall> {
    let calls = scene.zoom().calls();
    scene.zoom().clear_calls();
    calls
}

/// Takes the calls since the last look that were to change something at Zoom: the watch reads whenever it likes.
fn take_changes(scene: &Scene) -> Vec<RecordedCall> {
    let mut calls = take_calls(scene);
    calls.retain(|call| {
        use Endpoint::{Authorize, GetMeeting, ListMeetings, Token, UsersMe};
        !matches!(call.endpoint, Token | Authorize | UsersMe | ListMeetings | GetMeeting)
    });
    calls
}

/// Disconnects a host, and gives what the answer says of what Zoom does not know.
async fn disconnect(host: &Host) -> Result<Value> {
    let mut answer = host.user.call("zoom-disconnect", &json!({})).await?.ok()?;
    assert_eq!(answer["state"], "not_connected");
    Ok(answer["left_at_zoom"].take())
}

fn left(changes: u64, deletions: u64) -> Value {
    json!({"changes": changes, "deletions": deletions, "creations": 0})
}

fn endpoints(calls: &[RecordedCall]) -> Vec<Endpoint> {
    calls.iter().map(|call| call.endpoint).collect()
}

fn changes_today(scene: &Scene, host: &Host) -> u64 {
    let state = scene.zoom().state();
    let users = state["users"].as_array().into_iter().flatten();
    users
        .filter(|user| user["email"] == host.zoom_email)
        .filter_map(|user| user["changes_today"].as_u64())
        .sum()
}

/// What a host's calls to Zoom were, day by day, while time passed.
#[derive(Default)]
struct Days {
    /// Changes of meetings that Zoom took, by day.
    changes: Vec<usize>,
    refused: usize,
    runs: usize,
}

/// Runs `zoom-sync`, and lets time pass, until nothing is left; on every day no more than Zoom allows, and once Zoom
/// has said that it is enough for the day, no further change, but for the one that was under way beside it.
async fn settle_within_the_limit(scene: &Scene, host: &Host) -> Result<Days> {
    let mut days = Days {
        changes: vec![0],
        ..Days::default()
    };
    let mut enough_since: Option<NaiveDate> = None;
    for _ in 0..MOST_RUNS {
        let mut under_way = usize::from(enough_since.is_none());
        sync(scene).await?;
        days.runs += 1;
        for call in take_changes(scene) {
            if call.endpoint == Endpoint::UpdateMeeting {
                if enough_since == Some(call.at.date_naive()) {
                    // Two are sent at a time.
                    assert!(
                        under_way > 0,
                        "{call:?} after Zoom has said that it is enough for today"
                    );
                    under_way -= 1;
                }
                *days.changes.last_mut().context("a day")? += usize::from(call.acted);
                if call.status == Some(429) && call.fault.is_none() {
                    enough_since = Some(call.at.date_naive());
                }
            }
            days.refused += usize::from(call.status == Some(429));
        }
        assert!(changes_today(scene, host) <= 100);
        let mine = |row: &&String| row.contains(&host.id().to_string());
        if open(scene).await?.iter().filter(mine).count() == 0 {
            return Ok(days);
        }
        let limited = "select daily_limit_until > now() from public.user_integrations_zoom where user_id = $1";
        let limited: Option<bool> = scene.db.query_one(limited, &[&host.id()]).await?.get(0);
        let another_day = limited == Some(true) && waits_for_tomorrow(scene, host).await?;
        if another_day {
            scene.travel(TimeDelta::days(1)).await?;
            enough_since = None;
            days.changes.push(0);
        } else {
            scene.travel(TimeDelta::seconds(30)).await?;
        }
    }
    anyhow::bail!("still open: {:?}", open(scene).await?)
}

/// Whether nothing but the limit of the day holds up what is left.
async fn waits_for_tomorrow(scene: &Scene, host: &Host) -> Result<bool> {
    let query = "select bool_and(kind = 'update' and (last_code = 'daily_limit' or next_attempt_at <= now() + interval '1 minute'))
                 from video_sessions_private.zoom_outbox where user_id = $1";
    Ok(scene
        .db
        .query_one(query, &[&host.id()])
        .await?
        .get::<_, Option<bool>>(0)
        == Some(true))
}

/// Two hundred sessions of one host, renamed, moved, cancelled and deleted, while Zoom answers every third call with
/// 429. It takes days, since Zoom takes a hundred changes of a host a day.
#[test]
fn two_hundred_sessions_converge_while_a_third_of_the_calls_is_refused() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        scene.zoom().change_rules(|rules| rules.events_of_api_changes = false);
        let host = connected_host(scene).await?;
        let mut sessions = Vec::new();
        for _ in 0..2 {
            let title = |n: usize| json!({"title": format!("Session {n}"), "scheduled_start": in_hours(24 * 60)});
            sessions.extend(for_all(0..100, 8, |n| create(&host, title(n))).await?);
            let refused = host
                .user
                .call("create-session", &crate::support::new_session(json!({})))
                .await?;
            assert_eq!(refused.code(), (429, "zoom_daily_limit"), "{}", refused.text);
            scene.travel(TimeDelta::days(1)).await?;
        }
        take_changes(scene);
        for endpoint in [Endpoint::UpdateMeeting, Endpoint::DeleteMeeting] {
            let soon = (Utc::now() + TimeDelta::seconds(3)).format("%FT%TZ").to_string();
            let busy = Answer::api_error(
                429,
                429,
                "You have reached the maximum per-second rate limit for this API.",
            );
            scene.zoom().order(
                Fault::at(endpoint)
                    .answering(busy.with_header("retry-after", soon))
                    .share(1.0 / 3.0, 11)
                    .lasting(),
            )?;
        }
        let numbered = || sessions.iter().enumerate();
        for_all(numbered(), 8, async |(n, session)| {
            edit(&host, session, json!({"title": format!("Renamed {n}")})).await
        })
        .await?;
        for_all(numbered().filter(|(n, _)| n % 2 == 0), 8, async |(n, session)| {
            let moved = in_hours(24 * 50) + TimeDelta::minutes(i64::try_from(n)?);
            edit(
                &host,
                session,
                json!({"scheduled_start": moved, "duration_minutes": 45}),
            )
            .await
        })
        .await?;
        let first = settle_within_the_limit(scene, &host).await?;
        for_all(numbered().filter(|(n, _)| n % 4 == 1), 8, async |(_, session)| {
            edit(&host, session, json!({"status": "cancelled"})).await
        })
        .await?;
        for_all(numbered().filter(|(n, _)| n % 4 == 3), 8, async |(_, session)| {
            delete(&host, session).await
        })
        .await?;
        for_all(numbered().filter(|(n, _)| n % 4 == 2), 8, async |(_, session)| {
            edit(&host, session, json!({"description": "Bring a mat."})).await
        })
        .await?;
        let second = settle_within_the_limit(scene, &host).await?;
        scene.zoom().withdraw_all();

        let both = &assert_in_step(scene, std::slice::from_ref(&host)).await?[0];
        assert_eq!((both.live_sessions, both.live_meetings), (100, 100));
        assert_eq!(dead_letters(scene).await?, json!([]));
        for days in [&first, &second] {
            show(&format!(
                "{} runs of zoom-sync; changes that Zoom took, by day: {:?}; answers of 429: {}",
                days.runs, days.changes, days.refused
            ));
        }
        assert_eq!(
            first.changes.iter().sum::<usize>(),
            200,
            "one change for each session, however often it was edited"
        );
        assert_eq!(second.changes.iter().sum::<usize>(), 50);
        assert!(first.refused + second.refused >= 100, "a third was refused");
        scene.zoom().change_rules(|rules| *rules = Rules::default());
        Ok(())
    })
}

#[test]
fn edits_that_follow_one_another_are_one_change() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        let session = create(&host, json!({})).await?;
        take_changes(scene);
        for n in 0..5 {
            let minutes = if n % 2 == 0 { 45 } else { 60 };
            edit(
                &host,
                &session,
                json!({"title": format!("Title {n}"), "duration_minutes": minutes}),
            )
            .await?;
        }
        edit(&host, &session, json!({"scheduled_start": in_hours(50)})).await?;
        sync(scene).await?.ok()?;
        assert_eq!(endpoints(&take_changes(scene)), [Endpoint::UpdateMeeting]);
        assert_in_step(scene, std::slice::from_ref(&host)).await?;

        // There and back again: nothing to tell.
        let now = read(&host, &session).await?;
        edit(&host, &session, json!({"title": "Another", "timezone": "Asia/Kolkata"})).await?;
        edit(
            &host,
            &session,
            json!({"title": now["title"], "timezone": now["timezone"]}),
        )
        .await?;
        edit(&host, &session, json!({"max_participants": 5})).await?;
        sync(scene).await?.ok()?;
        assert!(take_changes(scene).is_empty());
        // An edit, and then it is cancelled: no use in changing what goes.
        edit(&host, &session, json!({"title": "Another"})).await?;
        edit(&host, &session, json!({"status": "cancelled"})).await?;
        sync(scene).await?.ok()?;
        assert_eq!(endpoints(&take_changes(scene)), [Endpoint::DeleteMeeting]);
        assert_in_step(scene, std::slice::from_ref(&host)).await?;
        Ok(())
    })
}

/// The PATCH was done, or was not, and nobody knows; then the host takes the change back.
#[test]
fn a_change_that_is_taken_back_is_taken_back_in_zoom() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let hosts = connected_hosts(scene, 2).await?;
        let fault = || Fault::at(Endpoint::UpdateMeeting).dropping();
        for (host, fault) in hosts.iter().zip([fault(), fault().after_acting()]) {
            let session = create(host, json!({"title": "Before"})).await?;
            edit(host, &session, json!({"title": "After"})).await?;
            scene.zoom().order(fault)?;
            sync(scene).await?.ok()?;
            edit(host, &session, json!({"title": "Before"})).await?;
        }
        settle(scene).await?;
        assert_in_step(scene, &hosts).await?;
        Ok(())
    })
}

/// The host edits in Zoom what the app edits too. What the app has changed and Zoom was not told yet is the app's; the
/// rest is Zoom's, if its event comes before Zoom is told, and else goes back to what it was. Either way, both sides
/// agree.
#[test]
fn edits_on_both_sides_meet() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        let zooms = |at: i64| json!(in_hours(at).format("%FT%TZ").to_string());
        for events_first in [true, false] {
            let session = create(&host, json!({"title": "Of both"})).await?;
            edit(&host, &session, json!({"title": "Of the app", "duration_minutes": 45})).await?;
            let meeting = meeting_of(&session);
            scene
                .zoom()
                .edit_meeting(&meeting, json!({"topic": "Of Zoom", "start_time": zooms(99)}))?;
            if events_first {
                scene.zoom().deliver(&DeliveryPlan::default()).await?;
            }
            settle(scene).await?;
            scene
                .zoom()
                .deliver(&DeliveryPlan {
                    shuffle: Some(3),
                    ..DeliveryPlan::default()
                })
                .await?;
            settle(scene).await?;
            let seen = read(&host, &session).await?;
            assert_eq!(
                (text(&seen, "title"), &seen["duration_minutes"]),
                ("Of the app", &json!(45)),
                "{events_first}"
            );
            assert_in_step(scene, std::slice::from_ref(&host)).await?;
            if events_first {
                assert_eq!(
                    scene.zoom().meeting(&meeting)?.start_time.timestamp() / 60,
                    in_hours(99).timestamp() / 60
                );
            }
        }
        Ok(())
    })
}

#[test]
fn what_was_deleted_or_moved_in_zoom_is_so_here() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        let deleted = create(&host, json!({})).await?;
        let moved = create(&host, json!({})).await?;
        // Of these two there is no event: it was lost.
        let unheard = create(&host, json!({})).await?;
        scene.zoom().delete_meeting(&meeting_of(&unheard))?;
        scene.zoom().discard_events();
        scene.zoom().delete_meeting(&meeting_of(&deleted))?;
        let start = in_hours(77);
        let changes = json!({"start_time": start.format("%FT%TZ").to_string(), "duration": 90});
        scene.zoom().edit_meeting(&meeting_of(&moved), changes)?;
        scene.zoom().deliver(&DeliveryPlan::default()).await?;
        assert_eq!(read(&host, &deleted).await?["status"], "cancelled");
        let seen = read(&host, &moved).await?;
        assert_eq!(
            (seen["duration_minutes"].as_u64(), text(&seen, "scheduled_start")),
            (Some(90), &*start.format("%FT%T+00:00").to_string())
        );
        let start = host
            .user
            .call("start-session", &json!({"session_id": deleted["id"]}))
            .await?;
        assert_eq!(start.code(), (410, "session_gone"));
        // Zoom says so when it is to change it.
        edit(&host, &unheard, json!({"title": "Renamed"})).await?;
        settle(scene).await?;
        assert_eq!(read(&host, &unheard).await?["status"], "cancelled");
        assert_in_step(scene, std::slice::from_ref(&host)).await?;
        Ok(())
    })
}

fn live_tokens(scene: &Scene, hosts: &[Host]) -> usize {
    hosts.iter().map(|host| host.live_tokens(scene).len()).sum()
}

/// The account of a host is deleted, with sessions to come, one that is over, one whose creation was lost, and a token
/// that has to be refreshed first.
#[test]
fn a_deleted_account_leaves_no_meeting_and_no_token() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let hosts = connected_hosts(scene, 3).await?;
        for host in &hosts {
            let sessions = for_all(0..3, 1, |_| create(host, json!({}))).await?;
            scene.zoom().start_meeting(&meeting_of(&sessions[0]))?;
            scene.zoom().end_meeting(&meeting_of(&sessions[0]))?;
            edit(host, &sessions[1], json!({"title": "Renamed"})).await?;
            scene
                .zoom()
                .order(Fault::at(Endpoint::CreateMeeting).dropping().after_acting())?;
            let lost = host
                .user
                .call("create-session", &crate::support::new_session(json!({})))
                .await?;
            assert_eq!(lost.code(), (503, "zoom_outcome_unknown"));
        }
        scene.zoom().deliver(&DeliveryPlan::default()).await?;
        hosts[1].let_access_token_run_out(scene).await?;
        // Zoom is down for the first minutes.
        for endpoint in [Endpoint::DeleteMeeting, Endpoint::ListMeetings] {
            scene
                .zoom()
                .order(Fault::at(endpoint).answering(Answer::bad_gateway()).times(4))?;
        }
        assert_eq!(live_tokens(scene, &hosts), 5);
        for host in &hosts {
            scene
                .db
                .execute("delete from auth.users where id = $1", &[&host.id()])
                .await?;
        }
        let runs = settle(scene).await?;
        for both in assert_in_step(scene, &hosts).await? {
            assert_eq!((both.live_sessions, both.live_meetings), (0, 0));
        }
        assert_eq!(live_tokens(scene, &hosts), 0);
        let ids: Vec<_> = hosts.iter().map(Host::id).collect();
        let left = "select count(*) from public.user_integrations_zoom where user_id = any ($1)";
        assert_eq!(scene.db.query_one(left, &[&ids]).await?.get::<_, i64>(0), 0);
        show(&format!(
            "three accounts deleted: no meeting, no token after {runs} runs of zoom-sync"
        ));
        Ok(())
    })
}

async fn dead_letters(scene: &Scene) -> Result<Value> {
    as_service(scene, "edge_outbox_dead_letters", &json!({})).await
}

/// What an operator does by hand.
async fn as_service(scene: &Scene, procedure: &str, arguments: &Value) -> Result<Value> {
    let request = reqwest::Client::new()
        .post(format!("{}/rest/v1/rpc/{procedure}", scene.url()))
        .header("apikey", scene.secret_key())
        .json(arguments);
    crate::support::Reply::read(request.send().await?).await?.ok()
}

#[test]
fn what_zoom_never_takes_is_left_to_an_operator() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        // A change of a session that is over by itself goes with it.
        let session = create(&host, json!({"scheduled_start": in_hours(24 * 30)})).await?;
        take_changes(scene);
        edit(&host, &session, json!({"title": "Refused"})).await?;
        scene.zoom().order(
            Fault::at(Endpoint::UpdateMeeting)
                .answering(Answer::api_error(400, 300, "Validation Failed."))
                .lasting(),
        )?;
        let mut waits = Vec::new();
        while dead_letters(scene).await? == json!([]) {
            ensure!(waits.len() < 20, "it is tried for ever");
            sync(scene).await?.ok()?;
            let row = "select ceil(extract(epoch from next_attempt_at - now()))::bigint from video_sessions_private.zoom_outbox where user_id = $1";
            let seconds: i64 = scene.db.query_one(row, &[&host.id()]).await?.get(0);
            waits.push(seconds);
            scene.travel(TimeDelta::seconds(seconds)).await?;
        }
        show(&format!(
            "given up after {} tries, with waits of {waits:?} s between them",
            waits.len()
        ));
        assert_eq!(endpoints(&take_changes(scene)), [Endpoint::UpdateMeeting; 12]);
        assert!(
            waits.iter().take(11).sum::<i64>() > 2 * 3600,
            "an hour without Zoom is not the end"
        );
        let letters = dead_letters(scene).await?;
        assert_eq!(
            (
                &letters[0]["session_id"],
                &letters[0]["last_code"],
                &letters[0]["kind"],
                letters[0]["attempts"].as_u64()
            ),
            (&session["id"], &json!("refused"), &json!("update"), Some(12))
        );
        scene.travel(TimeDelta::days(2)).await?;
        sync(scene).await?.ok()?;
        assert!(take_changes(scene).is_empty(), "it is not tried any more");

        scene.zoom().withdraw_all();
        let retried = as_service(scene, "edge_outbox_retry", &json!({"task_id": letters[0]["task_id"]})).await?;
        assert_eq!(retried, json!({"retried": 1}));
        settle(scene).await?;
        assert_eq!(dead_letters(scene).await?, json!([]));
        assert_in_step(scene, std::slice::from_ref(&host)).await?;
        Ok(())
    })
}

/// Hours without Zoom, or without its token endpoint, give nothing up.
#[test]
fn an_outage_of_zoom_gives_nothing_up() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let hosts = connected_hosts(scene, 2).await?;
        for host in &hosts {
            let session = create(host, json!({})).await?;
            edit(host, &session, json!({"title": "Renamed"})).await?;
        }
        hosts[1].let_access_token_run_out(scene).await?;
        for endpoint in [Endpoint::UpdateMeeting, Endpoint::Token] {
            scene
                .zoom()
                .order(Fault::at(endpoint).answering(Answer::bad_gateway()).lasting())?;
        }
        take_changes(scene);
        // A run each minute for an hour and a half.
        for _ in 0..90 {
            sync(scene).await?.ok()?;
            scene.travel(TimeDelta::seconds(60)).await?;
        }
        let asked = take_changes(scene).len();
        assert!(asked <= 12, "one change, and Zoom was asked {asked} times");
        assert_eq!(dead_letters(scene).await?, json!([]));
        scene.zoom().withdraw_all();
        settle(scene).await?;
        assert_in_step(scene, &hosts).await?;
        Ok(())
    })
}

#[test]
fn zoom_is_not_asked_before_the_time_that_it_names() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        let session = create(&host, json!({})).await?;
        take_changes(scene);
        edit(&host, &session, json!({"title": "Renamed"})).await?;
        let until = (Utc::now() + TimeDelta::seconds(90)).format("%FT%TZ").to_string();
        let busy = Answer::api_error(429, 429, "Too many.").with_header("retry-after", until);
        scene.zoom().order(Fault::at(Endpoint::UpdateMeeting).answering(busy))?;
        let (mut asked, mut read) = (BTreeMap::new(), 0);
        for second in [0_i64, 30, 60, 80, 96] {
            let passed = asked.keys().next_back().copied().unwrap_or_default();
            scene.travel(TimeDelta::seconds(second - passed)).await?;
            // Another edit does not make it any sooner.
            edit(&host, &session, json!({"title": format!("Renamed at {second}")})).await?;
            sync(scene).await?.ok()?;
            let calls = take_calls(scene);
            asked.insert(
                second,
                calls
                    .iter()
                    .filter(|call| call.endpoint == Endpoint::UpdateMeeting)
                    .count(),
            );
            // The watch waits as well.
            let hosts = |call: &&RecordedCall| call.user.as_deref() == Some(&*host.zoom_email);
            if (1..90).contains(&second) {
                read += calls.iter().filter(hosts).count();
            }
        }
        assert_eq!(read, 0);
        assert_eq!(asked, BTreeMap::from([(0, 1), (30, 0), (60, 0), (80, 0), (96, 1)]));
        assert_in_step(scene, std::slice::from_ref(&host)).await?;
        Ok(())
    })
}

/// Also what had failed a moment ago, and would be tried again later.
#[test]
fn a_disconnect_tells_zoom_first() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        let sessions = for_all(0..4, 1, |_| create(&host, json!({}))).await?;
        edit(&host, &sessions[0], json!({"status": "cancelled"})).await?;
        scene
            .zoom()
            .order(Fault::at(Endpoint::DeleteMeeting).answering(Answer::bad_gateway()))?;
        sync(scene).await?.ok()?;
        edit(&host, &sessions[1], json!({"title": "Renamed"})).await?;
        delete(&host, &sessions[2]).await?;
        take_changes(scene);
        assert_eq!(disconnect(&host).await?, left(0, 0));
        let calls = endpoints(&take_changes(scene));
        let (revoke, drained) = calls.split_last().context("calls")?;
        assert_eq!(*revoke, Endpoint::Revoke);
        let count = |endpoint: Endpoint| drained.iter().filter(|found| **found == endpoint).count();
        assert_eq!(
            (
                drained.len(),
                count(Endpoint::DeleteMeeting),
                count(Endpoint::UpdateMeeting)
            ),
            (3, 2, 1),
            "{calls:?}"
        );
        let both = &assert_in_step(scene, std::slice::from_ref(&host)).await?[0];
        assert_eq!((both.live_sessions, both.live_meetings), (2, 2));
        assert_eq!(live_tokens(scene, std::slice::from_ref(&host)), 0);
        Ok(())
    })
}

/// What somebody else is telling Zoom just then, is told before the tokens go.
#[test]
fn a_disconnect_waits_for_changes_that_are_being_sent() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        let (renamed, cancelled) = (create(&host, json!({})).await?, create(&host, json!({})).await?);
        edit(&host, &renamed, json!({"title": "Renamed"})).await?;
        edit(&host, &cancelled, json!({"status": "cancelled"})).await?;
        // zoom-sync has claimed both, and hangs at one of them.
        let update = Fault::at(Endpoint::UpdateMeeting).of(&host.zoom_email).hanging();
        let fault = scene.zoom().order(update)?;
        take_calls(scene);
        // How often the disconnect has looked, whatever zoom-sync claims beside it.
        let looks = |since: usize| {
            let requests = scene.gateway().requests();
            let of = |name: &'static str| {
                let requests = requests.iter().skip(since);
                requests.filter(move |request| request.path.ends_with(name))
            };
            let disconnects: Vec<_> = of("edge_disconnect_begin").map(|begun| &begun.x_request_id).collect();
            of("edge_outbox_claim")
                .filter(|claim| disconnects.contains(&&claim.x_request_id))
                .count()
        };
        let disconnects = async {
            until("zoom-sync hangs", async || Ok(scene.zoom().happened(fault) == Some(1))).await?;
            let before = scene.gateway().requests().len();
            let looks_again = async {
                until("the disconnect looks again", async || Ok(looks(before) >= 2)).await?;
                scene.zoom().release(fault)
            };
            tokio::try_join!(disconnect(&host), looks_again)
        };
        let (ran, (left_at_zoom, ())) = tokio::try_join!(sync(scene), disconnects)?;
        assert_eq!(ran.code(), (200, "ok"));
        assert_eq!(left_at_zoom, left(0, 0));
        let mut told = endpoints(&take_changes(scene));
        assert_eq!(told.pop(), Some(Endpoint::Revoke));
        assert!(told.contains(&Endpoint::UpdateMeeting) && told.contains(&Endpoint::DeleteMeeting));
        assert_eq!(told.len(), 2, "each is told once: {told:?}");
        assert_eq!(host.state().await?.0, "not_connected");
        let live = scene.zoom().live_meetings();
        let live: Vec<_> = live.iter().filter(|meeting| meeting.host == host.zoom_email).collect();
        assert_eq!((live.len(), live[0].topic.as_str()), (1, "Renamed"));
        assert_eq!(open(scene).await?, Vec::<String>::new());
        Ok(())
    })
}

/// With a Zoom that refuses, the disconnect does not wait; what it could not tell Zoom waits for the host to come back.
#[test]
fn what_a_disconnect_could_not_tell_waits_for_the_host() -> Result<()> {
    on_shared_scene(options(), async |scene| {
        let host = connected_host(scene).await?;
        let session = create(&host, json!({})).await?;
        edit(&host, &session, json!({"status": "cancelled"})).await?;
        scene.zoom().order(
            Fault::at(Endpoint::DeleteMeeting)
                .answering(Answer::bad_gateway())
                .lasting(),
        )?;
        assert_eq!(disconnect(&host).await?, left(0, 1));
        assert_eq!(live_tokens(scene, std::slice::from_ref(&host)), 0);
        scene.zoom().withdraw_all();
        sync(scene).await?.ok()?;
        host.connect().await?;
        settle(scene).await?;
        let both = &assert_in_step(scene, std::slice::from_ref(&host)).await?[0];
        assert_eq!((both.live_sessions, both.live_meetings), (0, 0));
        Ok(())
    })
}
