//! The Zoom simulator over HTTP, as an app and a browser meet it. What it decides is tested in its own modules.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use local_stack::zoom::{
    Answer, AppAccess, DeliveryPlan, Endpoint, Fault, Grant, MeetingStatus, NewUser, OvertakenSays, PerSecondLimits,
    Rules, RunningMeeting, SecretKind, Signature, Target, TokenKind, TokenStatus, Truncation, UnknownTimeZones,
    Webhooks, ZoomApp, ZoomSimulator, END_SCOPE, GRANULAR_SCOPES,
};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{json, Value};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REDIRECT: &str = "http://127.0.0.1:9/functions/v1/zoom-oauth-callback";

/// An app that is connected to Zoom, with everything it needs to know.
struct App {
    zoom: ZoomSimulator,
    http: Client,
}

/// An answer, read whole.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    text: String,
    json: Value,
}

impl Reply {
    async fn read(answer: Response) -> Result<Self> {
        let status = answer.status().as_u16();
        // reqwest 0.11 speaks an older version of the `http` types.
        let headers = answer.headers().iter();
        let headers = headers.map(|(name, value)| Ok((name.as_str().parse()?, value.as_bytes().try_into()?)));
        let headers = headers.collect::<Result<_>>()?;
        let text = answer.text().await?;
        let json = serde_json::from_str(&text).unwrap_or_default();
        Ok(Self {
            status,
            headers,
            text,
            json,
        })
    }

    /// Status and Zoom's code.
    fn code(&self) -> (u16, u64) {
        (self.status, self.json["code"].as_u64().unwrap_or_default())
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

#[derive(Clone, Debug)]
struct Tokens {
    access: String,
    refresh: String,
}

impl App {
    async fn start(rules: Rules) -> Result<Self> {
        Self::with_webhook(rules, "http://127.0.0.1:9/").await
    }

    async fn with_webhook(rules: Rules, webhook_url: &str) -> Result<Self> {
        let app = ZoomApp {
            client_id: "client".to_owned(),
            client_secret: "hush".to_owned(),
            redirect_uri: REDIRECT.to_owned(),
            webhook_url: webhook_url.to_owned(),
            webhook_secret_token: "webhook-hush".to_owned(),
        };
        Ok(Self {
            zoom: ZoomSimulator::start(app, rules).await?,
            http: Client::builder().redirect(reqwest::redirect::Policy::none()).build()?,
        })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.zoom.url())
    }

    /// The address of the consent page, with one parameter replaced, or removed if its value is empty.
    fn consent_url(&self, name: &str, value: &str) -> String {
        let parameters = [
            ("response_type", "code"),
            ("client_id", "client"),
            ("redirect_uri", REDIRECT),
            ("state", "state of the app"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        let replaced = parameters.map(|(known, usual)| (known, if known == name { value } else { usual }));
        let kept = replaced.into_iter().filter(|(_, value)| !value.is_empty());
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(kept)
            .finish();
        self.url(&format!("/oauth/authorize?{query}"))
    }

    /// Allows on the consent page; gives the code.
    async fn consent(&self, email: &str) -> Result<String> {
        let form = [("decision", "allow"), ("email", email)];
        let reply = Reply::read(self.http.post(self.consent_url("", "")).form(&form).send().await?).await?;
        ensure!(reply.status == 302, "{reply:?}");
        let (_, query) = reply
            .header("location")
            .split_once('?')
            .context("a redirect with parameters")?;
        let mut parameters = form_urlencoded::parse(query.as_bytes());
        let code = parameters.find(|(name, _)| name == "code").context("a code")?;
        Ok(code.1.into_owned())
    }

    fn token_request(&self, form: &[(&str, &str)]) -> RequestBuilder {
        self.http
            .post(self.url("/oauth/token"))
            .basic_auth("client", Some("hush"))
            .form(form)
    }

    async fn exchange(&self, code: &str) -> Result<Reply> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ];
        Reply::read(self.token_request(&form).send().await?).await
    }

    async fn refresh(&self, refresh_token: &str) -> Result<Reply> {
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        Reply::read(self.token_request(&form).send().await?).await
    }

    async fn connect(&self, email: &str) -> Result<Tokens> {
        tokens(&self.exchange(&self.consent(email).await?).await?)
    }

    fn api(&self, method: Method, path: &str, tokens: &Tokens) -> RequestBuilder {
        self.http
            .request(method, self.url(&format!("/v2{path}")))
            .bearer_auth(&tokens.access)
    }

    async fn create(&self, tokens: &Tokens) -> Result<Reply> {
        let request = self
            .api(Method::POST, "/users/me/meetings", tokens)
            .json(&new_meeting());
        Reply::read(request.send().await?).await
    }

    async fn get(&self, path: &str, tokens: &Tokens) -> Result<Reply> {
        Reply::read(self.api(Method::GET, path, tokens).send().await?).await
    }

    async fn control(&self, method: Method, path: &str, body: Value) -> Result<Reply> {
        let request = self.http.request(method, self.url(&format!("/simulator{path}")));
        let request = if body.is_null() { request } else { request.json(&body) };
        Reply::read(request.send().await?).await
    }
}

fn tokens(reply: &Reply) -> Result<Tokens> {
    ensure!(reply.status == 200, "{reply:?}");
    let text = |name: &str| {
        reply.json[name]
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("no {name}"))
    };
    Ok(Tokens {
        access: text("access_token")?,
        refresh: text("refresh_token")?,
    })
}

fn new_meeting() -> Value {
    json!({
        "topic": "First check-in", "type": 2, "start_time": "2030-03-01T17:00:00Z", "duration": 30,
        "timezone": "Europe/Berlin", "agenda": "marker\nBring a mat.",
        "settings": {"waiting_room": true, "join_before_host": false, "mute_upon_entry": true, "approval_type": 2},
    })
}

#[tokio::test]
async fn a_person_allows_or_denies() -> Result<()> {
    let app = App::start(Rules::default()).await?;
    let page = Reply::read(app.http.get(app.consent_url("", "")).send().await?).await?;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, "text/html;charset=UTF-8")
    );
    assert!(page.text.contains("nutritionist@zoom.test") && page.text.contains("method=\"post\""));
    assert!(!page.text.contains("<script"));

    let decide = |form: Vec<(&'static str, &'static str)>| {
        let request = app.http.post(app.consent_url("", "")).form(&form);
        async { Reply::read(request.send().await?).await }
    };
    let denied = decide(vec![("decision", "deny")]).await?;
    assert_eq!(
        denied.header("location"),
        format!("{REDIRECT}?error=access_denied&state=state+of+the+app")
    );
    let allowed = decide(vec![("decision", "allow")]).await?;
    assert!(
        allowed.header("location").ends_with("&state=state+of+the+app"),
        "{allowed:?}"
    );
    assert_eq!(
        app.zoom.calls().last().context("a call")?.user.as_deref(),
        Some("trainer@zoom.test")
    );
    for wrong in [
        vec![],
        vec![("decision", "perhaps")],
        vec![("decision", "allow"), ("email", "nobody@zoom.test")],
        vec![("decision", "allow"), ("user", "trainer@zoom.test")],
    ] {
        assert_eq!(decide(wrong.clone()).await?.status, 400, "{wrong:?}");
    }

    app.zoom.set_app_access("trainer@zoom.test", AppAccess::NeedsApproval)?;
    let waits = decide(vec![("decision", "allow")]).await?;
    assert_eq!((waits.status, waits.header("location")), (200, ""));
    app.zoom.set_app_access("trainer@zoom.test", AppAccess::Disabled)?;
    assert_eq!(decide(vec![("decision", "allow")]).await?.status, 403);
    Ok(())
}

