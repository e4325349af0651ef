//! Bad input: each a clear error with a stable code, nothing stored, and the next caller is served as if nothing was.

use crate::support::{in_hours, new_session, Reply, User};
use anyhow::Result;
use local_stack::{Stack, StackOptions};
use reqwest::{Body, Method};
use serde_json::{json, Value};

const FUNCTIONS: [(&str, Method); 9] = [
    ("zoom-oauth-start", Method::POST),
    ("zoom-oauth-callback", Method::GET),
    ("zoom-disconnect", Method::POST),
    ("refresh-token", Method::POST),
    ("create-session", Method::POST),
    ("start-session", Method::POST),
    ("join-session", Method::POST),
    ("zoom-webhook", Method::POST),
    ("zoom-sync", Method::POST),
];

/// An error as every function answers it.
fn assert_error(reply: &Reply, status: u16, code: &str, what: &str) {
    assert_eq!(reply.code(), (status, code), "{what}: {}", reply.text);
    let sentence = reply.json["error"].as_str().unwrap_or_default();
    assert!(sentence.ends_with('.') && sentence.len() > 10, "{what}: {sentence}");
    assert_eq!(reply.json["request_id"], reply.header("x-request-id"), "{what}");
    assert_eq!(reply.header("cache-control"), "no-store", "{what}");
    assert_eq!(reply.header("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(reply.header("access-control-allow-origin"), "*", "{what}");
    assert!(reply.header("server-timing").contains("db;dur="), "{what}");
    assert_eq!(
        reply.header("retry-after").is_empty(),
        !matches!(status, 409 | 429 | 503),
        "{what}"
    );
}

async fn stored_rows(stack: &Stack) -> Result<i64> {
    let row = stack
        .db()
        .await?
        .query_one(
            "select (select count(*) from public.video_sessions) + (select count(*) from video_sessions_private.session_creations)
                  + (select count(*) from public.video_session_host_meta) + (select count(*) from video_sessions_private.zoom_outbox)
                  + (select count(*) from public.user_integrations_zoom)",
            &[],
        )
        .await?;
    Ok(row.get(0))
}

#[tokio::test]
async fn callers_without_a_good_token_are_refused_everywhere() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let trainer = User::sign_in(&stack, "trainer").await?;
    let nobody = User::nobody(&stack);
    let user_id = trainer.signed_in.as_ref().map(|user| user.user_id).unwrap_or_default();
    let forged = stack.issuer().forged_tokens(user_id)?;
    for function in [
        "zoom-oauth-start",
        "zoom-disconnect",
        "zoom-sync",
        "refresh-token",
        "create-session",
        "start-session",
        "join-session",
    ] {
        let path = format!("/functions/v1/{function}");
        assert_error(&nobody.call(function, &json!({})).await?, 401, "unauthorized", function);
        for forged in &forged {
            let request = nobody
                .request(Method::POST, &path)
                .bearer_auth(&forged.token)
                .json(&new_session(json!({})));
            let code = if forged.expired {
                "token_expired"
            } else {
                "unauthorized"
            };
            let reply = Reply::read(request.send().await?).await?;
            assert_error(&reply, 401, code, &format!("{function}, {}", forged.what));
        }
        for header in ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "bearer a b c"] {
            let request = nobody
                .request(Method::POST, &path)
                .header("authorization", header)
                .body("{}");
            assert_error(
                &Reply::read(request.send().await?).await?,
                401,
                "unauthorized",
                &format!("{function}, {header:?}"),
            );
        }
    }
    assert_error(
        &trainer.call("zoom-webhook", &json!({})).await?,
        401,
        "unauthorized",
        "zoom-webhook",
    );
    // A user's token is no secret key, and the secret key is no user's token.
    let as_user = nobody
        .request(Method::POST, "/functions/v1/create-session")
        .bearer_auth(stack.secret_key())
        .json(&new_session(json!({})));
    assert_error(
        &Reply::read(as_user.send().await?).await?,
        401,
        "unauthorized",
        "secret key as a bearer token",
    );
    assert_eq!(stored_rows(&stack).await?, 0);
    stack.stop().await
}

