//! What is measured side by side: our functions, their twin, and the floors, each in a process of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use chrono::{TimeDelta, Utc};
use local_stack::zoom::{Rules, ZoomOptions};
use local_stack::{Beside, EdgeRuntime, SignedIn, Stack, StackOptions};
use serde_json::{json, Value};

use crate::process::{self, Usage};

/// The functions that have a twin.
pub const MEASURED: [&str; 3] = ["create-session", "zoom-oauth-start", "zoom-webhook"];

/// A stack whose Zoom has no daily limit, with a host who is connected.
pub struct Setup {
    /// The stack.
    pub stack: Stack,
    /// The host.
    pub host: SignedIn,
    /// Sends everything; keeps its connections.
    pub client: reqwest::Client,
}

impl Setup {
    /// Starts it.
    pub async fn start() -> Result<Self> {
        let rules = Rules {
            daily_limit: None,
            account_daily_limits: None,
            ..Rules::default()
        };
        let options = StackOptions {
            zoom: ZoomOptions { rules, port: 0 },
            ..StackOptions::default()
        };
        let stack = Stack::start_local(options).await?;
        let host = stack.sign_in("trainer@demo.test").await?;
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build()?;
        let setup = Self { stack, host, client };
        setup.connect().await?;
        Ok(setup)
    }

    /// Connects the host's Zoom account, as a browser does.
    async fn connect(&self) -> Result<()> {
        let start = format!("{}/functions/v1/zoom-oauth-start", self.stack.url());
        let key = self.stack.publishable_key();
        let started = self
            .client
            .post(start)
            .header("apikey", key)
            .bearer_auth(&self.host.access_token);
        let started: Value = started
            .json(&json!({}))
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        let form = [("decision", "allow"), ("email", "trainer@zoom.test")];
        let consent = self
            .client
            .post(started["auth_url"].as_str().unwrap_or_default())
            .form(&form);
        let consented = consent.send().await?;
        let location = consented
            .headers()
            .get("location")
            .and_then(|value| value.to_str().ok());
        let page = self.client.get(location.unwrap_or_default()).send().await?;
        let page = page.error_for_status()?.text().await?;
        let handle = page.split_once("handle=").and_then(|(_, rest)| rest.get(..43));
        let confirm = format!("{}/rest/v1/rpc/confirm_zoom_connection", self.stack.url());
        self.client
            .post(confirm)
            .header("apikey", key)
            .bearer_auth(&self.host.access_token)
            .json(&json!({"handle": handle}))
            .send()
            .await?
            .error_for_status()?;
        // One host does here what no host does.
        let sql = "update video_sessions_private.quotas set most = 2000000000";
        self.stack.db().await?.execute(sql, &[]).await?;
        Ok(())
    }

    /// Starts a process for a contestant.
    pub async fn contestant(&self, who: Who, runtime: EdgeRuntime) -> Result<Contestant> {
        let name = format!("{}-{}", who.name(), runtime.name());
        let process = self.stack.start_beside(&name, runtime, &who.modules(runtime)).await?;
        Ok(Contestant { process })
    }
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The functions as they are deployed.
    Ours,
    /// The same in TypeScript.
    Twin,
    /// A worker that says hello: `hello`. One that makes three calls: `three-calls`.
    Floor,
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Twin => "twin",
            Self::Floor => "floor",
        }
    }

    fn modules(self, runtime: EdgeRuntime) -> BTreeMap<String, PathBuf> {
        let root = local_stack::repository();
        let twin = root.join("target/edge/twin").join(runtime.name());
        let file = |name: &str| match (self, runtime) {
            (Self::Ours, EdgeRuntime::Workerd) => root.join("functions").join(name).join("build/index.js"),
            (Self::Ours, EdgeRuntime::Deno) => root.join("supabase/functions").join(name).join("index.ts"),
            _ => twin.join(format!("{name}.js")),
        };
        let names: &[&str] = match self {
            Self::Floor => &["hello", "three-calls"],
            _ => &MEASURED,
        };
        names.iter().map(|name| ((*name).to_owned(), file(name))).collect()
    }
}

/// A running contestant.
pub struct Contestant {
    process: Beside,
}

impl Contestant {
    /// The address of what it serves under this name.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/functions/v1/{name}", self.process.address())
    }

    /// What its serving process has used; the Node process that has started it does nothing else.
    pub fn usage(&self) -> Result<Usage> {
        let mut sum = Usage::default();
        for child in process::children(self.process.pid())? {
            let usage = process::usage(child)?;
            sum.cpu_us += usage.cpu_us;
            sum.rss_kb += usage.rss_kb;
        }
        Ok(sum)
    }

    /// Ends it.
    pub async fn stop(self) -> Result<()> {
        self.process.stop().await
    }
}

/// A request of a session, tomorrow.
pub fn new_session() -> Value {
    let start = Utc::now() + TimeDelta::days(1);
    json!({
        "title": "First check-in", "description": "Bring your training diary.", "scheduled_start": start.to_rfc3339(),
        "timezone": "Europe/Berlin", "duration_minutes": 30, "max_participants": 3,
    })
}
