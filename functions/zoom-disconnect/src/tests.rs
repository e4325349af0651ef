//! A disconnect: what is told to Zoom first, and that the tokens go whatever Zoom says.

use fakes::{claim, Answer, Fakes, Reply, USER};
use serde_json::Value;
use shared::zoom::connection::{access_token_context, refresh_token_context};

use super::*;

const REVOCATION: Uuid = Uuid::from_u128(9);

async fn disconnect(fakes: &Fakes) -> Reply {
    fakes.call(&ENDPOINT, handle, fakes.as_user(&json!({}))).await
}

fn left(changes: u64) -> Value {
    json!({"changes": changes, "deletions": 0, "creations": 0})
}

fn revoke(fresh: bool) -> Value {
    json!({"outcome": "revoke", "left_at_zoom": left(0), "revocation": {
        "revocation_id": REVOCATION, "user_id": USER, "fresh": fresh,
        "access_token": claim::seal(access_token_context(USER), "at"),
        "refresh_token": claim::seal(refresh_token_context(USER), "rt"),
    }})
}

fn assert_gone(reply: &Reply, changes: u64) {
    let expected = json!({"state": "not_connected", "left_at_zoom": left(changes)});
    assert_eq!((reply.status, &reply.body), (200, &expected));
}

#[tokio::test]
async fn who_is_not_connected_stays_so() {
    let fakes = Fakes::start().await;
    fakes.on(
        "edge_disconnect_begin",
        json!({"outcome": "not_connected", "left_at_zoom": left(2)}),
    );
    assert_gone(&disconnect(&fakes).await, 2);
    assert_eq!(fakes.calls(), ["edge_disconnect_begin"]);
}

#[tokio::test]
async fn a_grant_is_revoked_by_its_access_token_and_forgotten() {
    let fakes = Fakes::start().await;
    fakes
        .on("edge_disconnect_begin", revoke(true))
        .on("revoke", json!({"status": "success"}))
        .on("edge_disconnect_complete", json!({"outcome": "forgotten"}));
    assert_gone(&disconnect(&fakes).await, 0);
    assert_eq!(fakes.told("revoke")["token"], "at");
    assert_eq!(
        fakes.told("edge_disconnect_complete"),
        json!({"revocation_id": REVOCATION})
    );
}

#[tokio::test]
async fn an_access_token_that_is_dead_is_refreshed_for_that() {
    // It has run out, or Zoom does not know it any more.
    for fresh in [false, true] {
        let fakes = Fakes::start().await;
        fakes.on("edge_disconnect_begin", revoke(fresh));
        if fresh {
            fakes.on("revoke", Answer::oauth_error("invalid_grant", "Invalid Token!"));
        }
        fakes
            .on("token", Answer::tokens("new", "newer"))
            .on("revoke", json!({"status": "success"}))
            .on("edge_disconnect_complete", json!({"outcome": "forgotten"}));
        assert_gone(&disconnect(&fakes).await, 0);
        let revoked = fakes.sent_to("revoke");
        assert_eq!(revoked.last().map(|call| &call.body["token"]), Some(&json!("new")));
        assert_eq!(fakes.told("token")["refresh_token"], "rt");
    }
}

#[tokio::test]
async fn tokens_are_forgotten_whatever_zoom_says() {
    for answer in [
        Answer::none(),
        Answer::text(502, "<html>"),
        Answer::zoom_error(429, 429, "slow"),
    ] {
        let fakes = Fakes::start().await;
        fakes
            .on("edge_disconnect_begin", revoke(true))
            .on("revoke", answer)
            .on("edge_disconnect_complete", json!({"outcome": "forgotten"}));
        assert_gone(&disconnect(&fakes).await, 0);
    }
}

#[tokio::test]
async fn what_the_app_changed_is_told_first() {
    let fakes = Fakes::start().await;
    let nothing = json!({"tasks": [], "busy": false, "more": false, "next_due_in_ms": null, "waiting": 0});
    let mut one = nothing.clone();
    one["tasks"] = json!([{
        "task_id": 1, "user_id": USER, "session_id": Uuid::from_u128(4), "meeting_id": "85", "kind": "update",
        "running": false, "may_end": false, "token": claim::fresh(USER, "at", 1), "desired": {"title": "New"},
    }]);
    fakes
        .on("edge_disconnect_begin", json!({"outcome": "pending"}))
        .on("edge_creations_claim", json!({"creations": []}))
        .on("edge_outbox_claim", one)
        .on("PATCH /meetings/85", Answer::empty(204))
        .on("edge_outbox_settle", json!({"outcomes": ["done"]}))
        .always("edge_outbox_claim", move |_| nothing.clone().into());
    fakes
        .on("edge_disconnect_begin", revoke(true))
        .on("revoke", json!({"status": "success"}))
        .on("edge_disconnect_complete", json!({"outcome": "forgotten"}));
    assert_gone(&disconnect(&fakes).await, 0);
    assert_eq!(fakes.told("PATCH /meetings/85")["topic"], "New");
    let modes: Vec<_> = fakes
        .sent_to("edge_disconnect_begin")
        .into_iter()
        .map(|call| call.body["mode"].clone())
        .collect();
    assert_eq!(modes, ["if_drained", "always"]);
    let settled = fakes.told("edge_outbox_settle");
    assert_eq!(settled["results"][0]["result"], "done");
    let calls = fakes.calls();
    let place = |name: &str| calls.iter().position(|call| call == name);
    assert!(place("PATCH /meetings/85") < place("revoke"), "{calls:?}");
}

#[tokio::test]
async fn a_drain_that_fails_keeps_nobody_connected() {
    let fakes = Fakes::start().await;
    fakes
        .on("edge_disconnect_begin", json!({"outcome": "pending"}))
        .on("edge_creations_claim", Answer::database_error(500, "P0001"))
        .on("edge_outbox_claim", Answer::database_error(500, "P0001"))
        .on("edge_disconnect_begin", revoke(true))
        .on("revoke", json!({"status": "success"}))
        .on("edge_disconnect_complete", json!({"outcome": "forgotten"}));
    assert_gone(&disconnect(&fakes).await, 0);
}
