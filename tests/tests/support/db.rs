//! What the database tests share: one stack for all tests of a file, callers of its API, and the steps that the edge
//! functions take in the database.

use std::sync::Arc;

use anyhow::{ensure, Context, Result};
use local_stack::{Issuer, Stack, StackOptions};
use reqwest::{Client, Method};
use serde_json::{json, Map, Value};
use shared::hash::sha256_hex;
use uuid::Uuid;

use super::Reply;

/// A stack without edge functions.
pub fn options() -> StackOptions {
    StackOptions {
        worker_processes: 0,
        ..StackOptions::default()
    }
}

/// Runs a test on the stack that all tests of its file share, one test at a time. The stack ends with the process.
pub fn on_shared_stack(test: impl AsyncFnOnce(&'static Stack) -> Result<()>) -> Result<()> {
    super::on_shared_stack(options(), test)
}

/// Somebody who calls the database's API.
#[derive(Clone)]
pub struct Caller {
    /// The user's id; nil for a caller who is no user.
    pub id: Uuid,
    url: String,
    key: String,
    token: Option<String>,
    issuer: Arc<Issuer>,
    http: Client,
}

impl Caller {
    fn of(stack: &Stack, key: &str) -> Self {
        Self {
            id: Uuid::nil(),
            url: format!("{}/rest/v1", stack.url()),
            key: key.to_owned(),
            token: None,
            issuer: stack.issuer().clone(),
            // A new connection for each request: on an old one, the second packet of the gateway's answer waits until
            // the first is acknowledged, forty milliseconds later.
            http: Client::builder().pool_max_idle_per_host(0).build().unwrap_or_default(),
        }
    }

    /// A caller with the publishable key alone.
    pub fn anon(stack: &Stack) -> Self {
        Self::of(stack, stack.publishable_key())
    }

    /// A caller with the secret key: what the edge functions are.
    pub fn service(stack: &Stack) -> Self {
        Self::of(stack, stack.secret_key())
    }

    /// A user that exists.
    pub async fn signed_in(stack: &Stack, email: &str) -> Result<Self> {
        let user = stack.sign_in(email).await?;
        Ok(Self {
            id: user.user_id,
            token: Some(user.access_token),
            ..Self::anon(stack)
        })
    }

    /// A new user with this role, or none, in the account's `app_metadata`.
    pub async fn user(stack: &Stack, role: Option<&str>) -> Result<Self> {
        let email = format!("{}@example.test", Uuid::new_v4().simple());
        stack.create_user(&email, role).await?;
        Self::signed_in(stack, &email).await
    }

    /// A new user who may host.
    pub async fn host(stack: &Stack) -> Result<Self> {
        Self::user(stack, Some("trainer")).await
    }

    /// A new user who may not.
    pub async fn client(stack: &Stack) -> Result<Self> {
        Self::user(stack, Some("client")).await
    }

    /// The user with this id, whoever this caller is.
    pub fn as_user(&self, id: Uuid) -> Result<Self> {
        Ok(Self {
            id,
            token: Some(self.issuer.token(&self.issuer.claims(id, "user@example.test"))?),
            ..self.clone()
        })
    }

    /// The same user with another token.
    pub fn with_token(&self, token: String) -> Self {
        Self {
            token: Some(token),
            ..self.clone()
        }
    }

    /// Sends a request to PostgREST; `path` with its query.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Reply> {
        let mut request = self
            .http
            .request(method, format!("{}/{path}", self.url))
            .header("apikey", &self.key);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let reply = Reply::read(request.send().await?).await?;
        // Whatever a client sends, the database answers for what it is.
        ensure!(reply.status < 500, "{path} {body:?}: {} {}", reply.status, reply.text);
        Ok(reply)
    }

    /// Reads rows.
    pub async fn get(&self, path: &str) -> Result<Reply> {
        self.send(Method::GET, path, &[], None).await
    }

    /// Inserts, and asks for the rows back.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Reply> {
        let prefer = [("prefer", "return=representation")];
        self.send(Method::POST, path, &prefer, Some(body)).await
    }

    /// Updates, and asks for the rows back.
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Reply> {
        let prefer = [("prefer", "return=representation")];
        self.send(Method::PATCH, path, &prefer, Some(body)).await
    }

    /// Deletes, and asks for the rows back.
    pub async fn delete(&self, path: &str) -> Result<Reply> {
        let prefer = [("prefer", "return=representation")];
        self.send(Method::DELETE, path, &prefer, None).await
    }

    /// Calls a function of the database.
    pub async fn rpc(&self, function: &str, arguments: &Value) -> Result<Reply> {
        self.send(Method::POST, &format!("rpc/{function}"), &[], Some(arguments))
            .await
    }

    /// Calls a function of the database that answers an object, whose call has to succeed.
    pub async fn step(&self, function: &str, arguments: Value) -> Result<Value> {
        let reply = self.rpc(function, &arguments).await?;
        ensure!(reply.status == 200, "{function}: {} {}", reply.status, reply.text);
        Ok(reply.json)
    }

    /// [`Caller::step`], and what its `outcome` is.
    pub async fn outcome(&self, function: &str, arguments: Value) -> Result<String> {
        let answer = self.step(function, arguments).await?;
        let outcome = answer["outcome"].as_str();
        Ok(outcome.with_context(|| format!("{function}: {answer}"))?.to_owned())
    }
}

/// `object` with some members changed or added.
pub fn with(object: Value, changes: &Value) -> Value {
    let mut object = object;
    if let (Some(object), Some(changes)) = (object.as_object_mut(), changes.as_object()) {
        object.extend(changes.clone());
    }
    object
}

