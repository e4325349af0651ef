//! The life of a Zoom session in the database: the ledger of creations, starting, and Zoom's events in any order.

use crate::support::db::{
    connect, connect_as, create_session, everything, id_of, meeting, on_shared_stack, session_request, with, Caller,
};
use crate::support::in_hours;
use anyhow::{ensure, Context, Result};
use futures_util::future::try_join_all;
use local_stack::Stack;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{json, Map, Value};
use tokio_postgres::Client;
use uuid::Uuid;

/// A created session as its row is: the share code is the answer's alone.
fn without_code(session: &Value) -> Value {
    let mut session = session.clone();
    if let Some(session) = session.as_object_mut() {
        session.remove("share_code");
    }
    session
}

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

    async fn connected(stack: &Stack) -> Result<Self> {
        let world = Self::new(stack).await?;
        connect(&world.service, world.host.id).await?;
        Ok(world)
    }

    /// Begins a creation.
    async fn begin(&self, changes: Value) -> Result<Value> {
        let begin = json!({
            "user_id": self.host.id, "holder": Uuid::new_v4(), "idempotency_key": null, "request_hash": "hash",
            "session": session_request(&json!({})),
        });
        self.service.step("edge_session_begin", with(begin, &changes)).await
    }

    async fn complete(&self, creation: &Value, meeting: &Value) -> Result<Value> {
        let complete = json!({"creation_id": creation, "user_id": self.host.id, "meeting": meeting});
        self.service.step("edge_session_complete", complete).await
    }

    async fn fail(&self, creation: &Value, result: &str, code: &str) -> Result<String> {
        let fail = json!({"creation_id": creation, "user_id": self.host.id, "result": result, "code": code});
        self.service.outcome("edge_session_fail", fail).await
    }

    /// What zoom-sync claims of this host's creations.
    async fn claim_creations(&self) -> Result<Vec<Value>> {
        let claim = json!({"max_rows": 1000});
        let claimed = self.service.step("edge_creations_claim", claim).await?;
        let creations = claimed["creations"].as_array().context("creations")?.iter();
        Ok(creations
            .filter(|creation| creation["user_id"] == json!(self.host.id))
            .cloned()
            .collect())
    }

    /// Changes this host's ledger rows behind everybody's back, mostly to let time pass.
    async fn set_creations(&self, assignments: &str) -> Result<()> {
        let sql = format!("update video_sessions_private.session_creations set {assignments} where user_id = $1");
        self.db.execute(&sql, &[&self.host.id]).await?;
        Ok(())
    }

    async fn set_connection(&self, assignments: &str) -> Result<()> {
        let sql = format!("update public.user_integrations_zoom set {assignments} where user_id = $1");
        assert_eq!(self.db.execute(&sql, &[&self.host.id]).await?, 1);
        Ok(())
    }

    /// Meetings of this host that wait to be deleted.
    async fn to_be_deleted(&self) -> Result<Vec<String>> {
        let sql = "select meeting_id from video_sessions_private.zoom_outbox where user_id = $1 and kind = 'delete'";
        let rows = self.db.query(sql, &[&self.host.id]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn sessions(&self) -> Result<Vec<Value>> {
        let reply = self
            .host
            .get(&format!("video_sessions?host_id=eq.{}", self.host.id))
            .await?;
        reply.json.as_array().cloned().context(reply.text)
    }

    async fn event(&self, event: &str, event_ts: i64, details: Value) -> Result<String> {
        let event = json!({"event_id": Uuid::new_v4(), "event": event, "event_ts": event_ts, "details": details});
        self.service.outcome("edge_webhook_receive", event).await
    }
}

mod created {
    use super::*;

    #[test]
    fn whoever_may_not_create_leaves_nothing_behind() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let client = Caller::client(stack).await?;
            let request = |changes: Value| json!({"session": session_request(&changes)});
            let before = everything(&world.db).await?;
            assert_eq!(
                world.begin(json!({"user_id": client.id})).await?,
                json!({"outcome": "not_a_host"})
            );
            assert_eq!(
                world.begin(json!({"user_id": Uuid::new_v4()})).await?,
                json!({"outcome": "not_a_host"})
            );
            assert_eq!(
                world.begin(json!({})).await?,
                json!({"outcome": "no_token", "token": {"state": "not_connected"}})
            );
            for (changes, field) in [
                (json!({"timezone": "pst"}), "timezone"),
                (json!({"timezone": "Mars/Olympus"}), "timezone"),
                (
                    json!({"scheduled_start": in_hours(0) - chrono::TimeDelta::minutes(6)}),
                    "scheduled_start",
                ),
                (json!({"participant_ids": [Uuid::new_v4()]}), "participant_ids"),
                (
                    json!({"participant_ids": [client.id, Uuid::new_v4()]}),
                    "participant_ids",
                ),
                (json!({"participant_ids": [world.host.id]}), "participant_ids"),
            ] {
                let answer = world.begin(request(changes.clone())).await?;
                assert_eq!(answer["outcome"], "invalid", "{changes}");
                let fields = answer["fields"].as_object().context("fields")?;
                assert!(fields.len() == 1 && fields[field].is_string(), "{changes}: {answer}");
            }
            assert!(everything(&world.db).await? == before);

            connect(&world.service, world.host.id).await?;
            world
                .set_connection("access_token_expires_at = now(), cooldown_until = now() + interval '30 seconds'")
                .await?;
            let before = everything(&world.db).await?;
            let answer = world.begin(json!({})).await?;
            let seconds = answer["token"]["retry_after_seconds"].as_i64().unwrap_or_default();
            assert!(
                answer["outcome"] == "no_token"
                    && answer["token"]["state"] == "cooling_down"
                    && (20..=30).contains(&seconds),
                "{answer}"
            );
            assert!(everything(&world.db).await? == before);
            let expired = "status = 'expired', expired_reason = 'revoked', access_token = null, refresh_token = null";
            world.set_connection(expired).await?;
            assert_eq!(
                world.begin(json!({})).await?,
                json!({"outcome": "no_token", "token": {"state": "expired", "reason": "revoked"}})
            );
            assert!(world.sessions().await?.is_empty() && world.claim_creations().await?.is_empty());
            Ok(())
        })
    }

    #[test]
    fn a_session_comes_with_its_guests_and_its_start_url() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::connected(stack).await?;
            let (one, two) = (Caller::client(stack).await?, Caller::client(stack).await?);
            let wanted = json!({
                "title": "Legs", "description": "Bring a mat.", "timezone": "Europe/Berlin", "duration_minutes": 45,
                "max_participants": 4, "participant_ids": [one.id, two.id],
            });
            let begun = world.begin(json!({"session": session_request(&wanted)})).await?;
            assert_eq!(
                (&begun["outcome"], &begun["token"]["state"]),
                (&json!("create"), &json!("fresh"))
            );
            assert!(world.sessions().await?.is_empty(), "not before Zoom has a meeting");
            // Somebody's account is deleted while Zoom is asked: that is no reason to fail.
            world
                .db
                .execute("delete from auth.users where id = $1", &[&two.id])
                .await?;
            let meeting = meeting();
            let completed = world.complete(&begun["creation_id"], &meeting).await?;
            let session = completed["session"].clone();
            assert_eq!(session["id"], begun["creation_id"]);
            for (column, value) in [
                ("title", &wanted["title"]),
                ("description", &wanted["description"]),
                ("timezone", &wanted["timezone"]),
                ("duration_minutes", &wanted["duration_minutes"]),
                ("max_participants", &wanted["max_participants"]),
                ("provider_meeting_id", &meeting["id"]),
                ("join_url", &meeting["join_url"]),
                ("passcode", &meeting["passcode"]),
                ("status", &json!("scheduled")),
                ("host_id", &json!(world.host.id)),
            ] {
                assert_eq!(session[column], *value, "{column}");
            }
            assert!(
                !completed.to_string().contains("zak="),
                "the start URL is not part of it"
            );
            let meta = world.host.get("video_session_host_meta").await?;
            assert_eq!(meta.json[0]["host_start_url"], meeting["start_url"]);
            let path = format!(
                "video_session_participants?session_id=eq.{}&order=role",
                begun["creation_id"].as_str().context("id")?
            );
            let people = world.host.get(&path).await?;
            let people: Vec<_> = people
                .json
                .as_array()
                .into_iter()
                .flatten()
                .map(|p| (&p["user_id"], &p["role"]))
                .collect();
            let expected = [
                (&json!(world.host.id), &json!("host")),
                (&json!(one.id), &json!("participant")),
            ];
            assert_eq!(people, expected);

            assert_eq!(
                world.complete(&begun["creation_id"], &meeting).await?,
                completed,
                "repeated"
            );
            assert_eq!(world.sessions().await?.len(), 1);
            assert!(world.to_be_deleted().await?.is_empty());
            Ok(())
        })
    }

    #[test]
    fn an_answer_has_the_columns_that_are_listed_and_no_other() -> Result<()> {
        on_shared_stack(async |stack| {
            let mut world = World::connected(stack).await?;
            create_session(&world.service, world.host.id, &json!({})).await?;
            let change = world.db.transaction().await?;
            change
                .batch_execute("alter table public.video_sessions add column notes_to_self text default 'private'")
                .await?;
            let sql = "select to_jsonb(session) - 'notes_to_self',
                         video_sessions_private.session_with_code(session) - 'share_code'
                       from public.video_sessions session limit 1";
            let row = change.query_one(sql, &[]).await?;
            let (columns, answer): (Value, Value) = (row.get(0), row.get(1));
            assert_eq!(answer, columns);
            change.rollback().await?;
            Ok(())
        })
    }

    #[test]
    fn an_external_session_needs_no_zoom() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let guest = Caller::client(stack).await?;
            let link = json!({
                "provider": "external", "join_url": "https://meet.example.test/a", "participant_ids": [guest.id],
            });
            let begin = json!({"idempotency_key": "key", "session": session_request(&link)});
            let begun = world.begin(begin.clone()).await?;
            assert_eq!(
                (&begun["outcome"], &begun["session"]["join_url"]),
                (&json!("created"), &link["join_url"])
            );
            assert_eq!(begun["session"]["provider_meeting_id"], Value::Null);
            assert_eq!(world.begin(begin).await?, begun, "the same key, the same answer");
            assert_eq!(world.sessions().await?.len(), 1);
            assert_eq!(
                guest.get("video_sessions").await?.json[0],
                without_code(&begun["session"])
            );
            let other = json!({"idempotency_key": "key", "request_hash": "other", "session": session_request(&link)});
            assert_eq!(world.begin(other).await?, json!({"outcome": "key_reused"}));
            Ok(())
        })
    }

    #[test]
    fn the_own_link_can_be_changed_and_zooms_cannot() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::connected(stack).await?;
            let link = json!({"provider": "external", "join_url": "https://meet.example.test/a"});
            let own = world.begin(json!({"session": session_request(&link)})).await?["session"]["id"].clone();
            let begun = world.begin(json!({})).await?;
            let zooms = world.complete(&begun["creation_id"], &meeting()).await?["session"].clone();
            let change = async |id: &Value, to: &str| {
                let path = format!("video_sessions?id=eq.{}", id.as_str().unwrap_or_default());
                world.host.patch(&path, &json!({"join_url": to})).await
            };
            let changed = change(&own, "https://meet.example.test/b").await?;
            assert_eq!(changed.json[0]["join_url"], "https://meet.example.test/b");
            for (id, to, reason) in [
                (&own, "javascript:alert(1)", "join_url must"),
                (&own, "https://me@meet.example.test/", "join_url must"),
                (
                    &zooms["id"],
                    "https://meet.example.test/b",
                    "The link of a Zoom session is Zoom's own",
                ),
            ] {
                let refused = change(id, to).await?;
                assert_eq!(refused.code(), (400, "23514"), "{to}");
                assert!(refused.text.contains(reason), "{}", refused.text);
            }
            let same = change(&zooms["id"], zooms["join_url"].as_str().context("a link")?).await?;
            assert_eq!(same.status, 200, "a client that sends the whole row: {}", same.text);
            Ok(())
        })
    }

    #[test]
    fn one_key_makes_one_session() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::connected(stack).await?;
            let keyed = json!({"idempotency_key": "key"});
            let other_body = json!({"idempotency_key": "key", "request_hash": "other"});
            let begun = world.begin(keyed.clone()).await?;
            assert_eq!(begun["outcome"], "create");
            let running = json!({"outcome": "running", "retry_after_seconds": 2});
            assert_eq!(world.begin(keyed.clone()).await?, running);
            assert_eq!(world.begin(other_body.clone()).await?, json!({"outcome": "key_reused"}));
            // Other keys, no key, another host's same key: all their own.
            let other = World::connected(stack).await?;
            assert_eq!(other.begin(keyed.clone()).await?["outcome"], "create");
            for changes in [json!({"idempotency_key": "KEY"}), json!({}), json!({})] {
                let separate = world.begin(changes).await?;
                assert_eq!(separate["outcome"], "create");
                assert_eq!(
                    world.fail(&separate["creation_id"], "failed", "refused").await?,
                    "closed"
                );
            }

            assert_eq!(world.fail(&begun["creation_id"], "unknown", "unclear").await?, "open");
            let unknown = json!({"outcome": "running", "retry_after_seconds": 30});
            assert_eq!(world.begin(keyed.clone()).await?, unknown);
            let completed = world.complete(&begun["creation_id"], &meeting()).await?;
            assert_eq!(completed["outcome"], "created", "it was found after all");
            assert_eq!(
                world.begin(keyed.clone()).await?,
                completed,
                "the same answer as the first time"
            );
            assert_eq!(world.begin(other_body).await?, json!({"outcome": "key_reused"}));
            // As it is now, not as it was.
            let path = format!(
                "video_sessions?id=eq.{}",
                begun["creation_id"].as_str().context("an id")?
            );
            world.host.patch(&path, &json!({"title": "Renamed"})).await?;
            assert_eq!(world.begin(keyed.clone()).await?["session"]["title"], "Renamed");
            world.host.delete(&path).await?;
            assert_eq!(
                world.begin(keyed).await?,
                json!({"outcome": "deleted"}),
                "it is not made again"
            );
            Ok(())
        })
    }

    #[test]
    fn a_key_is_free_again_when_nothing_came_of_it() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::connected(stack).await?;
            let keyed = json!({"idempotency_key": "key"});
            let first = world.begin(keyed.clone()).await?;
            assert_eq!(world.fail(&first["creation_id"], "failed", "refused").await?, "closed");
            assert_eq!(
                world.fail(&first["creation_id"], "failed", "refused").await?,
                "closed",
                "repeated"
            );
            let second = world.begin(with(keyed, &json!({"request_hash": "other"}))).await?;
            assert_eq!(second["outcome"], "create");
            assert_ne!(second["creation_id"], first["creation_id"]);
            // A meeting of the first one that turns up now belongs to nobody.
            let late = meeting();
            assert_eq!(
                world.complete(&first["creation_id"], &late).await?,
                json!({"outcome": "closed"})
            );
            assert_eq!(json!(world.to_be_deleted().await?), json!([late["id"]]));
            assert_eq!(
                world.complete(&second["creation_id"], &meeting()).await?["outcome"],
                "created"
            );
            // And a second meeting for a creation that has one.
            let double = meeting();
            assert_eq!(
                world.complete(&second["creation_id"], &double).await?,
                json!({"outcome": "closed"})
            );
            assert!(world
                .to_be_deleted()
                .await?
                .contains(&double["id"].as_str().context("an id")?.to_owned()));
            assert_eq!(world.sessions().await?.len(), 1);
            // Nobody can close another's.
            let other = World::connected(stack).await?;
            let third = world.begin(json!({})).await?;
            assert_eq!(other.fail(&third["creation_id"], "failed", "internal").await?, "closed");
            assert_eq!(
                other.complete(&third["creation_id"], &meeting()).await?,
                json!({"outcome": "closed"})
            );
            assert_eq!(
                world.complete(&third["creation_id"], &meeting()).await?["outcome"],
                "created"
            );
            Ok(())
        })
    }

    #[test]
    fn of_many_at_once_with_one_key_one_creates() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::connected(stack).await?;
            let keyed = json!({"idempotency_key": "key"});
            let count = |answers: &[Value], outcome: &str| answers.iter().filter(|a| a["outcome"] == outcome).count();
            // Also when the first thing to do is a refresh: only who creates may keep the lease.
            for (n, setting) in ["cooldown_until = null", "access_token_expires_at = now()"]
                .into_iter()
                .enumerate()
            {
                world.set_connection(setting).await?;
                let keyed = with(keyed.clone(), &json!({"idempotency_key": format!("key {n}")}));
                let answers = try_join_all((0..20).map(|_| world.begin(keyed.clone()))).await?;
                assert_eq!(
                    (count(&answers, "create"), count(&answers, "running")),
                    (1, 19),
                    "{answers:?}"
                );
                let winner = answers
                    .iter()
                    .find(|answer| answer["outcome"] == "create")
                    .context("a winner")?;
                let state = &winner["token"]["state"];
                assert!(["fresh", "refresh", "busy"].iter().any(|s| state == s), "{winner}");
                let leases = "select lease_until is not null from public.user_integrations_zoom where user_id = $1";
                let leased: bool = world.db.query_one(leases, &[&world.host.id]).await?.get(0);
                assert_eq!(leased, state == "refresh", "a lease that nobody uses blocks everybody");
                assert_eq!(
                    world.complete(&winner["creation_id"], &meeting()).await?["outcome"],
                    "created"
                );
            }
            let answers = try_join_all((0..20).map(|_| world.begin(json!({})))).await?;
            assert_eq!(count(&answers, "create"), 20, "without a key, each is its own");
            Ok(())
        })
    }

    #[test]
    fn what_nobody_knows_is_looked_for() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::connected(stack).await?;
            let begun = world.begin(json!({})).await?;
            let due = "next_check_at = now()";
            assert!(
                world.claim_creations().await?.is_empty(),
                "not while it may still be running"
            );
            world
                .set_creations("next_check_at = next_check_at - interval '110 seconds'")
                .await?;
            assert!(world.claim_creations().await?.is_empty());
            world
                .set_creations("next_check_at = next_check_at - interval '11 seconds'")
                .await?;
            let claimed = world.claim_creations().await?;
            assert_eq!(claimed.len(), 1, "after two minutes it was abandoned");
            assert_eq!(claimed[0]["creation_id"], begun["creation_id"]);
            assert_eq!(claimed[0]["request"]["title"], "Check-in");
            assert_eq!(claimed[0]["token"]["state"], "fresh");
            assert!(world.claim_creations().await?.is_empty(), "one looks at a time");
            // Not found: perhaps it is still on its way. Not found again: closed.
            assert_eq!(world.fail(&begun["creation_id"], "failed", "no_meeting").await?, "open");
            assert!(world.claim_creations().await?.is_empty());
            world.set_creations(due).await?;
            assert_eq!(world.claim_creations().await?.len(), 1);
            assert_eq!(
                world.fail(&begun["creation_id"], "failed", "no_meeting").await?,
                "closed"
            );
            world.set_creations(due).await?;
            assert!(world.claim_creations().await?.is_empty());

            // An unknown outcome is looked at sooner, and found.
            let begun = world.begin(json!({})).await?;
            assert_eq!(world.fail(&begun["creation_id"], "unknown", "unclear").await?, "open");
            assert!(world.claim_creations().await?.is_empty());
            world
                .set_creations("next_check_at = next_check_at - interval '31 seconds'")
                .await?;
            assert_eq!(world.claim_creations().await?.len(), 1);
            assert_eq!(
                world.complete(&begun["creation_id"], &meeting()).await?["outcome"],
                "created"
            );
            world.set_creations(due).await?;
            assert!(world.claim_creations().await?.is_empty());

            // Only its own Zoom user can look; after a week nobody does.
            let begun = world.begin(json!({})).await?;
            world.set_creations(due).await?;
            connect_as(
                &world.service,
                world.host.id,
                &format!("other-{}", world.host.id),
                &json!({}),
            )
            .await?;
            assert!(world.claim_creations().await?.is_empty(), "another Zoom user");
            connect(&world.service, world.host.id).await?;
            world
                .set_connection("status = 'expired', expired_reason = 'revoked'")
                .await?;
            assert!(world.claim_creations().await?.is_empty(), "no connection");
            world.set_creations("created_at = now() - interval '8 days'").await?;
            connect(&world.service, world.host.id).await?;
            assert!(world.claim_creations().await?.is_empty());
            assert_eq!(
                world.complete(&begun["creation_id"], &meeting()).await?,
                json!({"outcome": "closed"})
            );
            // What was asked for is not kept for longer than needed.
            let kept = "select count(*) from video_sessions_private.session_creations where user_id = $1 and request is not null";
            assert_eq!(world.db.query_one(kept, &[&world.host.id]).await?.get::<_, i64>(0), 0);
            Ok(())
        })
    }
}