#[tokio::test]
async fn a_consent_request_that_is_not_right_leads_nowhere() -> Result<()> {
    let app = App::start(Rules::default()).await?;
    let table = [
        ("response_type", "token"),
        ("client_id", "another"),
        ("client_id", ""),
        ("redirect_uri", "http://127.0.0.1:9/functions/v1/zoom-oauth-callback/"),
        ("redirect_uri", "https://evil.example"),
        ("state", ""),
        ("code_challenge", ""),
        ("code_challenge", VERIFIER.trim_end_matches('k')),
        ("code_challenge_method", "plain"),
        ("code_challenge_method", ""),
    ];
    for (name, value) in table {
        for request in [
            app.http.get(app.consent_url(name, value)),
            app.http
                .post(app.consent_url(name, value))
                .form(&[("decision", "allow")]),
        ] {
            let reply = Reply::read(request.send().await?).await?;
            assert_eq!((reply.status, reply.header("location")), (400, ""), "{name}={value}");
        }
    }
    for more in ["&scope=meeting:read", "&state=again"] {
        let twice = app.http.get(app.consent_url("", "") + more).send().await?;
        assert_eq!(twice.status(), 400, "{more}");
    }
    Ok(())
}

#[tokio::test]
async fn codes_and_refresh_tokens_work_once() -> Result<()> {
    let app = App::start(Rules::default()).await?;
    let code = app.consent("trainer@zoom.test").await?;
    let granted = app.exchange(&code).await?;
    let first = tokens(&granted)?;
    assert!(first.access.len() > 1000);
    assert_eq!(
        (&granted.json["expires_in"], &granted.json["token_type"]),
        (&json!(3599), &json!("bearer"))
    );
    assert!(granted.json["scope"]
        .as_str()
        .context("scope")?
        .contains("meeting:read:list_meetings"));
    assert!(granted.json["api_url"].is_string());
    assert_eq!(app.get("/users/me", &first).await?.json["email"], "trainer@zoom.test");

    let second = tokens(&app.refresh(&first.refresh).await?)?;
    let spent = app.refresh(&first.refresh).await?;
    assert_eq!(spent.status, 400);
    assert_eq!(
        spent.json,
        json!({"reason": "Invalid Token!", "error": "invalid_grant"})
    );
    assert_eq!(app.get("/users/me", &first).await?.code(), (401, 124));
    assert_eq!(app.get("/users/me", &second).await?.status, 200);

    let again = app.exchange(&code).await?;
    assert_eq!((again.status, &again.json["error"]), (400, &json!("invalid_grant")));
    assert!(again.json["reason"].as_str().context("reason")?.contains("4734"));
    assert_eq!(
        app.zoom.token_status(&second.refresh),
        Some(TokenStatus::Revoked),
        "a code that comes twice is stolen"
    );

    let calls = app.zoom.calls();
    let of_tokens: Vec<_> = calls.iter().filter(|call| call.endpoint == "token").collect();
    let shown: Vec<_> = of_tokens
        .iter()
        .map(|call| (call.grant, call.acted, call.status))
        .collect();
    let (code, refresh) = (Some(Grant::AuthorizationCode), Some(Grant::RefreshToken));
    assert_eq!(
        shown,
        [
            (code, true, Some(200)),
            (refresh, true, Some(200)),
            (refresh, false, Some(400)),
            (code, false, Some(400))
        ]
    );
    assert_eq!(of_tokens[2].user.as_deref(), Some("trainer@zoom.test"));
    assert!(calls.windows(2).all(|pair| pair[0].number < pair[1].number));
    Ok(())
}

#[tokio::test]
async fn a_token_request_that_is_not_right_is_refused() -> Result<()> {
    let app = App::start(Rules::default()).await?;
    let code = app.consent("trainer@zoom.test").await?;
    let exchange = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ];
    let url = app.url("/oauth/token");
    let refused = |request: RequestBuilder, error: &'static str| async move {
        let reply = Reply::read(request.send().await?).await?;
        ensure!(
            (reply.status, &reply.json["error"]) == (400, &json!(error)),
            "{error}: {reply:?}"
        );
        anyhow::Ok(reply)
    };
    for request in [
        app.http.post(&url).form(&exchange),
        app.http.post(&url).basic_auth("client", Some("wrong")).form(&exchange),
        app.http.post(&url).bearer_auth("hush").form(&exchange),
        app.http.post(&url).basic_auth("another", Some("hush")).form(&exchange),
    ] {
        let reply = refused(request, "invalid_client").await?;
        assert_eq!(reply.json["reason"], "Invalid client_id or client_secret");
    }
    let mut doubled = exchange.to_vec();
    doubled.push(("code", &code));
    for request in [
        app.token_request(&exchange[1..]),
        app.token_request(&exchange[..3]),
        app.token_request(&doubled),
        app.token_request(&[&exchange[..], &[("client_secret", "hush")]].concat()),
        app.token_request(&[("grant_type", "refresh_token"), ("refresh_token", "")]),
        app.http
            .post(&url)
            .basic_auth("client", Some("hush"))
            .json(&json!({"grant_type": "authorization_code"})),
        app.http
            .post(format!("{url}?code={code}"))
            .basic_auth("client", Some("hush"))
            .form(&exchange),
    ] {
        refused(request, "invalid_request").await?;
    }
    refused(
        app.token_request(&[("grant_type", "password")]),
        "unsupported_grant_type",
    )
    .await?;
    let reply = app.refresh("made up").await?;
    assert!(reply.json["reason"].as_str().context("reason")?.contains("4737"));
    tokens(&app.exchange(&code).await?).context("the code is still good")?;

    let code = app.consent("trainer@zoom.test").await?;
    app.zoom.advance(TimeDelta::minutes(5));
    let late = app.exchange(&code).await?;
    assert!(late.json["reason"].as_str().context("reason")?.contains("4733"));
    Ok(())
}