#[tokio::test]
async fn the_other_doors_take_no_forged_token_either() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let trainer = User::sign_in(&stack, "trainer").await?;
    let nobody = User::nobody(&stack);
    let user_id = trainer.signed_in.as_ref().map(|user| user.user_id).unwrap_or_default();
    trainer.connect_zoom("trainer@zoom.test").await?;
    trainer.call("create-session", &new_session(json!({}))).await?.ok()?;
    let own = "video_sessions?select=id,video_session_host_meta(host_start_url)";
    assert_eq!(trainer.select(own).await?.json.as_array().map(Vec::len), Some(1));

    let forged = stack.issuer().forged_tokens(user_id)?;
    println!("{} tokens", forged.len());
    for forged in &forged {
        let what = &forged.what;
        let ask = async |path: &str| {
            let request = nobody.request(Method::GET, path).bearer_auth(&forged.token);
            Reply::read(request.send().await?).await
        };
        let rows = ask(&format!("/rest/v1/{own}")).await?;
        if forged.is_signed {
            // Made by the project's auth server, were it ever to make one: the database role in it decides.
            assert!(rows.status < 500, "{what}: {}", rows.text);
        } else {
            assert_eq!(rows.status, 401, "{what}: {}", rows.text);
            let account = ask("/auth/v1/user").await?;
            assert_eq!(account.status, 403, "{what}: {}", account.text);
        }
        // Only a good signature over this user, their role and a time that holds shows anything.
        let odd = ["expired", "nbf", "role is", "no role", "sub is", "no sub"];
        let service = what == "role is \"service_role\"";
        if !forged.is_signed || odd.iter().any(|start| what.starts_with(start)) && !service {
            let shown = rows.json.as_array().map_or(0, Vec::len);
            assert_eq!(shown, 0, "{what}: {}", rows.text);
        }
    }
    stack.stop().await
}

#[tokio::test]
async fn methods_and_preflights() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let trainer = User::sign_in(&stack, "trainer").await?;
    for (function, allowed) in FUNCTIONS {
        let path = format!("/functions/v1/{function}");
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            if method != allowed {
                let reply = Reply::read(trainer.request(method.clone(), &path).send().await?).await?;
                assert_error(&reply, 405, "method_not_allowed", &format!("{method} {function}"));
                assert_eq!(reply.header("allow"), format!("{allowed}, OPTIONS"));
            }
        }
        let preflight = trainer
            .request(Method::OPTIONS, &path)
            .header("origin", "https://app.example")
            .header("access-control-request-method", allowed.as_str())
            .header("access-control-request-headers", "authorization, x-region,sentry-trace");
        let reply = Reply::read(preflight.send().await?).await?;
        assert_eq!(reply.status, 204, "{function}");
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        // New clients send new headers.
        let headers = reply.header("access-control-allow-headers");
        assert_eq!(headers, "authorization, x-region,sentry-trace", "{function}");
    }
    stack.stop().await
}

