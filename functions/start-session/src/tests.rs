use fakes::{claim, Answer, Fakes, Reply, USER};
use serde_json::Value;

use super::*;

const SESSION: Uuid = Uuid::from_u128(4);
const START_URL: &str = "https://zoom.test/s/85?zak=host";

async fn start(fakes: &Fakes) -> Reply {
    let request = fakes.as_user(&json!({"session_id": SESSION}));
    fakes.call(&ENDPOINT, handle, request).await
}

fn ready() -> Value {
    json!({"outcome": "ready", "host_start_url": START_URL, "expires_at": "2026-03-01T14:00:00Z"})
}

fn fetch() -> Value {
    json!({"outcome": "fetch", "meeting_id": "85", "token": claim::fresh(USER, "at", 1)})
}

fn meeting() -> Value {
    json!({"id": 85, "uuid": "u==", "join_url": "https://zoom.test/j/85", "start_url": START_URL})
}

#[tokio::test]
async fn a_stored_start_url_is_given_without_asking_zoom() {
    let fakes = Fakes::start().await;
    fakes.on("edge_start_begin", ready());
    let reply = start(&fakes).await;
    assert_eq!(
        reply.body,
        json!({"host_start_url": START_URL, "expires_at": "2026-03-01T14:00:00Z"})
    );
    assert_eq!(
        fakes.told("edge_start_begin"),
        json!({"user_id": USER, "holder": reply.header("x-request-id"), "session_id": SESSION})
    );
}

#[tokio::test]
async fn an_external_link_never_expires() {
    let fakes = Fakes::start().await;
    fakes.on(
        "edge_start_begin",
        json!({"outcome": "ready", "host_start_url": "https://meet.example/1", "expires_at": null}),
    );
    let expected = json!({"host_start_url": "https://meet.example/1", "expires_at": null});
    assert_eq!(start(&fakes).await.body, expected);
}

#[tokio::test]
async fn a_fresh_start_url_is_fetched_and_stored() {
    let fakes = Fakes::start().await;
    fakes
        .on("edge_start_begin", fetch())
        .on("GET /meetings/85", meeting())
        .on("edge_start_complete", ready());
    assert_eq!(start(&fakes).await.body["host_start_url"], START_URL);
    assert_eq!(
        fakes.calls(),
        ["edge_start_begin", "GET /meetings/85", "edge_start_complete"]
    );
    let told = fakes.told("edge_start_complete");
    assert_eq!(
        (&told["user_id"], &told["session_id"], &told["meeting_id"]),
        (&json!(USER), &json!(SESSION), &json!("85"))
    );
    assert_eq!(told["meeting"]["start_url"], START_URL);
}

#[tokio::test]
async fn what_the_first_step_says_is_told() {
    for (outcome, status, code) in [
        (json!({"outcome": "not_found"}), 404, "session_not_found"),
        (json!({"outcome": "not_the_host"}), 403, "not_the_host"),
        (json!({"outcome": "not_a_host"}), 403, "not_a_host"),
        (json!({"outcome": "ended"}), 410, "session_ended"),
        (json!({"outcome": "gone"}), 410, "session_gone"),
        (
            json!({"outcome": "zoom_other_account", "zoom_account_email": "a@zoom.test"}),
            403,
            "zoom_other_account",
        ),
    ] {
        let fakes = Fakes::start().await;
        fakes.on("edge_start_begin", outcome.clone());
        let reply = start(&fakes).await;
        assert_eq!(reply.code(), (status, code), "{outcome}");
        if code == "zoom_other_account" {
            assert!(
                reply.body["error"].as_str().unwrap().contains("a@zoom.test"),
                "{}",
                reply.body
            );
        }
    }
}

#[tokio::test]
async fn a_meeting_that_zoom_does_not_find_is_gone_unless_another_account_made_it() {
    for (outcome, status, code) in [
        ("gone", 410, "session_gone"),
        ("zoom_other_account", 403, "zoom_other_account"),
    ] {
        let fakes = Fakes::start().await;
        fakes
            .on("edge_start_begin", fetch())
            .on(
                "GET /meetings/85",
                Answer::zoom_error(404, 3001, "Meeting does not exist: 85."),
            )
            .on("edge_start_gone", json!({"outcome": outcome}));
        assert_eq!(start(&fakes).await.code(), (status, code));
        assert_eq!(
            fakes.told("edge_start_gone"),
            json!({"user_id": USER, "session_id": SESSION, "meeting_id": "85"})
        );
    }
}

#[tokio::test]
async fn a_start_url_that_could_not_be_fetched_changes_nothing() {
    for (answer, status, code) in [
        (Answer::none(), 503, "zoom_unavailable"),
        (Answer::text(200, "{\"id\": 85, \"uu"), 503, "zoom_unavailable"),
        (Answer::text(404, "<html>"), 502, "zoom_rejected"),
        (
            Answer::text(429, "").header("retry-after", "7"),
            503,
            "zoom_rate_limited",
        ),
    ] {
        let fakes = Fakes::start().await;
        fakes.on("edge_start_begin", fetch()).on("GET /meetings/85", answer);
        assert_eq!(start(&fakes).await.code(), (status, code));
    }
}

#[tokio::test]
async fn what_changed_while_zoom_was_asked_is_told() {
    for (outcome, status, code) in [
        (json!({"outcome": "not_found"}), 404, "session_not_found"),
        (claim::no_token(&claim::not_connected()), 403, "zoom_not_connected"),
        (claim::no_token(&claim::expired("revoked")), 403, "zoom_expired"),
        (claim::no_token(&claim::expired("missing_scope")), 403, "missing_scope"),
        (json!({"outcome": "zoom_other_account"}), 403, "zoom_other_account"),
    ] {
        let fakes = Fakes::start().await;
        fakes
            .on("edge_start_begin", fetch())
            .on("GET /meetings/85", meeting())
            .on("edge_start_complete", outcome);
        let reply = start(&fakes).await;
        assert_eq!(reply.code(), (status, code));
        assert!(
            !reply.body.to_string().contains("zak="),
            "the start URL must not get out: {}",
            reply.body
        );
    }
}

#[tokio::test]
async fn a_request_without_a_session_reaches_nobody() {
    let fakes = Fakes::start().await;
    for body in [
        json!({}),
        json!({"session_id": "7"}),
        json!({"session_id": SESSION, "id": 1}),
    ] {
        let reply = fakes.call(&ENDPOINT, handle, fakes.as_user(&body)).await;
        assert_eq!(reply.code(), (400, "invalid_request"), "{body}");
    }
    assert!(fakes.calls().is_empty());
}
