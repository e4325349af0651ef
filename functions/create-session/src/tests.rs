use fakes::{claim, Answer, Fakes, Reply, USER};

use super::*;

const CREATION: Uuid = Uuid::from_u128(7);
const FAR_AHEAD: &str = "2100-01-01T12:00:00Z";

fn requested() -> Value {
    json!({
        "title": "Legs", "description": "Bring a mat", "scheduled_start": starts_at(), "duration_minutes": 45,
        "max_participants": 3, "timezone": "Europe/Kyiv",
    })
}

fn starts_at() -> DateTime<Utc> {
    let tomorrow = now().checked_add_signed(TimeDelta::days(1)).unwrap();
    DateTime::from_timestamp(tomorrow.timestamp(), 0).unwrap()
}

fn begun(token: &Value) -> Value {
    json!({"outcome": "create", "creation_id": CREATION, "token": token, "zoom_timezone": "Europe/Bucharest"})
}

fn begun_with_a_token() -> Value {
    begun(&claim::fresh(USER, "at", 1))
}

fn meeting() -> Value {
    json!({
        "id": 9_007_199_254_740_993_u64, "uuid": "u==", "join_url": "https://zoom.test/j/9", "password": "p",
        "start_url": "https://zoom.test/s/9?zak=host", "timezone": "Europe/Bucharest",
        "settings": {"waiting_room": true, "audio": "both"},
    })
}

fn created() -> Value {
    json!({"outcome": "created", "session": {"id": CREATION, "title": "Legs", "share_code": "a code"}})
}

async fn create(fakes: &Fakes) -> Reply {
    fakes.call(&ENDPOINT, handle, fakes.as_user(&requested())).await
}

/// Creates a session with the idempotency key `key`.
async fn create_with_a_key(fakes: &Fakes, body: &Value) -> Reply {
    let mut request = fakes.as_user(body);
    request.headers_mut().insert("idempotency-key", "key".parse().unwrap());
    fakes.call(&ENDPOINT, handle, request).await
}

#[tokio::test]
async fn a_session_is_created_together_with_its_meeting() {
    let fakes = Fakes::start().await;
    fakes.set("APP_INVITE_URI", "https://app.example/join");
    fakes
        .on("edge_session_begin", begun_with_a_token())
        .on("POST /users/me/meetings", Answer::json(201, &meeting()))
        .on("edge_session_complete", created());
    let reply = create_with_a_key(&fakes, &requested()).await;

    assert_eq!(reply.status, 200);
    let invite_url = "https://app.example/join#share_code=a+code";
    assert_eq!(
        reply.body,
        json!({"id": CREATION, "title": "Legs", "share_code": "a code", "invite_url": invite_url.replace('+', "%20")})
    );
    let steps = ["edge_session_begin", "POST /users/me/meetings", "edge_session_complete"];
    assert_eq!(fakes.calls(), steps);

    let Value::Object(fields) = requested() else {
        panic!("a request is an object");
    };
    let session = NewSession::parse(shared::input::Fields::new(fields), Some("key"), now()).unwrap();
    assert_eq!(
        fakes.told("edge_session_begin"),
        json!({
            "user_id": USER, "holder": reply.header("x-request-id"), "idempotency_key": "key",
            "request_hash": session.hash().unwrap(), "session": session,
        })
    );

    let [asked] = fakes.sent_to("POST /users/me/meetings").try_into().unwrap();
    assert_eq!(asked.header("authorization"), "Bearer at");
    let start = starts_at().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    for (field, value) in [
        ("topic", json!("Legs")),
        ("type", json!(2)),
        ("start_time", json!(start)),
        ("duration", json!(45)),
        ("timezone", json!("Europe/Bucharest")),
        ("agenda", json!(format!("{CREATION}\nBring a mat"))),
    ] {
        assert_eq!(asked.body[field], value, "{field}");
    }

    assert_eq!(
        fakes.told("edge_session_complete"),
        json!({"creation_id": CREATION, "user_id": USER, "meeting": {
            "id": "9007199254740993", "uuid": "u==", "join_url": "https://zoom.test/j/9", "passcode": "p",
            "start_url": "https://zoom.test/s/9?zak=host", "timezone": "Europe/Bucharest",
            "settings": {"waiting_room": true},
        }})
    );
}

