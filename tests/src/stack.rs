//! A stack: all parts started, and what a test or a developer needs of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{ensure, Context, Result};
use axum::http::uri::Authority;
use base64::prelude::{Engine, BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{json, Value};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::auth_issuer::Issuer;
use crate::gateway::{Gateway, Parts};
use crate::postgres::Postgres;
use crate::postgrest;
use crate::processes::{Logs, Output, Processes};
use crate::random::{random_bytes, random_text};
use crate::workers::Worker;

/// The password of the seeded users and of those that [`Stack::create_user`] makes.
pub const DEMO_PASSWORD: &str = "demo-password";

/// How a stack is started.
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// The gateway's port; 0 takes a free one.
    pub port: u16,
    /// How many processes serve the edge functions, in turns.
    pub worker_processes: usize,
    /// Environment of the edge functions beside, or in place of, what the stack gives them; an empty value removes a name.
    pub env: BTreeMap<String, String>,
    /// How the functions get the keys that verify access tokens.
    pub jwks: Jwks,
    /// SQL for the platform's bare database, before the migrations.
    pub before_migrations: String,
    /// What becomes of log lines and recorded requests.
    pub output: Output,
}

impl Default for StackOptions {
    fn default() -> Self {
        Self {
            port: 0,
            worker_processes: 1,
            env: BTreeMap::new(),
            jwks: Jwks::Url,
            before_migrations: String::new(),
            output: Output::Keep,
        }
    }
}

/// How the functions get the keys that verify access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jwks {
    /// From the issuer, by `SUPABASE_JWKS_URL`.
    Url,
    /// From their configuration, by `SUPABASE_JWKS`.
    Inline,
}

/// A user with a session.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct SignedIn {
    /// The JWT for `Authorization: Bearer`.
    pub access_token: String,
    /// For `grant_type=refresh_token`, once.
    pub refresh_token: String,
    /// `sub` of the JWT.
    #[serde(rename = "user", deserialize_with = "id_of_user")]
    pub user_id: Uuid,
}

fn id_of_user<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
    #[derive(Deserialize)]
    struct User {
        id: Uuid,
    }
    User::deserialize(deserializer).map(|user| user.id)
}

/// A running stack, or a platform that runs elsewhere.
///
/// Dropped, it ends every process and removes every file of its own, and so it does if this process is killed.
pub struct Stack {
    url: String,
    publishable_key: String,
    secret_key: String,
    db_url: String,
    simulator_url: String,
    http: reqwest::Client,
    local: Option<Local>,
}

/// What only a stack of our own has. The order of the fields is the order in which they are dropped.
struct Local {
    gateway: Gateway,
    issuer: Arc<Issuer>,
    /// `None` where a test killed one.
    workers: Mutex<Vec<Option<Worker>>>,
    functions_env: BTreeMap<String, String>,
    egress: SocketAddr,
    processes: Processes,
}

