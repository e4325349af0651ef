//! The token loop by itself: what is asked of the database and of Zoom, whatever they answer.

use fakes::{claim, Answer, Fakes, Reply, USER};
use serde_json::Value;
use shared::zoom::connection::{access_token_context, refresh_token_context};
use uuid::Uuid;

use super::*;

const ASKED: &str = "edge_token_claim";

async fn refresh_own(fakes: &Fakes) -> Reply {
    fakes.call(&ENDPOINT, handle, fakes.as_user(&json!({}))).await
}

async fn refresh_all(fakes: &Fakes) -> Reply {
    fakes.call(&ENDPOINT, handle, fakes.as_service(&json!({}))).await
}

/// Claims that the database gives one after the other, and what the host is shown last.
fn claims(fakes: &Fakes, claims: &[Value]) {
    for given in claims {
        fakes.on(ASKED, claim::connection(given));
    }
}

fn saved() -> Value {
    json!({"outcome": "saved", "token_version": 8})
}

#[tokio::test]
async fn a_fresh_token_is_left_as_it_is() {
    let fakes = Fakes::start().await;
    let fresh = claim::fresh(USER, "at", 7);
    claims(&fakes, &[fresh.clone(), fresh]);
    let reply = refresh_own(&fakes).await;
    let expected =
        json!({"state": "connected", "zoom_account_email": "host@zoom.test", "expires_at": "2027-01-01T00:00:00Z"});
    assert_eq!((reply.status, &reply.body), (200, &expected));
    let asked = fakes.sent_to(ASKED);
    assert_eq!(asked[0].body["min_seconds"], 600, "good for ten minutes");
    assert_eq!(fakes.calls(), [ASKED, ASKED]);
}

#[tokio::test]
async fn whoever_holds_the_lease_refreshes_and_saves() {
    let fakes = Fakes::start().await;
    claims(
        &fakes,
        &[
            claim::refresh(USER, "old refresh", 7),
            claim::fresh(USER, "new access", 8),
        ],
    );
    fakes
        .on("token", Answer::tokens("new access", "new refresh"))
        .on("edge_refresh_commit", saved());
    assert_eq!(refresh_own(&fakes).await.body["state"], "connected");
    assert_eq!(fakes.calls(), [ASKED, "token", "edge_refresh_commit", ASKED]);
    let spent = fakes.told("token");
    assert_eq!(
        (&spent["grant_type"], &spent["refresh_token"]),
        (&json!("refresh_token"), &json!("old refresh"))
    );
    let told = fakes.told("edge_refresh_commit");
    assert_eq!((&told["user_id"], &told["token_version"]), (&json!(USER), &json!(7)));
    assert_eq!(claim::opened_access_token(USER, &told["access_token"]), "new access");
    assert_eq!(claim::opened_refresh_token(USER, &told["refresh_token"]), "new refresh");
}

#[tokio::test]
async fn everybody_else_waits_for_whoever_refreshes() {
    let fakes = Fakes::start().await;
    let fresh = claim::fresh(USER, "at", 8);
    claims(&fakes, &[claim::busy(200), claim::busy(200), fresh.clone(), fresh]);
    assert_eq!(refresh_own(&fakes).await.body["state"], "connected");
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let fakes = Fakes::start().await;
    fakes.always(ASKED, |_| claim::connection(&claim::busy(2_000)).into());
    let reply = refresh_own(&fakes).await;
    assert_eq!(reply.code(), (503, "zoom_unavailable"));
    assert_eq!(reply.header("retry-after"), "5");
}

#[tokio::test]
async fn a_claim_without_a_token_is_told_as_what_it_is() {
    for (given, state) in [
        (claim::expired("revoked"), "expired"),
        (claim::expired("missing_scope"), "expired"),
        (claim::not_connected(), "not_connected"),
    ] {
        let fakes = Fakes::start().await;
        claims(&fakes, &[given.clone(), given]);
        assert_eq!(refresh_own(&fakes).await.body["state"], state);
    }
    let fakes = Fakes::start().await;
    claims(&fakes, &[claim::cooling_down(17)]);
    let reply = refresh_own(&fakes).await;
    assert_eq!(reply.code(), (503, "zoom_unavailable"));
    assert_eq!(reply.header("retry-after"), "17");
}

