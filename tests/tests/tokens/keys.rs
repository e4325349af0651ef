//! Tokens at rest: sealed, and sealed anew while they are in use, so that a key can go.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;

use crate::support::connection::{address_of_worker, as_service, db, options, until, Host, KEYS};
use crate::support::on_shared_stack;
use anyhow::{ensure, Error, Result};
use local_stack::zoom::{Endpoint, Fault, Rules, SecretKind};
use local_stack::{Stack, StackOptions};
use serde_json::json;
use shared::seal::SealingKeys;
use shared::zoom::connection::{access_token_context, refresh_token_context};
use tokio::sync::RwLock;
use tokio::task::JoinHandle;

const NEW_KEY: &str = "new:HxwdHhscGRoXGBUWExQREg8QDQ4LDAkKBwgFBgMEAQI=";

fn two_processes() -> StackOptions {
    StackOptions {
        worker_processes: 2,
        ..options()
    }
}

/// Begins a test: nothing is sealed, and the processes have these keys.
async fn begin(stack: &Stack, keys: [&str; 2]) -> Result<()> {
    let tables = [
        "public.user_integrations_zoom",
        "video_sessions_private.zoom_revocations",
        "video_sessions_private.zoom_oauth_states",
    ];
    for table in tables {
        db(stack).await?.execute(&format!("delete from {table}"), &[]).await?;
    }
    for (process, keys) in keys.into_iter().enumerate() {
        stack.set_env("TOKEN_ENCRYPTION_KEYS", keys).await;
        stack.restart_worker(process).await?;
    }
    Ok(())
}

/// How many connections a key has sealed.
async fn sealed_with(stack: &Stack, key: &str) -> Result<i64> {
    let query = "select count(*) from public.user_integrations_zoom
                 where starts_with(access_token, 'v1.' || $1 || '.') and starts_with(refresh_token, 'v1.' || $1 || '.')";
    Ok(db(stack).await?.query_one(query, &[&key]).await?.get(0))
}

/// Hosts who go on creating sessions, each with a refresh before it, whatever happens around them.
struct Users {
    running: Vec<JoinHandle<Result<()>>>,
    created: Arc<AtomicUsize>,
    /// Held for writing while a process is replaced, which a platform does when no request is in it.
    pause: Arc<RwLock<()>>,
    stop: Arc<AtomicBool>,
}

impl Users {
    fn begin(stack: &'static Stack, hosts: &[Host]) -> Self {
        let (created, pause, stop) = <(Arc<AtomicUsize>, Arc<RwLock<()>>, Arc<AtomicBool>)>::default();
        let running = hosts.iter().cloned().map(|host| {
            let (created, pause, stop) = (created.clone(), pause.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let _in_use = pause.read().await;
                    host.let_access_token_run_out(stack).await?;
                    host.create().await?.ok()?;
                    created.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        });
        Self {
            running: running.collect(),
            created,
            pause,
            stop,
        }
    }

    /// Waits until they have created some more sessions.
    async fn go_on(&self) -> Result<()> {
        let before = self.created.load(Ordering::Relaxed);
        until("more sessions were created", async || {
            ensure!(
                self.running.iter().all(|user| !user.is_finished()),
                "a host's create failed"
            );
            Ok(self.created.load(Ordering::Relaxed) >= before + 12)
        })
        .await
    }

    /// Brings other keys into use as a platform does: one process after the other, in use together meanwhile.
    async fn deploy(&self, stack: &Stack, keys: &str) -> Result<()> {
        stack.set_env("TOKEN_ENCRYPTION_KEYS", keys).await;
        for process in 0..2 {
            let paused = self.pause.write().await;
            stack.restart_worker(process).await?;
            drop(paused);
            self.go_on().await?;
        }
        Ok(())
    }

    async fn end(self) -> Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        for user in self.running {
            user.await??;
        }
        Ok(self.created.load(Ordering::Relaxed))
    }
}

#[test]
fn a_key_goes_while_connections_are_in_use() -> Result<()> {
    on_shared_stack(two_processes(), async |stack| {
        begin(stack, [KEYS, KEYS]).await?;
        stack.zoom().change_rules(|rules| rules.daily_limit = None);
        let hosts = [Host::connected(stack).await?, Host::connected(stack).await?];
        // Nobody uses these meanwhile; the second still has to be revoked one day; the third is about to connect.
        let (idle, limited, coming) = (
            Host::connected(stack).await?,
            Host::connected(stack).await?,
            Host::new(stack).await?,
        );
        stack.zoom().set_scopes(&limited.zoom_email, &["user:read"])?;
        assert_eq!(limited.create().await?.code(), (403, "missing_scope"));
        assert_eq!(sealed_with(stack, "old").await?, 4);
        let users = Users::begin(stack, &hosts);

        users.deploy(stack, &format!("{KEYS},{NEW_KEY}")).await?;
        let started = coming.user.call("zoom-oauth-start", &json!({})).await?.ok()?;
        assert_eq!(sealed_with(stack, "new").await?, 0, "the first key seals");
        users.deploy(stack, &format!("{NEW_KEY},{KEYS}")).await?;
        assert_eq!(sealed_with(stack, "old").await?, 2, "those that nobody uses");

        let counts = as_service(stack, "refresh-token").await?;
        assert_eq!(
            (&counts["resealed"], &counts["on_older_keys"]),
            (&json!(2), &json!(1)),
            "{counts}"
        );
        let callback = coming.user.consent(&started, &coming.zoom_email, "allow").await?;
        assert!(coming.user.come_back(&callback).await?.text.contains("success=1"));
        let counts = as_service(stack, "refresh-token").await?;
        assert_eq!(
            (&counts["resealed"], &counts["on_older_keys"]),
            (&json!(0), &json!(0)),
            "{counts}"
        );

        users.deploy(stack, NEW_KEY).await?;
        assert!(users.end().await? >= 72);
        for host in hosts.iter().chain([&idle, &coming]) {
            host.let_access_token_run_out(stack).await?;
            host.create().await?.ok()?;
        }
        limited.disconnect().await?;
        assert_eq!(limited.live_tokens(stack).len(), 0);
        assert_eq!(sealed_with(stack, "new").await?, 4);
        stack.zoom().change_rules(|rules| *rules = Rules::default());
        Ok(())
    })
}