#[tokio::test]
async fn what_the_first_step_says_is_told() {
    let fields = json!({"timezone": "is not a time zone"});
    for (outcome, status, code) in [
        (json!({"outcome": "created", "session": {"id": CREATION}}), 200, "ok"),
        (
            json!({"outcome": "running", "retry_after_seconds": 4}),
            409,
            "creation_running",
        ),
        (json!({"outcome": "deleted"}), 410, "session_gone"),
        (json!({"outcome": "key_reused"}), 422, "idempotency_key_reused"),
        (json!({"outcome": "not_a_host"}), 403, "not_a_host"),
        (
            json!({"outcome": "quota_reached", "sentence": "Too many.", "retry_after_seconds": 9}),
            429,
            "quota_reached",
        ),
        (claim::no_token(&claim::not_connected()), 403, "zoom_not_connected"),
        (claim::no_token(&claim::expired("owner_gone")), 403, "zoom_expired"),
        (claim::no_token(&claim::expired("missing_scope")), 403, "missing_scope"),
        (claim::no_token(&claim::expired("something new")), 403, "zoom_expired"),
        (claim::no_token(&claim::cooling_down(9)), 503, "zoom_unavailable"),
        (json!({"outcome": "invalid", "fields": fields}), 400, "invalid_request"),
        (json!({"outcome": "something new"}), 500, "internal"),
    ] {
        let fakes = Fakes::start().await;
        fakes.on("edge_session_begin", outcome.clone());
        let reply = create(&fakes).await;
        assert_eq!(reply.code(), (status, code));
        assert_eq!(fakes.calls(), ["edge_session_begin"], "{outcome}");
        if let Some(seconds) = outcome.get("retry_after_seconds") {
            assert_eq!(reply.header("retry-after"), seconds.to_string());
        }
        if code == "invalid_request" {
            assert_eq!(reply.body["fields"], fields);
        }
    }
}

#[tokio::test]
async fn what_cannot_be_right_reaches_nobody() {
    let fakes = Fakes::start().await;
    let mut far_ahead = requested();
    far_ahead["scheduled_start"] = json!(FAR_AHEAD);
    let reply = create_with_a_key(&fakes, &far_ahead).await;
    assert_eq!(reply.code(), (400, "invalid_request"));
    assert!(reply.body["fields"]["scheduled_start"].is_string(), "{}", reply.body);

    let mut request = fakes.as_user(&requested());
    request
        .headers_mut()
        .insert("idempotency-key", "a key".parse().unwrap());
    assert_eq!(
        fakes.call(&ENDPOINT, handle, request).await.code(),
        (400, "invalid_request")
    );

    let mut request = fakes.as_user(&requested());
    request.headers_mut().remove("authorization");
    assert_eq!(
        fakes.call(&ENDPOINT, handle, request).await.code(),
        (401, "unauthorized")
    );
    assert!(fakes.calls().is_empty());
}

#[tokio::test]
async fn a_lost_first_step_may_have_made_an_external_session_and_no_other() {
    let mut external = requested();
    external["provider"] = json!("external");
    external["join_url"] = json!("https://meet.example/1");
    for (body, code) in [(requested(), "service_unavailable"), (external, "zoom_outcome_unknown")] {
        let fakes = Fakes::start().await;
        fakes.on("edge_session_begin", Answer::none());
        assert_eq!(create_with_a_key(&fakes, &body).await.code(), (503, code));
    }
}

#[tokio::test]
async fn where_nobody_knows_whether_zoom_made_the_meeting_the_ledger_stays_open() {
    for lost in [
        Answer::none(),
        Answer::json(201, &meeting()).after(std::time::Duration::from_secs(16)),
        Answer::text(201, &meeting().to_string()[..40]),
        Answer::text(502, "<html>Bad Gateway</html>"),
        Answer::text(408, ""),
    ] {
        let described = format!("{lost:?}");
        let fakes = Fakes::start().await;
        fakes
            .on("edge_session_begin", begun_with_a_token())
            .on("POST /users/me/meetings", lost)
            .on("edge_session_fail", json!({"outcome": "open"}));
        let reply = create(&fakes).await;
        assert_eq!(reply.code(), (503, "zoom_outcome_unknown"), "{described}");
        assert_eq!(reply.header("retry-after"), "60");
        assert_eq!(
            fakes.told("edge_session_fail"),
            json!({"creation_id": CREATION, "user_id": USER, "result": "unknown", "code": "unclear"}),
            "{described}"
        );
        assert_eq!(
            fakes.sent_to("POST /users/me/meetings").len(),
            1,
            "a meeting is asked for once"
        );
    }
}

#[tokio::test]
async fn what_zoom_refuses_has_failed() {
    let daily = "You have exceeded the daily rate limit (100) of Meeting Create/Update API requests for this user.";
    for (refusal, status, code, kept) in [
        (
            Answer::zoom_error(400, 300, "Validation Failed."),
            502,
            "zoom_rejected",
            "refused",
        ),
        (
            Answer::zoom_error(400, 3161, "Your user account may not host."),
            403,
            "zoom_cannot_host",
            "cannot_host",
        ),
        (
            Answer::zoom_error(404, 3001, "Meeting does not exist."),
            502,
            "zoom_rejected",
            "meeting_gone",
        ),
        (
            Answer::zoom_error(429, 429, daily),
            429,
            "zoom_daily_limit",
            "daily_limit",
        ),
        (
            Answer::zoom_error(429, 429, "per-second limit").header("retry-after", "3"),
            503,
            "zoom_rate_limited",
            "rate_limit",
        ),
    ] {
        let fakes = Fakes::start().await;
        fakes
            .on("edge_session_begin", begun_with_a_token())
            .on("POST /users/me/meetings", refusal)
            .on("edge_session_fail", json!({"outcome": "closed"}));
        assert_eq!(create(&fakes).await.code(), (status, code));
        let failed = fakes.told("edge_session_fail");
        assert_eq!(
            (&failed["result"], &failed["code"]),
            (&json!("failed"), &json!(kept)),
            "{code}"
        );
    }
}

