//! The life of a Zoom connection in the database: states, leases, refreshes, verdicts, revocations.

use crate::support::db::{
    connect, connect_as, create_session, everything, id_of, meeting, on_shared_stack, sealed, session_request, with,
    Caller, Connection,
};
use crate::support::in_hours;
use anyhow::{Context, Result};
use futures_util::future::{join_all, try_join_all};
use local_stack::Stack;
use serde_json::{json, Value};
use shared::hash::sha256_hex;
use tokio_postgres::Client;
use uuid::Uuid;

/// A host, the functions, and the database.
struct World {
    db: Client,
    service: Caller,
    host: Caller,
}

impl World {
    async fn new(stack: &Stack) -> Result<Self> {
        Ok(Self {
            db: stack.db().await?,
            service: Caller::service(stack),
            host: Caller::host(stack).await?,
        })
    }

    async fn connected(stack: &Stack) -> Result<(Self, Connection)> {
        let world = Self::new(stack).await?;
        let connection = connect(&world.service, world.host.id).await?;
        Ok((world, connection))
    }

    /// A user's connection as it is stored; null if there is none.
    async fn row(&self, user: Uuid) -> Result<Value> {
        let sql = "select to_jsonb(c) from public.user_integrations_zoom c where user_id = $1";
        let row = self.db.query_opt(sql, &[&user]).await?;
        Ok(row.map_or(Value::Null, |row| row.get(0)))
    }

    /// Changes the host's connection behind everybody's back, mostly to let time pass.
    async fn set(&self, assignments: &str) -> Result<()> {
        let sql = format!("update public.user_integrations_zoom set {assignments} where user_id = $1");
        let changed = self.db.execute(&sql, &[&self.host.id]).await?;
        anyhow::ensure!(changed == 1, "{assignments}");
        Ok(())
    }

    /// The version of the host's tokens. It counts up, and not by one.
    async fn version(&self) -> Result<i64> {
        self.row(self.host.id).await?["token_version"]
            .as_i64()
            .context("a version")
    }

    /// Claims a token for the host: the token part of the answer.
    async fn claim(&self, changes: Value) -> Result<Value> {
        let claim =
            json!({"user_id": self.host.id, "holder": Uuid::new_v4(), "min_seconds": 60, "refused_version": null});
        let answer = self.service.step("edge_token_claim", with(claim, &changes)).await?;
        Ok(answer["token"].clone())
    }

    async fn state(&self) -> Result<String> {
        let claim = self.claim(json!({})).await?;
        Ok(claim["state"].as_str().context("a state")?.to_owned())
    }

    /// Saves new tokens for those of this version.
    async fn commit(&self, version: i64, tokens: &[String; 2]) -> Result<Value> {
        let commit = json!({
            "user_id": self.host.id, "token_version": version, "access_token": tokens[0],
            "refresh_token": tokens[1], "access_expires_in": 3600, "scope": "",
        });
        self.service.step("edge_refresh_commit", commit).await
    }

    async fn fail(&self, holder: Uuid, version: i64, changes: Value) -> Result<String> {
        let fail = json!({
            "user_id": self.host.id, "holder": holder, "token_version": version,
            "expired_reason": "revoked", "cooldown_seconds": 0,
        });
        self.service.outcome("edge_refresh_fail", with(fail, &changes)).await
    }

    /// How the app sees the connection: state and reason.
    async fn seen(&self) -> Result<(String, Value)> {
        let seen = self.host.step("zoom_connection", json!({})).await?;
        Ok((
            seen["state"].as_str().context("a state")?.to_owned(),
            seen["reason"].clone(),
        ))
    }

    async fn revocations(&self, user: Uuid) -> Result<Vec<Value>> {
        let claimed = self
            .service
            .step("edge_revocations_claim", json!({"max_rows": 1000}))
            .await?;
        let revocations = claimed["revocations"].as_array().context("revocations")?.iter();
        Ok(revocations
            .filter(|revocation| revocation["user_id"] == json!(user))
            .cloned()
            .collect())
    }
}

fn tokens() -> [String; 2] {
    [sealed("access"), sealed("refresh")]
}

mod states {
    use super::*;

    async fn begin(world: &World) -> Result<String> {
        let hash = Uuid::new_v4().to_string();
        let begin = json!({"user_id": world.host.id, "state_hash": hash, "sealed_verifier": "v1.test.verifier"});
        let begun = world.service.step("edge_oauth_begin", begin).await?;
        assert_eq!(begun["outcome"], "ok");
        let expires: chrono::DateTime<chrono::Utc> = serde_json::from_value(begun["expires_at"].clone())?;
        let minutes = (expires - chrono::Utc::now()).num_seconds();
        assert!((540..=600).contains(&minutes), "ten minutes: {minutes} s");
        Ok(hash)
    }

    /// With the code, or with Zoom's refusal in place of one.
    async fn consume(world: &World, hash: &str, denied: Option<&str>) -> Result<Value> {
        let handle_hash = denied.is_none().then(|| sha256_hex(hash));
        let consume = json!({"state_hash": hash, "handle_hash": handle_hash, "denied": denied});
        world.service.step("edge_oauth_consume", consume).await
    }

    async fn complete(world: &World, hash: &str, user: Uuid) -> Result<String> {
        let complete = json!({
            "state_hash": hash, "user_id": user, "zoom_user_id": format!("zoom-{user}"), "zoom_account_id": "account",
            "zoom_account_email": "host@zoom.test", "scope": "user:read:user", "access_token": sealed("access"),
            "refresh_token": sealed("refresh"), "access_expires_in": 3600, "lacking_scope": false,
        });
        world.service.outcome("edge_oauth_complete", complete).await
    }

    async fn age(world: &World, hash: &str, assignment: &str) -> Result<()> {
        let sql = format!("update video_sessions_private.zoom_oauth_states set {assignment} where state_hash = $1");
        assert_eq!(world.db.execute(&sql, &[&hash]).await?, 1);
        Ok(())
    }

    #[test]
    fn a_state_serves_once() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let hash = begin(&world).await?;
            assert_eq!(
                complete(&world, &hash, world.host.id).await?,
                "invalid_state",
                "not consumed yet"
            );
            let claimed = consume(&world, &hash, None).await?;
            let expected =
                json!({"outcome": "claimed", "user_id": world.host.id, "sealed_verifier": "v1.test.verifier"});
            assert_eq!(claimed, expected);
            assert_eq!(consume(&world, &hash, None).await?, json!({"outcome": "running"}));
            assert_eq!(
                consume(&world, &hash, Some("access_denied")).await?,
                json!({"outcome": "unknown"}),
                "not the same call"
            );
            assert_eq!(
                complete(&world, &hash, Uuid::new_v4()).await?,
                "invalid_state",
                "another's"
            );
            assert_eq!(world.row(world.host.id).await?, Value::Null);

