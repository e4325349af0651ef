//! A stack: all parts started, and what a test or a developer needs of them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{ensure, Context, Result};
use axum::http::uri::Authority;
use base64::prelude::{Engine, BASE64_STANDARD};
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::{json, Value};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::auth_issuer::{Issuer, Signing};
use crate::database;
use crate::gateway::{Caller, Gateway, Parts};
use crate::leaks::{self, ForItsHost, Secret};
use crate::postgres::Postgres;
use crate::postgrest;
use crate::processes::{Logs, Output, Processes};
use crate::random::{random_bytes, random_text};
use crate::workers::{EdgeRuntime, Worker};
use crate::zoom::{Endpoint, Grant, SecretKind, ZoomApp, ZoomOptions, ZoomSimulator};

/// The password of the seeded users and of those that [`Stack::create_user`] makes.
pub const DEMO_PASSWORD: &str = "demo-password";

/// Supabase's domain for the functions of a project, which serves HTML as text.
pub const SHARED_DOMAIN: &str = "https://project.supabase.co";

/// How a stack is started.
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// The gateway's port; 0 takes a free one.
    pub port: u16,
    /// How many processes serve the edge functions, in turns.
    pub worker_processes: usize,
    /// Environment of the edge functions beside, or in place of, what the stack gives them; an empty value removes a
    /// name, and `{url}` in one stands for the stack's origin. The Zoom simulator keeps to what the stack gives.
    pub env: BTreeMap<String, String>,
    /// How the functions get the keys that verify access tokens.
    pub jwks: Jwks,
    /// What signs access tokens.
    pub signing: Signing,
    /// The `iss` of access tokens; by default the origin's. A project behind a custom domain keeps its old one, and its
    /// functions learn it by `SUPABASE_JWT_ISSUER`.
    pub issuer: Option<String>,
    /// SQL for the platform's bare database, before the migrations.
    pub before_migrations: String,
    /// Whether the migrations and the seed are applied.
    pub migrate: bool,
    /// Whether Zoom sends browsers back to [`SHARED_DOMAIN`]: a test takes that over to the stack's origin.
    pub on_shared_domain: bool,
    /// How the Zoom simulator is set up. By default it holds its events back, so that a test's count of calls is exact.
    pub zoom: ZoomOptions,
    /// Origins that the functions may call beside the stack's own, such as Zoom's. These calls are not recorded.
    pub outside: Vec<String>,
    /// A folder of functions for Deno to serve in place of the repository's.
    pub functions: Option<PathBuf>,
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
            signing: Signing::Es256,
            issuer: None,
            before_migrations: String::new(),
            migrate: true,
            on_shared_domain: false,
            zoom: ZoomOptions::default(),
            outside: Vec::new(),
            functions: None,
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

/// A call that an edge function made. Displayed, it is one line: `zoom create_meeting 201`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboundCall {
    /// Its place among all that was recorded.
    pub number: u64,
    /// The path of a request to the gateway, or `zoom` and the endpoint's name.
    pub what: String,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
}

impl fmt::Display for OutboundCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{} {status}", self.what),
            None => write!(f, "{} (no answer)", self.what),
        }
    }
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

/// A process that serves something beside the functions. It ends with its stack.
pub struct Beside(Worker);

impl Beside {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// The id of its Node process, whose child serves.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Ends it.
    pub async fn stop(self) -> Result<()> {
        self.0.kill().await
    }
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
    zoom: ZoomSimulator,
    issuer: Arc<Issuer>,
    postgres: Arc<Postgres>,
    /// `None` where a test killed one.
    workers: Mutex<Vec<Option<Worker>>>,
    edge_runtime: EdgeRuntime,
    outside: Vec<String>,
    functions: Option<PathBuf>,
    functions_env: Mutex<BTreeMap<String, String>>,
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
        let zoom_port = options.zoom.port;
        let zoom = TcpListener::bind(("127.0.0.1", zoom_port))
            .await
            .with_context(|| format!("port {zoom_port} of 127.0.0.1"))?;
        let zoom_authority: Authority = zoom.local_addr()?.to_string().parse()?;
        let egress = TcpListener::bind(("127.0.0.1", 0)).await?;
        let egress_address = egress.local_addr()?;
        let authority: Authority = origin.local_addr()?.to_string().parse()?;
        let url = format!("http://{authority}");
        let publishable_key = format!("sb_publishable_{}", random_text()?);
        let secret_key = format!("sb_secret_{}", random_text()?);