mod started {
    use super::*;

    #[test]
    fn the_host_gets_a_start_url_and_nobody_else() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::connected(stack).await?;
            let session = create_session(&world.service, world.host.id, &json!({})).await?;
            let id = id_of(&session)?;
            let begin = async |user: Uuid, session: Uuid| {
                let begin = json!({"user_id": user, "holder": Uuid::new_v4(), "session_id": session});
                world.service.step("edge_start_begin", begin).await
            };
            let guest = Caller::client(stack).await?;
            assert_eq!(begin(guest.id, id).await?, json!({"outcome": "not_found"}));
            let join = json!({
                "user_id": guest.id, "share_code": session["share_code"], "preview": false, "allow_anonymous": false,
            });
            assert_eq!(world.service.outcome("edge_join", join).await?, "joined");
            assert_eq!(begin(guest.id, id).await?, json!({"outcome": "not_the_host"}));
            assert_eq!(
                begin(world.host.id, Uuid::new_v4()).await?,
                json!({"outcome": "not_found"})
            );

            let stored = world.host.get("video_session_host_meta").await?.json[0].clone();
            let ready = begin(world.host.id, id).await?;
            assert_eq!(
                (&ready["outcome"], &ready["host_start_url"]),
                (&json!("ready"), &stored["host_start_url"])
            );
            let expires: chrono::DateTime<chrono::Utc> = serde_json::from_value(ready["expires_at"].clone())?;
            let minutes = (expires - chrono::Utc::now()).num_minutes();
            assert!((110..120).contains(&minutes), "two hours: {minutes}");