            let kept = async || everything(&world.db).await;
            assert_eq!(complete(&world, &hash, world.host.id).await?, "pending");
            let pending = kept().await?;
            assert_eq!(complete(&world, &hash, world.host.id).await?, "pending", "repeated");
            assert_eq!(kept().await?, pending, "and nothing changed");
            let finished = json!({"outcome": "finished", "result": "success"});
            assert_eq!(consume(&world, &hash, None).await?, finished);
            let another = json!({"state_hash": hash, "handle_hash": "another code's", "denied": null});
            for (what, asked) in [
                ("another code", world.service.step("edge_oauth_consume", another).await?),
                ("a refusal", consume(&world, &hash, Some("access_denied")).await?),
            ] {
                assert_eq!(asked, json!({"outcome": "unknown"}), "{what}");
            }
            assert_eq!(world.row(world.host.id).await?, Value::Null, "not confirmed yet");
            // The handle is confirmed by the user who asked, as often as that comes.
            for _ in 0..2 {
                let confirm = json!({"handle": hash});
                let confirmed = world.host.rpc("confirm_zoom_connection", &confirm).await?;
                assert_eq!((confirmed.status, confirmed.text.as_str()), (204, ""));
                assert_eq!(
                    complete(&world, &hash, world.host.id).await?,
                    "connected",
                    "repeated late"
                );
                assert_eq!(world.seen().await?.0, "connected");
            }
            let fail = json!({"state_hash": hash, "result": "server_error"});
            assert_eq!(world.service.outcome("edge_oauth_fail", fail).await?, "recorded");
            assert_eq!(
                consume(&world, &hash, None).await?["result"],
                "success",
                "the first result stays"
            );
            Ok(())
        })
    }

    #[test]
    fn whatever_came_of_it_is_said_again() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let denied = begin(&world).await?;
            for _ in 0..2 {
                let said = json!({"outcome": "finished", "result": "access_denied"});
                assert_eq!(consume(&world, &denied, Some("access_denied")).await?, said);
                // Back, and allowed after all: there is a way, and it begins in the app.
                assert_eq!(consume(&world, &denied, None).await?, json!({"outcome": "unknown"}));
            }
            assert_eq!(complete(&world, &denied, world.host.id).await?, "invalid_state");

            let failed = begin(&world).await?;
            assert_eq!(consume(&world, &failed, None).await?["outcome"], "claimed");
            let fail = json!({"state_hash": failed, "result": "missing_scope"});
            assert_eq!(world.service.outcome("edge_oauth_fail", fail).await?, "recorded");
            let said = json!({"outcome": "finished", "result": "missing_scope"});
            assert_eq!(consume(&world, &failed, None).await?, said);
            assert_eq!(complete(&world, &failed, world.host.id).await?, "invalid_state");
            assert_eq!(world.row(world.host.id).await?, Value::Null, "nothing was connected");
            Ok(())
        })
    }

    #[test]
    fn a_state_that_is_unknown_old_or_abandoned_serves_nobody() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let none = Uuid::new_v4().to_string();
            assert_eq!(consume(&world, &none, None).await?, json!({"outcome": "unknown"}));
            assert_eq!(
                consume(&world, &none, Some("access_denied")).await?,
                json!({"outcome": "unknown"})
            );

            let old = begin(&world).await?;
            age(&world, &old, "expires_at = now() + interval '1 second'").await?;
            assert_eq!(
                consume(&world, &old, None).await?["outcome"],
                "claimed",
                "up to the last second"
            );
            let old = begin(&world).await?;
            age(&world, &old, "expires_at = now()").await?;
            assert_eq!(consume(&world, &old, None).await?, json!({"outcome": "expired"}));
            assert_eq!(complete(&world, &old, world.host.id).await?, "invalid_state");

            let abandoned = begin(&world).await?;
            assert_eq!(consume(&world, &abandoned, None).await?["outcome"], "claimed");
            age(&world, &abandoned, "consumed_at = now() - interval '110 seconds'").await?;
            assert_eq!(consume(&world, &abandoned, None).await?, json!({"outcome": "running"}));
            age(&world, &abandoned, "consumed_at = now() - interval '121 seconds'").await?;
            assert_eq!(consume(&world, &abandoned, None).await?, json!({"outcome": "expired"}));
            // Whoever consumed it was only slow.
            assert_eq!(complete(&world, &abandoned, world.host.id).await?, "pending");
            Ok(())
        })
    }

    #[test]
    fn of_many_callbacks_at_once_one_exchanges_the_code() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let hash = begin(&world).await?;
            let answers = try_join_all((0..12).map(|_| consume(&world, &hash, None))).await?;
            let with_outcome = |outcome| answers.iter().filter(|answer| answer["outcome"] == outcome).count();
            assert_eq!((with_outcome("claimed"), with_outcome("running")), (1, 11));
            Ok(())
        })
    }

    #[test]
    fn a_user_has_five_live_states() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let mut hashes = Vec::new();
            for _ in 0..7 {
                hashes.push(begin(&world).await?);
            }
            for (n, hash) in hashes.iter().enumerate() {
                let expected = if n < 2 { "unknown" } else { "claimed" };
                assert_eq!(
                    consume(&world, hash, None).await?["outcome"],
                    expected,
                    "the oldest give way: {n}"
                );
            }
            // Those that were consumed count no more, and stay to tell what came of them.
            try_join_all((0..12).map(|_| begin(&world))).await?;
            let count =
                "select count(*) filter (where consumed_at is null), count(*) filter (where consumed_at is not null)
                         from video_sessions_private.zoom_oauth_states where user_id = $1";
            let row = world.db.query_one(count, &[&world.host.id]).await?;
            assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (5, 5));
            Ok(())
        })
    }
}

/// A consent connects nobody before the user who asked for it has confirmed it.
mod confirmation {
    use super::*;

    /// The user asks, Zoom's user allows: gives the handle, which the browser that allowed carries.
    async fn consented(world: &World, asker: &Caller, zoom_user: &str, changes: Value) -> Result<String> {
        let handle = Uuid::new_v4().to_string();
        let begin = json!({"user_id": asker.id, "state_hash": handle, "sealed_verifier": "v1.test.verifier"});
        assert_eq!(world.service.outcome("edge_oauth_begin", begin).await?, "ok");
        let consume = json!({"state_hash": handle, "handle_hash": sha256_hex(&handle), "denied": null});
        assert_eq!(world.service.outcome("edge_oauth_consume", consume).await?, "claimed");
        let complete = json!({
            "state_hash": handle, "user_id": asker.id, "zoom_user_id": zoom_user, "zoom_account_id": "account",
            "zoom_account_email": format!("{zoom_user}@zoom.test"), "scope": "user:read:user",
            "access_token": sealed("access"), "refresh_token": sealed("refresh"), "access_expires_in": 3600,
            "lacking_scope": false,
        });
        world
            .service
            .outcome("edge_oauth_complete", with(complete, &changes))
            .await?;
        Ok(handle)
    }

    async fn confirm(caller: &Caller, handle: &str) -> Result<(u16, String)> {
        let reply = caller
            .rpc("confirm_zoom_connection", &json!({"handle": handle}))
            .await?;
        Ok((reply.status, reply.json["code"].as_str().unwrap_or_default().to_owned()))
    }

    const DONE: (u16, &str) = (204, "");
    const REFUSED: (u16, &str) = (404, "connection_not_confirmable");

    fn is(found: &(u16, String), expected: (u16, &str)) -> bool {
        (found.0, found.1.as_str()) == expected
    }

    async fn lapse(world: &World, handle: &str) -> Result<()> {
        let sql = "update video_sessions_private.pending_connections set expires_at = now() where handle_hash = $1";
        assert_eq!(world.db.execute(sql, &[&sha256_hex(handle)]).await?, 1);
        Ok(())
    }

    async fn pending(world: &World, zoom_user: &str) -> Result<i64> {
        let sql = "select count(*) from video_sessions_private.pending_connections where zoom_user_id = $1";
        Ok(world.db.query_one(sql, &[&zoom_user]).await?.get(0))
    }

    fn zoom_user() -> String {
        format!("zoom-{}", Uuid::new_v4())
    }

    #[test]
    fn nobody_but_the_asker_confirms_and_not_without_the_handle() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let (stranger, zoom_user) = (Caller::host(stack).await?, zoom_user());
            let handle = consented(&world, &world.host, &zoom_user, json!({})).await?;
            for (caller, handle, what) in [
                (&stranger, handle.as_str(), "somebody else"),
                (&world.host, "", "nothing"),
                (&world.host, "guessed", "a guess"),
                (&world.host, &sha256_hex(&handle), "the hash"),
            ] {
                assert!(is(&confirm(caller, handle).await?, REFUSED), "{what}");
            }
            assert_eq!(confirm(&Caller::anon(stack), &handle).await?.0, 401);
            assert_eq!(world.row(world.host.id).await?, Value::Null);
            assert!(is(&confirm(&world.host, &handle).await?, DONE));
            assert_eq!(world.row(world.host.id).await?["zoom_user_id"], json!(zoom_user));
            assert!(
                is(&confirm(&stranger, &handle).await?, REFUSED),
                "confirmed, and still not theirs"
            );

