use fakes::{Answer, Fakes};
use serde_json::Value;

use super::*;

fn ended() -> Value {
    json!({"event": "meeting.ended", "event_ts": 1_772_366_400_000_i64, "payload": {
        "account_id": "acc", "object": {"id": "85", "uuid": "u==", "end_time": "2026-03-01T12:00:00Z"},
    }})
}

#[tokio::test]
async fn an_event_is_applied_once_it_is_known_to_be_zooms() {
    let fakes = Fakes::start().await;
    fakes.on("edge_webhook_receive", json!({"outcome": "applied"}));
    let reply = fakes.call(&ENDPOINT, handle, fakes.as_zoom(&ended())).await;
    assert_eq!((reply.status, &reply.body), (200, &json!({"outcome": "applied"})));
    assert_eq!(
        fakes.told("edge_webhook_receive"),
        json!({
            "event_id": sha256_hex(ended().to_string()), "event": "meeting.ended", "event_ts": 1_772_366_400_000_i64,
            "details": {
                "meeting_id": "85", "uuid": "u==", "account_id": "acc", "end_time": "2026-03-01T12:00:00Z",
            },
        })
    );
}

#[tokio::test]
async fn an_event_that_was_not_kept_is_delivered_again() {
    for (answer, status, code) in [
        (Answer::none(), 503, "service_unavailable"),
        (Answer::database_error(503, "PGRST001"), 503, "service_unavailable"),
        (Answer::database_error(500, "P0001"), 500, "internal"),
        (Answer::text(200, "<html>"), 500, "internal"),
    ] {
        let fakes = Fakes::start().await;
        fakes.on("edge_webhook_receive", answer);
        let reply = fakes.call(&ENDPOINT, handle, fakes.as_zoom(&ended())).await;
        assert_eq!(
            reply.code(),
            (status, code),
            "Zoom repeats what it got a 5xx for, and nothing else"
        );
    }
}

#[tokio::test]
async fn what_zoom_did_not_sign_reaches_nobody() {
    let fakes = Fakes::start().await;
    let changed = |name: &'static str, value: Option<&str>| {
        let mut request = fakes.as_zoom(&ended());
        match value {
            Some(value) => request.headers_mut().insert(name, value.parse().unwrap()),
            None => request.headers_mut().remove(name),
        };
        request
    };
    let mut other_body = fakes.as_zoom(&ended());
    other_body.body_mut().push(' ');
    for request in [
        changed("x-zm-signature", None),
        changed("x-zm-signature", Some("v0=00")),
        changed("x-zm-request-timestamp", None),
        changed("x-zm-request-timestamp", Some("1700000000")),
        other_body,
        fakes.as_service(&ended()),
    ] {
        let described = format!("{request:?}");
        let reply = fakes.call(&ENDPOINT, handle, request).await;
        assert_eq!(reply.code(), (401, "unauthorized"), "{described}");
    }
    assert!(fakes.calls().is_empty());
}

#[tokio::test]
async fn zoom_is_shown_that_the_address_is_ours() {
    let fakes = Fakes::start().await;
    let validation = json!({"event": "endpoint.url_validation", "event_ts": 1, "payload": {"plainToken": "abc"}});
    let reply = fakes.call(&ENDPOINT, handle, fakes.as_zoom(&validation)).await;
    let secret = shared::secret::Secret::new(fakes.variable("ZOOM_WEBHOOK_SECRET_TOKEN").unwrap());
    let encrypted_token = signature::sign_token(&secret, "abc").unwrap();
    assert_eq!(
        reply.body,
        json!({"plainToken": "abc", "encryptedToken": encrypted_token})
    );
}

fn deauthorized(client_id: &str) -> Value {
    json!({"event": "app_deauthorized", "event_ts": 1_772_366_400_000_i64, "payload": {
        "account_id": "acc", "user_id": "u", "client_id": client_id, "signature": "s",
        "deauthorization_time": "2026-03-01T12:00:00Z",
    }})
}

#[tokio::test]
async fn the_removal_of_this_app_is_told() {
    let fakes = Fakes::start().await;
    fakes.on("edge_webhook_receive", json!({"outcome": "applied"}));
    let event = deauthorized(&fakes.variable("ZOOM_CLIENT_ID").unwrap());
    let reply = fakes.call(&ENDPOINT, handle, fakes.as_zoom(&event)).await;
    assert_eq!((reply.status, &reply.body), (200, &json!({"outcome": "applied"})));
}

#[tokio::test]
async fn an_event_that_is_none_of_ours_is_taken_and_forgotten() {
    let fakes = Fakes::start().await;
    let user_created = json!({"event": "user.created", "payload": {}});
    for other in [user_created, deauthorized("another-app"), deauthorized("")] {
        let reply = fakes.call(&ENDPOINT, handle, fakes.as_zoom(&other)).await;
        assert_eq!(
            (reply.status, &reply.body),
            (200, &json!({"outcome": "ignored"})),
            "{other}"
        );
    }
    for odd in [json!([]), json!({"event": "meeting.ended", "payload": {}})] {
        let reply = fakes.call(&ENDPOINT, handle, fakes.as_zoom(&odd)).await;
        assert_eq!(reply.code(), (400, "invalid_json"), "{odd}");
    }
    assert!(fakes.calls().is_empty());
}
