//! The way back from Zoom: every end that it can have, and what becomes of the tokens.

use fakes::{claim, Answer, Fakes, Reply, USER};

use super::*;

const STATE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

async fn come_back(fakes: &Fakes, query: &str) -> Reply {
    fakes.call(&ENDPOINT, handle, fakes.as_browser(query)).await
}

async fn come_back_with_code(fakes: &Fakes) -> Reply {
    come_back(fakes, &format!("code=c&state={STATE}")).await
}

/// The app's link that the browser is sent to.
fn target(reply: &Reply) -> &str {
    reply.header("location")
}

fn claimed(fakes: &Fakes) {
    let verifier = claim::seal(verifier_context(USER), "verifier");
    fakes.on(
        "edge_oauth_consume",
        json!({"outcome": "claimed", "user_id": USER, "sealed_verifier": verifier}),
    );
}

fn zoom_user() -> Value {
    json!({"id": "z", "account_id": "a", "email": "host@zoom.test"})
}

#[tokio::test]
async fn a_code_is_exchanged_once_and_kept_for_the_app_to_confirm() {
    let fakes = Fakes::start().await;
    claimed(&fakes);
    fakes
        .on("token", Answer::tokens("at", "rt"))
        .on("GET /users/me", zoom_user())
        .on("edge_oauth_complete", json!({"outcome": "pending"}));
    let reply = come_back_with_code(&fakes).await;
    assert_eq!(reply.status, 302);
    let (beginning, handle) = target(&reply).split_once("&handle=").unwrap_or_default();
    assert_eq!(beginning, "https://app.example/connected?success=1");
    let hash = handle_hash(&Secret::new(handle.to_owned()));
    assert_eq!(fakes.told("edge_oauth_consume")["handle_hash"], json!(hash));
    let exchanged = fakes.told("token");
    assert_eq!(
        (&exchanged["code"], &exchanged["code_verifier"]),
        (&json!("c"), &json!("verifier"))
    );
    let told = fakes.told("edge_oauth_complete");
    assert_eq!(
        (&told["user_id"], &told["zoom_user_id"], &told["lacking_scope"]),
        (&json!(USER), &json!("z"), &json!(false))
    );
    assert_eq!(claim::opened_refresh_token(USER, &told["refresh_token"]), "rt");
}

#[tokio::test]
async fn a_repeated_callback_hears_what_the_first_one_heard() {
    let fakes = Fakes::start().await;
    fakes
        .on("edge_oauth_consume", json!({"outcome": "running"}))
        .on("edge_oauth_consume", json!({"outcome": "running"}))
        .on(
            "edge_oauth_consume",
            json!({"outcome": "finished", "result": "success"}),
        );
    assert!(target(&come_back_with_code(&fakes).await).contains("success=1&handle="));
}

#[tokio::test]
async fn what_the_database_knows_is_told() {
    for (consumed, error) in [
        (json!({"outcome": "expired"}), "state_expired"),
        (json!({"outcome": "unknown"}), "invalid_state"),
        (
            json!({"outcome": "finished", "result": "access_denied"}),
            "access_denied",
        ),
        (json!({"outcome": "finished", "result": "anything"}), "server_error"),
    ] {
        let fakes = Fakes::start().await;
        fakes.on("edge_oauth_consume", consumed);
        let reply = come_back_with_code(&fakes).await;
        assert_eq!(target(&reply), format!("https://app.example/connected?error={error}"));
    }
    // Nobody waits for ever.
    let fakes = Fakes::start().await;
    fakes.always("edge_oauth_consume", |_| json!({"outcome": "running"}).into());
    assert!(target(&come_back_with_code(&fakes).await).ends_with("error=server_error"));
}

#[tokio::test]
async fn a_no_needs_no_code() {
    for (query, error) in [
        (format!("error=access_denied&state={STATE}"), "access_denied"),
        (format!("error=server_error&state={STATE}"), "token_exchange_failed"),
    ] {
        let fakes = Fakes::start().await;
        fakes.on("edge_oauth_consume", json!({"outcome": "finished", "result": error}));
        let reply = come_back(&fakes, &query).await;
        assert!(target(&reply).ends_with(&format!("error={error}")), "{query}");
        assert_eq!(fakes.told("edge_oauth_consume")["denied"], error);
    }
}

#[tokio::test]
async fn a_query_that_is_none_of_ours_asks_nobody() {
    for query in [
        "",
        "code=c",
        "state=short&code=c",
        &format!("state={STATE}"),
        &format!("state={STATE}&code="),
    ] {
        let fakes = Fakes::start().await;
        let reply = come_back(&fakes, query).await;
        assert!(target(&reply).ends_with("error=invalid_state"), "{query}");
        assert!(fakes.calls().is_empty(), "{query}");
    }
}

#[tokio::test]
async fn a_code_that_zoom_does_not_take_is_told_and_kept() {
    for (answer, error) in [
        (
            Answer::oauth_error("invalid_grant", "Invalid authorization code"),
            "token_exchange_failed",
        ),
        (
            Answer::oauth_error("invalid_client", "Invalid client_id or client_secret"),
            "token_exchange_failed",
        ),
        (Answer::none(), "zoom_unavailable"),
    ] {
        let fakes = Fakes::start().await;
        claimed(&fakes);
        fakes
            .on("token", answer)
            .on("edge_oauth_fail", json!({"outcome": "recorded"}));
        let reply = come_back_with_code(&fakes).await;
        assert!(
            target(&reply).ends_with(&format!("error={error}")),
            "{}",
            target(&reply)
        );
        assert_eq!(fakes.told("edge_oauth_fail")["result"], error);
    }
}

#[tokio::test]
async fn tokens_that_are_not_kept_are_revoked() {
    for (me, completed, error) in [
        (Answer::none(), None, "zoom_unavailable"),
        (
            Answer::zoom_error(400, 4711, "Invalid access token, does not contain scopes"),
            None,
            "missing_scope",
        ),
        (
            Answer::json(200, &zoom_user()),
            Some(json!({"outcome": "invalid_state"})),
            "invalid_state",
        ),
    ] {
        let fakes = Fakes::start().await;
        claimed(&fakes);
        fakes
            .on("token", Answer::tokens("at", "rt"))
            .on("GET /users/me", me)
            .on("revoke", json!({"status": "success"}))
            // Whether a connection that the host had before has survived, a refresh finds out.
            .on("edge_token_claim", claim::connection(&claim::not_connected()))
            .on("edge_oauth_fail", json!({"outcome": "recorded"}));
        if let Some(completed) = completed {
            fakes.on("edge_oauth_complete", completed);
        }
        let reply = come_back_with_code(&fakes).await;
        assert!(
            target(&reply).ends_with(&format!("error={error}")),
            "{}",
            target(&reply)
        );
        assert_eq!(fakes.told("revoke")["token"], "at");
    }
}