            // With less than ten minutes left, Zoom is asked for a fresh one, with a token for it.
            let sql = "update public.video_session_host_meta set expires_at = now() + interval '9 minutes'";
            world.db.execute(sql, &[]).await?;
            let fetch = begin(world.host.id, id).await?;
            assert_eq!(
                (&fetch["outcome"], &fetch["meeting_id"]),
                (&json!("fetch"), &session["provider_meeting_id"])
            );
            assert_eq!(fetch["token"]["state"], "fresh");
            let complete = |url: &str, meeting_id: &Value| {
                json!({
                    "user_id": world.host.id, "session_id": id, "meeting_id": meeting_id,
                    "meeting": {"start_url": url, "join_url": "https://zoom.us/j/1?pwd=new", "passcode": "new"},
                })
            };
            let fresh = world
                .service
                .step(
                    "edge_start_complete",
                    complete("https://zoom.us/s/new", &fetch["meeting_id"]),
                )
                .await?;
            assert_eq!(
                (&fresh["outcome"], &fresh["host_start_url"]),
                (&json!("ready"), &json!("https://zoom.us/s/new"))
            );
            assert_eq!(begin(world.host.id, id).await?, fresh);
            // The passcode was changed in Zoom: the old link is dead.
            let seen = &world.sessions().await?[0];
            assert_eq!(
                (&seen["join_url"], &seen["passcode"]),
                (&json!("https://zoom.us/j/1?pwd=new"), &json!("new"))
            );
            let stale = complete("https://zoom.us/s/old", &json!("1"));
            assert_eq!(
                world.service.outcome("edge_start_complete", stale).await?,
                "not_found",
                "of another meeting"
            );