            // Ten minutes, and not one second more.
            let late = consented(&world, &stranger, &format!("{zoom_user}-2"), json!({})).await?;
            lapse(&world, &late).await?;
            assert!(is(&confirm(&stranger, &late).await?, REFUSED));
            // One that lacks a permission is kept for its end alone.
            let lacking = consented(
                &world,
                &stranger,
                &format!("{zoom_user}-3"),
                json!({"lacking_scope": true}),
            )
            .await?;
            assert!(is(&confirm(&stranger, &lacking).await?, REFUSED));
            Ok(())
        })
    }

    #[test]
    fn a_newer_consent_replaces_a_pending_one_without_a_revocation() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let (other, zoom_user) = (Caller::host(stack).await?, zoom_user());
            let older = consented(&world, &world.host, &zoom_user, json!({})).await?;
            let newer = consented(&world, &other, &zoom_user, json!({})).await?;
            assert_eq!(pending(&world, &zoom_user).await?, 1);
            assert!(
                is(&confirm(&world.host, &older).await?, REFUSED),
                "Zoom has ended its tokens"
            );
            assert!(is(&confirm(&other, &newer).await?, DONE));
            assert!(world.revocations(world.host.id).await?.is_empty());
            Ok(())
        })
    }

    #[test]
    fn what_nobody_confirmed_is_revoked_unless_somebody_is_connected_as_that_zoom_user() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let zoom_user = zoom_user();
            let handle = consented(&world, &world.host, &zoom_user, json!({})).await?;
            assert!(
                world.revocations(world.host.id).await?.is_empty(),
                "not before its time"
            );
            lapse(&world, &handle).await?;
            assert_eq!(world.revocations(world.host.id).await?.len(), 1);
            assert_eq!(pending(&world, &zoom_user).await?, 0);

            // Somebody is: a revocation would take the app from them. What is true of theirs, a refresh finds out at
            // once.
            let (world, connection) = World::connected(stack).await?;
            let attacker = Caller::host(stack).await?;
            let due = async || {
                let due = world
                    .service
                    .step("edge_refresh_due", json!({"max_rows": 10_000}))
                    .await?;
                anyhow::Ok(
                    due["user_ids"]
                        .as_array()
                        .context("ids")?
                        .contains(&json!(world.host.id)),
                )
            };
            assert!(!due().await?);
            let handle = consented(&world, &attacker, &connection.zoom_user_id, json!({})).await?;
            assert!(due().await?, "Zoom may have ended it at the consent");
            world.set("access_token_expires_at = now() + interval '1 hour'").await?;
            lapse(&world, &handle).await?;
            assert!(world.revocations(attacker.id).await?.is_empty());
            assert_eq!(pending(&world, &connection.zoom_user_id).await?, 0);
            assert!(due().await?);
            assert_eq!(world.seen().await?.0, "connected");
            Ok(())
        })
    }

    #[test]
    fn who_is_connected_as_that_zoom_user_already_has_nothing_to_confirm() -> Result<()> {
        on_shared_stack(async |stack| {
            let (world, connection) = World::connected(stack).await?;
            let before = world.version().await?;
            let handle = consented(&world, &world.host, &connection.zoom_user_id, json!({})).await?;
            assert!(world.version().await? > before);
            assert_eq!(pending(&world, &connection.zoom_user_id).await?, 0);
            assert!(
                is(&confirm(&world.host, &handle).await?, DONE),
                "the app confirms all the same"
            );

            // Once connected is not enough: the account may have been lent.
            let other = Caller::host(stack).await?;
            connect_as(&world.service, other.id, &connection.zoom_user_id, &json!({})).await?;
            assert_eq!(world.seen().await?.0, "expired");
            consented(&world, &world.host, &connection.zoom_user_id, json!({})).await?;
            assert_eq!(world.seen().await?.0, "expired");
            Ok(())
        })
    }

    #[test]
    fn a_disconnect_and_a_deleted_account_end_what_is_pending() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let handle = consented(&world, &world.host, &zoom_user(), json!({})).await?;
            let disconnect = json!({"user_id": world.host.id, "mode": "always"});
            world.service.step("edge_disconnect_begin", disconnect).await?;
            assert!(is(&confirm(&world.host, &handle).await?, REFUSED));
            assert_eq!(world.revocations(world.host.id).await?.len(), 1);

            let leaving = Caller::host(stack).await?;
            consented(&world, &leaving, &zoom_user(), json!({})).await?;
            world
                .db
                .execute("delete from auth.users where id = $1", &[&leaving.id])
                .await?;
            assert_eq!(world.revocations(leaving.id).await?.len(), 1);
            Ok(())
        })
    }

    /// Confirming and claiming for revocation at once: one of them gets the tokens.
    #[test]
    fn tokens_are_confirmed_or_revoked_and_never_both() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            for _ in 0..12 {
                let host = Caller::host(stack).await?;
                let handle = consented(&world, &host, &zoom_user(), json!({})).await?;
                let sql = "update video_sessions_private.pending_connections
                           set expires_at = clock_timestamp() + interval '15 milliseconds' where handle_hash = $1";
                world.db.execute(sql, &[&sha256_hex(&handle)]).await?;
                let confirming = confirm(&host, &handle);
                let (confirmed, _) = tokio::try_join!(confirming, world.revocations(host.id))?;
                let claimed = "select count(*) from video_sessions_private.zoom_revocations where user_id = $1";
                let _ = world.revocations(host.id).await?;
                let revoked: i64 = world.db.query_one(claimed, &[&host.id]).await?.get(0);
                assert_eq!(revoked, i64::from(!is(&confirmed, DONE)));
            }
            Ok(())
        })
    }

    /// What Zoom tells us of our own revocation ends nobody's connection, however its clock and ours go.
    #[test]
    fn the_echo_of_our_own_revocation_ends_no_connection() -> Result<()> {
        on_shared_stack(async |stack| {
            let (world, connection) = World::connected(stack).await?;
            let disconnect = json!({"user_id": world.host.id, "mode": "always"});
            world.service.step("edge_disconnect_begin", disconnect).await?;
            connect(&world.service, world.host.id).await?;
            let removed = async |seconds: i64| {
                let at = chrono::Utc::now() + chrono::TimeDelta::seconds(seconds);
                let event = json!({
                    "event_id": Uuid::new_v4(), "event": "app_deauthorized", "event_ts": at.timestamp_millis(),
                    "details": {
                        "zoom_user_id": connection.zoom_user_id,
                        "zoom_account_id": format!("account-{}", connection.zoom_user_id),
                        "deauthorization_time": at,
                    },
                });
                world.service.outcome("edge_webhook_receive", event).await
            };
            // Later than the reconnect, by Zoom's clock.
            assert_eq!(removed(5).await?, "ignored");
            assert_eq!(world.seen().await?.0, "connected");
            // The next one is no echo.
            assert_eq!(removed(6).await?, "deauthorized");
            assert_eq!(world.seen().await?.0, "not_connected");
            Ok(())
        })
    }

    #[test]
    fn start_urls_go_with_the_connection_however_it_ends() -> Result<()> {
        on_shared_stack(async |stack| {
            for end in ["elsewhere", "expired", "another account", "removed", "confirmed again"] {
                let (world, connection) = World::connected(stack).await?;
                create_session(&world.service, world.host.id, &json!({})).await?;
                let kept = async || {
                    let sql = "select count(*) from public.video_session_host_meta where host_id = $1";
                    anyhow::Ok(world.db.query_one(sql, &[&world.host.id]).await?.get::<_, i64>(0))
                };
                assert_eq!(kept().await?, 1);
                let version = world.version().await?;
                match end {
                    "elsewhere" => {
                        let other = Caller::host(stack).await?;
                        connect_as(&world.service, other.id, &connection.zoom_user_id, &json!({})).await?;
                    }
                    "expired" => {
                        let fail = json!({"user_id": world.host.id, "token_version": version, "reason": "owner_gone"});
                        world.service.step("edge_connection_expire", fail).await?;
                    }
                    "another account" => {
                        connect_as(&world.service, world.host.id, &zoom_user(), &json!({})).await?;
                    }
                    "removed" => {
                        world
                            .db
                            .execute(
                                "delete from public.user_integrations_zoom where user_id = $1",
                                &[&world.host.id],
                            )
                            .await?;
                    }
                    _ => {
                        connect_as(&world.service, world.host.id, &connection.zoom_user_id, &json!({})).await?;
                        assert_eq!(kept().await?, 1, "{end}: it did not end");
                        continue;
                    }
                }
                assert_eq!(kept().await?, 0, "{end}");
            }
            Ok(())
        })
    }

    /// Neither the role nor the account is for ever: what makes a host of somebody stops with it, and what ends a
    /// connection goes on.
    #[test]
    fn who_is_no_host_any_more_neither_connects_nor_creates_nor_starts() -> Result<()> {
        on_shared_stack(async |stack| {
            for change in [
                "raw_app_meta_data = '{\"role\": \"client\"}'",
                "banned_until = now() + interval '1 hour'",
                "is_anonymous = true",
            ] {
                let (world, _) = World::connected(stack).await?;
                let host = world.host.id;
                let session = create_session(&world.service, host, &json!({})).await?;
                assert_eq!(
                    world
                        .host
                        .get("video_session_host_meta")
                        .await?
                        .json
                        .as_array()
                        .map(Vec::len),
                    Some(1)
                );
                let sql = format!("update auth.users set {change} where id = $1");
                world.db.execute(&sql, &[&host]).await?;

                let begin = json!({"user_id": host, "state_hash": Uuid::new_v4(), "sealed_verifier": "v1.x"});
                assert_eq!(
                    world.service.outcome("edge_oauth_begin", begin).await?,
                    "not_a_host",
                    "{change}"
                );
                let begin = json!({
                    "user_id": host, "holder": Uuid::new_v4(), "idempotency_key": null, "request_hash": "hash",
                    "session": session_request(&json!({})),
                });
                assert_eq!(
                    world.service.outcome("edge_session_begin", begin).await?,
                    "not_a_host",
                    "{change}"
                );
                let begin = json!({"user_id": host, "holder": Uuid::new_v4(), "session_id": session["id"]});
                assert_eq!(
                    world.service.outcome("edge_start_begin", begin).await?,
                    "not_a_host",
                    "{change}"
                );
                assert_eq!(
                    world.host.get("video_session_host_meta").await?.json,
                    json!([]),
                    "{change}"
                );
                let own = crate::support::db::external_session(&json!({}));
                assert_eq!(world.host.post("video_sessions", &own).await?.status, 403, "{change}");
                // The connection stays alive, and can be ended.
                assert_eq!(world.state().await?, "fresh", "{change}");
                let disconnect = json!({"user_id": host, "mode": "always"});
                assert_eq!(
                    world.service.outcome("edge_disconnect_begin", disconnect).await?,
                    "revoke",
                    "{change}"
                );
            }
            // A ban that is over is none.
            let (world, _) = World::connected(stack).await?;
            let sql = "update auth.users set banned_until = now() where id = $1";
            world.db.execute(sql, &[&world.host.id]).await?;
            create_session(&world.service, world.host.id, &json!({})).await?;
            Ok(())
        })
    }

    /// The host disconnects while create-session or start-session waits for Zoom.
    #[test]
    fn a_start_url_that_comes_late_is_neither_stored_nor_given() -> Result<()> {
        on_shared_stack(async |stack| {
            let (world, _) = World::connected(stack).await?;
            let host = world.host.id;
            let session = create_session(&world.service, host, &json!({})).await?;
            let begin = json!({
                "user_id": host, "holder": Uuid::new_v4(), "idempotency_key": null, "request_hash": "hash",
                "session": session_request(&json!({})),
            });
            let begun = world.service.step("edge_session_begin", begin).await?;
            let late = json!({
                "user_id": host, "session_id": session["id"], "meeting_id": session["provider_meeting_id"],
                "meeting": with(meeting(), &json!({"start_url": "https://zoom.us/s/1?zak=late"})),
            });
            let disconnect = json!({"user_id": host, "mode": "always"});
            world.service.step("edge_disconnect_begin", disconnect).await?;
            let told = async || world.service.step("edge_start_complete", late.clone()).await;
            assert_eq!(told().await?["token"], json!({"state": "not_connected"}));
            let complete = json!({"creation_id": begun["creation_id"], "user_id": host, "meeting": meeting()});
            assert_eq!(
                world.service.outcome("edge_session_complete", complete).await?,
                "created",
                "it exists at Zoom"
            );
            connect_as(&world.service, host, &zoom_user(), &json!({})).await?;
            assert_eq!(told().await?, json!({"outcome": "zoom_other_account"}));
            let version = world.version().await?;
            let expire = json!({"user_id": host, "token_version": version, "reason": "revoked"});
            world.service.step("edge_connection_expire", expire).await?;
            assert_eq!(told().await?["token"], json!({"state": "expired", "reason": "revoked"}));
            assert_eq!(world.host.get("video_session_host_meta").await?.json, json!([]));
            Ok(())
        })
    }
}