/// Whoever puts a new key in front at once has processes, for as long as the deployment takes, that cannot read what
/// others seal with it.
#[test]
fn a_process_that_lacks_a_key_keeps_nobody_else_waiting() -> Result<()> {
    on_shared_stack(two_processes(), async |stack| {
        begin(stack, [KEYS, KEYS]).await?;
        let host = Host::connected(stack).await?;
        let both = format!("{NEW_KEY},{KEYS}");
        stack.set_env("TOKEN_ENCRYPTION_KEYS", &both).await;
        stack.restart_worker(1).await?;
        let [unable, able] = [address_of_worker(stack, 0)?, address_of_worker(stack, 1)?];
        let stored = host.stored(stack).await?;
        let keys = SealingKeys::parse(&both).map_err(Error::msg)?;
        for (column, place) in [
            ("access_token", access_token_context(host.id())),
            ("refresh_token", refresh_token_context(host.id())),
        ] {
            let token = keys.open(place, stored[column].as_str().unwrap_or_default())?;
            host.store(stack, &format!("{column} = '{}'", keys.seal(place, &token)?))
                .await?;
        }
        host.let_access_token_run_out(stack).await?;
        stack.zoom().clear_calls();
        assert_eq!(host.create_at(&unable).await?.code(), (500, "internal"));
        assert_eq!(stack.zoom().calls().len(), 0);
        stack.gateway().clear();
        host.create_at(&able).await?.ok()?;
        let waited = |path: &str| path.ends_with("edge_token_claim");
        assert!(!stack.gateway().requests().iter().any(|request| waited(&request.path)));
        Ok(())
    })
}

#[test]
fn a_dump_of_the_database_holds_no_token() -> Result<()> {
    on_shared_stack(two_processes(), async |stack| {
        begin(stack, [KEYS, KEYS]).await?;
        // Tokens in every place where tokens are.
        let (used, limited, leaving, coming) = (
            Host::connected(stack).await?,
            Host::connected(stack).await?,
            Host::connected(stack).await?,
            Host::new(stack).await?,
        );
        used.let_access_token_run_out(stack).await?;
        used.create().await?.ok()?;
        stack.zoom().set_scopes(&limited.zoom_email, &["user:read"])?;
        assert_eq!(limited.create().await?.code(), (403, "missing_scope"));
        stack.zoom().order(Fault::at(Endpoint::Revoke).hanging())?;
        stack.zoom().clear_calls();
        let caller = leaving.clone();
        let disconnecting = tokio::spawn(async move { caller.disconnect().await });
        stack
            .zoom()
            .wait_for("the revocation", |calls| calls.len() == 1)
            .await?;
        let started = coming.user.call("zoom-oauth-start", &json!({})).await?.ok()?;
        coming.user.consent(&started, &coming.zoom_email, "allow").await?;
        let places = "select (select count(*) from public.user_integrations_zoom), (select count(*) from video_sessions_private.zoom_revocations),
                             (select count(*) from video_sessions_private.zoom_oauth_states where consumed_at is null)";
        let row = db(stack).await?.query_one(places, &[]).await?;
        assert_eq!([0, 1, 2].map(|column| row.get::<_, i64>(column)), [2, 1, 1]);

        let dump = stack.dump().await?;
        let secrets = stack.zoom().issued_secrets();
        let found = |kind: SecretKind| {
            let of_kind = secrets.iter().filter(|secret| secret.kind == kind);
            let (total, found) = of_kind.fold((0, 0), |(total, found), secret| {
                (total + 1, found + usize::from(dump.contains(&secret.value)))
            });
            assert!(total > 0, "{kind:?}");
            found
        };
        for kind in [SecretKind::AccessToken, SecretKind::RefreshToken, SecretKind::Code] {
            assert_eq!(found(kind), 0, "{kind:?}");
        }
        assert!(
            found(SecretKind::StartUrl) > 0,
            "start URLs are stored: the search finds what is there"
        );
        stack.zoom().withdraw_all();
        disconnecting.await?
    })
}
