//! What the tests of the token life share: hosts with a Zoom account of their own, and what is known of their
//! connections here and at Zoom.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{ensure, Context, Error, Result};
use local_stack::zoom::{NewUser, TokenKind, TokenStatus};
use local_stack::{Stack, StackOptions};
use serde_json::{json, Value};
use shared::seal::{SealContext, SealingKeys};
use shared::zoom::connection::{access_token_context, refresh_token_context};
use tokio::sync::Mutex;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{new_session, Reply, User};

/// What the tokens of [`options`] are sealed with.
pub const KEYS: &str = "old:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A stack whose tokens a test can open.
pub fn options() -> StackOptions {
    StackOptions {
        env: BTreeMap::from([("TOKEN_ENCRYPTION_KEYS".to_owned(), KEYS.to_owned())]),
        ..StackOptions::default()
    }
}

/// How long [`until`] waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds; `what` says so should that never be.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let met = async {
        while !condition().await? {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, met)
        .await
        .with_context(|| format!("waited in vain until {what}"))?
}

/// What the functions have asked of Zoom since the record was cleared: `token_refresh 200`, `create_meeting 201`, …
pub fn zoom_calls(stack: &Stack) -> Vec<String> {
    let calls = stack.outbound_calls();
    let to_zoom = calls.iter().map(ToString::to_string);
    to_zoom
        .filter_map(|call| call.strip_prefix("zoom ").map(str::to_owned))
        .collect()
}

/// The database, over one connection for each stack: a look at it is cheap.
pub async fn db(stack: &Stack) -> Result<Arc<Client>> {
    static OPEN: Mutex<BTreeMap<String, Arc<Client>>> = Mutex::const_new(BTreeMap::new());
    let mut open = OPEN.lock().await;
    if let Some(client) = open.get(stack.db_url()) {
        return Ok(client.clone());
    }
    let client = Arc::new(stack.db().await?);
    open.insert(stack.db_url().to_owned(), client.clone());
    Ok(client)
}

/// Where a process that serves the functions listens, which is said in its log.
pub fn address_of_worker(stack: &Stack, index: usize) -> Result<String> {
    let prefix = format!("workers-{index}: listening on ");
    let logs = stack.logs();
    let address = logs.iter().rev().find_map(|line| line.strip_prefix(&prefix));
    Ok(format!("http://{}", address.context("no such worker")?))
}

