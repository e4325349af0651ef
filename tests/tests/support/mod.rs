//! What the end-to-end tests share: an app that talks to the stack as a client does.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::PathBuf;
use std::sync::LazyLock;

use anyhow::{ensure, Context, Result};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use local_stack::{repository, SignedIn, Stack, StackOptions};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{json, Value};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, OnceCell};
use uuid::Uuid;

pub mod catalog;
pub mod connection;
pub mod db;
pub mod drift;
pub mod readme;

/// The Supabase CLI: npm's of this repository, or the one that `SUPABASE_CLI` names, to try another version.
pub fn supabase_cli() -> PathBuf {
    std::env::var_os("SUPABASE_CLI").map_or_else(
        || repository().join("node_modules/supabase/dist/supabase.js"),
        PathBuf::from,
    )
}

/// Runs a test on the stack that all tests of its file share, one test at a time. The stack ends with the process.
pub fn on_shared_stack(options: StackOptions, test: impl AsyncFnOnce(&'static Stack) -> Result<()>) -> Result<()> {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    static TURN: Mutex<()> = Mutex::const_new(());
    RUNTIME.block_on(async {
        let _turn = TURN.lock().await;
        let stack = STACK.get_or_try_init(|| Stack::start_local(options)).await?;
        stack.zoom().withdraw_all();
        stack.zoom().discard_events();
        stack.gateway().withdraw_all();
        test(stack).await?;
        stack.check()
    })
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body as JSON; null where it is none.
    pub json: Value,
    /// The body as text.
    pub text: String,
}

impl Reply {
    /// Reads an answer.
    pub async fn read(response: Response) -> Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Self {
            status,
            headers,
            json,
            text,
        })
    }

    /// Status and error code; `ok` for an answer without one.
    pub fn code(&self) -> (u16, &str) {
        (self.status, self.json["code"].as_str().unwrap_or("ok"))
    }

    /// The JSON of a successful answer.
    pub fn ok(self) -> Result<Value> {
        ensure!(self.status == 200, "expected 200, got {} {}", self.status, self.text);
        Ok(self.json)
    }

    /// The handle that the way back from Zoom carries: in the page's link, or in the redirect.
    pub fn handle(&self) -> Option<String> {
        let text = format!("{} {}", self.header("location"), self.text);
        let (_, rest) = text.split_once("success=1&")?;
        let (_, rest) = rest.split_once("handle=")?;
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_'));
        Some(rest.get(..end.unwrap_or(rest.len()))?.to_owned())
    }

    /// A header's text; empty where it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// A user of the app, or nobody.
#[derive(Clone)]
pub struct User {
    /// Who signed in; `None` for nobody.
    pub signed_in: Option<SignedIn>,
    url: String,
    publishable_key: String,
    client: Client,
}

impl User {
    /// Signs a demo user in.
    pub async fn sign_in(stack: &Stack, name: &str) -> Result<Self> {
        let signed_in = stack.sign_in(&format!("{name}@demo.test")).await?;
        Ok(Self::of(stack, Some(signed_in)))
    }

    /// A new user with a role.
    pub async fn create(stack: &Stack, name: &str, role: Option<&str>) -> Result<Self> {
        let signed_in = stack.create_user(&format!("{name}@example.test"), role).await?;
        Ok(Self::of(stack, Some(signed_in)))
    }

    /// Nobody: a caller with the publishable key alone.
    pub fn nobody(stack: &Stack) -> Self {
        Self::of(stack, None)
    }

    /// A caller of the stack.
    pub fn of(stack: &Stack, signed_in: Option<SignedIn>) -> Self {
        Self {
            signed_in,
            url: stack.url().to_owned(),
            publishable_key: stack.publishable_key().to_owned(),
            client: Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap_or_default(),
        }
    }

    /// The user's id as text.
    pub fn id(&self) -> String {
        self.signed_in
            .as_ref()
            .map(|user| user.user_id.to_string())
            .unwrap_or_default()
    }