#[tokio::test]
async fn a_connection_that_zoom_has_ended_is_marked_before_the_host_is_told() {
    for (refusal, code, reason) in [
        (
            Answer::zoom_error(400, 4711, "does not contain scopes"),
            "missing_scope",
            "missing_scope",
        ),
        (
            Answer::zoom_error(404, 1001, "User does not exist."),
            "zoom_expired",
            "owner_gone",
        ),
    ] {
        let fakes = Fakes::start().await;
        fakes
            .on("edge_session_begin", begun_with_a_token())
            .on("POST /users/me/meetings", refusal)
            .on("edge_connection_expire", json!({"outcome": "recorded"}))
            .on("edge_session_fail", json!({"outcome": "closed"}));
        assert_eq!(create(&fakes).await.code(), (403, code));
        assert_eq!(
            fakes.told("edge_connection_expire"),
            json!({"user_id": USER, "token_version": 1, "reason": reason})
        );
        assert_eq!(fakes.told("edge_session_fail")["result"], "failed");
    }
}

#[tokio::test]
async fn without_a_token_zoom_is_not_asked() {
    for (token, status, code, kept) in [
        (claim::cooling_down(20), 503, "zoom_unavailable", "no_token"),
        (claim::expired("revoked"), 403, "zoom_expired", "not_connected"),
        (claim::expired("missing_scope"), 403, "missing_scope", "not_connected"),
        (claim::not_connected(), 403, "zoom_not_connected", "not_connected"),
    ] {
        let fakes = Fakes::start().await;
        fakes
            .on("edge_session_begin", begun(&token))
            .on("edge_session_fail", json!({"outcome": "closed"}));
        assert_eq!(create(&fakes).await.code(), (status, code));
        let failed = fakes.told("edge_session_fail");
        assert_eq!(
            (&failed["result"], &failed["code"]),
            (&json!("failed"), &json!(kept)),
            "{token}"
        );
    }
}

#[tokio::test]
async fn a_meeting_is_asked_for_again_only_where_zoom_refused_the_token() {
    let fakes = Fakes::start().await;
    fakes
        .on("edge_session_begin", begun_with_a_token())
        .on(
            "POST /users/me/meetings",
            Answer::zoom_error(401, 124, "Invalid access token."),
        )
        .on("edge_token_claim", claim::connection(&claim::refresh(USER, "rt", 1)))
        .on("token", Answer::tokens("at2", "rt2"))
        .on("edge_refresh_commit", json!({"outcome": "saved", "token_version": 2}))
        .on("POST /users/me/meetings", Answer::json(201, &meeting()))
        .on("edge_session_complete", created());
    assert_eq!(create(&fakes).await.status, 200);
    let tokens: Vec<_> = fakes.sent_to("POST /users/me/meetings");
    let tokens: Vec<_> = tokens.iter().map(|call| call.header("authorization")).collect();
    assert_eq!(tokens, ["Bearer at", "Bearer at2"]);
}

#[tokio::test]
async fn the_meeting_of_a_creation_that_was_closed_meanwhile_becomes_no_session() {
    let fakes = Fakes::start().await;
    fakes
        .on("edge_session_begin", begun_with_a_token())
        .on("POST /users/me/meetings", Answer::json(201, &meeting()))
        .on("edge_session_complete", json!({"outcome": "closed"}));
    assert_eq!(create(&fakes).await.code(), (503, "zoom_unavailable"));
}

#[tokio::test]
async fn a_meeting_is_saved_however_often_that_takes() {
    let fakes = Fakes::start().await;
    fakes
        .on("edge_session_begin", begun_with_a_token())
        .on("POST /users/me/meetings", Answer::json(201, &meeting()))
        .on("edge_session_complete", Answer::none())
        .on("edge_session_complete", Answer::database_error(503, "PGRST002"))
        .on("edge_session_complete", Answer::database_error(404, "PGRST202"))
        .on("edge_session_complete", created());
    assert_eq!(create(&fakes).await.status, 200);
}

#[tokio::test]
async fn a_meeting_that_cannot_be_saved_is_left_for_zoom_sync_to_find() {
    let fakes = Fakes::start().await;
    fakes
        .on("edge_session_begin", begun_with_a_token())
        .on("POST /users/me/meetings", Answer::json(201, &meeting()))
        .always("edge_session_complete", |_| Answer::none());
    assert_eq!(create(&fakes).await.code(), (503, "zoom_outcome_unknown"));
    assert_eq!(fakes.sent_to("edge_session_complete").len(), 7);
}

#[tokio::test]
async fn the_host_is_told_what_failed_even_if_the_ledger_is_not() {
    let fakes = Fakes::start().await;
    fakes
        .on("edge_session_begin", begun_with_a_token())
        .on(
            "POST /users/me/meetings",
            Answer::zoom_error(400, 300, "Validation Failed."),
        )
        .on("edge_session_fail", Answer::none());
    assert_eq!(create(&fakes).await.code(), (502, "zoom_rejected"));
}