            world
                .db
                .execute("delete from public.video_session_host_meta", &[])
                .await?;
            for (setting, expected) in [
                (
                    "access_token_expires_at = now(), cooldown_until = now() + interval '1 minute'",
                    "cooling_down",
                ),
                ("status = 'expired', expired_reason = 'missing_scope'", "expired"),
            ] {
                connect(&world.service, world.host.id).await?;
                world.set_connection(setting).await?;
                assert_eq!(begin(world.host.id, id).await?["token"]["state"], expected, "{setting}");
            }
            connect(&world.service, world.host.id).await?;
            world.set_connection("zoom_user_id = 'another'").await?;
            assert_eq!(begin(world.host.id, id).await?["outcome"], "zoom_other_account");
            let disconnect = json!({"user_id": world.host.id, "mode": "always"});
            world.service.step("edge_disconnect_begin", disconnect).await?;
            assert_eq!(begin(world.host.id, id).await?["token"]["state"], "not_connected");
            Ok(())
        })
    }

    #[test]
    fn what_is_over_does_not_start() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::connected(stack).await?;
            for (status, expected) in [("cancelled", "gone"), ("ended", "ended")] {
                let session = create_session(&world.service, world.host.id, &json!({})).await?;
                let id = id_of(&session)?;
                world
                    .host
                    .patch(&format!("video_sessions?id=eq.{id}"), &json!({"status": status}))
                    .await?;
                let begin = json!({"user_id": world.host.id, "holder": Uuid::new_v4(), "session_id": id});
                assert_eq!(world.service.outcome("edge_start_begin", begin).await?, expected);
                // It ended while Zoom was asked: the fresh start URL is not kept.
                let complete = json!({
                    "user_id": world.host.id, "session_id": id, "meeting_id": session["provider_meeting_id"],
                    "meeting": {"start_url": "https://zoom.us/s/late"},
                });
                assert_eq!(
                    world.service.outcome("edge_start_complete", complete).await?,
                    "not_found"
                );
                let meta = world
                    .host
                    .get(&format!("video_session_host_meta?session_id=eq.{id}"))
                    .await?;
                assert!(!meta.text.contains("late"), "{}", meta.text);
            }
            Ok(())
        })
    }

    #[test]
    fn a_meeting_that_zoom_does_not_know_any_more_cancels_the_session() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::connected(stack).await?;
            let session = create_session(&world.service, world.host.id, &json!({})).await?;
            let gone = |user: Uuid, meeting: &Value| json!({"user_id": user, "session_id": session["id"], "meeting_id": meeting});
            let number = &session["provider_meeting_id"];
            let other = Caller::host(stack).await?;
            for arguments in [gone(other.id, number), gone(world.host.id, &json!("1"))] {
                assert_eq!(world.service.outcome("edge_start_gone", arguments).await?, "gone");
                assert_eq!(world.sessions().await?[0]["status"], "scheduled");
            }
            // Another Zoom user of the same host knows nothing of it.
            connect_as(
                &world.service,
                world.host.id,
                &format!("other-{}", world.host.id),
                &json!({}),
            )
            .await?;
            assert_eq!(
                world
                    .service
                    .outcome("edge_start_gone", gone(world.host.id, number))
                    .await?,
                "gone"
            );
            assert_eq!(world.sessions().await?[0]["status"], "scheduled");
            connect(&world.service, world.host.id).await?;
            assert_eq!(
                world
                    .service
                    .outcome("edge_start_gone", gone(world.host.id, number))
                    .await?,
                "gone"
            );
            assert_eq!(world.sessions().await?[0]["status"], "cancelled");
            assert_eq!(world.host.get("video_session_host_meta").await?.json, json!([]));
            Ok(())
        })
    }

    #[test]
    fn start_urls_that_have_run_out_are_removed() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::connected(stack).await?;
            let old = id_of(&create_session(&world.service, world.host.id, &json!({})).await?)?;
            let new = id_of(&create_session(&world.service, world.host.id, &json!({})).await?)?;
            let sql = "update public.video_session_host_meta set expires_at = now() where session_id = $1";
            world.db.execute(sql, &[&old]).await?;
            world.service.step("edge_purge", json!({})).await?;
            let left = world.host.get("video_session_host_meta?select=session_id").await?;
            assert_eq!(left.json, json!([{"session_id": new}]));
            assert_eq!(world.sessions().await?.len(), 2);
            Ok(())
        })
    }
}