#[tokio::test]
async fn bodies_that_are_none() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let trainer = User::sign_in(&stack, "trainer").await?;
    for function in ["create-session", "start-session"] {
        let path = format!("/functions/v1/{function}");
        let bodies: Vec<(&str, &str, Body, u16, &str)> = vec![
            ("text", "text/plain", "{}".into(), 415, "unsupported_media_type"),
            (
                "form",
                "application/x-www-form-urlencoded",
                "title=x".into(),
                415,
                "unsupported_media_type",
            ),
            ("empty", "application/json", "".into(), 400, "invalid_json"),
            (
                "truncated",
                "application/json",
                r#"{"title":"x","#.into(),
                400,
                "invalid_json",
            ),
            ("list", "application/json", "[]".into(), 400, "invalid_json"),
            ("number", "application/json", "7".into(), 400, "invalid_json"),
            (
                "not UTF-8",
                "application/json",
                vec![b'{', b'"', 0xff, 0xfe, b'"', b':', b'1', b'}'].into(),
                400,
                "invalid_json",
            ),
            (
                "deep",
                "application/json",
                "[".repeat(50_000).into(),
                400,
                "invalid_json",
            ),
            (
                "1 MB",
                "application/json",
                format!(r#"{{"title":"{}"}}"#, "x".repeat(1 << 20)).into(),
                413,
                "payload_too_large",
            ),
        ];
        for (what, content_type, body, status, code) in bodies {
            let request = trainer
                .request(Method::POST, &path)
                .header("content-type", content_type)
                .body(body);
            let what = format!("{function}, {what}");
            assert_error(&Reply::read(request.send().await?).await?, status, code, &what);
        }
        // The length of a streamed body is not announced.
        let chunks = (0..64).map(|_| Ok::<_, std::io::Error>(vec![b' '; 16 * 1024]));
        let streamed = trainer
            .request(Method::POST, &path)
            .header("content-type", "application/json")
            .body(Body::wrap_stream(futures_util::stream::iter(chunks)));
        assert_error(
            &Reply::read(streamed.send().await?).await?,
            413,
            "payload_too_large",
            "streamed 1 MB",
        );
    }
    assert_eq!(stored_rows(&stack).await?, 0);
    stack.stop().await
}

#[tokio::test]
async fn values_that_cannot_be_used_are_named() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let trainer = User::sign_in(&stack, "trainer").await?;
    let client = User::sign_in(&stack, "client1").await?;
    trainer.connect_zoom("trainer@zoom.test").await?;
    let before = stored_rows(&stack).await?;

    let unknown = "00000000-0000-4000-8000-000000000000";
    let cases: Vec<(Value, &str)> = vec![
        (json!({"title": ""}), "title"),
        (json!({"title": "   "}), "title"),
        (json!({"title": "x".repeat(201)}), "title"),
        (json!({"title": "🧘".repeat(201)}), "title"),
        (json!({"title": "nul\u{0}"}), "title"),
        (json!({"title": null}), "title"),
        (json!({"title": 7}), "title"),
        (json!({"description": "x".repeat(2001)}), "description"),
        (json!({"description": "nul\u{0}"}), "description"),
        (json!({"scheduled_start": in_hours(-1)}), "scheduled_start"),
        (json!({"scheduled_start": "2026-02-30T10:00:00Z"}), "scheduled_start"),
        (json!({"scheduled_start": "2027-03-01T10:00:00"}), "scheduled_start"),
        (json!({"scheduled_start": "9999-12-31T23:59:59Z"}), "scheduled_start"),
        (json!({"scheduled_start": 1_800_000_000}), "scheduled_start"),
        (json!({"duration_minutes": 0}), "duration_minutes"),
        (json!({"duration_minutes": 29}), "duration_minutes"),
        (json!({"duration_minutes": 61}), "duration_minutes"),
        (json!({"duration_minutes": -30}), "duration_minutes"),
        (json!({"duration_minutes": 30.5}), "duration_minutes"),
        (json!({"duration_minutes": "30"}), "duration_minutes"),
        (json!({"max_participants": 1}), "max_participants"),
        (json!({"max_participants": 6}), "max_participants"),
        (json!({"timezone": "Mars/Olympus"}), "timezone"),
        (json!({"timezone": "pst"}), "timezone"),
        (json!({"timezone": "<+03>-3"}), "timezone"),
        (json!({"participant_ids": [unknown]}), "participant_ids"),
        (json!({"participant_ids": [trainer.id()]}), "participant_ids"),
        (json!({"participant_ids": ["client1"]}), "participant_ids"),
        (
            json!({"participant_ids": [client.id(), unknown], "max_participants": 2}),
            "participant_ids",
        ),
        (json!({"provider": "teams"}), "provider"),
        (json!({"provider": "external"}), "join_url"),
        (
            json!({"provider": "external", "join_url": "http://meet.example"}),
            "join_url",
        ),
        (
            json!({"provider": "external", "join_url": "javascript:alert(1)"}),
            "join_url",
        ),
        (json!({"join_url": "https://meet.example"}), "join_url"),
        (json!({"host_id": client.id()}), "host_id"),
        (json!({"status": "ended"}), "status"),
        (json!({"host_start_url": "https://zoom.us/s/1"}), "host_start_url"),
    ];
    for (changes, field) in cases {
        let reply = trainer.call("create-session", &new_session(changes.clone())).await?;
        assert_error(&reply, 400, "invalid_request", &changes.to_string());
        let fields: Vec<_> = reply.json["fields"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(fields, [field], "{changes}");
    }
    for key in ["", " ", "two words", "ümlaut", &"x".repeat(256)] {
        let request = trainer
            .request(Method::POST, "/functions/v1/create-session")
            .header("idempotency-key", key.as_bytes())
            .json(&new_session(json!({})));
        assert_error(&Reply::read(request.send().await?).await?, 400, "invalid_request", key);
    }
    for session_id in [json!("x"), json!(7), json!(null), json!("")] {
        let reply = trainer
            .call("start-session", &json!({"session_id": session_id}))
            .await?;
        assert_error(&reply, 400, "invalid_request", "session_id");
    }
    let missing = trainer.call("start-session", &json!({"session_id": unknown})).await?;
    assert_error(&missing, 404, "session_not_found", "a session that does not exist");
    assert_eq!(stored_rows(&stack).await?, before, "nothing was stored");

    // The isolates are alive, and what is odd but good is taken.
    let title = "🧘".repeat(200);
    let created = trainer
        .call("create-session", &new_session(json!({"title": title})))
        .await?
        .ok()?;
    assert_eq!(created["title"], title);
    stack.stop().await
}

