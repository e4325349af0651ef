use fakes::{claim, Answer, Fakes, USER};
use shared::zoom::oauth::code_challenge;

use super::*;

#[tokio::test]
async fn the_consent_page_carries_what_only_the_callback_can_use() {
    let fakes = Fakes::start().await;
    fakes.on(
        "edge_oauth_begin",
        json!({"outcome": "ok", "expires_at": "2026-03-01T12:10:00Z"}),
    );
    let reply = fakes.call(&ENDPOINT, handle, fakes.as_user(&json!({}))).await;
    assert_eq!(
        (reply.status, &reply.body["expires_at"]),
        (200, &json!("2026-03-01T12:10:00Z"))
    );

    let auth_url = reply.body["auth_url"].as_str().unwrap();
    let (page, query) = auth_url.split_once('?').unwrap();
    assert_eq!(page, format!("{}/authorize", fakes.variable("ZOOM_OAUTH_URL").unwrap()));
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
            .unwrap_or_default()
    };
    assert_eq!(
        (parameter("response_type"), parameter("client_id")),
        ("code", "client-id")
    );
    assert_eq!(parameter("code_challenge_method"), "S256");

    let told = fakes.told("edge_oauth_begin");
    assert_eq!(told["user_id"], json!(USER));
    assert_eq!(told["state_hash"], state_hash(parameter("state")));
    let verifier = claim::open(verifier_context(USER), &told["sealed_verifier"]);
    assert_eq!(parameter("code_challenge"), code_challenge(&verifier));
    assert_eq!((parameter("state").len(), verifier.len()), (43, 43));
}

#[tokio::test]
async fn who_may_not_host_connects_nothing() {
    for (answer, status, code) in [
        (json!({"outcome": "not_a_host"}).into(), 403, "not_a_host"),
        (
            json!({"outcome": "quota_reached", "sentence": "Too many.", "retry_after_seconds": 9}).into(),
            429,
            "quota_reached",
        ),
        (Answer::none(), 503, "service_unavailable"),
    ] {
        let fakes = Fakes::start().await;
        fakes.on("edge_oauth_begin", answer);
        let reply = fakes.call(&ENDPOINT, handle, fakes.as_user(&json!({}))).await;
        assert_eq!(reply.code(), (status, code));
        assert!(reply.body.get("auth_url").is_none());
    }
    let fakes = Fakes::start().await;
    let reply = fakes.call(&ENDPOINT, handle, fakes.as_service(&json!({}))).await;
    assert_eq!(reply.code(), (401, "unauthorized"));
}