mod refresh {
    use super::*;

    #[test]
    fn a_token_is_handed_out_while_it_is_fresh() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            assert_eq!(world.claim(json!({})).await?, json!({"state": "not_connected"}));
            let connection = connect(&world.service, world.host.id).await?;
            let version = world.version().await?;
            let fresh = json!({"state": "fresh", "access_token": connection.access_token, "token_version": version});
            assert_eq!(world.claim(json!({})).await?, fresh);
            assert_eq!(world.claim(json!({"min_seconds": 3500})).await?, fresh);
            let others = json!({"refused_version": version - 1});
            assert_eq!(world.claim(others).await?, fresh, "another version was refused");

            world.set("used_at = now() - interval '1 hour'").await?;
            world.claim(json!({})).await?;
            let sql =
                "select now() - used_at < interval '1 minute' from public.user_integrations_zoom where user_id = $1";
            assert!(
                world.db.query_one(sql, &[&world.host.id]).await?.get::<_, bool>(0),
                "its use is noted"
            );

            // The lease goes to whoever needs a newer one: each way of needing it.
            for (setting, changes) in [
                ("lease_until = null", json!({"min_seconds": 3700})),
                ("lease_until = null", json!({"refused_version": version})),
                (
                    "lease_until = null, access_token_expires_at = now() + interval '59 seconds'",
                    json!({}),
                ),
                (
                    "lease_until = null, access_token_expires_at = now() - interval '1 day'",
                    json!({}),
                ),
            ] {
                world.set(setting).await?;
                let lease =
                    json!({"state": "refresh", "refresh_token": connection.refresh_token, "token_version": version});
                assert_eq!(world.claim(changes.clone()).await?, lease, "{setting} {changes}");
            }
            Ok(())
        })
    }

    #[test]
    fn one_holds_the_lease_and_others_wait() -> Result<()> {
        on_shared_stack(async |stack| {
            let (world, _) = World::connected(stack).await?;
            world.set("access_token_expires_at = now()").await?;
            let claims = try_join_all((0..20).map(|_| world.claim(json!({})))).await?;
            let in_state = |state| claims.iter().filter(|claim| claim["state"] == state).count();
            assert_eq!((in_state("refresh"), in_state("busy")), (1, 19));
            assert!(claims
                .iter()
                .all(|claim| claim["state"] != "busy" || claim["retry_after_ms"] == 200));

            // Twenty seconds, and it is free again.
            let left = "select extract(epoch from lease_until - now())::float8 from public.user_integrations_zoom where user_id = $1";
            let left: f64 = world.db.query_one(left, &[&world.host.id]).await?.get(0);
            assert!((15.0..=20.0).contains(&left), "{left}");
            world.set("lease_until = lease_until - interval '20 seconds'").await?;
            assert_eq!(world.state().await?, "refresh");
            assert_eq!(world.state().await?, "busy");
            // Who needs no newer token does not care.
            world
                .set("access_token_expires_at = now() + interval '10 minutes'")
                .await?;
            assert_eq!(world.state().await?, "fresh");
            Ok(())
        })
    }

    #[test]
    fn new_tokens_are_saved_once() -> Result<()> {
        on_shared_stack(async |stack| {
            let (world, _) = World::connected(stack).await?;
            world
                .set("access_token_expires_at = now(), expires_at = now() + interval '1 day'")
                .await?;
            let (holder, old) = (Uuid::new_v4(), world.version().await?);
            assert_eq!(world.claim(json!({"holder": holder})).await?["state"], "refresh");
            let new = tokens();
            let saved = world.commit(old, &new).await?;
            let version = world.version().await?;
            assert!(version > old);
            assert_eq!(saved, json!({"outcome": "saved", "token_version": version}));
            let row = world.row(world.host.id).await?;
            for (column, value) in [
                ("access_token", json!(new[0])),
                ("refresh_token", json!(new[1])),
                ("lease_holder", Value::Null),
                ("lease_until", Value::Null),
                ("scope", json!("user:read:user")), // An empty scope in Zoom's answer says nothing.
            ] {
                assert_eq!(row[column], value, "{column}");
            }
            let sql = "select expires_at > now() + interval '89 days', access_token_expires_at > now() + interval '59 minutes'
                       from public.user_integrations_zoom where user_id = $1";
            let times = world.db.query_one(sql, &[&world.host.id]).await?;
            assert!(times.get::<_, bool>(0) && times.get::<_, bool>(1), "{row}");

            assert_eq!(
                world.commit(old, &new).await?,
                saved,
                "an answer that was lost is given again"
            );
            let superseded = json!({"outcome": "superseded"});
            assert_eq!(world.commit(old, &tokens()).await?, superseded, "tokens for older ones");
            assert_eq!(world.commit(version + 1, &tokens()).await?, superseded);
            assert_eq!(world.row(world.host.id).await?, row, "and nothing changed");
            assert_eq!(world.state().await?, "fresh");

            let unknown = World::new(stack).await?;
            let refused = unknown.commit(version, &tokens()).await?;
            assert_eq!(
                refused,
                json!({"outcome": "refused"}),
                "there is no connection to save them in"
            );
            Ok(())
        })
    }

    #[test]
    fn tokens_that_came_late_are_still_the_only_live_ones() -> Result<()> {
        on_shared_stack(async |stack| {
            // The lease ran out, and somebody else has it.
            let (world, _) = World::connected(stack).await?;
            world.set("access_token_expires_at = now()").await?;
            let (slow, quick) = (Uuid::new_v4(), Uuid::new_v4());
            let version = world.version().await?;
            assert_eq!(world.claim(json!({"holder": slow})).await?["state"], "refresh");
            world.set("lease_until = now()").await?;
            assert_eq!(world.claim(json!({"holder": quick})).await?["state"], "refresh");
            assert_eq!(world.commit(version, &tokens()).await?["outcome"], "saved");
            // Zoom refused the other one's use of the same refresh token: an old story by now.
            assert_eq!(world.fail(quick, version, json!({})).await?, "superseded");
            assert_eq!(world.seen().await?, ("connected".to_owned(), Value::Null));

            // The other way round: the verdict first, then the tokens that prove it wrong.
            world.set("access_token_expires_at = now()").await?;
            let version = world.version().await?;
            assert_eq!(world.claim(json!({"holder": slow})).await?["state"], "refresh");
            assert_eq!(world.fail(quick, version, json!({})).await?, "recorded");
            assert_eq!(world.seen().await?, ("expired".to_owned(), json!("revoked")));
            let new = tokens();
            assert_eq!(world.commit(version, &new).await?["outcome"], "saved");
            assert_eq!(world.seen().await?, ("connected".to_owned(), Value::Null));
            let fresh = json!({"state": "fresh", "access_token": new[0], "token_version": world.version().await?});
            assert_eq!(world.claim(json!({})).await?, fresh);
            let sql =
                "select expires_at > now() + interval '89 days' from public.user_integrations_zoom where user_id = $1";
            assert!(
                world.db.query_one(sql, &[&world.host.id]).await?.get::<_, bool>(0),
                "for another ninety days"
            );
            Ok(())
        })
    }

    #[test]
    fn a_verdict_ends_the_connection_until_the_host_reconnects() -> Result<()> {
        on_shared_stack(async |stack| {
            let (world, first) = World::connected(stack).await?;
            world.set("access_token_expires_at = now()").await?;
            let (holder, version) = (Uuid::new_v4(), world.version().await?);
            world.claim(json!({"holder": holder})).await?;
            assert_eq!(world.fail(holder, version, json!({})).await?, "recorded");
            let row = world.row(world.host.id).await?;
            assert_eq!(
                (&row["access_token"], &row["refresh_token"]),
                (&Value::Null, &Value::Null),
                "dead tokens go"
            );
            assert_eq!(
                world.claim(json!({})).await?,
                json!({"state": "expired", "reason": "revoked"})
            );
            // An `expires_at` that has passed means Reconnect to a client.
            let path = "user_integrations_zoom?select=status,expires_at";
            let shown = &world.host.get(path).await?.json[0];
            let expires: chrono::DateTime<chrono::Utc> = serde_json::from_value(shown["expires_at"].clone())?;
            assert!(shown["status"] == "expired" && expires <= chrono::Utc::now(), "{shown}");

            let second = connect(&world.service, world.host.id).await?;
            assert_ne!(first.access_token, second.access_token);
            let fresh = json!({
                "state": "fresh", "access_token": second.access_token, "token_version": world.version().await?,
            });
            assert_eq!(world.claim(json!({})).await?, fresh);
            assert_eq!(world.seen().await?, ("connected".to_owned(), Value::Null));
            // What was going on with the earlier tokens is over, even if the host had disconnected in between.
            for _ in 0..2 {
                assert_eq!(world.fail(holder, version, json!({})).await?, "superseded");
                assert_eq!(
                    world.commit(version, &tokens()).await?,
                    json!({"outcome": "superseded"})
                );
                let expire = json!({"user_id": world.host.id, "token_version": version, "reason": "missing_scope"});
                assert_eq!(
                    world.service.outcome("edge_connection_expire", expire).await?,
                    "superseded"
                );
                assert_eq!(world.seen().await?, ("connected".to_owned(), Value::Null));
                let disconnect = json!({"user_id": world.host.id, "mode": "always"});
                assert_eq!(
                    world.service.outcome("edge_disconnect_begin", disconnect).await?,
                    "revoke"
                );
                connect(&world.service, world.host.id).await?;
            }
            Ok(())
        })
    }

    #[test]
    fn a_reconnect_resets_leases_and_waits() -> Result<()> {
        on_shared_stack(async |stack| {
            let (world, _) = World::connected(stack).await?;
            world
                .set(
                    "access_token_expires_at = now(), lease_holder = gen_random_uuid(), lease_until = now() + interval '1 minute',
                     cooldown_until = now() + interval '1 hour', refreshed_at = now() - interval '40 days',
                     used_at = now() - interval '40 days', connected_at = now() - interval '40 days',
                     expires_at = now() + interval '50 days'",
                )
                .await?;
            connect(&world.service, world.host.id).await?;
            let row = world.row(world.host.id).await?;
            for column in [
                "lease_holder",
                "lease_until",
                "cooldown_until",
                "expired_reason",
                "account_deleted_at",
            ] {
                assert_eq!(row[column], Value::Null, "{column}");
            }
            let sql = "select least(refreshed_at, used_at, connected_at) > now() - interval '1 minute'
                         and expires_at > now() + interval '89 days'
                       from public.user_integrations_zoom where user_id = $1";
            assert!(
                world.db.query_one(sql, &[&world.host.id]).await?.get::<_, bool>(0),
                "{row}"
            );
            assert_eq!(world.state().await?, "fresh");
            Ok(())
        })
    }

    #[test]
    fn while_zoom_is_down_nobody_asks() -> Result<()> {
        on_shared_stack(async |stack| {
            let (world, _) = World::connected(stack).await?;
            world.set("access_token_expires_at = now()").await?;
            let (holder, version) = (Uuid::new_v4(), world.version().await?);
            world.claim(json!({"holder": holder})).await?;
            let cooldown = |seconds: i64| json!({"expired_reason": null, "cooldown_seconds": seconds});
            // Only the holder of the lease can know.
            assert_eq!(world.fail(Uuid::new_v4(), version, cooldown(60)).await?, "recorded");
            assert_eq!(world.state().await?, "busy", "the lease is still held");
            assert_eq!(world.fail(holder, version, cooldown(60)).await?, "recorded");
            let claim = world.claim(json!({})).await?;
            assert_eq!(claim["state"], "cooling_down");
            assert!(
                (50..=60).contains(&claim["retry_after_seconds"].as_i64().unwrap_or_default()),
                "{claim}"
            );
            assert_eq!(world.seen().await?.0, "connected", "no verdict");
            world.set("cooldown_until = now()").await?;
            assert_eq!(world.state().await?, "refresh");

            // A day at most; and a token that is still good is handed out meanwhile.
            world.set("lease_until = null").await?;
            world.claim(json!({"holder": holder})).await?;
            assert_eq!(world.fail(holder, version, cooldown(10_000_000)).await?, "recorded");
            let claim = world.claim(json!({})).await?;
            assert!(
                (86_300..=86_400).contains(&claim["retry_after_seconds"].as_i64().unwrap_or_default()),
                "{claim}"
            );
            world
                .set("access_token_expires_at = now() + interval '5 minutes'")
                .await?;
            assert_eq!(world.state().await?, "fresh");
            Ok(())
        })
    }

    #[test]
    fn what_the_api_says_ends_a_connection_too() -> Result<()> {
        on_shared_stack(async |stack| {
            let (world, connection) = World::connected(stack).await?;
            let version = world.version().await?;
            let expire =
                |version: i64| json!({"user_id": world.host.id, "token_version": version, "reason": "missing_scope"});
            assert_eq!(
                world
                    .service
                    .outcome("edge_connection_expire", expire(version + 1))
                    .await?,
                "superseded"
            );
            assert_eq!(world.state().await?, "fresh");
            assert_eq!(
                world.service.outcome("edge_connection_expire", expire(version)).await?,
                "recorded"
            );
            let missing_scope = ("expired".to_owned(), json!("missing_scope"));
            assert_eq!(world.seen().await?, missing_scope);
            // These tokens live on at Zoom: they are kept to be revoked. Newer ones take their place, and are no
            // better.
            assert_eq!(
                world.row(world.host.id).await?["refresh_token"],
                json!(connection.refresh_token)
            );
            let new = tokens();
            assert_eq!(world.commit(version, &new).await?["outcome"], "saved");
            assert_eq!(world.seen().await?, missing_scope);
            assert_eq!(world.state().await?, "expired");
            let begin = json!({"user_id": world.host.id, "mode": "always"});
            let begun = world.service.step("edge_disconnect_begin", begin).await?;
            assert_eq!(
                (&begun["outcome"], &begun["revocation"]["refresh_token"]),
                (&json!("revoke"), &json!(new[1]))
            );
            Ok(())
        })
    }

    #[test]
    fn the_newer_connection_of_a_zoom_user_holds() -> Result<()> {
        on_shared_stack(async |stack| {
            let (world, _) = World::connected(stack).await?;
            let other = Caller::host(stack).await?;
            let zoom_user = format!("shared-{}", world.host.id);
            connect_as(&world.service, world.host.id, &zoom_user, &json!({})).await?;
            connect_as(&world.service, other.id, &zoom_user, &json!({})).await?;
            assert_eq!(
                world.seen().await?,
                ("expired".to_owned(), json!("connected_elsewhere"))
            );
            let row = world.row(world.host.id).await?;
            assert_eq!(
                (&row["access_token"], &row["refresh_token"]),
                (&Value::Null, &Value::Null),
                "Zoom has killed them"
            );
            let version = world.version().await?;
            let late = world.commit(version, &tokens()).await?;
            assert_eq!(
                late,
                json!({"outcome": "superseded"}),
                "even a refresh that came through"
            );
            assert_eq!(world.row(other.id).await?["status"], "connected");
            // Reconnecting the same user is no conflict with oneself, and takes it back.
            connect_as(&world.service, world.host.id, &zoom_user, &json!({})).await?;
            assert_eq!(world.seen().await?.0, "connected");
            assert_eq!(world.row(other.id).await?["expired_reason"], "connected_elsewhere");
            // Both at once: one of them keeps it. A consent that the other's replaces is not confirmed.
            for _ in 0..4 {
                let nothing = json!({});
                let connects =
                    [world.host.id, other.id].map(|user| connect_as(&world.service, user, &zoom_user, &nothing));
                let connected = join_all(connects).await;
                assert!(
                    connected.iter().any(Result::is_ok),
                    "{:?}",
                    connected.iter().find_map(|c| c.as_ref().err())
                );
                let mut statuses =
                    [world.row(world.host.id).await?, world.row(other.id).await?].map(|row| row["status"].clone());
                statuses.sort_by_key(Value::to_string);
                assert_eq!(statuses, [json!("connected"), json!("expired")]);
            }
            Ok(())
        })
    }

    #[test]
    fn a_new_seal_changes_nothing_else() -> Result<()> {
        on_shared_stack(async |stack| {
            let (world, connection) = World::connected(stack).await?;
            let stale = async |key: &str| {
                let claim = json!({"key_id": key, "max_rows": 1000});
                let answer = world.service.step("edge_reseal_claim", claim).await?;
                let rows = answer["connections"].as_array().context("connections")?.iter();
                anyhow::Ok(
                    rows.filter(|row| row["user_id"] == json!(world.host.id))
                        .cloned()
                        .collect::<Vec<_>>(),
                )
            };
            assert!(stale("test").await?.is_empty());
            assert!(stale("tes").await?.len() == 1, "another key whose name begins alike");
            let version = world.version().await?;
            let claimed = stale("new").await?;
            assert_eq!(claimed[0]["refresh_token"], json!(connection.refresh_token));
            let reseal = |version: i64, old: &str| {
                json!({
                    "user_id": world.host.id, "token_version": version, "old_refresh_token": old,
                    "access_token": "v1.new.a", "refresh_token": "v1.new.r",
                })
            };
            let before = world.row(world.host.id).await?;
            for stale in [
                reseal(version + 1, &connection.refresh_token),
                reseal(version, "v1.test.other"),
            ] {
                assert_eq!(world.service.outcome("edge_reseal", stale).await?, "superseded");
            }
            assert_eq!(world.row(world.host.id).await?, before);
            let outcome = world
                .service
                .outcome("edge_reseal", reseal(version, &connection.refresh_token))
                .await?;
            assert_eq!(outcome, "resealed");
            let expected = with(
                before,
                &json!({"access_token": "v1.new.a", "refresh_token": "v1.new.r"}),
            );
            let after = world.row(world.host.id).await?;
            assert_eq!(
                with(after.clone(), &json!({"updated_at": null})),
                with(expected, &json!({"updated_at": null}))
            );
            assert!(stale("new").await?.is_empty());
            // Nothing is stored that no function has sealed.
            for column in ["access_token", "refresh_token"] {
                assert!(
                    world.set(&format!("{column} = 'eyJ'")).await.is_err(),
                    "{column} in plain text"
                );
            }
            Ok(())
        })
    }
}

