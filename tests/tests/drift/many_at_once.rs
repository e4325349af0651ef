//! Two thousand edits while three runs of `zoom-sync` and the hosts' own work at the same time, and Zoom answers every
//! third change with 429.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::drift::{
    assert_in_step, connected_hosts, create, edit, for_all, meeting_of, open, settle, show, sync, Scene,
};
use anyhow::{ensure, Result};
use local_stack::zoom::{Answer, Endpoint, Fault, RecordedCall};
use local_stack::{Jwks, StackOptions};
use serde_json::json;

const HOSTS: usize = 40;
const SESSIONS_A_HOST: usize = 10;
/// Of each session; all of them are 2,000, and no host passes Zoom's hundred changes a day.
const EDITS: usize = 5;
const CLOCKS: usize = 3;
const MOST_IN_FLIGHT: usize = 2;

/// The most of these calls that were in flight at the same time.
fn most_at_once<'c>(calls: impl Iterator<Item = &'c RecordedCall>) -> usize {
    let mut moments = BTreeMap::new();
    for call in calls {
        moments.insert(call.number, true);
        moments.extend(call.ended.map(|ended| (ended, false)));
    }
    let (mut now, mut most) = (0_usize, 0);
    for begins in moments.into_values() {
        now = if begins { now + 1 } else { now - 1 };
        most = most.max(now);
    }
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_sent_once_or_harmlessly_again() -> Result<()> {
    let scene = &Scene::start(StackOptions {
        worker_processes: 2,
        jwks: Jwks::Inline,
        ..StackOptions::default()
    })
    .await?;
    let hosts = connected_hosts(scene, HOSTS).await?;
    let wanted = (0..HOSTS * SESSIONS_A_HOST).map(|n| &hosts[n % HOSTS]);
    let sessions = for_all(wanted, 8, async |host| {
        anyhow::Ok((host.clone(), create(host, json!({})).await?))
    })
    .await?;
    scene.zoom().clear_calls();
    let busy = Answer::api_error(
        429,
        429,
        "You have reached the maximum per-second rate limit for this API.",
    );
    scene
        .zoom()
        .order(Fault::at(Endpoint::UpdateMeeting).answering(busy).every(3).lasting())?;

    let edited = &AtomicBool::new(false);
    let edits = async {
        let all = (0..EDITS).flat_map(|round| sessions.iter().map(move |session| (round, session)));
        let done = for_all(all.enumerate(), 8, async |(n, (round, (host, session)))| {
            edit(host, session, json!({"title": format!("Edit {round}")})).await?;
            if n % 20 == 0 {
                let own = host.user.call("zoom-sync", &json!({})).await?;
                ensure!(own.status == 200, "{}", own.text);
            }
            Ok(())
        })
        .await;
        edited.store(true, Ordering::Relaxed);
        done
    };
    let clock = async || {
        while !edited.load(Ordering::Relaxed) {
            let ran = sync(scene).await?;
            ensure!(ran.status == 200, "{}", ran.text);
        }
        anyhow::Ok(())
    };
    let clocks = futures_util::future::try_join_all((0..CLOCKS).map(|_| clock()));
    tokio::try_join!(edits, clocks)?;
    // Zoom goes on refusing every third; who was refused has its turn again.
    let runs = settle(scene).await?;
    ensure!(open(scene).await?.is_empty(), "{:?}", open(scene).await?);

    let mut calls = scene.zoom().calls();
    calls.retain(|call| call.endpoint == Endpoint::UpdateMeeting);
    let refused = calls.iter().filter(|call| call.status == Some(429)).count();
    let taken = calls.iter().filter(|call| call.acted).count();
    assert!(
        3 * refused >= calls.len() - 3,
        "{refused} of {} were refused",
        calls.len()
    );
    for host in &hosts {
        let of_host = calls
            .iter()
            .filter(|call| call.user.as_deref() == Some(&host.zoom_email));
        let most = most_at_once(of_host);
        assert!(most <= MOST_IN_FLIGHT, "{most} of {} at once", host.zoom_email);
    }
    for (_, session) in &sessions {
        let path = format!("/v2/meetings/{}", meeting_of(session));
        let of_it = || calls.iter().filter(|call| call.path == path);
        assert!(most_at_once(of_it()) <= 1, "{path}: two changes of one meeting at once");
        let times = of_it().filter(|call| call.acted).count();
        assert!((1..=EDITS).contains(&times), "{path} was changed {times} times");
        let topic = scene.zoom().meeting(&meeting_of(session))?.topic;
        assert_eq!(topic, format!("Edit {}", EDITS - 1));
    }
    assert_in_step(scene, &hosts).await?;
    show(&format!(
        "{} edits of {} sessions: {taken} changes taken, {refused} answered 429; all told after {runs} more runs",
        sessions.len() * EDITS,
        sessions.len(),
    ));
    scene.check()
}