#[tokio::test]
async fn what_ends_an_authorization_is_told_apart() -> Result<()> {
    let app = App::start(Rules::default()).await?;
    let reason = |reply: Reply| reply.json["reason"].as_str().unwrap_or_default().to_owned();
    let first = app.connect("user1@zoom.test").await?;
    let second = app.connect("user1@zoom.test").await?;
    assert!(reason(app.refresh(&first.refresh).await?).contains("4741"));
    assert_eq!(app.get("/users/me", &first).await?.code(), (401, 124));

    app.zoom.expire_tokens("user1@zoom.test", Some(TokenKind::Access))?;
    let expired = app.get("/users/me", &second).await?;
    assert_eq!(
        (expired.code(), &expired.json["message"]),
        ((401, 124), &json!("Access token is expired."))
    );
    let third = tokens(&app.refresh(&second.refresh).await?)?;
    app.zoom.set_app_access("user1@zoom.test", AppAccess::Disabled)?;
    assert!(reason(app.refresh(&third.refresh).await?).contains("4738"));
    assert_eq!(app.get("/users/me", &third).await?.code(), (401, 124));

    let tokens = app.connect("user2@zoom.test").await?;
    app.zoom.remove_user("user2@zoom.test")?;
    assert_eq!(app.get("/users/me", &tokens).await?.code(), (404, 1001));
    assert!(reason(app.refresh(&tokens.refresh).await?).contains("4735"));

    let tokens = app.connect("user3@zoom.test").await?;
    app.zoom.change_rules(|rules| rules.refused_grant_status = 401);
    app.zoom.advance(TimeDelta::days(90));
    let dead = app.refresh(&tokens.refresh).await?;
    assert_eq!((dead.status, reason(dead).as_str()), (401, "Invalid Token!"));
    Ok(())
}

#[tokio::test]
async fn revoking_removes_the_app_and_says_so() -> Result<()> {
    let app = App::start(Rules::default()).await?;
    let tokens = app.connect("trainer@zoom.test").await?;
    let revoke = |token: &str| {
        let request = app
            .http
            .post(app.url("/oauth/revoke"))
            .basic_auth("client", Some("hush"));
        let request = request.form(&[("token", token)]);
        async { Reply::read(request.send().await?).await }
    };
    assert_eq!(revoke(&tokens.refresh).await?.status, 400, "it takes an access token");
    let revoked = revoke(&tokens.access).await?;
    assert_eq!((revoked.status, revoked.json), (200, json!({"status": "success"})));
    assert_eq!(revoke(&tokens.access).await?.json["error"], "invalid_grant");
    assert_eq!(app.refresh(&tokens.refresh).await?.json["reason"], "Invalid Token!");
    let state = app.zoom.state();
    assert!(
        state["tokens"]
            .as_array()
            .context("tokens")?
            .iter()
            .all(|token| token["status"] == "revoked"),
        "{state}"
    );
    let [event] = app.zoom.held_events().try_into().ok().context("one event")?;
    assert_eq!(
        (event.name.as_str(), &event.body["payload"]["client_id"]),
        ("app_deauthorized", &json!("client"))
    );
    assert_eq!(event.body["payload"]["user_id"], state["users"][0]["id"]);
    Ok(())
}

#[tokio::test]
async fn a_meeting_from_creation_to_deletion() -> Result<()> {
    let app = App::start(Rules::default()).await?;
    let host = app.connect("trainer@zoom.test").await?;
    let created = app.create(&host).await?;
    assert_eq!(created.status, 201, "{created:?}");
    assert!(created.header("x-zm-trackingid").starts_with("v=2.0;"));
    assert_eq!(created.header("x-ratelimit-remaining"), "99");
    let id = created.json["id"].as_u64().context("a number")?;
    let path = format!("/meetings/{id}");
    let password = created.json["password"].as_str().context("a passcode")?;
    assert!(created.json["join_url"]
        .as_str()
        .context("join_url")?
        .ends_with(&format!("pwd={password}")));
    assert_eq!(created.json["settings"]["waiting_room"], true);
    assert_eq!(created.json["start_time"], "2030-03-01T17:00:00Z");

    let got = app.get(&path, &host).await?;
    assert_eq!(got.status, 200);
    let urls = [&created, &got].map(|reply| reply.json["start_url"].as_str().unwrap_or_default());
    assert_ne!(urls[0], urls[1]);
    for url in urls {
        assert_eq!(app.zoom.opened_by(url), Some(id.to_string()));
        assert!(app
            .http
            .get(url)
            .send()
            .await?
            .text()
            .await?
            .contains("You are the host."));
    }
    app.zoom.advance(TimeDelta::hours(2));
    assert_eq!(app.zoom.opened_by(urls[1]), None);
    assert_eq!(app.http.get(urls[1]).send().await?.status(), 403);
    let host = tokens(&app.refresh(&host.refresh).await?)?;

    let patch = app
        .api(Method::PATCH, &path, &host)
        .json(&json!({"topic": "Second check-in", "duration": 45}));
    let patched = Reply::read(patch.send().await?).await?;
    assert_eq!((patched.status, patched.text.as_str()), (204, ""));
    assert_eq!(app.zoom.meeting(&id.to_string())?.topic, "Second check-in");
    let listed = app
        .get(
            "/users/me/meetings?type=scheduled&page_size=300&next_page_token=",
            &host,
        )
        .await?;
    assert_eq!(listed.json["meetings"][0]["id"], json!(id));

    let colleague = app.connect("nutritionist@zoom.test").await?;
    assert_eq!(app.get(&path, &colleague).await?.code(), (403, 200));
    let stranger = app.connect("user1@zoom.test").await?;
    assert_eq!(app.get(&path, &stranger).await?.code(), (404, 3001));

    let delete = || app.api(Method::DELETE, &path, &host).send();
    assert_eq!(Reply::read(delete().await?).await?.status, 204);
    assert_eq!(Reply::read(delete().await?).await?.code(), (404, 3001));
    assert_eq!(app.get(&path, &host).await?.code(), (404, 3001));
    assert!(app.zoom.live_meetings().is_empty());
    let names: Vec<_> = app.zoom.held_events().into_iter().map(|event| event.name).collect();
    assert_eq!(names, ["meeting.updated", "meeting.deleted"]);
    Ok(())
}