/// What works at Zoom of all tokens that it has given out for an account: `access`, `refresh`.
pub fn live_tokens(stack: &Stack, zoom_email: &str) -> Vec<String> {
    let state = stack.zoom().state();
    let tokens = state["tokens"].as_array().into_iter().flatten();
    let live = tokens.filter(|token| token["user"] == *zoom_email && token["status"] == "live");
    live.map(|token| token["kind"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Calls a function as a service.
pub async fn as_service(stack: &Stack, function: &str) -> Result<Value> {
    let request = reqwest::Client::new()
        .post(format!("{}/functions/v1/{function}", stack.url()))
        .header("apikey", stack.secret_key());
    Reply::read(request.send().await?).await?.ok()
}

/// A host with a Zoom account of their own.
#[derive(Clone)]
pub struct Host {
    /// In the app.
    pub user: User,
    /// At Zoom.
    pub zoom_email: String,
}

impl Host {
    /// A new host, who has not connected yet.
    pub async fn new(stack: &Stack) -> Result<Self> {
        let name = Uuid::new_v4().simple().to_string();
        let zoom_email = format!("{name}@zoom.test");
        stack.zoom().create_user(NewUser::named(&zoom_email))?;
        Ok(Self {
            user: User::create(stack, &name, Some("trainer")).await?,
            zoom_email,
        })
    }

    /// A new host, connected.
    pub async fn connected(stack: &Stack) -> Result<Self> {
        let host = Self::new(stack).await?;
        host.connect().await?;
        Ok(host)
    }

    /// Connects, and sees to it that it works.
    pub async fn connect(&self) -> Result<()> {
        self.connect_as(&self.zoom_email).await
    }

    /// Connects to this Zoom account, and sees to it that it works.
    pub async fn connect_as(&self, zoom_email: &str) -> Result<()> {
        let page = self.user.connect_zoom(zoom_email).await?;
        ensure!(
            page.text.contains("success=1"),
            "not connected: {} {}",
            page.status,
            page.text
        );
        Ok(())
    }

    /// Creates a session.
    pub async fn create(&self) -> Result<Reply> {
        self.user.call("create-session", &new_session(json!({}))).await
    }

    /// Creates a session in the process at this address, past the gateway.
    pub fn create_at(&self, address: &str) -> impl Future<Output = Result<Reply>> {
        let token = self.user.signed_in.as_ref().map(|user| user.access_token.clone());
        let request = reqwest::Client::new()
            .post(format!("{address}/functions/v1/create-session"))
            .bearer_auth(token.unwrap_or_default())
            .json(&new_session(json!({})));
        async move { Reply::read(request.send().await?).await }
    }

    /// Refreshes the own connection, if that is due.
    pub async fn refresh(&self) -> Result<Reply> {
        self.user.call("refresh-token", &json!({})).await
    }

    /// Ends the connection.
    pub async fn disconnect(&self) -> Result<()> {
        let answer = self.user.call("zoom-disconnect", &json!({})).await?.ok()?;
        ensure!(
            answer["state"] == "not_connected" && answer["left_at_zoom"].is_object(),
            "{answer}"
        );
        Ok(())
    }

    /// State and reason as the app sees them.
    pub async fn state(&self) -> Result<(String, String)> {
        let connection = self.user.connection().await?;
        let text = |name: &str| connection[name].as_str().unwrap_or_default().to_owned();
        Ok((text("state"), text("reason")))
    }

    /// The sessions that the app shows the host.
    pub async fn sessions(&self) -> Result<usize> {
        let sessions = self.user.select("video_sessions?select=id").await?.ok()?;
        Ok(sessions.as_array().context("rows")?.len())
    }

    /// The host's id.
    pub fn id(&self) -> Uuid {
        self.user
            .signed_in
            .as_ref()
            .map(|user| user.user_id)
            .unwrap_or_default()
    }

    /// The connection as it is stored; null if there is none.
    pub async fn stored(&self, stack: &Stack) -> Result<Value> {
        let query = "select to_jsonb(c) from public.user_integrations_zoom c where user_id = $1";
        let row = db(stack).await?.query_opt(query, &[&self.id()]).await?;
        Ok(row.map_or(Value::Null, |row| row.get(0)))
    }

    /// Changes the stored connection: `set` is SQL.
    pub async fn store(&self, stack: &Stack, set: &str) -> Result<()> {
        let statement = format!("update public.user_integrations_zoom set {set} where user_id = $1");
        let changed = db(stack).await?.execute(&statement, &[&self.id()]).await?;
        ensure!(changed == 1, "there is no connection to change");
        Ok(())
    }

    /// The hour of the access token is over, here and at Zoom.
    pub async fn let_access_token_run_out(&self, stack: &Stack) -> Result<()> {
        stack.zoom().expire_tokens(&self.zoom_email, Some(TokenKind::Access))?;
        self.store(stack, "access_token_expires_at = now()").await
    }

    /// Zoom does not take the access token any more, and nobody has told us.
    pub fn let_zoom_refuse_the_access_token(&self, stack: &Stack) -> Result<()> {
        stack.zoom().expire_tokens(&self.zoom_email, Some(TokenKind::Access))
    }

    /// What the stored tokens are worth at Zoom: access token, refresh token; `None` where there is no connection, or
    /// it has none.
    pub async fn stored_tokens(&self, stack: &Stack) -> Result<Option<[TokenStatus; 2]>> {
        let stored = self.stored(stack).await?;
        let keys = SealingKeys::parse(KEYS).map_err(Error::msg)?;
        let status = |column: &str, place: SealContext| {
            let sealed = stored[column].as_str()?;
            let token = keys.open(place, sealed).expect("a token that opens");
            Some(stack.zoom().token_status(token.expose()).expect("a token of Zoom's"))
        };
        Ok(status("access_token", access_token_context(self.id()))
            .zip(status("refresh_token", refresh_token_context(self.id())))
            .map(|(access, refresh)| [access, refresh]))
    }

    /// What works at Zoom of all tokens that it has given out for this host's account: `access`, `refresh`.
    pub fn live_tokens(&self, stack: &Stack) -> Vec<String> {
        live_tokens(stack, &self.zoom_email)
    }
}