#[tokio::test]
async fn a_refusal_is_a_verdict_and_a_failure_is_none() {
    for (answer, reason, code) in [
        (
            Answer::oauth_error("invalid_grant", "Invalid Token!"),
            json!("revoked"),
            (200, "ok"),
        ),
        (Answer::none(), Value::Null, (503, "zoom_unavailable")),
        (Answer::text(502, "<html>"), Value::Null, (503, "zoom_unavailable")),
        (
            Answer::oauth_error("invalid_client", "Invalid client_id or client_secret"),
            Value::Null,
            (500, "misconfigured"),
        ),
    ] {
        let fakes = Fakes::start().await;
        claims(&fakes, &[claim::refresh(USER, "rt", 7)]);
        if code.0 == 200 {
            claims(&fakes, &[claim::expired("revoked")]);
        }
        fakes
            .on("token", answer)
            .on("edge_refresh_fail", json!({"outcome": "recorded"}));
        assert_eq!(refresh_own(&fakes).await.code(), code);
        let told = fakes.told("edge_refresh_fail");
        assert_eq!((&told["expired_reason"], &told["token_version"]), (&reason, &json!(7)));
        assert_eq!(fakes.sent_to("token").len(), 1, "a refresh token is spent once");
    }
}

#[tokio::test]
async fn new_tokens_are_offered_until_the_database_takes_them() {
    let fakes = Fakes::start().await;
    claims(&fakes, &[claim::refresh(USER, "rt", 7), claim::fresh(USER, "new", 8)]);
    fakes
        .on("token", Answer::tokens("new", "newer"))
        .on("edge_refresh_commit", Answer::none())
        .on("edge_refresh_commit", Answer::database_error(503, "PGRST001"))
        .on("edge_refresh_commit", Answer::text(200, "<html>"))
        .on("edge_refresh_commit", saved());
    assert_eq!(refresh_own(&fakes).await.body["state"], "connected");
    assert_eq!(fakes.sent_to("token").len(), 1);
}

#[tokio::test]
async fn tokens_that_nobody_wants_are_revoked() {
    let fakes = Fakes::start().await;
    claims(
        &fakes,
        &[
            claim::refresh(USER, "rt", 7),
            claim::not_connected(),
            claim::not_connected(),
        ],
    );
    fakes
        .on("token", Answer::tokens("new", "newer"))
        .on("edge_refresh_commit", json!({"outcome": "refused"}))
        .on("revoke", json!({"status": "success"}));
    assert_eq!(refresh_own(&fakes).await.body["state"], "not_connected");
    assert_eq!(fakes.told("revoke")["token"], "new");
}

#[tokio::test]
async fn newer_tokens_are_used_in_place_of_those_that_came_late() {
    let fakes = Fakes::start().await;
    let newer = claim::fresh(USER, "newer", 9);
    claims(&fakes, &[claim::refresh(USER, "rt", 7), newer.clone(), newer]);
    fakes
        .on("token", Answer::tokens("new", "new"))
        .on("edge_refresh_commit", json!({"outcome": "superseded"}));
    assert_eq!(refresh_own(&fakes).await.body["state"], "connected");
}

#[tokio::test]
async fn a_run_refreshes_what_is_due_and_seals_anew_what_an_older_key_sealed() {
    let (good, ended, down) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
    let fakes = Fakes::start().await;
    let old_access = claim::seal_with_the_older_key(access_token_context(good), "at");
    let old_refresh = claim::seal_with_the_older_key(refresh_token_context(good), "rt");
    let stale = json!({
        "user_id": good, "token_version": 7, "access_token": old_access, "refresh_token": old_refresh,
    });
    let unreadable = json!({
        "user_id": ended, "token_version": 1, "access_token": "v1.gone.x", "refresh_token": "v1.gone.x",
    });
    fakes
        .on(
            "edge_reseal_claim",
            json!({"connections": [stale, unreadable], "total": 3}),
        )
        .on("edge_reseal", json!({"outcome": "resealed"}))
        .on(
            "edge_refresh_due",
            json!({"user_ids": [good, ended, down], "remaining": 4}),
        )
        .always(ASKED, move |call| {
            let given = match &call.body["user_id"] {
                user if *user == json!(good) => claim::fresh(good, "at", 7),
                user if *user == json!(ended) => claim::expired("revoked"),
                _ => claim::cooling_down(9),
            };
            claim::connection(&given).into()
        });
    let reply = refresh_all(&fakes).await;
    assert_eq!(
        reply.body,
        json!({"refreshed": 1, "expired": 1, "failed": 1, "remaining": 4, "resealed": 1, "on_older_keys": 2})
    );
    let told = fakes.told("edge_reseal");
    assert_eq!(told["old_refresh_token"], json!(old_refresh));
    assert_eq!(claim::opened_access_token(good, &told["access_token"]), "at");
    assert_eq!(claim::opened_refresh_token(good, &told["refresh_token"]), "rt");
}
