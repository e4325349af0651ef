use fakes::{Answer, Fakes, USER};

use super::*;

#[tokio::test]
async fn whoever_has_the_code_takes_a_seat_or_only_looks() {
    let session = json!({"id": 1, "title": "Legs", "added_by_a_later_release": true});
    for (preview, outcome) in [(false, "joined"), (true, "preview")] {
        let fakes = Fakes::start().await;
        fakes.on("edge_join", json!({"outcome": outcome, "session": session}));
        let request = fakes.as_user(&json!({"share_code": "abc", "preview": preview}));
        let reply = fakes.call(&ENDPOINT, handle, request).await;
        assert_eq!((reply.status, &reply.body), (200, &session));
        assert_eq!(
            fakes.told("edge_join"),
            json!({"user_id": USER, "share_code": "abc", "preview": preview, "allow_anonymous": false})
        );
    }
}

#[tokio::test]
async fn what_the_step_says_is_told() {
    for (answer, status, code) in [
        (json!({"outcome": "not_joinable"}).into(), 404, "session_not_joinable"),
        (
            json!({"outcome": "too_many_attempts", "retry_after_seconds": 99}).into(),
            429,
            "too_many_attempts",
        ),
        (json!({"outcome": "anonymous"}).into(), 403, "anonymous_not_allowed"),
        (Answer::none(), 503, "service_unavailable"),
        (Answer::database_error(404, "PGRST202"), 500, "internal"),
    ] {
        let fakes = Fakes::start().await;
        fakes.on("edge_join", answer);
        let reply = fakes
            .call(&ENDPOINT, handle, fakes.as_user(&json!({"share_code": "abc"})))
            .await;
        assert_eq!(reply.code(), (status, code));
        if status == 429 {
            assert_eq!(reply.header("retry-after"), "99");
        }
    }
}

#[tokio::test]
async fn an_installation_may_let_anonymous_users_in() {
    let fakes = Fakes::start().await;
    fakes.set("ALLOW_ANONYMOUS_PARTICIPANTS", "true");
    fakes.on("edge_join", json!({"outcome": "joined", "session": {}}));
    let reply = fakes
        .call(&ENDPOINT, handle, fakes.as_user(&json!({"share_code": "abc"})))
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!(fakes.told("edge_join")["allow_anonymous"], true);
}

#[tokio::test]
async fn a_request_without_a_code_or_a_user_counts_as_no_attempt() {
    let fakes = Fakes::start().await;
    for body in [
        json!({}),
        json!({"share_code": ""}),
        json!({"share_code": "abc", "preview": 1}),
    ] {
        let reply = fakes.call(&ENDPOINT, handle, fakes.as_user(&body)).await;
        assert_eq!(reply.code(), (400, "invalid_request"), "{body}");
    }
    let service = fakes.as_service(&json!({"share_code": "abc"}));
    assert_eq!(
        fakes.call(&ENDPOINT, handle, service).await.code(),
        (401, "unauthorized")
    );
    assert!(fakes.calls().is_empty());
}