        let logs = Logs::new(options.output);
        let processes = Processes::new(logs.clone())?;
        let postgres = Arc::new(Postgres::start(&processes, &options.before_migrations, options.migrate).await?);
        let iss = options.issuer.clone().unwrap_or_else(|| format!("{url}/auth/v1"));
        let issuer = Arc::new(Issuer::new(iss, options.signing, postgres.clone())?);
        let jwks = issuer.jwks();
        let zoom_app = zoom_app(if options.on_shared_domain { SHARED_DOMAIN } else { &url }, &url)?;
        let functions_env = functions_env(&url, &secret_key, &jwks, &zoom_app, &zoom_authority, &options)?;
        let zoom = ZoomSimulator::serve(zoom, zoom_app, options.zoom.rules.clone(), logs.clone())?;
        let edge_runtime = match options.functions {
            Some(_) => EdgeRuntime::Deno,
            None => EdgeRuntime::from_env()?,
        };
        let workers = start_workers(
            &processes,
            edge_runtime,
            options.worker_processes,
            &functions_env,
            egress_address,
            &options.outside,
            options.functions.as_deref(),
        );
        let postgrest = postgrest::start(&processes, &postgres, issuer.verifying_keys());
        let (workers, postgrest_port) = tokio::try_join!(workers, postgrest)?;
        let parts = Parts {
            authority,
            publishable_key: publishable_key.clone(),
            secret_key: secret_key.clone(),
            issuer: issuer.clone(),
            postgrest_port,
            zoom: Some(zoom_authority),
            logs,
            output: options.output,
        };
        let gateway = Gateway::serve(parts, origin, egress);
        let db_url = postgres.url("postgres");
        let simulator_url = zoom.url().to_owned();
        let local = Local {
            gateway,
            zoom,
            issuer,
            postgres,
            workers: Mutex::new(workers),
            functions_env: Mutex::new(functions_env),
            edge_runtime,
            outside: options.outside,
            functions: options.functions,
            egress: egress_address,
            processes,
        };
        local.announce_workers(&local.workers.lock().await);
        Ok(Self {
            url,
            publishable_key,
            secret_key,
            db_url,
            simulator_url,
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

    /// What runs the edge functions.
    pub fn edge_runtime(&self) -> EdgeRuntime {
        self.local().edge_runtime
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
    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.local().issuer
    }

    /// The record of requests.
    pub fn gateway(&self) -> &Gateway {
        &self.local().gateway
    }

    /// The Zoom simulator.
    pub fn zoom(&self) -> &ZoomSimulator {
        &self.local().zoom
    }

    /// What the edge functions have asked of the gateway and of Zoom, in the order in which they did. Clearing the two
    /// records clears this one.
    pub fn outbound_calls(&self) -> Vec<OutboundCall> {
        let requests = self.gateway().requests().into_iter();
        let inward = requests
            .filter(|request| request.caller == Caller::Edge)
            .map(|request| OutboundCall {
                number: request.number,
                what: request.path,
                status: Some(request.status).filter(|status| *status > 0),
            });
        let calls = self.zoom().calls().into_iter();
        // The consent page is called by browsers.
        let outward = calls
            .filter(|call| call.endpoint != Endpoint::Authorize)
            .map(|call| OutboundCall {
                number: call.number,
                what: match call.grant {
                    Some(Grant::AuthorizationCode) => "zoom token_exchange".to_owned(),
                    Some(Grant::RefreshToken) => "zoom token_refresh".to_owned(),
                    None => format!("zoom {}", call.endpoint),
                },
                status: call.status,
            });
        let mut all: Vec<_> = inward.chain(outward).collect();
        all.sort_by_key(|call| call.number);
        all
    }

    /// Lets time pass, by whole seconds, for the database and for Zoom: every instant in the tables of `public` and
    /// `video_sessions_private` lies that much further back afterwards, and so does everything that has happened or is
    /// planned at Zoom. No trigger takes notice, and nobody's clock is touched: what lay an hour ahead before a travel
    /// of two hours is an hour ago after it. Sign-ins stay as they are.
    pub async fn travel(&self, by: TimeDelta) -> Result<()> {
        let local = self.local();
        let admin = local.postgres.connect("supabase_admin").await?;
        database::let_time_pass(admin, by, || local.zoom.travel(by)).await
    }

    /// Waits until a statement of PostgREST's has run for 100 ms, looks, and ends the statement.
    ///
    /// # Errors
    /// If none runs that long within ten seconds, or `look` fails.
    pub async fn during_slow_statement<T>(&self, look: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
        let admin = self.local().postgres.connect("supabase_admin").await?;
        let sql = "select pid from pg_catalog.pg_stat_activity where usename = 'authenticator' and state = 'active'
                   and query_start < clock_timestamp() - interval '100 ms'";
        let slow = async {
            loop {
                if let Some(row) = admin.query_opt(sql, &[]).await? {
                    return anyhow::Ok(row.get::<_, i32>(0));
                }
            }
        };
        let pid = tokio::time::timeout(std::time::Duration::from_secs(10), slow)
            .await
            .context("no statement has run for 100 ms")??;
        let seen = look().await;
        admin.execute("select pg_cancel_backend($1)", &[&pid]).await?;
        seen
    }

    /// Every row of every table in `public` and `video_sessions_private` as text, for a search for what must not be
    /// there.
    pub async fn dump(&self) -> Result<String> {
        database::dump(&self.local().postgres.connect("supabase_admin").await?).await
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
        let env = local.functions_env.lock().await.clone();
        *worker = Some(
            Worker::start(
                &local.processes,
                local.edge_runtime,
                index,
                &env,
                local.egress,
                &local.outside,
                local.functions.as_deref(),
            )
            .await?,
        );
        local.announce_workers(&workers);
        Ok(())
    }

    /// Starts a process that the gateway does not know, for measurements: it serves `modules`, files of JavaScript by
    /// the names in their addresses, with the environment and the way out that the functions have.
    pub async fn start_beside(
        &self,
        name: &str,
        runtime: EdgeRuntime,
        modules: &BTreeMap<String, PathBuf>,
    ) -> Result<Beside> {
        let local = self.local();
        let env = local.functions_env.lock().await.clone();
        let config = json!({"env": env, "egress": local.egress, "modules": modules});
        let worker = Worker::start_with(&local.processes, runtime, name, &config).await?;
        Ok(Beside(worker))
    }

    /// What the functions find in their environment under this name.
    pub async fn env(&self, name: &str) -> Option<String> {
        self.local().functions_env.lock().await.get(name).cloned()
    }

    /// Changes the environment of the edge functions for the processes that are started from now on.
    pub async fn set_env(&self, name: &str, value: &str) {
        let mut env = self.local().functions_env.lock().await;
        env.insert(name.to_owned(), value.to_owned());
    }

    /// The directory that all processes of this stack work in and that holds all its files.
    pub fn run_dir(&self) -> &Path {
        self.local().processes.run_dir()
    }

    /// Every line that any part has logged so far.
    pub fn logs(&self) -> Vec<String> {
        self.local().processes.logs().lines()
    }

    /// Fails if a secret is in a log line, or in an answer to the wrong one; and if a function has crashed. Every stack
    /// makes this check when it ends; a test whose stack ends with its process has to ask for it.
    pub fn check(&self) -> Result<()> {
        let leaks = self.local.as_ref().map(Local::leaks).transpose();
        let leaks = leaks.context("the leak check could not be made")?.unwrap_or_default();
        ensure!(leaks.is_empty(), "secrets have leaked:\n  {}", leaks.join("\n  "));
        let logs = self.local.as_ref().map(|local| local.processes.logs().lines());
        let mut logs = logs.unwrap_or_default();
        logs.retain(|line| line.contains(r#"{"event":"crashed""#));
        ensure!(logs.is_empty(), "functions have crashed:\n  {}", logs.join("\n  "));
        Ok(())
    }

    /// Ends everything and waits for it; fails as [`Stack::check`] does. Dropping the stack does the same.
    pub async fn stop(self) -> Result<()> {
        tokio::task::spawn_blocking(move || drop(self)).await?;
        Ok(())
    }
}

impl Drop for Stack {
    /// Every test ends with [the check](Stack::check).
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if let Err(failure) = self.check() {
            panic!("{failure:#}");
        }
    }
}

impl Local {
    /// Where secrets of this stack are that should not be there.
    fn leaks(&self) -> Result<Vec<String>> {
        let issued = self.zoom.issued_secrets().into_iter().map(|secret| Secret {
            what: format!("{:?}", secret.kind),
            value: secret.value,
            for_its_host: match secret.kind {
                SecretKind::StartUrl | SecretKind::StartToken => ForItsHost::Yes,
                SecretKind::Code | SecretKind::AccessToken | SecretKind::RefreshToken => ForItsHost::No,
            },
        });
        let env = self.functions_env.try_lock().context("the environment is in use")?;
        let configured = env.iter().filter(|(name, _)| {
            ["SECRET", "ENCRYPTION_KEYS", "SERVICE_ROLE"]
                .iter()
                .any(|part| name.contains(part))
        });
        let configured = configured.flat_map(|(name, value)| {
            // Of a list `id:key,…` the keys; anything else has no such separators.
            value
                .split(',')
                .map(|entry| entry.rsplit(':').next().unwrap_or(entry))
                .map(|value| Secret {
                    what: name.clone(),
                    value: value.to_owned(),
                    for_its_host: ForItsHost::No,
                })
        });
        let secrets: Vec<Secret> = issued.chain(configured).collect();
        leaks::find(&secrets, &self.processes.logs().lines(), &self.gateway.answers())
    }

    fn announce_workers(&self, workers: &[Option<Worker>]) {
        let running = workers.iter().flatten().map(|worker| worker.address);
        self.gateway.set_workers(running.collect());
    }
}

/// The Zoom app of a stack; its secrets are new for each. Browsers know the functions by another origin than Zoom may.
fn zoom_app(for_browsers: &str, url: &str) -> Result<ZoomApp> {
    Ok(ZoomApp {
        client_id: random_text()?,
        client_secret: random_text()?,
        redirect_uri: format!("{for_browsers}/functions/v1/zoom-oauth-callback"),
        webhook_url: format!("{url}/functions/v1/zoom-webhook"),
        webhook_secret_token: random_text()?,
    })
}

/// The configuration of the functions; secrets are new for each stack.
fn functions_env(
    url: &str,
    secret_key: &str,
    jwks: &Value,
    zoom_app: &ZoomApp,
    zoom: &Authority,
    options: &StackOptions,
) -> Result<BTreeMap<String, String>> {
    let sealing_key = BASE64_STANDARD.encode(random_bytes::<32>()?);
    let mut env = BTreeMap::from(
        [
            ("SUPABASE_URL", url.to_owned()),
            ("SUPABASE_SECRET_KEY", secret_key.to_owned()),
            ("ZOOM_CLIENT_ID", zoom_app.client_id.clone()),
            ("ZOOM_CLIENT_SECRET", zoom_app.client_secret.clone()),
            ("ZOOM_REDIRECT_URI", zoom_app.redirect_uri.clone()),
            ("ZOOM_WEBHOOK_SECRET_TOKEN", zoom_app.webhook_secret_token.clone()),
            ("ZOOM_OAUTH_URL", format!("http://{zoom}/oauth")),
            ("ZOOM_API_URL", format!("http://{zoom}/v2")),
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
    let given = options.env.iter();
    env.extend(given.map(|(name, value)| (name.clone(), value.replace("{url}", url))));
    env.retain(|_, value| !value.is_empty());
    Ok(env)
}

async fn start_workers(
    processes: &Processes,
    runtime: EdgeRuntime,
    count: usize,
    env: &BTreeMap<String, String>,
    egress: SocketAddr,
    outside: &[String],
    functions: Option<&Path>,
) -> Result<Vec<Option<Worker>>> {
    let starting = (0..count).map(|index| Worker::start(processes, runtime, index, env, egress, outside, functions));
    let workers = futures_util::future::try_join_all(starting).await?;
    Ok(workers.into_iter().map(Some).collect())
}