/// A text that looks sealed, and that no other call gives.
pub fn sealed(what: &str) -> String {
    format!("v1.test.{what}-{}", Uuid::new_v4().simple())
}

/// The body of a direct insert by which a host adds a session with a link of their own.
pub fn external_session(changes: &Value) -> Value {
    let session = json!({
        "provider": "external", "title": "Check-in", "description": "", "scheduled_start": super::in_hours(24),
        "timezone": "UTC", "duration_minutes": 30, "max_participants": 3, "join_url": "https://meet.example.test/room",
    });
    with(session, changes)
}

/// What comes of a connection.
pub struct Connection {
    /// Zoom's id of the user, different for each app user.
    pub zoom_user_id: String,
    /// As stored.
    pub access_token: String,
    /// As stored.
    pub refresh_token: String,
}

/// Connects a host, as the functions do.
pub async fn connect(service: &Caller, user_id: Uuid) -> Result<Connection> {
    connect_as(service, user_id, &format!("zoom-{user_id}"), &json!({})).await
}

/// Connects a host as this Zoom user, and confirms, with some arguments of `edge_oauth_complete` changed.
pub async fn connect_as(service: &Caller, user_id: Uuid, zoom_user_id: &str, changes: &Value) -> Result<Connection> {
    let (connection, handle) = consent_as(service, user_id, zoom_user_id, changes).await?;
    let confirmed = service
        .as_user(user_id)?
        .rpc("confirm_zoom_connection", &json!({"handle": handle}))
        .await?;
    ensure!(confirmed.status == 204, "{}", confirmed.text);
    Ok(connection)
}

/// [`connect_as`] up to the confirmation: what waits for it, and the handle.
pub async fn consent_as(
    service: &Caller,
    user_id: Uuid,
    zoom_user_id: &str,
    changes: &Value,
) -> Result<(Connection, String)> {
    let (state_hash, handle) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let begin = json!({"user_id": user_id, "state_hash": state_hash, "sealed_verifier": "v1.test.verifier"});
    ensure!(service.outcome("edge_oauth_begin", begin).await? == "ok");
    let consume = json!({"state_hash": state_hash, "handle_hash": sha256_hex(&handle), "denied": null});
    ensure!(service.outcome("edge_oauth_consume", consume).await? == "claimed");
    let connection = Connection {
        zoom_user_id: zoom_user_id.to_owned(),
        access_token: sealed("access"),
        refresh_token: sealed("refresh"),
    };
    let complete = json!({
        "state_hash": state_hash, "user_id": user_id, "zoom_user_id": zoom_user_id, "zoom_account_id": format!("account-{zoom_user_id}"),
        "zoom_account_email": format!("{zoom_user_id}@zoom.test"), "scope": "user:read:user",
        "access_token": connection.access_token, "refresh_token": connection.refresh_token, "access_expires_in": 3600,
        "lacking_scope": false,
    });
    service.outcome("edge_oauth_complete", with(complete, changes)).await?;
    Ok((connection, handle))
}

/// A session as `create-session` sends it to `edge_session_begin`.
pub fn session_request(changes: &Value) -> Value {
    let session = json!({
        "provider": "zoom", "title": "Check-in", "description": "", "scheduled_start": super::in_hours(24),
        "timezone": "UTC", "duration_minutes": 30, "max_participants": 3, "participant_ids": [],
    });
    with(session, changes)
}

/// A meeting of Zoom's, as `edge_session_complete` takes it, with a number that no other has.
pub fn meeting() -> Value {
    let id = (Uuid::new_v4().as_u128() % 1_000_000_000_000).to_string();
    json!({
        "id": id, "join_url": format!("https://zoom.us/j/{id}?pwd=secret"), "passcode": "123456",
        "start_url": format!("https://zoom.us/s/{id}?zak={}", Uuid::new_v4().simple()),
    })
}

/// Creates a Zoom session of a connected host, as the functions do, and gives its row.
pub async fn create_session(service: &Caller, host: Uuid, changes: &Value) -> Result<Value> {
    let begin = json!({
        "user_id": host, "holder": Uuid::new_v4(), "idempotency_key": null, "request_hash": "hash",
        "session": session_request(changes),
    });
    let begun = service.step("edge_session_begin", begin).await?;
    ensure!(begun["outcome"] == "create", "edge_session_begin: {begun}");
    let complete = json!({"creation_id": begun["creation_id"], "user_id": host, "meeting": meeting()});
    let completed = service.step("edge_session_complete", complete).await?;
    ensure!(completed["outcome"] == "created", "edge_session_complete: {completed}");
    Ok(completed["session"].clone())
}

/// The id of a row.
pub fn id_of(row: &Value) -> Result<Uuid> {
    Ok(serde_json::from_value(row["id"].clone())?)
}

/// Everything that is stored in `public` and `video_sessions_private`, but the list of time zones.
pub async fn everything(db: &tokio_postgres::Client) -> Result<Map<String, Value>> {
    let tables = db
        .query(
            "select format('%I.%I', schemaname, tablename) from pg_catalog.pg_tables
             where schemaname in ('public', 'video_sessions_private') and tablename <> 'time_zones'",
            &[],
        )
        .await?;
    let selects: Vec<_> = tables
        .iter()
        .map(|row| row.get::<_, String>(0))
        .map(|table| format!("select '{table}', jsonb_agg(to_jsonb(t) order by to_jsonb(t)) from {table} t"))
        .collect();
    let rows = db.query(&selects.join(" union all "), &[]).await?;
    let tables = rows.iter().map(|row| {
        let rows = row.get::<_, Option<Value>>(1);
        (row.get(0), rows.unwrap_or_else(|| json!([])))
    });
    Ok(tables.collect())
}