mod due {
    use super::*;

    /// All that are due, in order.
    async fn due(world: &World) -> Result<Vec<Value>> {
        let answer = world
            .service
            .step("edge_refresh_due", json!({"max_rows": 1000}))
            .await?;
        assert_eq!(answer["remaining"], 0);
        Ok(answer["user_ids"].as_array().context("ids")?.clone())
    }

    async fn is_due(world: &World) -> Result<bool> {
        Ok(due(world).await?.contains(&json!(world.host.id)))
    }

    #[test]
    fn an_idle_connection_is_refreshed_after_thirty_days_and_lapses_after_ninety() -> Result<()> {
        on_shared_stack(async |stack| {
            let mut idle = Vec::new();
            for (days, due, state, seen) in [
                (0, false, "fresh", "connected"),
                (29, false, "refresh", "connected"),
                (31, true, "refresh", "connected"),
                (89, true, "refresh", "connected"),
                (91, true, "expired", "expired"),
            ] {
                let (world, _) = World::connected(stack).await?;
                let ago = format!("interval '{days} days'");
                world
                    .set(&format!(
                        "refreshed_at = refreshed_at - {ago}, used_at = used_at - {ago}, expires_at = expires_at - {ago},
                         access_token_expires_at = access_token_expires_at - {ago}"
                    ))
                    .await?;
                assert_eq!(is_due(&world).await?, due, "{days} days");
                idle.push((world, days, state, seen));
            }
            // Whoever lapses first goes first.
            let (world, ..) = &idle[0];
            let order = due(world).await?;
            let place = |days| {
                let (world, ..) = idle.iter().find(|(_, d, ..)| *d == days).expect("one of them");
                order.iter().position(|id| *id == json!(world.host.id))
            };
            assert!(place(91) < place(89) && place(89) < place(31), "{order:?}");
            let answer = world.service.step("edge_refresh_due", json!({"max_rows": 1})).await?;
            assert_eq!(answer["user_ids"], json!([order[0]]));
            assert_eq!(answer["remaining"], json!(order.len() - 1));

            for (world, days, state, seen) in &idle {
                assert_eq!(world.seen().await?.0, *seen, "{days} days, before anybody looks");
                assert_eq!(world.state().await?, *state, "{days} days");
                assert_eq!(world.seen().await?.0, *seen, "{days} days, after");
                if *days > 90 {
                    assert_eq!(world.seen().await?.1, "idle");
                    assert!(!is_due(world).await?, "it is over");
                    assert_eq!(world.row(world.host.id).await?["refresh_token"], Value::Null);
                } else if *days > 1 {
                    let new = world.commit(world.version().await?, &tokens()).await?;
                    assert_eq!(new["outcome"], "saved");
                    assert!(!is_due(world).await?, "{days} days: refreshed");
                }
            }
            Ok(())
        })
    }

