//! `zoom-sync`: brings sessions and meetings together again. Runs by the clock, or by `POST`: with a secret key for
//! all, with a user's token for the user's own changes.
//!
//! One step says what there is to do; an idle run asks nothing else. What the app changed is told to Zoom; creations
//! whose outcome is unknown are settled; connections that were left are revoked; connections that are due are
//! refreshed; sessions that are over are closed; what has run out is removed; Zoom is asked what no event has said. The
//! parts run beside each other within the bounds of the run. Every part is repeatable. If one fails, the others run all
//! the same.
//!
//! A further part: a flag in `edge_sync_due`, a field in `Due`, a line in `run`.

mod revocations;
mod watch;

use std::future::Future;

use chrono::TimeDelta;
use futures_util::{future::LocalBoxFuture, join};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{json, Map, Value};
use shared::{
    auth::User,
    call::{json_answer, Answer, Endpoint, RequestContext},
    config::Need,
    db::Database,
    error::Error,
    log,
    run::Bounds,
    zoom::{
        creations,
        keep_alive::refresh_due,
        outbox::{drain, Whose},
    },
};

/// This function.
pub static ENDPOINT: Endpoint = Endpoint {
    name: "zoom-sync",
    method: Method::POST,
    needs: &[Need::Zoom],
};

/// A run begins nothing more after this time.
const LONGEST_RUN: TimeDelta = TimeDelta::seconds(45);
/// A run begins nothing more after this many calls.
const MAX_CALLS: u32 = 1_800;
/// A user's own run begins nothing more after this time.
const LONGEST_OWN_RUN: TimeDelta = TimeDelta::seconds(10);
/// A user's own run begins nothing more after this many calls.
const MAX_OWN_CALLS: u32 = 500;

/// Runs for a service or the clock, or sends the caller's own changes.
///
/// # Errors
/// Those of every function; of a run, the first failure of a part, after all have run.
pub async fn handle(call: &RequestContext<'_>) -> Result<Answer, Error> {
    match call.service() {
        Ok(_) => run(call).await,
        Err(_) => send_own(call, call.user().await?).await,
    }
}

/// Tells Zoom what the user has just changed.
async fn send_own(call: &RequestContext<'_>, user: User) -> Result<Answer, Error> {
    let zoom = call.zoom()?;
    let bounds = zoom.bounds(LONGEST_OWN_RUN, MAX_OWN_CALLS);
    let drained = drain(&zoom, Whose::Ones(user.id), &bounds).await?;
    json_answer(&json!({"sent": drained.sent, "waiting": drained.waiting}))
}

/// The parts that have something to do.
#[derive(Deserialize)]
struct Due {
    outbox: bool,
    creations: bool,
    revocations: bool,
    connections: bool,
    purge: bool,
    watch: bool,
}

async fn run(call: &RequestContext<'_>) -> Result<Answer, Error> {
    let zoom = call.zoom()?;
    let bounds = zoom.bounds(LONGEST_RUN, MAX_CALLS);
    let due: Due = call.db.rpc("edge_sync_due", &json!({})).await?;
    let (outbox, creations, revocations, connections, purged, watch) = join!(
        part(due.outbox, drain(&zoom, Whose::Everybodys, &bounds)),
        part(due.creations, creations::settle(&zoom, None, &bounds)),
        part(due.revocations, revocations::finish(call, &zoom, &bounds)),
        part(due.connections, refresh_due(&zoom, &bounds)),
        part(due.purge, purge(&call.db, &bounds)),
        part(due.watch, watch::watch(call, &zoom, &bounds)),
    );
    report([
        ("outbox", outbox),
        ("creations", creations),
        ("revocations", revocations),
        ("connections", connections),
        ("purged", purged),
        ("watch", watch),
    ])
}

/// Runs a part that has something to do: its counts, or those of one that did nothing. Boxed, so that the parts are of
/// one type and the wasm waits for them in one way.
fn part<'a, T: Default + Serialize>(
    is_due: bool,
    part: impl Future<Output = Result<T, Error>> + 'a,
) -> LocalBoxFuture<'a, Result<Value, Error>> {
    Box::pin(async move {
        let counts = if is_due { part.await? } else { T::default() };
        Ok(json!(counts))
    })
}

/// What parts did, and the first failure among them.
fn report<const PARTS: usize>(parts: [(&str, Result<Value, Error>); PARTS]) -> Result<Answer, Error> {
    let mut counts = Map::new();
    let mut failure = None;
    for (name, part) in parts {
        match part {
            Ok(part) => {
                counts.insert(name.to_owned(), part);
            }
            Err(error) => {
                failure.get_or_insert(error);
            }
        }
    }
    log::write(&json!({"event": "synchronized", "counts": counts}));
    failure.map_or_else(|| json_answer(&counts), Err)
}

/// What has run out and was removed, and sessions that time has changed, by count.
#[derive(Debug, Default, Serialize)]
struct Purged {
    start_urls: u64,
    sessions: u64,
}

#[derive(Deserialize)]
struct PurgedPiece {
    start_urls: u64,
    sessions: u64,
    more: bool,
}

/// Removes what has run out, piece by piece.
async fn purge(db: &Database, bounds: &Bounds) -> Result<Purged, Error> {
    let mut purged = Purged::default();
    while !bounds.reached() {
        let piece: PurgedPiece = db.rpc("edge_purge", &json!({})).await?;
        purged.start_urls = purged.start_urls.saturating_add(piece.start_urls);
        purged.sessions = purged.sessions.saturating_add(piece.sessions);
        if !piece.more {
            break;
        }
    }
    Ok(purged)
}

#[cfg(target_arch = "wasm32")]
mod entry {
    use shared::edge::{serve, HostRequest, HostResponse, NoResponse};

    #[worker::event(fetch)]
    async fn fetch(request: HostRequest, env: worker::Env, _: worker::Context) -> Result<HostResponse, NoResponse> {
        serve(request, env, &super::ENDPOINT, super::handle).await
    }

    #[worker::event(scheduled)]
    async fn scheduled(_: worker::ScheduledEvent, env: worker::Env, _: worker::ScheduleContext) {
        shared::edge::run_scheduled(env, &super::ENDPOINT, super::handle).await;
    }
}

#[cfg(test)]
mod tests;