#[tokio::test]
async fn sessions_of_others_are_not_to_be_seen() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let trainer = User::sign_in(&stack, "trainer").await?;
    let other = User::sign_in(&stack, "nutritionist").await?;
    let (client, stranger) = (
        User::sign_in(&stack, "client1").await?,
        User::sign_in(&stack, "client2").await?,
    );
    trainer.connect_zoom("trainer@zoom.test").await?;
    let body = new_session(json!({"participant_ids": [client.id()]}));
    let session = trainer.call("create-session", &body).await?.ok()?;
    let start = json!({"session_id": session["id"]});
    assert_error(
        &other.call("start-session", &start).await?,
        404,
        "session_not_found",
        "another host",
    );
    assert_error(
        &stranger.call("start-session", &start).await?,
        404,
        "session_not_found",
        "a stranger",
    );
    assert_error(
        &client.call("start-session", &start).await?,
        403,
        "not_the_host",
        "a participant",
    );
    assert_error(
        &client.call("create-session", &body).await?,
        403,
        "not_a_host",
        "a client creates",
    );
    assert_error(
        &client.call("zoom-oauth-start", &json!({})).await?,
        403,
        "not_a_host",
        "a client connects",
    );
    assert_error(
        &other.call("create-session", &new_session(json!({}))).await?,
        403,
        "zoom_not_connected",
        "not connected",
    );
    stack.stop().await
}

#[tokio::test]
async fn no_way_of_asking_keeps_a_wrong_code_from_counting() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let guest = User::sign_in(&stack, "client1").await?;
    let wrong = json!({"share_code": "0000-0000-0000"});
    let ask = async |query: &str, header: &str, value: &str| {
        let path = format!("/functions/v1/join-session{query}");
        let request = guest.request(Method::POST, &path).header(header, value).json(&wrong);
        Reply::read(request.send().await?).await
    };
    for (query, header, value) in [
        ("", "x-none", ""),
        ("?select=title::int", "x-none", ""),
        ("?limit=0", "x-none", ""),
        ("?title=match.(", "x-none", ""),
        ("", "prefer", "tx=rollback"),
        ("", "prefer", "max-affected=0,handling=strict"),
        ("", "accept", "text/csv"),
        ("", "accept", "application/vnd.pgrst.object+json"),
        ("", "accept-profile", "video_sessions_private"),
        ("", "range", "5-3"),
    ] {
        let reply = ask(query, header, value).await?;
        assert_error(
            &reply,
            404,
            "session_not_joinable",
            &format!("{query} {header}: {value}"),
        );
    }
    assert_error(
        &ask("", "prefer", "tx=rollback").await?,
        429,
        "too_many_attempts",
        "the eleventh",
    );
    stack.stop().await
}