    /// A run refreshes so many and no more: those whose refresh fails, and that are due again at once, must not be all
    /// of them.
    #[test]
    fn those_that_fail_let_the_others_pass() -> Result<()> {
        on_shared_stack(async |stack| {
            let mut worlds = Vec::new();
            for days in [80, 70, 60, 50, 40] {
                let (world, _) = World::connected(stack).await?;
                worlds.push((world, format!("interval '{days} days'")));
            }
            let idle = async |place: usize| {
                let (world, ago) = &worlds[place];
                world
                    .set(&format!(
                        "refreshed_at = now() - {ago}, used_at = now() - {ago}, access_token_expires_at = now() - {ago},
                         expires_at = now() + interval '90 days' - {ago}"
                    ))
                    .await
            };
            for place in 0..worlds.len() {
                idle(place).await?;
            }
            let order = async || -> Result<Vec<usize>> {
                let ids = due(&worlds[0].0).await?;
                let place = |id| worlds.iter().position(|(world, _)| json!(world.host.id) == id);
                Ok(ids.into_iter().filter_map(place).collect())
            };
            let fail = async |place: usize, seconds: u32| -> Result<()> {
                let (world, _) = &worlds[place];
                let holder = Uuid::new_v4();
                assert_eq!(world.claim(json!({"holder": holder})).await?["state"], "refresh");
                let verdict = json!({"expired_reason": null, "cooldown_seconds": seconds});
                assert_eq!(world.fail(holder, world.version().await?, verdict).await?, "recorded");
                Ok(())
            };
            assert_eq!(order().await?, [0, 1, 2, 3, 4], "whoever lapses first goes first");
            fail(0, 0).await?;
            assert_eq!(order().await?, [1, 2, 3, 4, 0]);
            fail(1, 30).await?;
            assert_eq!(order().await?, [2, 3, 4, 0], "the cool-down comes first");
            worlds[1].0.set("cooldown_until = now()").await?;
            assert_eq!(order().await?, [2, 3, 4, 0, 1]);
            // The third's refresh was begun, and nobody knows how it ended.
            worlds[2].0.claim(json!({})).await?;
            worlds[2].0.set("lease_until = now()").await?;
            assert_eq!(order().await?, [3, 4, 0, 1, 2]);
            // They take turns.
            fail(0, 0).await?;
            assert_eq!(order().await?, [3, 4, 1, 2, 0]);

            // What has failed is forgotten with new tokens, and with a new connection.
            let (first, third) = (&worlds[0].0, &worlds[2].0);
            let saved = first.commit(first.version().await?, &tokens()).await?;
            assert_eq!(saved["outcome"], "saved");
            connect(&third.service, third.host.id).await?;
            assert_eq!(order().await?, [3, 4, 1]);
            idle(0).await?;
            idle(2).await?;
            assert_eq!(order().await?, [0, 2, 3, 4, 1]);
            Ok(())
        })
    }