mod events {
    use super::*;

    #[test]
    fn events_are_applied_once() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::connected(stack).await?;
            let now = in_hours(0);
            let session = create_session(&world.service, world.host.id, &json!({"scheduled_start": now})).await?;
            let meeting = session["provider_meeting_id"].clone();
            let id = Uuid::new_v4();
            let started = json!({
                "event_id": id, "event": "meeting.started", "event_ts": now.timestamp_millis(),
                "details": {"meeting_id": meeting, "uuid": "one", "start_time": now},
            });
            assert_eq!(
                world.service.outcome("edge_webhook_receive", started.clone()).await?,
                "applied"
            );
            let row = world.sessions().await?[0].clone();
            assert_eq!((&row["status"], &row["ended_at"]), (&json!("scheduled"), &Value::Null));
            assert_eq!(
                row["started_at"]
                    .as_str()
                    .context("a start")?
                    .parse::<chrono::DateTime<chrono::Utc>>()?,
                now
            );
            let again = with(started, &json!({"event": "meeting.ended"}));
            assert_eq!(world.service.outcome("edge_webhook_receive", again).await?, "duplicate");
            assert_eq!(world.sessions().await?[0], row);

            // Without the details, the event's own time counts: the meeting has ended, and may go on.
            let details = json!({"meeting_id": meeting, "uuid": "one"});
            let ended = chrono::Utc::now().timestamp_millis();
            assert_eq!(world.event("meeting.ended", ended, details).await?, "applied");
            let row = world.sessions().await?[0].clone();
            assert_eq!(row["status"], "scheduled");
            let told: chrono::DateTime<chrono::Utc> = row["ended_at"].as_str().context("an end")?.parse()?;
            assert_eq!(told.timestamp_millis(), ended);