impl Stack {
    /// The platform that the environment names with `SUPABASE_URL`, `SUPABASE_DB_URL`, `SUPABASE_PUBLISHABLE_KEY` and
    /// `SUPABASE_SECRET_KEY`; without the first two, a stack of our own. `options` are for the latter.
    pub async fn start(options: StackOptions) -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (Some(url), Some(db_url)) = (variable("SUPABASE_URL"), variable("SUPABASE_DB_URL")) else {
            return Self::start_local(options).await;
        };
        let needed = |name: &str| variable(name).with_context(|| format!("{name} is missing beside SUPABASE_URL"));
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            publishable_key: needed("SUPABASE_PUBLISHABLE_KEY")?,
            secret_key: needed("SUPABASE_SECRET_KEY")?,
            db_url,
            simulator_url: variable("ZOOM_SIMULATOR_URL").unwrap_or_default(),
            http: reqwest::Client::new(),
            local: None,
        })
    }

    /// Starts a stack of our own, whatever the environment says. A cached database makes it a matter of two seconds.
    pub async fn start_local(options: StackOptions) -> Result<Self> {
        let origin = TcpListener::bind(("127.0.0.1", options.port))
            .await
            .with_context(|| format!("port {} of 127.0.0.1", options.port))?;
        let egress = TcpListener::bind(("127.0.0.1", 0)).await?;
        let egress_address = egress.local_addr()?;
        let authority: Authority = origin.local_addr()?.to_string().parse()?;
        let url = format!("http://{authority}");
        let publishable_key = format!("sb_publishable_{}", random_text()?);
        let secret_key = format!("sb_secret_{}", random_text()?);

        let logs = Logs::new(options.output);
        let processes = Processes::new(logs.clone())?;
        let postgres = Arc::new(Postgres::start(&processes, &options.before_migrations).await?);
        let issuer = Arc::new(Issuer::new(&url, postgres.clone())?);
        let jwks = issuer.jwks();
        let functions_env = functions_env(&url, &secret_key, &jwks, &options)?;
        let workers = start_workers(&processes, options.worker_processes, &functions_env, egress_address);
        let postgrest = postgrest::start(&processes, &postgres, &jwks);
        let (workers, postgrest_port) = tokio::try_join!(workers, postgrest)?;
        let parts = Parts {
            authority,
            publishable_key: publishable_key.clone(),
            secret_key: secret_key.clone(),
            issuer: issuer.clone(),
            postgrest_port,
            zoom: None,
            logs,
            output: options.output,
        };
        let gateway = Gateway::serve(parts, origin, egress);
        let local = Local {
            gateway,
            issuer,
            workers: Mutex::new(workers),
            functions_env,
            egress: egress_address,
            processes,
        };
        local.announce_workers(&local.workers.lock().await);
        Ok(Self {
            url,
            publishable_key,
            secret_key,
            db_url: postgres.url("postgres"),
            simulator_url: String::new(),
            http: reqwest::Client::new(),
            local: Some(local),
        })
    }

    fn local(&self) -> &Local {
        let local = self.local.as_ref();
        local.expect("this test looks inside a local stack: unset SUPABASE_URL to run it")
    }

    /// `http://127.0.0.1:PORT`, the origin of everything.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The key for `apikey` that stands for nobody in particular.
    pub fn publishable_key(&self) -> &str {
        &self.publishable_key
    }

    /// The key for `apikey` that stands for the service role.
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// A connection string for the role `postgres`.
    pub fn db_url(&self) -> &str {
        &self.db_url
    }

    /// The Zoom simulator's origin; of a platform that runs elsewhere, what `ZOOM_SIMULATOR_URL` says.
    pub fn simulator_url(&self) -> &str {
        &self.simulator_url
    }

    /// Where the keys are published that verify access tokens.
    pub fn jwks_url(&self) -> String {
        format!("{}/auth/v1/.well-known/jwks.json", self.url)
    }

    /// A connection to the database as `postgres`.
    pub async fn db(&self) -> Result<Client> {
        let (client, connection) = tokio_postgres::connect(&self.db_url, NoTls)
            .await
            .context("connecting to the database")?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Signs a user in by password, which is [`DEMO_PASSWORD`].
    pub async fn sign_in(&self, email: &str) -> Result<SignedIn> {
        let answer = self
            .http
            .post(format!("{}/auth/v1/token?grant_type=password", self.url))
            .header("apikey", &self.publishable_key)
            .json(&json!({"email": email, "password": DEMO_PASSWORD}))
            .send()
            .await?;
        let status = answer.status();
        let body = answer.text().await?;
        ensure!(status.is_success(), "signing {email} in: {status} {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// Makes a user, with a role in `app_metadata` (`trainer`, `nutritionist`, …) or none, and signs them in.
    pub async fn create_user(&self, email: &str, role: Option<&str>) -> Result<SignedIn> {
        let app_metadata = match role {
            Some(role) => json!({"provider": "email", "providers": ["email"], "role": role}),
            None => json!({"provider": "email", "providers": ["email"]}),
        };
        self.db()
            .await?
            .execute(
                "insert into auth.users (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at,
                   raw_app_meta_data, raw_user_meta_data, created_at, updated_at)
                 values ('00000000-0000-0000-0000-000000000000', gen_random_uuid(), 'authenticated', 'authenticated',
                   lower($1), extensions.crypt($2, extensions.gen_salt('bf', 4)), now(), $3, '{}', now(), now())",
                &[&email, &DEMO_PASSWORD, &app_metadata],
            )
            .await
            .with_context(|| format!("creating {email}"))?;
        self.sign_in(email).await
    }

    /// Signs tokens, valid and forged.
    pub fn issuer(&self) -> &Issuer {
        &self.local().issuer
    }

    /// The record of requests.
    pub fn gateway(&self) -> &Gateway {
        &self.local().gateway
    }

    /// Kills a process that serves the functions, as it stands; `index` counts from 0. No more requests go to it.
    pub async fn kill_worker(&self, index: usize) -> Result<()> {
        let local = self.local();
        let mut workers = local.workers.lock().await;
        let worker = workers
            .get_mut(index)
            .context("there is no worker of this index")?
            .take();
        local.announce_workers(&workers);
        worker.context("this worker was killed before")?.kill().await
    }

    /// Starts a process in place of one that runs or was killed.
    pub async fn restart_worker(&self, index: usize) -> Result<()> {
        let local = self.local();
        let mut workers = local.workers.lock().await;
        let worker = workers.get_mut(index).context("there is no worker of this index")?;
        if let Some(running) = worker.take() {
            running.kill().await?;
        }
        *worker = Some(Worker::start(&local.processes, index, &local.functions_env, local.egress).await?);
        local.announce_workers(&workers);
        Ok(())
    }

    /// The directory that all processes of this stack work in and that holds all its files.
    pub fn run_dir(&self) -> &Path {
        self.local().processes.run_dir()
    }

    /// Every line that any part has logged so far.
    pub fn logs(&self) -> Vec<String> {
        self.local().processes.logs().lines()
    }

    /// Ends everything and waits for it. Dropping the stack does the same.
    pub async fn stop(self) -> Result<()> {
        tokio::task::spawn_blocking(move || drop(self)).await?;
        Ok(())
    }
}

impl Local {
    fn announce_workers(&self, workers: &[Option<Worker>]) {
        let running = workers.iter().flatten().map(|worker| worker.address);
        self.gateway.set_workers(running.collect());
    }
}

/// The configuration of the functions; secrets are new for each stack.
fn functions_env(
    url: &str,
    secret_key: &str,
    jwks: &Value,
    options: &StackOptions,
) -> Result<BTreeMap<String, String>> {
    let sealing_key = BASE64_STANDARD.encode(random_bytes::<32>()?);
    let mut env = BTreeMap::from(
        [
            ("SUPABASE_URL", url.to_owned()),
            ("SUPABASE_SECRET_KEY", secret_key.to_owned()),
            ("ZOOM_CLIENT_ID", random_text()?),
            ("ZOOM_CLIENT_SECRET", random_text()?),
            ("ZOOM_REDIRECT_URI", format!("{url}/functions/v1/zoom-oauth-callback")),
            ("ZOOM_WEBHOOK_SECRET_TOKEN", random_text()?),
            ("APP_REDIRECT_URI", "cotrainr://video/zoom-connected".to_owned()),
            ("APP_INVITE_URI", format!("{url}/join")),
            ("TOKEN_ENCRYPTION_KEYS", format!("local:{sealing_key}")),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    match options.jwks {
        Jwks::Url => env.insert(
            "SUPABASE_JWKS_URL".to_owned(),
            format!("{url}/auth/v1/.well-known/jwks.json"),
        ),
        Jwks::Inline => env.insert("SUPABASE_JWKS".to_owned(), jwks.to_string()),
    };
    env.extend(options.env.clone());
    env.retain(|_, value| !value.is_empty());
    Ok(env)
}

async fn start_workers(
    processes: &Processes,
    count: usize,
    env: &BTreeMap<String, String>,
    egress: SocketAddr,
) -> Result<Vec<Option<Worker>>> {
    let starting = (0..count).map(|index| Worker::start(processes, index, env, egress));
    let workers = futures_util::future::try_join_all(starting).await?;
    Ok(workers.into_iter().map(Some).collect())
}