    #[test]
    fn a_token_in_use_is_refreshed_as_it_runs_out() -> Result<()> {
        on_shared_stack(async |stack| {
            let (world, _) = World::connected(stack).await?;
            let now = "now()";
            for (expires, used, cooldown, expected) in [
                ("now() + interval '9 minutes'", now, "null", true),
                ("now() - interval '9 minutes'", now, "null", true),
                ("now() + interval '11 minutes'", now, "null", false),
                ("now() - interval '11 minutes'", now, "null", false),
                (
                    "now() + interval '9 minutes'",
                    "refreshed_at - interval '1 second'",
                    "null",
                    false,
                ),
                (
                    "now() + interval '9 minutes'",
                    now,
                    "now() + interval '1 minute'",
                    false,
                ),
                ("now() + interval '9 minutes'", now, "now() - interval '1 minute'", true),
            ] {
                let set = format!("access_token_expires_at = {expires}, used_at = {used}, cooldown_until = {cooldown}");
                world.set(&set).await?;
                assert_eq!(is_due(&world).await?, expected, "{set}");
            }
            Ok(())
        })
    }

    #[test]
    fn a_session_that_is_about_to_start_finds_a_fresh_token() -> Result<()> {
        on_shared_stack(async |stack| {
            let (world, _) = World::connected(stack).await?;
            let session = id_of(&create_session(&world.service, world.host.id, &json!({})).await?)?;
            let unused = "used_at = refreshed_at - interval '1 second'";
            for (expires, start, expected) in [
                ("now() - interval '2 hours'", "now() + interval '9 minutes'", true),
                ("now() - interval '2 hours'", "now() - interval '4 minutes'", true),
                ("now() - interval '2 hours'", "now() + interval '11 minutes'", false),
                ("now() - interval '2 hours'", "now() - interval '6 minutes'", false),
                ("now() + interval '30 minutes'", "now() + interval '9 minutes'", false),
            ] {
                world
                    .set(&format!("access_token_expires_at = {expires}, {unused}"))
                    .await?;
                let sql = format!("update public.video_sessions set scheduled_start = {start} where id = $1");
                world.db.execute(&sql, &[&session]).await?;
                assert_eq!(
                    is_due(&world).await?,
                    expected,
                    "token until {expires}, session at {start}"
                );
            }
            let sql = "update public.video_sessions set scheduled_start = now(), status = 'cancelled' where id = $1";
            world
                .set(&format!(
                    "access_token_expires_at = now() - interval '2 hours', {unused}"
                ))
                .await?;
            world.db.execute(sql, &[&session]).await?;
            assert!(!is_due(&world).await?, "cancelled");
            Ok(())
        })
    }
}

mod revocation {
    use super::*;

    async fn disconnect(world: &World, mode: &str) -> Result<Value> {
        let begin = json!({"user_id": world.host.id, "mode": mode});
        world.service.step("edge_disconnect_begin", begin).await
    }

    async fn settle(world: &World, task: &Value, holder: Uuid) -> Result<String> {
        settle_as(world, holder, json!({"task_id": task["task_id"], "result": "done"})).await
    }

    async fn settle_as(world: &World, holder: Uuid, result: Value) -> Result<String> {
        let settle = json!({"holder": holder, "results": [result]});
        let settled = world.service.step("edge_outbox_settle", settle).await?;
        Ok(serde_json::from_value(settled["outcomes"][0].clone())?)
    }

    async fn tasks(world: &World, holder: Uuid) -> Result<Vec<Value>> {
        let claim = json!({"holder": holder, "max_rows": 100, "only_user": world.host.id, "scope": "everything"});
        let claimed = world.service.step("edge_outbox_claim", claim).await?;
        Ok(claimed["tasks"].as_array().context("tasks")?.clone())
    }

    #[test]
    fn a_host_disconnects() -> Result<()> {
        on_shared_stack(async |stack| {
            let (world, connection) = World::connected(stack).await?;
            let session = id_of(&create_session(&world.service, world.host.id, &json!({})).await?)?;
            let begin = json!({"user_id": world.host.id, "state_hash": world.host.id, "sealed_verifier": "v1.x"});
            world.service.outcome("edge_oauth_begin", begin).await?;

            let mut begun = disconnect(&world, "if_drained").await?;
            let left = begun.as_object_mut().and_then(|begun| begun.remove("left_at_zoom"));
            assert_eq!(left, Some(json!({"changes": 0, "deletions": 0, "creations": 0})));
            let revocation_id = &begun["revocation"]["revocation_id"];
            let expected = json!({
                "user_id": world.host.id, "access_token": connection.access_token,
                "refresh_token": connection.refresh_token, "fresh": true, "revocation_id": revocation_id,
            });
            assert_eq!(begun, json!({"outcome": "revoke", "revocation": expected}));
            assert_eq!(world.seen().await?, ("not_connected".to_owned(), Value::Null));
            assert_eq!(world.state().await?, "not_connected");
            let path = format!("video_session_host_meta?session_id=eq.{session}");
            assert_eq!(world.host.get(&path).await?.json, json!([]), "start URLs go");
            let state = json!({"state_hash": world.host.id, "handle_hash": "x", "denied": null});
            assert_eq!(
                world.service.outcome("edge_oauth_consume", state).await?,
                "unknown",
                "and consents on their way"
            );
            assert_eq!(disconnect(&world, "always").await?["outcome"], "not_connected");

            // If the function dies now, somebody else revokes the tokens.
            assert!(
                world.revocations(world.host.id).await?.is_empty(),
                "not while it is at it"
            );
            world
                .db
                .execute(
                    "update video_sessions_private.zoom_revocations set claimed_until = now()",
                    &[],
                )
                .await?;
            let claimed = world.revocations(world.host.id).await?;
            assert_eq!(claimed, [expected]);
            assert!(world.revocations(world.host.id).await?.is_empty(), "one at a time");
            let complete = json!({"revocation_id": revocation_id});
            for _ in 0..2 {
                assert_eq!(
                    world
                        .service
                        .outcome("edge_disconnect_complete", complete.clone())
                        .await?,
                    "forgotten"
                );
            }
            let stored = Value::Object(everything(&world.db).await?).to_string();
            assert!(!stored.contains(&connection.access_token) && !stored.contains(&connection.refresh_token));
            // The session is still there, and a connection that is made anew can go on with it.
            assert_eq!(
                world.host.get(&format!("video_sessions?id=eq.{session}")).await?.json[0]["status"],
                "scheduled"
            );
            Ok(())
        })
    }

    #[test]
    fn what_is_on_its_way_to_zoom_goes_first() -> Result<()> {
        on_shared_stack(async |stack| {
            let (world, _) = World::connected(stack).await?;
            let session = id_of(&create_session(&world.service, world.host.id, &json!({})).await?)?;
            let path = format!("video_sessions?id=eq.{session}");
            world.host.patch(&path, &json!({"title": "Renamed"})).await?;
            let pending = json!({"outcome": "pending"});
            assert_eq!(disconnect(&world, "if_drained").await?, pending);
            assert_eq!(world.seen().await?.0, "connected");
            // What would be sent later is sent now, once; then there is nothing to wait for.
            let task = async |assignment: &str| {
                let sql = format!("update video_sessions_private.zoom_outbox set {assignment} where session_id = $1");
                world.db.execute(&sql, &[&session]).await
            };
            task("next_attempt_at = now() + interval '1 hour'").await?;
            assert_eq!(disconnect(&world, "if_drained").await?, pending);
            let holder = Uuid::new_v4();
            let claimed = tasks(&world, holder).await?;
            assert_eq!(claimed.len(), 1);
            let failed = json!({"task_id": claimed[0]["task_id"], "result": "failed", "code": "unclear"});
            assert_eq!(settle_as(&world, holder, failed).await?, "postponed");
            assert!(tasks(&world, holder).await?.is_empty(), "not twice in one go");
            assert_eq!(disconnect(&world, "if_drained").await?, pending);
            task("dead_at = now()").await?;
            assert_eq!(
                disconnect(&world, "if_drained").await?["outcome"],
                "revoke",
                "what was given up waits for nobody"
            );

            connect(&world.service, world.host.id).await?;
            world.host.patch(&path, &json!({"title": "Renamed again"})).await?;
            assert_eq!(disconnect(&world, "if_drained").await?, pending);
            assert_eq!(disconnect(&world, "always").await?["outcome"], "revoke");

            // An expired connection can send nothing any more, and has nothing to revoke.
            connect(&world.service, world.host.id).await?;
            let version = world.version().await?;
            assert_eq!(world.fail(Uuid::new_v4(), version, json!({})).await?, "recorded");
            let ended = disconnect(&world, "if_drained").await?;
            let left = json!({"changes": 1, "deletions": 0, "creations": 0});
            assert_eq!(
                (&ended["outcome"], &ended["left_at_zoom"]),
                (&json!("not_connected"), &left)
            );
            assert_eq!(world.row(world.host.id).await?, Value::Null);
            Ok(())
        })
    }