            let stranger = json!({"meeting_id": "1", "start_time": null});
            let before = world.sessions().await?;
            for event in [
                "meeting.started",
                "meeting.ended",
                "meeting.updated",
                "meeting.deleted",
                "meeting.recovered",
            ] {
                assert!(
                    ["ignored", "kept"].contains(&world.event(event, 1, stranger.clone()).await?.as_str()),
                    "{event}"
                );
            }
            assert_eq!(world.sessions().await?, before);
            Ok(())
        })
    }

    #[test]
    fn an_event_of_another_zoom_account_is_not_believed() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::connected(stack).await?;
            let session = create_session(&world.service, world.host.id, &json!({})).await?;
            let now = chrono::Utc::now().timestamp_millis();
            let of = |account: &str| json!({"meeting_id": session["provider_meeting_id"], "account_id": account});
            for event in ["meeting.started", "meeting.updated", "meeting.deleted"] {
                assert_eq!(world.event(event, now, of("another")).await?, "ignored", "{event}");
            }
            assert_eq!(world.sessions().await?[0], without_code(&session));
            // The host's Zoom user moved to that account.
            connect_as(
                &world.service,
                world.host.id,
                &format!("zoom-{}", world.host.id),
                &json!({"zoom_account_id": "another"}),
            )
            .await?;
            for account in [format!("account-zoom-{}", world.host.id).as_str(), "another"] {
                assert_eq!(world.event("meeting.deleted", now, of(account)).await?, "applied");
            }
            assert_eq!(world.sessions().await?[0]["status"], "cancelled");
            Ok(())
        })
    }

    #[test]
    fn what_zoom_sends_never_breaks_a_rule() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::connected(stack).await?;
            let session = create_session(&world.service, world.host.id, &json!({"title": "A"})).await?;
            let meeting = session["provider_meeting_id"].clone();
            let long = "ä".repeat(300);
            for (n, (details, column, expected)) in [
                (json!({"topic": ""}), "title", json!("A")),
                (json!({"topic": "   "}), "title", json!("A")),
                (json!({"topic": "\t"}), "title", json!("A")),
                (json!({"topic": "\u{7}\u{7}"}), "title", json!("A")),
                (json!({"topic": "One\ntwo"}), "title", json!("One two")),
                (json!({"topic": long}), "title", json!("ä".repeat(200))),
                (json!({"duration": 0}), "duration_minutes", json!(30)),
                (json!({"duration": 4_294_967_295_u32}), "duration_minutes", json!(30)),
                (json!({"duration": 125}), "duration_minutes", json!(125)),
                (json!({"timezone": "Mars/Olympus"}), "timezone", json!("UTC")),
                (json!({"timezone": "Asia/Kolkata"}), "timezone", json!("Asia/Kolkata")),
            ]
            .into_iter()
            .enumerate()
            {
                let event_ts = 1_764_000_000_000 + i64::try_from(n)?;
                let details = with(details, &json!({"meeting_id": meeting}));
                let outcome = world.event("meeting.updated", event_ts, details.clone()).await;
                assert_eq!(outcome.with_context(|| details.to_string())?, "applied");
                assert_eq!(world.sessions().await?[0][column], expected, "{details}");
            }
            // The app may go on with what a host has set in Zoom.
            let path = format!("video_sessions?id=eq.{}", session["id"].as_str().context("an id")?);
            let renamed = world
                .host
                .patch(&path, &json!({"title": "B", "duration_minutes": 125}))
                .await?;
            assert_eq!(
                (renamed.status, &renamed.json[0]["title"]),
                (200, &json!("B")),
                "{}",
                renamed.text
            );
            Ok(())
        })
    }

    /// Zoom holds 200 UTF-16 units of a title at most: the beginning of a longer one means that one, any other change a
    /// change.
    #[test]
    fn a_title_is_only_taken_for_cut_where_zoom_cuts() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::connected(stack).await?;
            let emoji = "🧘".repeat(150);
            for (title, topic, expected) in [
                (emoji.clone(), "🧘".repeat(100), emoji.clone()),
                (
                    format!("x{emoji}"),
                    format!("x{}", "🧘".repeat(99)),
                    format!("x{emoji}"),
                ),
                ("ä".repeat(150), "ä".repeat(120), "ä".repeat(120)),
                ("ä".repeat(150), "ä".repeat(99), "ä".repeat(99)),
            ] {
                let session = create_session(&world.service, world.host.id, &json!({"title": title})).await?;
                let details = json!({"meeting_id": session["provider_meeting_id"], "topic": topic});
                assert_eq!(
                    world.event("meeting.updated", 1_764_000_000_000, details).await?,
                    "applied"
                );
                let path = format!("video_sessions?id=eq.{}", session["id"].as_str().context("an id")?);
                assert_eq!(
                    world.host.get(&path).await?.json[0]["title"],
                    json!(expected),
                    "{title} -> {topic}"
                );
            }
            Ok(())
        })
    }

    #[test]
    fn what_the_app_has_changed_and_zoom_does_not_know_stays() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::connected(stack).await?;
            let session = create_session(&world.service, world.host.id, &json!({"title": "A"})).await?;
            let path = format!("video_sessions?id=eq.{}", session["id"].as_str().context("an id")?);
            world.host.patch(&path, &json!({"title": "Of the app"})).await?;
            let details = json!({"meeting_id": session["provider_meeting_id"], "topic": "Of Zoom", "duration": 50});
            assert_eq!(
                world.event("meeting.updated", 1_764_000_000_000, details).await?,
                "applied"
            );
            let row = world.host.get(&path).await?.json[0].clone();
            assert_eq!(
                (&row["title"], &row["duration_minutes"]),
                (&json!("Of the app"), &json!(50))
            );
            let claim = json!({"holder": Uuid::new_v4(), "max_rows": 10, "only_user": world.host.id, "scope": "due"});
            let task = world.service.step("edge_outbox_claim", claim).await?["tasks"][0].clone();
            assert_eq!(
                task["desired"],
                json!({"title": "Of the app"}),
                "and nothing that Zoom has by itself"
            );
            Ok(())
        })
    }

    /// One event of a meeting; `event_ts` follows from its place.
    #[derive(Clone, Debug)]
    struct Event {
        name: &'static str,
        details: Map<String, Value>,
    }

    fn event() -> impl Strategy<Value = Event> {
        // Never about as long ago as decides whether a start counts as told late: the two runs take a while.
        let ago = prop::sample::select(vec![-50_000_i64, 5, 60, 300, 1_200, 2_500, 6_000, 90_000]);
        let time = ago.prop_map(|n| json!(in_hours(0) - chrono::TimeDelta::seconds(n)));
        let uuid = prop::option::of(prop_oneof![Just("one"), Just("two")].prop_map(|uuid| json!(uuid)));
        let topic = prop_oneof![Just("A"), Just("B"), Just("C"), Just(" D\n"), Just("")].prop_map(|topic| json!(topic));
        let duration = prop_oneof![Just(0), Just(30), 1..1500_i64].prop_map(|n| json!(n));
        let zone = prop_oneof![
            Just("UTC"),
            Just("Asia/Kolkata"),
            Just("Europe/Berlin"),
            Just("nowhere")
        ]
        .prop_map(|z| json!(z));
        let details = move |entries: Vec<(&'static str, Option<Value>)>| {
            entries
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                .collect()
        };
        prop_oneof![
            3 => (prop::option::of(time.clone()), uuid.clone()).prop_map(move |(time, uuid)| Event {
                name: "meeting.started",
                details: details(vec![("start_time", time), ("uuid", uuid)]),
            }),
            3 => (prop::option::of(time.clone()), uuid).prop_map(move |(time, uuid)| Event {
                name: "meeting.ended",
                details: details(vec![("end_time", time), ("uuid", uuid)]),
            }),
            1 => Just(Event { name: "meeting.deleted", details: Map::new() }),
            1 => Just(Event { name: "meeting.recovered", details: Map::new() }),
            4 => (
                prop::option::of(topic),
                prop::option::of(time),
                prop::option::of(duration),
                prop::option::of(zone),
            )
                .prop_map(move |(topic, start, duration, zone)| Event {
                    name: "meeting.updated",
                    details: details(vec![
                        ("topic", topic), ("start_time", start), ("duration", duration), ("timezone", zone),
                    ]),
                }),
        ]
    }

    /// Events, and an order of arrival with duplicates that holds each at least once.
    fn arrivals() -> impl Strategy<Value = (Vec<Event>, Vec<usize>)> {
        prop::collection::vec(event(), 1..7).prop_flat_map(|events| {
            let number = events.len();
            let doubles = prop::collection::vec(0..number, 0..4);
            let order = doubles
                .prop_flat_map(move |doubles| Just((0..number).chain(doubles).collect::<Vec<_>>()).prop_shuffle());
            (Just(events), order)
        })
    }

    /// Sends events of a meeting in this order. Those of one batch that are the same have the same id.
    async fn send(service: &Caller, batch: Uuid, meeting: &Value, events: &[Event], order: &[usize]) -> Result<()> {
        static FIRST: std::sync::LazyLock<i64> = std::sync::LazyLock::new(|| in_hours(0).timestamp_millis() - 20_000);
        for place in order {
            let Event { name, details } = &events[*place];
            let event = json!({
                "event_id": format!("{batch} {place}"), "event": name, "event_ts": *FIRST + *place as i64 * 1_000,
                "details": with(Value::Object(details.clone()), &json!({"meeting_id": meeting})),
            });
            let outcome = service.outcome("edge_webhook_receive", event).await?;
            ensure!(
                ["applied", "duplicate", "kept"].contains(&outcome.as_str()),
                "{outcome}"
            );
        }
        Ok(())
    }

    /// Runs a property whose cases talk to the stack.
    fn check<S: Strategy>(cases: u32, strategy: &S, case: impl Fn(S::Value) -> Result<()>) -> Result<()> {
        let config = Config {
            cases,
            failure_persistence: None,
            ..Config::default()
        };
        let result = tokio::task::block_in_place(|| {
            TestRunner::new(config).run(strategy, |value| {
                case(value).map_err(|error| TestCaseError::fail(format!("{error:#}")))
            })
        });
        result.map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// What must not depend on the order: the session, whether it has a start URL, and what Zoom is to be told.
    const END_STATE: &str = "
      select to_jsonb(v) - 'updated_at' || jsonb_build_object(
        'start_url', status <> 'scheduled' and exists (select from public.video_session_host_meta m where m.session_id = v.id),
        'outbox', (select count(*) from video_sessions_private.zoom_outbox o where o.session_id = v.id)
      ) from public.video_sessions v where id = $1";

    #[test]
    fn every_order_of_arrival_leads_to_the_same_end() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::connected(stack).await?;
            let session = create_session(&world.service, world.host.id, &json!({"title": "A"})).await?;
            let (id, meeting) = (id_of(&session)?, &session["provider_meeting_id"]);
            // It is being held.
            let sql = "update public.video_sessions set duration_minutes = 600,
              scheduled_start = date_trunc('second', now()) - interval '35 minutes' where id = $1";
            world.db.execute(sql, &[&id]).await?;
            let sql = "update video_sessions_private.zoom_meetings m set
              (scheduled_start, duration_minutes) = (select v.scheduled_start, v.duration_minutes from public.video_sessions v
              where v.id = m.session_id) where session_id = $1";
            world.db.execute(sql, &[&id]).await?;
            world
                .db
                .batch_execute(&format!(
                    "create temp table saved_session as select * from public.video_sessions where id = '{id}';
                     create temp table saved_meta as select * from public.video_session_host_meta where session_id = '{id}';
                     create temp table saved_meeting as select * from video_sessions_private.zoom_meetings where session_id = '{id}'"
                ))
                .await?;
            let end = async |events: &[Event], order: &[usize]| {
                world
                    .db
                    .batch_execute(&format!(
                        "delete from public.video_sessions where id = '{id}';
                         delete from video_sessions_private.zoom_outbox where session_id = '{id}';
                         insert into public.video_sessions table saved_session;
                         insert into public.video_session_host_meta table saved_meta;
                         insert into video_sessions_private.zoom_meetings table saved_meeting"
                    ))
                    .await?;
                send(&world.service, Uuid::new_v4(), meeting, events, order).await?;
                anyhow::Ok(world.db.query_one(END_STATE, &[&id]).await?.get::<_, Value>(0))
            };
            let handle = tokio::runtime::Handle::current();
            check(64, &arrivals(), |(events, order)| {
                handle.block_on(async {
                    let in_order = end(&events, &(0..events.len()).collect::<Vec<_>>()).await?;
                    let as_arrived = end(&events, &order).await?;
                    ensure!(
                        in_order == as_arrived,
                        "in order: {in_order}\nas they arrived: {as_arrived}"
                    );
                    Ok(())
                })
            })
        })
    }

    /// Events that come before the answer to a creation do are not lost.
    #[test]
    fn events_may_come_before_the_session_is_known() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::connected(stack).await?;
            let end = async |events: &[Event], order: &[usize], before: usize| {
                let wanted = json!({"title": "A", "scheduled_start": "2030-01-01T00:00:00Z"});
                let begun = world.begin(json!({"session": session_request(&wanted)})).await?;
                let (meeting, batch) = (meeting(), Uuid::new_v4());
                let (early, late) = order.split_at(before.min(order.len()));
                send(&world.service, batch, &meeting["id"], events, early).await?;
                ensure!(world.complete(&begun["creation_id"], &meeting).await?["outcome"] == "created");
                send(&world.service, batch, &meeting["id"], events, late).await?;
                let id: Uuid = serde_json::from_value(begun["creation_id"].clone())?;
                let mut row: Value = world.db.query_one(END_STATE, &[&id]).await?.get(0);
                for own in ["id", "created_at", "join_url", "share_code", "provider_meeting_id"] {
                    row[own] = Value::Null;
                }
                anyhow::Ok(row)
            };
            let handle = tokio::runtime::Handle::current();
            check(24, &(arrivals(), 0..10_usize), |((events, order), before)| {
                handle.block_on(async {
                    let in_order = end(&events, &(0..events.len()).collect::<Vec<_>>(), 0).await?;
                    let as_arrived = end(&events, &order, before).await?;
                    ensure!(
                        in_order == as_arrived,
                        "in order: {in_order}\nas they arrived: {as_arrived}"
                    );
                    Ok(())
                })
            })
        })
    }
}