#[tokio::test]
async fn the_api_refuses_what_zoom_refuses() -> Result<()> {
    let app = App::start(Rules::default()).await?;
    let host = app.connect("trainer@zoom.test").await?;
    let post = |body: &str, content_type: &str| {
        let request = app.api(Method::POST, "/users/me/meetings", &host);
        let request = request.header("content-type", content_type).body(body.to_owned());
        async { Reply::read(request.send().await?).await }
    };
    let wrong = post(r#"{"topic":"","type":2}"#, "application/json").await?;
    assert_eq!(
        (wrong.code(), &wrong.json["message"]),
        ((400, 300), &json!("Validation Failed."))
    );
    assert_eq!(wrong.json["errors"][0]["field"], "topic");
    assert_eq!(post("{", "application/json").await?.code(), (400, 300));
    assert_eq!(post("{}", "text/plain").await?.code(), (400, 300));
    for path in [
        "/meetings/x",
        "/meetings/",
        "/users/me?x=1",
        "/users/me/meetings?page_size=301",
    ] {
        assert_eq!(app.get(path, &host).await?.code(), (400, 300), "{path}");
    }
    assert_eq!(app.get("/meetings/1", &host).await?.code(), (404, 3001));
    assert_eq!(app.get("/metrics/meetings", &host).await?.code(), (404, 2300));
    let nobody = app.http.get(app.url("/v2/users/me")).send().await?;
    assert_eq!(Reply::read(nobody).await?.code(), (401, 124));
    let by_refresh_token = Tokens {
        access: host.refresh.clone(),
        ..host.clone()
    };
    assert_eq!(app.get("/users/me", &by_refresh_token).await?.code(), (401, 124));

    let guest = app.connect("nohost@zoom.test").await?;
    assert_eq!(app.create(&guest).await?.code(), (400, 3161));

    app.zoom
        .set_scopes("trainer@zoom.test", &["meeting:read", "user:read:user"])?;
    let lacking = app.create(&host).await?;
    assert_eq!(lacking.code(), (400, 4711));
    assert!(lacking
        .text
        .contains("does not contain scopes:[meeting:write:meeting, meeting:write]"));
    assert_eq!(
        app.get("/users/me/meetings", &host).await?.status,
        200,
        "the classic scope will do"
    );
    assert_eq!(
        app.refresh(&host.refresh).await?.json["scope"],
        "meeting:read user:read:user"
    );
    Ok(())
}

#[tokio::test]
async fn limits_say_when_to_come_back() -> Result<()> {
    let rules = Rules {
        daily_limit: Some(2),
        per_second_limits: Some(PerSecondLimits { medium: 2, light: 100 }),
        ..Rules::default()
    };
    let app = App::start(rules).await?;
    let host = app.connect("trainer@zoom.test").await?;
    assert_eq!(app.create(&host).await?.status, 201);
    assert_eq!(app.create(&host).await?.status, 201);
    let hasty = app.create(&host).await?;
    assert_eq!((hasty.status, hasty.header("x-ratelimit-type")), (429, "QPS"));
    let until: DateTime<Utc> = hasty.header("retry-after").parse()?;
    assert!(until > Utc::now() && until < Utc::now() + TimeDelta::seconds(3));
    app.zoom.advance(TimeDelta::seconds(1));
    let daily = app.create(&host).await?;
    assert_eq!((daily.status, daily.header("x-ratelimit-type")), (429, "Daily-limit"));
    assert!(daily.json["message"]
        .as_str()
        .context("message")?
        .contains("daily rate limit (2)"));
    assert!(daily.header("retry-after").ends_with("T00:00:00Z"));
    assert_eq!(app.zoom.live_meetings().len(), 2);
    app.zoom.advance(TimeDelta::days(1));
    let host = tokens(&app.refresh(&host.refresh).await?)?;
    assert_eq!(app.create(&host).await?.status, 201);
    Ok(())
}

#[tokio::test]
async fn faults_before_and_after_zoom_has_acted() -> Result<()> {
    let app = App::start(Rules {
        daily_limit: None,
        ..Rules::default()
    })
    .await?;
    let host = app.connect("trainer@zoom.test").await?;
    let create = Endpoint::CreateMeeting;
    let made = || app.zoom.live_meetings().len();

    app.zoom.order(Fault::at(create).answering(Answer::bad_gateway()))?;
    let refused = app.create(&host).await?;
    assert_eq!((refused.status, made()), (502, 0));
    assert!(refused.text.starts_with("<html>") && refused.header("content-type") == "text/html");
    app.zoom.order(
        Fault::at(create)
            .after_acting()
            .answering(Answer::json(500, json!({"code": 500}))),
    )?;
    assert_eq!((app.create(&host).await?.status, made()), (500, 1));

    app.zoom.order(Fault::at(create).dropping())?;
    assert!(app.create(&host).await.is_err());
    assert_eq!(made(), 1);
    app.zoom.order(Fault::at(create).after_acting().dropping())?;
    assert!(app.create(&host).await.is_err());
    assert_eq!(made(), 2);

    app.zoom.order(Fault::at(create).truncating(Truncation::Fitting))?;
    let cut = app.create(&host).await?;
    assert_eq!((cut.status, cut.json, made()), (201, Value::Null, 3));
    assert!(cut.text.starts_with('{'));
    app.zoom.order(Fault::at(create).truncating(Truncation::Broken))?;
    let request = app.api(Method::POST, "/users/me/meetings", &host).json(&new_meeting());
    let head = request.send().await?;
    assert_eq!(
        (head.status().as_u16(), made()),
        (201, 4),
        "the head arrives, the body breaks off"
    );
    assert!(head.bytes().await.is_err());

    app.zoom.order(Fault::at(create).delayed(Duration::from_millis(300)))?;
    let impatient = app.api(Method::POST, "/users/me/meetings", &host).json(&new_meeting());
    assert!(impatient.timeout(Duration::from_millis(50)).send().await.is_err());
    let all_acted = |count| {
        move |calls: &[local_stack::zoom::RecordedCall]| {
            calls
                .iter()
                .filter(|call| call.endpoint == create && call.acted)
                .count()
                == count
        }
    };
    app.zoom
        .wait_for("Zoom to act for a caller that has gone", all_acted(5))
        .await?;
    assert_eq!(made(), 5);

    let statuses: Vec<_> = app
        .zoom
        .calls()
        .iter()
        .filter(|call| call.endpoint == create)
        .map(|call| (call.acted, call.status))
        .collect();
    assert_eq!(
        statuses[..6],
        [
            (false, Some(502)),
            (true, Some(500)),
            (false, None),
            (true, None),
            (true, Some(201)),
            (true, Some(201)),
        ]
    );
    assert_eq!(app.create(&host).await?.status, 201, "and then all is well again");
    Ok(())
}

#[tokio::test]
async fn a_call_hangs_until_it_is_released() -> Result<()> {
    let app = Arc::new(App::start(Rules::default()).await?);
    let host = app.connect("trainer@zoom.test").await?;
    let fault = app
        .zoom
        .order(Fault::at(Target::TOKEN_REFRESH).hanging().after_acting())?;
    let refreshing = tokio::spawn({
        let (app, refresh) = (app.clone(), host.refresh.clone());
        async move { app.refresh(&refresh).await }
    });
    app.zoom
        .wait_for("the refresh to be done at Zoom", |calls| {
            calls
                .iter()
                .any(|call| call.grant == Some(Grant::RefreshToken) && call.acted)
        })
        .await?;
    assert_eq!(app.zoom.token_status(&host.refresh), Some(TokenStatus::Spent));
    assert!(!refreshing.is_finished());
    app.zoom.release(fault)?;
    assert_eq!(refreshing.await??.status, 200);
    assert_eq!(app.zoom.happened(fault), Some(1));
    Ok(())
}

#[tokio::test]
async fn faults_choose_their_calls() -> Result<()> {
    let app = App::start(Rules::default()).await?;
    let host = app.connect("trainer@zoom.test").await?;
    app.zoom.order(
        Fault::at(Target::TOKEN_EXCHANGE)
            .answering(Answer::empty(503))
            .lasting(),
    )?;
    app.zoom.order(
        Fault::at(Endpoint::UsersMe)
            .answering(Answer::empty(500))
            .skipping(1)
            .times(2),
    )?;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(app.get("/users/me", &host).await?.status);
    }
    assert_eq!(statuses, [200, 500, 500, 200, 200]);
    assert_eq!(app.refresh(&host.refresh).await?.status, 200, "not a token exchange");
    let code = app.consent("trainer@zoom.test").await?;
    assert_eq!(app.exchange(&code).await?.status, 503);
    app.zoom.withdraw_all();
    assert_eq!(app.exchange(&code).await?.status, 200, "the code was not used");
    Ok(())
}