    /// A request to the stack, with the headers that an app sends.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .client
            .request(method, format!("{}{path}", self.url))
            .header("apikey", &self.publishable_key);
        match &self.signed_in {
            Some(user) => request.bearer_auth(&user.access_token),
            None => request,
        }
    }

    /// Calls a function.
    pub async fn call(&self, function: &str, body: &Value) -> Result<Reply> {
        let request = self.request(Method::POST, &format!("/functions/v1/{function}"));
        Reply::read(request.json(body).send().await?).await
    }

    /// Calls a remote procedure of the database.
    pub async fn rpc(&self, procedure: &str, body: &Value) -> Result<Reply> {
        let request = self.request(Method::POST, &format!("/rest/v1/rpc/{procedure}"));
        Reply::read(request.json(body).send().await?).await
    }

    /// Reads from a table: `select("video_sessions?select=id")`.
    pub async fn select(&self, query: &str) -> Result<Reply> {
        Reply::read(self.request(Method::GET, &format!("/rest/v1/{query}")).send().await?).await
    }

    /// Sends a change to a table and asks for the rows that it reached.
    pub async fn write(&self, method: Method, query: &str, body: &Value) -> Result<Reply> {
        let request = self.request(method, &format!("/rest/v1/{query}"));
        Reply::read(
            request
                .header("prefer", "return=representation")
                .json(body)
                .send()
                .await?,
        )
        .await
    }

    /// Opens an address in the user's browser, which carries no credentials of the app.
    pub async fn browse(&self, address: &str) -> Result<Reply> {
        Reply::read(self.client.get(address).send().await?).await
    }

    /// Connects Zoom: start, consent, callback, confirmation. Gives the page that the browser ends on.
    pub async fn connect_zoom(&self, zoom_email: &str) -> Result<Reply> {
        let started = self.call("zoom-oauth-start", &json!({})).await?.ok()?;
        let callback = self.consent(&started, zoom_email, "allow").await?;
        self.come_back(&callback).await
    }

    /// Comes back from the consent page and confirms, as the app does. Gives the page.
    pub async fn come_back(&self, callback: &str) -> Result<Reply> {
        let page = self.browse(callback).await?;
        if let Some(handle) = page.handle() {
            let confirmed = self.confirm(&handle).await?;
            ensure!(
                confirmed.status == 204,
                "confirming: {} {}",
                confirmed.status,
                confirmed.text
            );
        }
        Ok(page)
    }

    /// Confirms a connection by the handle that came back from Zoom.
    pub async fn confirm(&self, handle: &str) -> Result<Reply> {
        self.rpc("confirm_zoom_connection", &json!({"handle": handle})).await
    }

    /// Decides on the consent page, and gives the address of the callback that Zoom sends the browser to.
    pub async fn consent(&self, started: &Value, zoom_email: &str, decision: &str) -> Result<String> {
        let address = started["auth_url"].as_str().context("no auth_url")?;
        let form = [("decision", decision), ("email", zoom_email)];
        let answer = Reply::read(self.client.post(address).form(&form).send().await?).await?;
        ensure!(
            answer.status == 302,
            "consent answered {} {}",
            answer.status,
            answer.text
        );
        Ok(answer.header("location").to_owned())
    }

    /// The state of the user's connection.
    pub async fn connection(&self) -> Result<Value> {
        self.rpc("zoom_connection", &json!({})).await?.ok()
    }
}

/// A session that a host may create, with some fields changed.
pub fn new_session(changes: Value) -> Value {
    let mut session = json!({
        "title": "First check-in",
        "scheduled_start": in_hours(24),
        "duration_minutes": 30,
        "max_participants": 3,
    });
    if let (Some(session), Value::Object(changes)) = (session.as_object_mut(), changes) {
        session.extend(changes);
    }
    session
}

/// An instant that many hours from now, in whole seconds.
pub fn in_hours(hours: i64) -> DateTime<Utc> {
    (Utc::now() + TimeDelta::hours(hours)).trunc_subsecs(0)
}

/// The seeds that a test of random histories runs with: its own, which are the same every time, or those that the
/// variable `MODEL_SEEDS` names, in which `fresh` draws one: `MODEL_SEEDS=7,8` or `MODEL_SEEDS=fresh,fresh,fresh`.
pub fn seeds(own: &[u64]) -> Result<Vec<u64>> {
    let Ok(named) = std::env::var("MODEL_SEEDS") else {
        return Ok(own.to_vec());
    };
    let seed = |name: &str| match name {
        "fresh" => Ok(Uuid::new_v4().as_u64_pair().0 >> 32),
        number => number.parse().with_context(|| format!("MODEL_SEEDS: {number:?}")),
    };
    named.split(',').map(|name| seed(name.trim())).collect()
}