#[tokio::test]
async fn callbacks_that_lead_nowhere() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let trainer = User::sign_in(&stack, "trainer").await?;
    let callback = format!("{}/functions/v1/zoom-oauth-callback", stack.url());
    let forged = "A".repeat(43);
    for query in [
        String::new(),
        "?code=x".to_owned(),
        "?state=".to_owned(),
        format!("?state={forged}"),
        format!("?code=x&state={forged}"),
        format!("?code=x&state={}", trainer.id()),
        format!("?code=x&state={forged}%00"),
        format!("?code=x&state={}", "A".repeat(10_000)),
        format!("?error=access_denied&state={forged}"),
    ] {
        let page = trainer.browse(&format!("{callback}{query}")).await?;
        assert!(
            page.text.contains("zoom-connected?error=invalid_state"),
            "{query}: {}",
            page.text
        );
    }

    // Nothing of the query reaches the page, and the target is the configured one.
    let started = trainer.call("zoom-oauth-start", &json!({})).await?.ok()?;
    let denied = trainer.consent(&started, "trainer@zoom.test", "deny").await?;
    assert!(denied.contains("error=access_denied"), "{denied}");
    let attack = "&redirect_uri=https://evil.example&app_redirect_uri=evil://x&error_description=%3Cscript%3E";
    let page = trainer.browse(&format!("{denied}{attack}")).await?;
    assert!(
        page.text
            .contains("cotrainr://video/zoom-connected?error=access_denied"),
        "{}",
        page.text
    );
    assert!(
        !page.text.contains("evil") && !page.text.contains("<script"),
        "{}",
        page.text
    );
    assert_eq!(trainer.connection().await?["state"], "not_connected");
    // Back, and allowed after all: to say that they did not allow it would be wrong.
    let allowed = trainer.consent(&started, "trainer@zoom.test", "allow").await?;
    let page = trainer.browse(&allowed).await?;
    assert!(
        page.text.contains("zoom-connected?error=invalid_state") && page.text.contains("tap Connect Zoom again"),
        "{}",
        page.text
    );
    assert_eq!(trainer.connection().await?["state"], "not_connected");

    // A replay tells the first outcome again, and exchanges nothing.
    let started = trainer.call("zoom-oauth-start", &json!({})).await?.ok()?;
    let allowed = trainer.consent(&started, "trainer@zoom.test", "allow").await?;
    for _ in 0..3 {
        let page = trainer.browse(&allowed).await?;
        assert_eq!(page.status, 200);
        assert!(page.text.contains("zoom-connected?success=1"), "{}", page.text);
    }
    let exchanges = stack
        .zoom()
        .calls()
        .iter()
        .filter(|call| call.endpoint == "token")
        .count();
    assert_eq!(exchanges, 1);

    // An expired state.
    let started = trainer.call("zoom-oauth-start", &json!({})).await?.ok()?;
    let late = trainer.consent(&started, "trainer@zoom.test", "allow").await?;
    stack
        .db()
        .await?
        .execute(
            "update video_sessions_private.zoom_oauth_states set expires_at = now() - interval '1 second'",
            &[],
        )
        .await?;
    let page = trainer.browse(&late).await?;
    assert!(
        page.text.contains("zoom-connected?error=state_expired"),
        "{}",
        page.text
    );
    stack.stop().await
}