/// An app's webhook: it keeps what comes, and answers with the status that it is told to.
struct Receiver {
    url: String,
    seen: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    status: Arc<Mutex<StatusCode>>,
    _task: JoinSet<()>,
}

impl Receiver {
    async fn start() -> Result<Self> {
        type Seen = (Arc<Mutex<Vec<(HeaderMap, String)>>>, Arc<Mutex<StatusCode>>);
        async fn receive(State((seen, status)): State<Seen>, headers: HeaderMap, body: String) -> (StatusCode, String) {
            let parsed: Value = serde_json::from_str(&body).unwrap_or_default();
            seen.lock().unwrap().push((headers, body));
            let token = &parsed["payload"]["plainToken"];
            // Not what the endpoint would have to answer: it has no key.
            (*status.lock().unwrap(), json!({"plainToken": token}).to_string())
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let status = Arc::new(Mutex::new(StatusCode::OK));
        let router = axum::Router::new()
            .route("/", axum::routing::post(receive))
            .with_state((seen.clone(), status.clone()));
        let mut task = JoinSet::new();
        task.spawn(async {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            url,
            seen,
            status,
            _task: task,
        })
    }

    fn answer_with(&self, status: StatusCode) {
        *self.status.lock().unwrap() = status;
    }

    /// The events that came, and forgets them.
    fn take(&self) -> Vec<(HeaderMap, String)> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// Whether a delivery is signed with the app's secret, as the app would check it.
fn is_genuine(headers: &HeaderMap, body: &str) -> bool {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"webhook-hush");
    let signed = format!("v0:{}:{body}", text("x-zm-request-timestamp"));
    let tag = ring::hmac::sign(&key, signed.as_bytes());
    let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    text("x-zm-signature") == format!("v0={tag}")
}

#[tokio::test]
async fn events_come_by_themselves_or_when_they_are_called_for() -> Result<()> {
    let receiver = Receiver::start().await?;
    let rules = Rules {
        webhooks: Webhooks::Sent,
        ..Rules::default()
    };
    let app = App::with_webhook(rules, &receiver.url).await?;
    let meeting = app.zoom.schedule_meeting("user1@zoom.test", &new_meeting())?;
    app.zoom.start_meeting(&meeting)?;
    app.zoom.end_meeting(&meeting)?;
    app.zoom
        .edit_meeting(&meeting, json!({"start_time": "2030-03-02T17:00:00Z"}))?;
    app.zoom.delete_meeting(&meeting)?;
    app.zoom.settled().await?;
    let came = receiver.take();
    assert!(came.iter().all(|(headers, body)| is_genuine(headers, body)));
    let bodies: Vec<Value> = came
        .iter()
        .map(|(_, body)| serde_json::from_str(body))
        .collect::<Result<_, _>>()?;
    let names: Vec<_> = bodies
        .iter()
        .map(|body| body["event"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(
        names,
        ["meeting.started", "meeting.ended", "meeting.updated", "meeting.deleted"]
    );
    assert_eq!(bodies[0]["payload"]["object"]["id"], json!(meeting));
    assert_eq!(
        bodies[2]["payload"]["object"],
        json!({"id": meeting.parse::<u64>()?, "start_time": "2030-03-02T17:00:00Z"})
    );

    app.zoom.change_rules(|rules| rules.webhooks = Webhooks::Held);
    app.connect("user1@zoom.test").await?;
    app.zoom.deauthorize("user1@zoom.test")?;
    app.connect("user1@zoom.test").await?;
    assert_eq!(app.zoom.held_events().len(), 1);
    assert!(receiver.take().is_empty());
    let reports = app.zoom.deliver(&DeliveryPlan::default()).await?;
    assert_eq!(
        (reports.len(), reports[0].status),
        (1, Some(200)),
        "the late event after a reconnect"
    );
    assert_eq!(app.zoom.deliveries().len(), 5);
    Ok(())
}

#[tokio::test]
async fn deliveries_repeated_shuffled_and_forged() -> Result<()> {
    let receiver = Receiver::start().await?;
    let app = App::with_webhook(Rules::default(), &receiver.url).await?;
    for _ in 0..10 {
        let meeting = app.zoom.schedule_meeting("user1@zoom.test", &new_meeting())?;
        app.zoom.start_meeting(&meeting)?;
        app.zoom.end_meeting(&meeting)?;
    }
    let chosen = DeliveryPlan {
        only: Some(vec![app.zoom.held_events()[3].id]),
        ..DeliveryPlan::default()
    };
    assert_eq!(app.zoom.deliver(&chosen).await?.len(), 1);
    app.zoom.start_meeting(&app.zoom.meetings()[0].id)?;
    receiver.take();
    let plan = DeliveryPlan {
        only: None,
        copies: 3,
        shuffle: Some(7),
        spoiled_share: 0.1,
        at_once: 8,
    };
    let reports = app.zoom.deliver(&plan).await?;
    let came = receiver.take();
    assert_eq!((reports.len(), came.len()), (67, 67), "60 genuine ones are nine tenths");
    let genuine = reports
        .iter()
        .filter(|report| report.signature == Signature::Genuine)
        .count();
    let stale = reports
        .iter()
        .filter(|report| matches!(report.signature, Signature::Stale(_)))
        .count();
    assert_eq!((genuine, stale), (60, 3));
    let now = Utc::now().timestamp();
    let believed = came.iter().filter(|(headers, body)| {
        let timestamp = headers["x-zm-request-timestamp"]
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok());
        is_genuine(headers, body) && timestamp.is_some_and(|at: i64| now - at < 7200)
    });
    assert_eq!(believed.count(), 60);
    assert!(app.zoom.held_events().is_empty());
    Ok(())
}

#[tokio::test]
async fn what_failed_is_delivered_again() -> Result<()> {
    let receiver = Receiver::start().await?;
    let app = App::with_webhook(Rules::default(), &receiver.url).await?;
    let meeting = app.zoom.schedule_meeting("user1@zoom.test", &new_meeting())?;
    app.zoom.start_meeting(&meeting)?;
    receiver.answer_with(StatusCode::SERVICE_UNAVAILABLE);
    app.zoom.deliver(&DeliveryPlan::default()).await?;
    let first = receiver.take();
    assert_eq!(app.zoom.retry_failed().await.len(), 1);
    receiver.answer_with(StatusCode::OK);
    assert_eq!(app.zoom.retry_failed().await.len(), 1);
    assert_eq!(app.zoom.retry_failed().await.len(), 0, "it has got through");
    let again = receiver.take();
    assert!(again
        .iter()
        .all(|(headers, body)| *body == first[0].1 && is_genuine(headers, body)));

    app.zoom.end_meeting(&meeting)?;
    receiver.answer_with(StatusCode::UNAUTHORIZED);
    app.zoom.deliver(&DeliveryPlan::default()).await?;
    assert_eq!(app.zoom.retry_failed().await.len(), 0, "a 4xx is an answer");

    app.zoom.delete_meeting(&meeting)?;
    receiver.answer_with(StatusCode::INTERNAL_SERVER_ERROR);
    app.zoom.deliver(&DeliveryPlan::default()).await?;
    let mut retries = 0;
    while !app.zoom.retry_failed().await.is_empty() {
        retries += 1;
    }
    assert_eq!(retries, 3, "then Zoom gives up");

    receiver.answer_with(StatusCode::OK);
    let invalid = app.zoom.validate_endpoint().await;
    assert!(invalid.unwrap_err().to_string().contains("failed its validation"));
    for signature in [Signature::Forged, Signature::Missing, Signature::Stale(9000)] {
        receiver.take();
        app.zoom.send(r#"{"event":"meeting.deleted"}"#, signature).await;
        let [(headers, body)] = receiver.take().try_into().ok().context("one delivery")?;
        assert_eq!(is_genuine(&headers, &body), matches!(signature, Signature::Stale(_)));
    }
    Ok(())
}

#[tokio::test]
async fn secrets_are_known_to_leak_checks_and_shown_nowhere_else() -> Result<()> {
    let app = App::start(Rules::default()).await?;
    let host = app.connect("trainer@zoom.test").await?;
    let start_url = app.create(&host).await?.json["start_url"]
        .as_str()
        .context("start_url")?
        .to_owned();
    app.refresh(&host.refresh).await?;
    let secrets = app.zoom.issued_secrets();
    let count = |kind| secrets.iter().filter(|secret| secret.kind == kind).count();
    assert_eq!(
        [
            SecretKind::Code,
            SecretKind::AccessToken,
            SecretKind::RefreshToken,
            SecretKind::StartUrl
        ]
        .map(count),
        [1, 2, 2, 1]
    );
    for known in [&host.access, &host.refresh, &start_url] {
        assert!(secrets.iter().any(|secret| secret.value == **known));
    }
    for path in ["/", "/simulator/state", "/simulator/calls", "/simulator/webhooks"] {
        let shown = Reply::read(app.http.get(app.url(path)).send().await?).await?;
        assert_eq!(shown.status, 200, "{path}");
        assert!(
            secrets.iter().all(|secret| !shown.text.contains(&secret.value)),
            "{path}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn everything_can_be_controlled_over_http() -> Result<()> {
    let receiver = Receiver::start().await?;
    let app = App::with_webhook(Rules::default(), &receiver.url).await?;
    let ok = |reply: Reply| {
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json
    };
    let (get, post, patch, delete) = (Method::GET, Method::POST, Method::PATCH, Method::DELETE);

    let user = ok(app
        .control(post.clone(), "/users", json!({"email": "host1@zoom.test", "type": 1}))
        .await?);
    assert_eq!(user["type"], 1);
    app.zoom.create_user(NewUser::named("host2@zoom.test"))?;
    let changes = json!({"scopes": ["user:read"], "may_host": false});
    ok(app.control(patch.clone(), "/users/host1@zoom.test", changes).await?);
    assert_eq!(
        ok(app.control(get.clone(), "/users", Value::Null).await?)[10]["scopes"],
        json!(["user:read"])
    );

    let tokens = app.connect("host1@zoom.test").await?;
    let shown = ok(app.control(get.clone(), "/state", Value::Null).await?)["tokens"].clone();
    assert_eq!(
        (&shown[0]["kind"], &shown[0]["status"]),
        (&json!("refresh"), &json!("live"))
    );
    let id = shown[0]["id"].as_str().context("id")?;
    ok(app
        .control(post.clone(), &format!("/tokens/{id}/revoke"), Value::Null)
        .await?);
    assert_eq!(app.refresh(&tokens.refresh).await?.status, 400);
    ok(app
        .control(post.clone(), "/users/host1@zoom.test/expire", json!({"kind": "access"}))
        .await?);
    assert_eq!(
        app.get("/users/me", &tokens).await?.json["message"],
        "Access token is expired."
    );
    app.connect("host1@zoom.test").await?;
    ok(app
        .control(post.clone(), "/users/host1@zoom.test/expire", Value::Null)
        .await?);
    app.connect("host1@zoom.test").await?;
    ok(app
        .control(post.clone(), "/users/host1@zoom.test/revoke", Value::Null)
        .await?);
    ok(app
        .control(post.clone(), "/users/host1@zoom.test/deauthorize", Value::Null)
        .await?);

    let mut meeting = new_meeting();
    meeting["host"] = json!("host2@zoom.test");
    let id = ok(app.control(post.clone(), "/meetings", meeting).await?)["id"]
        .as_str()
        .context("id")?
        .to_owned();
    for action in ["start", "end"] {
        ok(app
            .control(post.clone(), &format!("/meetings/{id}/{action}"), Value::Null)
            .await?);
    }
    ok(app
        .control(patch.clone(), &format!("/meetings/{id}"), json!({"topic": "new"}))
        .await?);
    ok(app
        .control(post.clone(), &format!("/meetings/{id}/delete"), Value::Null)
        .await?);
    let shown = ok(app.control(get.clone(), "/meetings", Value::Null).await?);
    assert_eq!(
        (&shown[0]["status"], &shown[0]["topic"]),
        (&json!("deleted"), &json!("new"))
    );

    let fault = json!({"endpoint": "users_me", "effect": {"answer": {"status": 503}}, "times": null});
    let fault = ok(app.control(post.clone(), "/faults", fault).await?)["id"].clone();
    assert_eq!(app.get("/users/me", &tokens).await?.status, 503);
    assert_eq!(
        ok(app.control(get.clone(), "/faults", Value::Null).await?)[0]["happened"],
        1
    );
    ok(app
        .control(post.clone(), &format!("/faults/{fault}/release"), Value::Null)
        .await?);
    ok(app
        .control(delete.clone(), &format!("/faults/{fault}"), Value::Null)
        .await?);
    ok(app.control(delete.clone(), "/faults", Value::Null).await?);
    assert_eq!(app.get("/users/me", &tokens).await?.status, 401);
    assert_eq!(
        ok(app.control(get.clone(), "/calls", Value::Null).await?)
            .as_array()
            .map(Vec::len),
        Some(app.zoom.calls().len())
    );
    ok(app.control(delete.clone(), "/calls", Value::Null).await?);
    assert!(app.zoom.calls().is_empty());

    assert_eq!(
        ok(app
            .control(post.clone(), "/clock", json!({"advance_seconds": 60}))
            .await?)["advanced_seconds"],
        60
    );
    let rules = ok(app.control(patch.clone(), "/rules", json!({"daily_limit": 7})).await?);
    assert_eq!(
        (&rules["daily_limit"], app.zoom.rules().daily_limit),
        (&json!(7), Some(7))
    );
    assert_eq!(ok(app.control(get.clone(), "/rules", Value::Null).await?), rules);

    assert_eq!(
        ok(app.control(get.clone(), "/webhooks", Value::Null).await?)["held"]
            .as_array()
            .map(Vec::len),
        Some(5)
    );
    receiver.answer_with(StatusCode::BAD_GATEWAY);
    let plan = json!({"copies": 2});
    assert_eq!(
        ok(app.control(post.clone(), "/webhooks/deliver", plan).await?)
            .as_array()
            .map(Vec::len),
        Some(10)
    );
    receiver.answer_with(StatusCode::OK);
    assert_eq!(
        ok(app.control(post.clone(), "/webhooks/retry", Value::Null).await?)[4]["status"],
        200
    );
    let sent = json!({"body": {"event": "meeting.started"}, "signature": {"stale": 9000}});
    assert_eq!(
        ok(app.control(post.clone(), "/webhooks/send", sent).await?)["signature"],
        json!({"stale": 9000})
    );
    assert_eq!(
        app.control(post.clone(), "/webhooks/validate", Value::Null)
            .await?
            .status,
        400
    );
    app.zoom.deauthorize("host2@zoom.test")?;
    ok(app.control(post.clone(), "/webhooks/discard", Value::Null).await?);
    assert!(app.zoom.held_events().is_empty());
    ok(app
        .control(delete.clone(), "/users/host1@zoom.test", Value::Null)
        .await?);

    for (method, path, body) in [
        (post.clone(), "/faults", json!({"endpoint": "nowhere"})),
        (patch.clone(), "/rules", json!({"webhooks": "sometimes"})),
        (post.clone(), "/meetings/1/start", Value::Null),
        (post.clone(), "/tokens/t999/revoke", Value::Null),
        (delete, "/users/host1@zoom.test", Value::Null),
        (get, "/nowhere", Value::Null),
    ] {
        let status = app.control(method, path, body).await?.status;
        assert!((400..500).contains(&status), "{path}: {status}");
    }
    Ok(())
}

#[tokio::test]
async fn no_page_from_elsewhere_controls_the_simulator() -> Result<()> {
    let app = App::start(Rules::default()).await?;
    let clock = app.url("/simulator/calls");
    let from = |origin: &str| app.http.delete(&clock).header("origin", origin).send();
    let own = from(app.zoom.url()).await?;
    assert_eq!(own.status(), 200);
    assert!(own.headers().get("access-control-allow-origin").is_none());
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        assert_eq!(from(origin).await?.status(), 403, "{origin}");
    }
    let rebound = app
        .http
        .get(app.url("/simulator/state"))
        .header("host", "evil.example")
        .send()
        .await?;
    assert_eq!(rebound.status(), 403);

    // The pages' own buttons lead back to the page.
    let meeting = app.zoom.schedule_meeting("user1@zoom.test", &new_meeting())?;
    let button = app
        .http
        .post(app.url(&format!("/simulator/meetings/{meeting}/start")))
        .header("accept", "text/html");
    assert_eq!(button.send().await?.status(), 303);
    let index = app.http.get(app.zoom.url()).send().await?.text().await?;
    assert!(index.contains(&format!("/simulator/meetings/{meeting}/end")), "{index}");
    let join = app.http.get(app.url(&format!("/j/{meeting}?pwd=wrong"))).send().await?;
    assert_eq!(join.status(), 403);
    Ok(())
}

impl App {
    async fn call(&self, method: Method, path: &str, tokens: &Tokens, body: Value) -> Result<Reply> {
        Reply::read(self.api(method, path, tokens).json(&body).send().await?).await
    }

    /// Names of the events that wait, with the instance that each is about.
    fn told(&self) -> Vec<(String, String)> {
        let events = self.zoom.held_events().into_iter();
        let uuid = |body: &Value| {
            body["payload"]["object"]["uuid"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        events.map(|event| (event.name.clone(), uuid(&event.body))).collect()
    }
}

#[tokio::test]
async fn a_meeting_is_held_any_number_of_times() -> Result<()> {
    let app = App::start(Rules::default()).await?;
    let tokens = app.connect("trainer@zoom.test").await?;
    let created = app.create(&tokens).await?.json;
    let id = created["id"].as_u64().context("a number")?.to_string();
    let path = format!("/meetings/{id}");
    let mut uuid = created["uuid"].clone();
    for _ in 0..3 {
        app.zoom.start_meeting(&id)?;
        // The host comes in from the telephone, too: still the same instance.
        app.zoom.start_meeting(&id)?;
        let running = app.get(&path, &tokens).await?.json;
        assert_eq!((&running["status"], &running["uuid"]), (&json!("started"), &uuid));
        app.zoom.end_meeting(&id)?;
        let told = app.told();
        let names: Vec<_> = told.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["meeting.started", "meeting.ended"]);
        assert!(told.iter().all(|(_, told)| json!(told) == uuid));
        app.zoom.discard_events();
        let waiting = app.get(&path, &tokens).await?.json;
        assert_eq!(waiting["status"], "waiting");
        assert_ne!(waiting["uuid"], uuid);
        uuid = waiting["uuid"].clone();
    }
    assert_eq!(app.zoom.meeting(&id)?.instances.len(), 3);
    Ok(())
}

#[tokio::test]
async fn a_meeting_ends_when_the_last_one_leaves_and_after_40_free_minutes() -> Result<()> {
    let app = App::start(Rules::default()).await?;
    let tokens = app.connect("basic@zoom.test").await?;
    let id = app.create(&tokens).await?.json["id"]
        .as_u64()
        .context("a number")?
        .to_string();
    assert!(app.zoom.guest_joins(&id).is_err(), "nobody is let in before the host");
    app.zoom.start_meeting(&id)?;
    app.zoom.host_leaves(&id)?;
    assert_eq!(
        app.zoom.meeting(&id)?.status,
        MeetingStatus::Waiting,
        "a host who was alone"
    );
    app.zoom.start_meeting(&id)?;
    app.zoom.guest_joins(&id)?;
    app.zoom.host_leaves(&id)?;
    assert_eq!(app.zoom.meeting(&id)?.status, MeetingStatus::Started);
    app.zoom.guest_leaves(&id)?;
    assert_eq!(app.zoom.meeting(&id)?.status, MeetingStatus::Waiting);

    app.zoom.start_meeting(&id)?;
    app.zoom.advance(TimeDelta::minutes(39));
    assert_eq!(app.zoom.meeting(&id)?.status, MeetingStatus::Started);
    app.zoom.advance(TimeDelta::minutes(6));
    let cut = app.zoom.meeting(&id)?;
    let last = cut.instances.last().context("an instance")?;
    assert_eq!(last.ended_at, Some(last.started_at + TimeDelta::minutes(40)));
    let ended = app.zoom.held_events().last().context("an event")?.body.clone();
    let end: DateTime<Utc> = ended["payload"]["object"]["end_time"]
        .as_str()
        .context("a time")?
        .parse()?;
    assert!((end - (last.started_at + TimeDelta::minutes(40))).abs() < TimeDelta::seconds(1));

    let licensed = app.connect("trainer@zoom.test").await?;
    let id = app.create(&licensed).await?.json["id"]
        .as_u64()
        .context("a number")?
        .to_string();
    app.zoom.start_meeting(&id)?;
    app.zoom.advance(TimeDelta::hours(9));
    assert_eq!(app.zoom.meeting(&id)?.status, MeetingStatus::Started);
    Ok(())
}

#[tokio::test]
async fn what_a_running_meeting_refuses_and_how_it_is_ended() -> Result<()> {
    let app = App::start(Rules::default()).await?;
    let tokens = app.connect("trainer@zoom.test").await?;
    let id = app.create(&tokens).await?.json["id"]
        .as_u64()
        .context("a number")?
        .to_string();
    let (path, status) = (format!("/meetings/{id}"), format!("/meetings/{id}/status"));
    let end = json!({"action": "end"});
    assert_eq!(
        app.call(Method::PUT, &status, &tokens, end.clone()).await?.code(),
        (400, 3000),
        "it does not go on"
    );
    app.zoom.start_meeting(&id)?;
    let rename = json!({"topic": "Another"});
    assert_eq!(
        app.call(Method::PATCH, &path, &tokens, rename.clone()).await?.status,
        204
    );
    for (rule, code) in [
        (RunningMeeting::RefusedAsStarted, 3000),
        (RunningMeeting::RefusedAsInProgress, 3002),
    ] {
        app.zoom.change_rules(|rules| rules.running_meeting = rule);
        assert_eq!(
            app.call(Method::PATCH, &path, &tokens, rename.clone()).await?.code(),
            (400, code)
        );
        assert_eq!(
            app.call(Method::DELETE, &path, &tokens, json!({})).await?.code(),
            (400, code)
        );
    }
    assert_eq!(
        app.call(Method::PUT, &status, &tokens, json!({"action": "stop"}))
            .await?
            .code(),
        (400, 300)
    );
    app.zoom.set_scopes("trainer@zoom.test", &GRANULAR_SCOPES)?;
    assert_eq!(
        app.call(Method::PUT, &status, &tokens, end.clone()).await?.code(),
        (400, 4711)
    );
    app.zoom.set_scopes("trainer@zoom.test", &[END_SCOPE])?;
    assert_eq!(app.call(Method::PUT, &status, &tokens, end.clone()).await?.status, 204);
    assert_eq!(app.zoom.meeting(&id)?.status, MeetingStatus::Waiting);
    app.zoom.set_scopes("trainer@zoom.test", &GRANULAR_SCOPES)?;
    assert_eq!(app.call(Method::DELETE, &path, &tokens, json!({})).await?.status, 204);
    assert_eq!(app.get(&path, &tokens).await?.code(), (404, 3001));
    Ok(())
}

#[tokio::test]
async fn what_zoom_passes_over_and_what_it_does_not_know() -> Result<()> {
    let app = App::start(Rules::default()).await?;
    let tokens = app.connect("trainer@zoom.test").await?;
    let created = app.create(&tokens).await?.json;
    let path = format!("/meetings/{}", created["id"]);
    let past = json!({"start_time": "2020-01-01T10:00:00Z", "duration": 45});
    assert_eq!(app.call(Method::PATCH, &path, &tokens, past).await?.status, 204);
    let meeting = app.get(&path, &tokens).await?.json;
    assert_eq!(
        (&meeting["start_time"], &meeting["duration"]),
        (&created["start_time"], &json!(45))
    );

    let zone = json!({"timezone": "America/Toronto"});
    let refused = app.call(Method::PATCH, &path, &tokens, zone.clone()).await?;
    assert_eq!(
        (refused.code(), &refused.json["errors"][0]["field"]),
        ((400, 300), &json!("timezone"))
    );
    let mut body = new_meeting();
    body["timezone"] = json!("Europe/Kyiv");
    assert_eq!(
        app.call(Method::POST, "/users/me/meetings", &tokens, body)
            .await?
            .code(),
        (400, 300)
    );
    app.zoom
        .change_rules(|rules| rules.unknown_time_zones = UnknownTimeZones::Taken);
    assert_eq!(app.call(Method::PATCH, &path, &tokens, zone).await?.status, 204);
    Ok(())
}

#[tokio::test]
async fn a_changed_passcode_makes_the_old_link_useless() -> Result<()> {
    let app = App::start(Rules::default()).await?;
    let tokens = app.connect("trainer@zoom.test").await?;
    let created = app.create(&tokens).await?.json;
    let id = created["id"].to_string();
    let open = |url: &Value| app.http.get(url.as_str().unwrap_or_default()).send();
    assert_eq!(open(&created["join_url"]).await?.status(), 200);
    app.zoom.edit_meeting(&id, json!({"password": "another1"}))?;
    let told = app.zoom.held_events().pop().context("an event")?.body;
    assert_eq!(told["payload"]["object"]["password"], "another1");
    assert_eq!(open(&created["join_url"]).await?.status(), 403);
    let now = app.get(&format!("/meetings/{id}"), &tokens).await?.json;
    assert_ne!(now["join_url"], created["join_url"]);
    assert_eq!(open(&now["join_url"]).await?.status(), 200);
    Ok(())
}

#[tokio::test]
async fn meetings_come_back_from_the_bin_and_occurrences_leave_them_alone() -> Result<()> {
    let app = App::start(Rules::default()).await?;
    let tokens = app.connect("trainer@zoom.test").await?;
    let id = app.create(&tokens).await?.json["id"].to_string();
    let path = format!("/meetings/{id}");
    app.zoom
        .edit_occurrence(&id, json!({"start_time": "2031-01-01T10:00:00Z"}))?;
    app.zoom.delete_occurrence(&id)?;
    let [moved, deleted] = &app.zoom.held_events()[..] else {
        panic!("two events");
    };
    assert_eq!(
        (moved.name.as_str(), deleted.name.as_str()),
        ("meeting.updated", "meeting.deleted")
    );
    for event in [moved, deleted] {
        assert_eq!(
            event.body["payload"]["object"]["occurrences"].as_array().map(Vec::len),
            Some(1)
        );
    }
    let meeting = app.get(&path, &tokens).await?.json;
    assert_eq!(meeting["start_time"], "2030-03-01T17:00:00Z");
    app.zoom.discard_events();

    assert!(app.zoom.recover_meeting(&id).is_err());
    app.zoom.delete_meeting(&id)?;
    assert_eq!(app.get(&path, &tokens).await?.code(), (404, 3001));
    app.zoom.recover_meeting(&id)?;
    assert_eq!(app.get(&path, &tokens).await?.status, 200);
    app.zoom.delete_meeting(&id)?;
    app.zoom.purge_meeting(&id)?;
    assert!(app.zoom.recover_meeting(&id).is_err());
    let names: Vec<_> = app.told().into_iter().map(|(name, _)| name).collect();
    let (deleted, recovered) = ("meeting.deleted", "meeting.recovered");
    assert_eq!(names, [deleted, recovered, deleted, "meeting.permanently_deleted"]);
    Ok(())
}

#[tokio::test]
async fn users_may_hide_their_address_and_superseded_grants_may_say_little() -> Result<()> {
    let app = App::start(Rules::default()).await?;
    let first = app.connect("trainer@zoom.test").await?;
    app.zoom.hide_email("trainer@zoom.test", true)?;
    let me = app.get("/users/me", &first).await?.json;
    assert!(me.get("email").is_none() && me["id"].is_string());
    app.zoom
        .change_rules(|rules| rules.overtaken_says = OvertakenSays::InvalidToken);
    app.connect("trainer@zoom.test").await?;
    assert_eq!(
        app.refresh(&first.refresh).await?.json,
        json!({"reason": "Invalid Token!", "error": "invalid_grant"})
    );
    Ok(())
}
