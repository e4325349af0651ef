//! What the functions log: one line of JSON for each request, by which an operator finds what happened, and nothing
//! about anybody beyond ids.

use crate::support::connection::{as_service, until};
use crate::support::{new_session, Reply, User};
use anyhow::{ensure, Context, Result};
use local_stack::{GatewayFault, Stack, StackOptions};
use reqwest::Method;
use serde_json::{json, Value};

/// What the functions have logged, as far as it is JSON; none of it may be anything else.
fn logged(stack: &Stack) -> Result<Vec<Value>> {
    let logs = stack.logs();
    let lines = logs.iter().filter_map(|line| line.strip_prefix("workers-0: "));
    let lines = lines.filter(|line| !line.starts_with("listening on "));
    lines
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect()
}

/// The one line of a kind about the request that this answers. It comes out a moment after the answer.
async fn line(stack: &Stack, event: &str, reply: &Reply) -> Result<Value> {
    let id = reply.header("x-request-id");
    let lines = || -> Result<Vec<Value>> {
        let of_it = |line: &Value| line["event"] == *event && line["request_id"] == *id;
        Ok(logged(stack)?.into_iter().filter(of_it).collect())
    };
    until("the line is there", async || Ok(!lines()?.is_empty())).await?;
    let mut lines = lines()?;
    ensure!(lines.len() == 1, "{} lines about {id}", lines.len());
    lines.pop().context("it is there")
}

#[tokio::test]
async fn each_request_has_its_line() -> Result<()> {
    let stack = Stack::start_local(StackOptions::default()).await?;
    let trainer = User::sign_in(&stack, "trainer").await?;
    let client = User::sign_in(&stack, "client1").await?;
    let user = json!({"kind": "user", "user_id": trainer.id()});
    let anonymous = json!({"kind": "anonymous"});

    let started = trainer.call("zoom-oauth-start", &json!({})).await?;
    let denied = trainer.consent(&started.json, "trainer@zoom.test", "deny").await?;
    let denied = trainer.browse(&denied).await?;
    let allowed = trainer.connect_zoom("trainer@zoom.test").await?;
    let body = new_session(json!({"title": "Knees", "description": "Ada's left one"}));
    let created = trainer.call("create-session", &body).await?;
    let refused = client.call("create-session", &body).await?;
    let wrong_method = trainer.request(Method::GET, "/functions/v1/create-session");
    let wrong_method = Reply::read(wrong_method.send().await?).await?;
    let without_body = trainer.request(Method::POST, "/functions/v1/create-session");
    let without_body = Reply::read(without_body.send().await?).await?;
    let nobody = User::nobody(&stack).call("start-session", &json!({})).await?;
    let unsigned = User::nobody(&stack).call("zoom-webhook", &json!({})).await?;
    for (reply, function, method, caller, code) in [
        (&started, "zoom-oauth-start", "POST", &user, "ok"),
        (&denied, "zoom-oauth-callback", "GET", &anonymous, "access_denied"),
        (&allowed, "zoom-oauth-callback", "GET", &anonymous, "ok"),
        (&created, "create-session", "POST", &user, "ok"),
        (
            &refused,
            "create-session",
            "POST",
            &json!({"kind": "user", "user_id": client.id()}),
            "not_a_host",
        ),
        (&wrong_method, "create-session", "GET", &anonymous, "method_not_allowed"),
        (&without_body, "create-session", "POST", &user, "unsupported_media_type"),
        (&nobody, "start-session", "POST", &anonymous, "unauthorized"),
        (&unsigned, "zoom-webhook", "POST", &anonymous, "unauthorized"),
    ] {
        let line = line(&stack, "request", reply).await?;
        let found = json!([
            line["function"],
            line["method"],
            line["caller"],
            line["code"],
            line["status"]
        ]);
        assert_eq!(found, json!([function, method, caller, code, reply.status]), "{line}");
        for timing in ["total_ms", "auth_ms", "db_ms", "zoom_ms"] {
            assert!(line[timing].is_u64(), "{timing} in {line}");
        }
        let waited: u64 = ["auth_ms", "db_ms", "zoom_ms"]
            .iter()
            .filter_map(|name| line[*name].as_u64())
            .sum();
        assert!(line["total_ms"].as_u64() >= Some(waited), "{line}");
    }
    as_service(&stack, "zoom-sync").await?;
    let requests = || -> Result<Vec<Value>> {
        let lines = logged(&stack)?.into_iter();
        Ok(lines.filter(|line| line["event"] == "request").collect())
    };
    // Those above, and the start of the second connect.
    until("all have their line", async || Ok(requests()?.len() >= 11)).await?;
    let requests = requests()?;
    assert_eq!(requests.len(), 11);
    let service = json!({"kind": "service"});
    assert_eq!(requests.iter().filter(|line| line["caller"] == service).count(), 1);

    // A call to Zoom is found by the request that it was made for.
    let created = (line(&stack, "request", &created).await?, created);
    let calls = created.0["zoom_calls"].as_array().context("no zoom_calls")?;
    assert_eq!(calls.len(), 1);
    assert_eq!(
        (&calls[0]["call"], &calls[0]["status"]),
        (&json!("create_meeting"), &json!(201))
    );
    assert!(
        calls[0]["ms"].is_u64() && calls[0]["tracking_id"].is_string(),
        "{calls:?}"
    );
    let created = created.1;

    let text = logged(&stack)?.iter().map(Value::to_string).collect::<String>();
    let share_code = created.json["share_code"].as_str().context("no share_code")?;
    let join_url = created.json["join_url"].as_str().context("no join_url")?;
    for personal in ["@", "Knees", "Ada", share_code, join_url, "127.0.0.1", "pwd="] {
        assert!(!text.contains(personal), "{personal} is in the log");
    }
    stack.stop().await
}

#[tokio::test]
async fn a_failure_of_the_database_names_its_request_and_step() -> Result<()> {
    let stack = Stack::start_local(StackOptions::default()).await?;
    let trainer = User::sign_in(&stack, "trainer").await?;
    for (fault, status, code, reason) in [
        (
            GatewayFault::at_step("edge_oauth_begin").dropping(),
            503,
            "service_unavailable",
            "no answer",
        ),
        (
            GatewayFault::at_step("edge_oauth_begin").truncating(),
            500,
            "internal",
            "unexpected answer",
        ),
    ] {
        stack.gateway().order(fault);
        let failed = trainer.call("zoom-oauth-start", &json!({})).await?;
        assert_eq!(failed.code(), (status, code), "{}", failed.text);
        let failure = line(&stack, "database_failure", &failed).await?;
        assert_eq!(
            (&failure["step"], &failure["reason"]),
            (&json!("edge_oauth_begin"), &json!(reason))
        );
        assert_eq!(line(&stack, "request", &failed).await?["code"], code);
    }
    stack.stop().await
}