    #[test]
    fn a_deleted_account_leaves_nothing_behind() -> Result<()> {
        on_shared_stack(async |stack| {
            let (world, connection) = World::connected(stack).await?;
            let user = world.host.id;
            let mut meetings = Vec::new();
            for _ in 0..2 {
                let session = create_session(&world.service, user, &json!({})).await?;
                meetings.push(session["provider_meeting_id"].clone());
            }
            // One creation is still under way.
            let begin = json!({
                "user_id": user, "holder": Uuid::new_v4(), "idempotency_key": "key", "request_hash": "hash",
                "session": session_request(&json!({})),
            });
            let creation = world.service.step("edge_session_begin", begin).await?["creation_id"].clone();
            world
                .db
                .execute("delete from auth.users where id = $1", &[&user])
                .await?;

            let path = format!("video_sessions?host_id=eq.{user}");
            assert_eq!(world.service.get(&path).await?.json, json!([]));
            let drain = async || {
                assert!(
                    world.revocations(user).await?.is_empty(),
                    "its meetings have to be deleted first"
                );
                let holder = Uuid::new_v4();
                let mut deleted = Vec::new();
                for task in tasks(&world, holder).await? {
                    assert_eq!(task["kind"], "delete");
                    assert_eq!(
                        task["token"]["access_token"],
                        json!(connection.access_token),
                        "with its own token"
                    );
                    assert_eq!(settle(&world, &task, holder).await?, "done");
                    deleted.push(task["meeting_id"].clone());
                }
                deleted.sort_by_key(Value::to_string);
                anyhow::Ok(deleted)
            };
            meetings.sort_by_key(Value::to_string);
            assert_eq!(drain().await?, meetings);
            assert!(
                world.revocations(user).await?.is_empty(),
                "and the creation has to come to its end"
            );
            let late = meeting();
            let complete = json!({"creation_id": creation, "user_id": user, "meeting": late});
            assert_eq!(
                world.service.outcome("edge_session_complete", complete).await?,
                "closed"
            );
            assert_eq!(drain().await?, [late["id"].clone()]);

            let revocations = world.revocations(user).await?;
            assert_eq!(revocations.len(), 1);
            assert_eq!(revocations[0]["refresh_token"], json!(connection.refresh_token));
            let complete = json!({"revocation_id": revocations[0]["revocation_id"]});
            world.service.outcome("edge_disconnect_complete", complete).await?;
            // The ledger's closed row goes with time.
            let age =
                "update video_sessions_private.session_creations set closed_at = closed_at - interval '8 days' where user_id = $1";
            world.db.execute(age, &[&user]).await?;
            world.service.step("edge_purge", json!({})).await?;
            let stored = Value::Object(everything(&world.db).await?).to_string();
            assert!(!stored.contains(&user.to_string()), "{stored}");
            assert!(!stored.contains(&connection.refresh_token));
            Ok(())
        })
    }

    #[test]
    fn a_deleted_account_does_not_wait_for_ever() -> Result<()> {
        on_shared_stack(async |stack| {
            // Its meeting cannot be deleted for a day; or its connection has ended, and nothing can be deleted at all.
            for (assignments, tokens) in [
                ("account_deleted_at = now() - interval '25 hours'", 1),
                (
                    "status = 'expired', expired_reason = 'revoked', access_token = null, refresh_token = null",
                    0,
                ),
            ] {
                let (world, _) = World::connected(stack).await?;
                create_session(&world.service, world.host.id, &json!({})).await?;
                world
                    .db
                    .execute("delete from auth.users where id = $1", &[&world.host.id])
                    .await?;
                assert!(world.revocations(world.host.id).await?.is_empty());
                assert_ne!(world.row(world.host.id).await?, Value::Null);
                world.set(assignments).await?;
                assert_eq!(world.revocations(world.host.id).await?.len(), tokens, "{assignments}");
                assert_eq!(world.row(world.host.id).await?, Value::Null);
                assert!(tasks(&world, Uuid::new_v4()).await?.is_empty());
            }
            Ok(())
        })
    }

    #[test]
    fn a_user_removes_the_app_in_zoom() -> Result<()> {
        on_shared_stack(async |stack| {
            let (world, connection) = World::connected(stack).await?;
            create_session(&world.service, world.host.id, &json!({})).await?;
            let event = |id: Uuid, changes: Value| {
                let details = json!({
                    "zoom_user_id": connection.zoom_user_id,
                    "zoom_account_id": format!("account-{}", connection.zoom_user_id), "deauthorization_time": in_hours(1),
                });
                json!({"event_id": id, "event": "app_deauthorized", "event_ts": 1, "details": with(details, &changes)})
            };
            let receive = async |event: Value| world.service.outcome("edge_webhook_receive", event).await;
            // Somebody else's; and the echo of a revocation that came before this connection.
            for changes in [
                json!({"zoom_user_id": "another"}),
                json!({"zoom_account_id": "another"}),
                json!({"deauthorization_time": in_hours(-1)}),
            ] {
                assert_eq!(receive(event(Uuid::new_v4(), changes)).await?, "ignored");
            }
            assert_eq!(world.seen().await?.0, "connected");
            let id = Uuid::new_v4();
            assert_eq!(receive(event(id, json!({}))).await?, "deauthorized");
            assert_eq!(receive(event(id, json!({}))).await?, "duplicate");
            assert_eq!(world.row(world.host.id).await?, Value::Null);
            assert!(
                world.revocations(world.host.id).await?.is_empty(),
                "there is nothing left to revoke"
            );
            let stored = Value::Object(everything(&world.db).await?).to_string();
            assert!(!stored.contains(&connection.access_token) && !stored.contains(&connection.refresh_token));
            let metas = world.host.get("video_session_host_meta").await?;
            assert_eq!(metas.json, json!([]));
            // Tokens on their way out are dead as well.
            let again = connect(&world.service, world.host.id).await?;
            assert_eq!(disconnect(&world, "always").await?["outcome"], "revoke");
            assert_eq!(
                receive(event(Uuid::new_v4(), json!({"deauthorization_time": in_hours(1)}))).await?,
                "ignored"
            );
            let stored = Value::Object(everything(&world.db).await?).to_string();
            assert!(!stored.contains(&again.refresh_token));
            Ok(())
        })
    }
}

#[test]
fn a_session_names_its_zoom_account_to_its_host_alone() -> Result<()> {
    on_shared_stack(async |stack| {
        let (world, _) = World::connected(stack).await?;
        let guest = Caller::client(stack).await?;
        let session = create_session(&world.service, world.host.id, &json!({"participant_ids": [guest.id]})).await?;
        let path = format!("video_sessions?select=zoom_account,id&id=eq.{}", id_of(&session)?);
        let email = world.row(world.host.id).await?["zoom_account_email"].clone();
        assert!(email.is_string());
        assert_eq!(world.host.get(&path).await?.json[0]["zoom_account"], email);
        // Another account is connected: the session stays the first one's.
        connect_as(
            &world.service,
            world.host.id,
            "another",
            &json!({"zoom_account_email": "b@zoom.test"}),
        )
        .await?;
        assert_eq!(world.host.get(&path).await?.json[0]["zoom_account"], email);
        // A participant reads the session, not the account, and made-up rows change nothing.
        let row = guest.get(&path).await?.json[0].clone();
        assert_eq!((&row["id"], &row["zoom_account"]), (&session["id"], &Value::Null));
        let forged = json!({"session": {"id": session["id"], "host_id": guest.id}});
        let reply = guest.rpc("zoom_account", &forged).await?;
        assert_eq!((reply.status, reply.json), (200, Value::Null));
        Ok(())
    })
}
