//! Changes on their way to Zoom: what is put in the outbox, how it is claimed, and what becomes of it.

use std::collections::BTreeSet;

use crate::support::db::{connect, connect_as, create_session, external_session, id_of, on_shared_stack, with, Caller};
use crate::support::in_hours;
use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use local_stack::Stack;
use serde_json::{json, Value};
use tokio_postgres::Client;
use uuid::Uuid;

/// A connected host with a session, the functions, and the database.
struct World {
    db: Client,
    service: Caller,
    host: Caller,
    session: Uuid,
    meeting: Value,
}

impl World {
    async fn new(stack: &Stack) -> Result<Self> {
        let (db, service, host) = (stack.db().await?, Caller::service(stack), Caller::host(stack).await?);
        connect(&service, host.id).await?;
        let session = create_session(&service, host.id, &json!({"title": "A"})).await?;
        Ok(Self {
            db,
            service,
            host,
            session: id_of(&session)?,
            meeting: session["provider_meeting_id"].clone(),
        })
    }

    /// Another session of this host.
    async fn another_session(&self) -> Result<Uuid> {
        id_of(&create_session(&self.service, self.host.id, &json!({"title": "A"})).await?)
    }

    async fn edit_session(&self, session: Uuid, changes: Value) -> Result<()> {
        let reply = self
            .host
            .patch(&format!("video_sessions?id=eq.{session}"), &changes)
            .await?;
        anyhow::ensure!(reply.json[0].is_object(), "{changes}: {}", reply.text);
        Ok(())
    }

    /// The host changes the session, as an app does.
    async fn edit(&self, changes: Value) -> Result<()> {
        self.edit_session(self.session, changes).await
    }

    async fn delete(&self) -> Result<()> {
        let reply = self
            .host
            .delete(&format!("video_sessions?id=eq.{}", self.session))
            .await?;
        anyhow::ensure!(reply.json[0].is_object(), "{}", reply.text);
        Ok(())
    }

    /// The outbox rows of this host.
    async fn rows(&self) -> Result<Vec<Value>> {
        let sql = "select to_jsonb(t) from video_sessions_private.zoom_outbox t where user_id = $1 order by id";
        let rows = self.db.query(sql, &[&self.host.id]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Changes this host's outbox rows behind everybody's back, mostly to let time pass.
    async fn set(&self, assignments: &str) -> Result<()> {
        let sql = format!("update video_sessions_private.zoom_outbox set {assignments} where user_id = $1");
        self.db.execute(&sql, &[&self.host.id]).await?;
        Ok(())
    }

    async fn set_connection(&self, assignments: &str) -> Result<()> {
        let sql = format!("update public.user_integrations_zoom set {assignments} where user_id = $1");
        assert_eq!(self.db.execute(&sql, &[&self.host.id]).await?, 1);
        Ok(())
    }

    /// Claims what is due for anybody, as zoom-sync does: the tasks of this host.
    async fn claim(&self, holder: Uuid) -> Result<Vec<Value>> {
        let claim = json!({"holder": holder, "max_rows": 1000, "only_user": null, "scope": "due"});
        let claimed = self.service.step("edge_outbox_claim", claim).await?;
        let tasks = claimed["tasks"].as_array().context("tasks")?.iter();
        Ok(tasks
            .filter(|task| task["user_id"] == json!(self.host.id))
            .cloned()
            .collect())
    }

    /// [`World::claim`] where there has to be one task.
    async fn claim_one(&self, holder: Uuid) -> Result<Value> {
        let tasks = self.claim(holder).await?;
        anyhow::ensure!(tasks.len() == 1, "one task expected: {tasks:?}");
        Ok(tasks[0].clone())
    }

    async fn settle(&self, task: &Value, holder: Uuid, changes: Value) -> Result<String> {
        let result = with(json!({"task_id": task["task_id"], "result": "done"}), &changes);
        Ok(self.settle_all(holder, json!([result])).await?.remove(0))
    }

    async fn settle_all(&self, holder: Uuid, results: Value) -> Result<Vec<String>> {
        let settle = json!({"holder": holder, "results": results});
        let settled = self.service.step("edge_outbox_settle", settle).await?;
        Ok(serde_json::from_value(settled["outcomes"].clone())?)
    }

    /// What Zoom is known to hold; null if nothing.
    async fn held(&self) -> Result<Value> {
        let sql = "select to_jsonb(m) from video_sessions_private.zoom_meetings m where session_id = $1";
        let row = self.db.query_opt(sql, &[&self.session]).await?;
        Ok(row.map_or(Value::Null, |row| row.get(0)))
    }

    async fn status(&self) -> Result<Value> {
        let reply = self.host.get(&format!("video_sessions?id=eq.{}", self.session)).await?;
        Ok(reply.json[0]["status"].clone())
    }

    /// In how many seconds the only row is tried again.
    async fn waits(&self) -> Result<f64> {
        let sql =
            "select extract(epoch from next_attempt_at - now())::float8 from video_sessions_private.zoom_outbox where user_id = $1";
        Ok(self.db.query_one(sql, &[&self.host.id]).await?.get(0))
    }
}

/// A try in vain.
fn failed(code: &str) -> Value {
    json!({"result": "failed", "code": code})
}

/// No try: it waits for something else.
fn wait(code: &str) -> Value {
    json!({"result": "wait", "code": code})
}

mod written {
    use super::*;

    #[test]
    fn many_edits_are_one_change() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            assert!(world.rows().await?.is_empty(), "what was created is what Zoom holds");
            let start = in_hours(72);
            for changes in [
                json!({"title": "B"}),
                json!({"description": "Bring a mat."}),
                json!({"scheduled_start": start}),
                json!({"timezone": "Asia/Kolkata"}),
                json!({"duration_minutes": 60}),
                json!({"title": "C", "duration_minutes": 45}),
            ] {
                world.edit(changes).await?;
            }
            assert_eq!(world.rows().await?.len(), 1);
            let task = world.claim_one(Uuid::new_v4()).await?;
            assert_eq!((&task["kind"], &task["meeting_id"]), (&json!("update"), &world.meeting));
            let sent: chrono::DateTime<chrono::Utc> =
                serde_json::from_value(task["desired"]["scheduled_start"].clone())?;
            assert_eq!((sent - start).num_milliseconds(), 0);
            let expected = json!({
                "title": "C", "description": "Bring a mat.", "scheduled_start": task["desired"]["scheduled_start"],
                "timezone": "Asia/Kolkata", "duration_minutes": 45,
            });
            assert_eq!(task["session_id"], json!(world.session));
            assert_eq!(task["desired"], expected);
            assert_eq!(task["token"]["state"], "fresh");
            Ok(())
        })
    }

    #[test]
    fn what_zoom_need_not_know_is_not_told() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            for changes in [
                json!({"max_participants": 5}),
                json!({"updated_at": in_hours(0)}),
                json!({"title": "A", "duration_minutes": 30}),
                json!({"title": "  A "}),
            ] {
                world.edit(changes.clone()).await?;
                assert!(world.rows().await?.is_empty(), "{changes}");
            }
            let external = world.host.post("video_sessions", &external_session(&json!({}))).await?;
            let external = id_of(&external.json[0])?;
            world
                .edit_session(external, json!({"title": "B", "status": "cancelled"}))
                .await?;
            world.host.delete(&format!("video_sessions?id=eq.{external}")).await?;
            assert!(world.rows().await?.is_empty(), "an external session");

            // There and back again, before anybody sent it.
            world.edit(json!({"title": "B"})).await?;
            world.edit(json!({"title": "A"})).await?;
            assert!(world.claim(Uuid::new_v4()).await?.is_empty());
            assert!(world.rows().await?.is_empty());
            Ok(())
        })
    }

    #[test]
    fn a_deletion_wins() -> Result<()> {
        on_shared_stack(async |stack| {
            let renamed = json!({"title": "B"});
            for ways in [
                &["delete"][..],
                &["edit", "delete"],
                &["cancel"],
                &["end"],
                &["edit", "cancel"],
                &["cancel", "edit"],
                &["cancel", "delete"],
                &["end", "delete"],
                &["edit", "end", "edit", "delete"],
            ] {
                let world = World::new(stack).await?;
                for way in ways {
                    match *way {
                        "edit" => world.edit(renamed.clone()).await?,
                        "cancel" => world.edit(json!({"status": "cancelled"})).await?,
                        "end" => world.edit(json!({"status": "ended"})).await?,
                        _ => world.delete().await?,
                    }
                }
                let task = world.claim_one(Uuid::new_v4()).await?;
                let expected = (&json!("delete"), &world.meeting, None);
                assert_eq!(
                    (&task["kind"], &task["meeting_id"], task.get("desired")),
                    expected,
                    "{ways:?}"
                );
            }
            Ok(())
        })
    }

    #[test]
    fn a_session_that_took_place_keeps_its_meeting() -> Result<()> {
        on_shared_stack(async |stack| {
            for ways in [
                &["started", "ended", "end by the app"][..],
                &["started", "ended", "delete"],
                &["ended", "delete"],
            ] {
                let world = World::new(stack).await?;
                for table in ["video_sessions_private.zoom_meetings", "public.video_sessions"] {
                    let of = if table.starts_with("public") {
                        "id"
                    } else {
                        "session_id"
                    };
                    let sql =
                        format!("update {table} set scheduled_start = date_trunc('second', now()) where {of} = $1");
                    world.db.execute(&sql, &[&world.session]).await?;
                }
                for (n, way) in ways.iter().enumerate() {
                    match *way {
                        "end by the app" => world.edit(json!({"status": "ended"})).await?,
                        "edit" => world.edit(json!({"title": "B"})).await?,
                        "delete" => world.delete().await?,
                        event => {
                            let event = json!({
                                "event_id": Uuid::new_v4(), "event": format!("meeting.{event}"), "event_ts": chrono::Utc::now().timestamp_millis() + i64::try_from(n)?,
                                "details": {"meeting_id": world.meeting, "uuid": "one"},
                            });
                            assert_eq!(world.service.outcome("edge_webhook_receive", event).await?, "applied");
                        }
                    }
                }
                assert!(world.rows().await?.is_empty(), "{ways:?}");
            }
            Ok(())
        })
    }
}

mod claimed {
    use super::*;

    #[test]
    fn a_claim_holds_for_five_minutes() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            world.edit(json!({"title": "B"})).await?;
            let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
            let task = world.claim_one(one).await?;
            for holder in [one, other] {
                assert!(world.claim(holder).await?.is_empty());
            }
            world
                .set("claimed_until = claimed_until - interval '4 minutes 50 seconds'")
                .await?;
            assert!(world.claim(other).await?.is_empty());
            world
                .set("claimed_until = claimed_until - interval '11 seconds'")
                .await?;
            assert_eq!(world.claim_one(other).await?["task_id"], task["task_id"]);
            // Whoever lost it says nothing more about it.
            assert_eq!(world.settle(&task, one, json!({})).await?, "superseded");
            assert_eq!(world.settle(&task, one, failed("unclear")).await?, "superseded");
            assert_eq!(world.rows().await?[0]["attempts"], 0);

            // What was not begun is given back at once.
            let unsent = json!({"result": "unsent"});
            assert_eq!(world.settle(&task, other, unsent.clone()).await?, "unsent");
            assert_eq!(world.settle(&task, other, unsent).await?, "superseded");
            let task = world.claim_one(one).await?;
            assert_eq!(world.settle(&task, one, json!({})).await?, "done");
            assert_eq!(
                world.settle(&task, one, json!({})).await?,
                "superseded",
                "it is settled"
            );
            Ok(())
        })
    }

    #[test]
    fn drains_at_the_same_time_share_the_work() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            for _ in 0..12 {
                let session = world.another_session().await?;
                world.edit_session(session, json!({"title": "B"})).await?;
            }
            let claims = (0..6).map(|_| {
                let claim =
                    json!({"holder": Uuid::new_v4(), "max_rows": 3, "only_user": world.host.id, "scope": "due"});
                world.service.step("edge_outbox_claim", claim)
            });
            let mut tasks = Vec::new();
            for claimed in try_join_all(claims).await? {
                let claimed = claimed["tasks"].as_array().cloned().context("tasks")?;
                assert!(claimed.len() <= 3);
                tasks.extend(claimed.iter().map(|task| task["task_id"].to_string()));
            }
            let different: BTreeSet<_> = tasks.iter().collect();
            assert_eq!(different.len(), tasks.len(), "nothing is claimed twice");
            assert_eq!(tasks.len(), 2, "two of a Zoom account at a time");
            Ok(())
        })
    }

    #[test]
    fn changes_wait_for_a_connection_that_can_send_them() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            world.edit(json!({"title": "B"})).await?;
            let expired = "status = 'expired', expired_reason = 'revoked'";
            for (bad, good) in [
                (expired, "status = 'connected', expired_reason = null"),
                ("cooldown_until = now() + interval '1 minute'", "cooldown_until = now()"),
                (
                    "daily_limit_until = now() + interval '1 hour'",
                    "daily_limit_until = now()",
                ),
            ] {
                world.set_connection(bad).await?;
                assert!(world.claim(Uuid::new_v4()).await?.is_empty(), "{bad}");
                world.set_connection(good).await?;
                let holder = Uuid::new_v4();
                let task = world.claim_one(holder).await?;
                world.settle(&task, holder, json!({"result": "unsent"})).await?;
            }
            // Another Zoom user cannot change this one's meetings; when this one is back, they go on.
            connect_as(
                &world.service,
                world.host.id,
                &format!("other-{}", world.host.id),
                &json!({}),
            )
            .await?;
            assert!(world.claim(Uuid::new_v4()).await?.is_empty(), "another Zoom user");
            connect(&world.service, world.host.id).await?;
            world.claim_one(Uuid::new_v4()).await?;
            Ok(())
        })
    }

    #[test]
    fn a_token_that_is_not_fresh_is_asked_for_later() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            world.edit(json!({"title": "B"})).await?;
            world
                .set_connection("access_token_expires_at = now() + interval '59 seconds'")
                .await?;
            let task = world.claim_one(Uuid::new_v4()).await?;
            assert_eq!(task["token"], json!({"state": "busy", "retry_after_ms": 0}));
            let sql = "select lease_until is null from public.user_integrations_zoom where user_id = $1";
            assert!(
                world.db.query_one(sql, &[&world.host.id]).await?.get::<_, bool>(0),
                "no lease is taken for it"
            );
            Ok(())
        })
    }
}

mod settled {
    use super::*;

    #[test]
    fn what_is_done_is_what_zoom_holds() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let holder = Uuid::new_v4();
            world.edit(json!({"title": "B", "duration_minutes": 45})).await?;
            let task = world.claim_one(holder).await?;
            assert_eq!(world.held().await?["title"], "A");
            assert_eq!(world.settle(&task, holder, json!({})).await?, "done");
            assert!(world.rows().await?.is_empty());
            let held = world.held().await?;
            assert_eq!((&held["title"], &held["duration_minutes"]), (&json!("B"), &json!(45)));
            // Zoom's own event of it changes nothing, and an older one that comes late neither.
            for (topic, age) in [("B", 0), ("A", 3_600_000)] {
                let event = json!({
                    "event_id": Uuid::new_v4(), "event": "meeting.updated",
                    "event_ts": chrono::Utc::now().timestamp_millis() - age,
                    "details": {"meeting_id": world.meeting, "topic": topic},
                });
                assert_eq!(world.service.outcome("edge_webhook_receive", event).await?, "applied");
                let shown = world
                    .host
                    .get(&format!("video_sessions?id=eq.{}", world.session))
                    .await?;
                assert_eq!(shown.json[0]["title"], "B", "after an event that says {topic}");
            }
            assert!(world.rows().await?.is_empty());

            world.delete().await?;
            let task = world.claim_one(holder).await?;
            assert_eq!(world.settle(&task, holder, json!({})).await?, "done");
            assert!(world.rows().await?.is_empty());
            Ok(())
        })
    }

    #[test]
    fn a_cancelled_session_has_no_meeting_any_more() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let holder = Uuid::new_v4();
            world.edit(json!({"status": "cancelled"})).await?;
            let task = world.claim_one(holder).await?;
            assert_eq!(world.settle(&task, holder, json!({})).await?, "done");
            assert_ne!(world.held().await?["deleted_at"], Value::Null);
            assert_eq!(
                world.host.get("video_session_host_meta").await?.json,
                json!([]),
                "nor a start URL"
            );
            // Nothing of it is left to be told.
            world.edit(json!({"title": "B"})).await?;
            world.delete().await?;
            assert!(world.rows().await?.is_empty());
            Ok(())
        })
    }

    #[test]
    fn a_change_that_comes_while_another_is_sent_is_sent_next() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let holder = Uuid::new_v4();
            world.edit(json!({"title": "B"})).await?;
            for (sent, next) in [("B", "C"), ("C", "D"), ("D", "B")] {
                let task = world.claim_one(holder).await?;
                assert_eq!(task["desired"]["title"], sent);
                world.edit(json!({"title": next})).await?;
                assert!(world.claim(Uuid::new_v4()).await?.is_empty(), "one at a time");
                assert_eq!(world.settle(&task, holder, json!({})).await?, "done");
                assert_eq!(world.held().await?["title"], sent);
            }
            let task = world.claim_one(holder).await?;
            assert_eq!(task["desired"]["title"], "B");
            assert_eq!(world.settle(&task, holder, json!({})).await?, "done");
            assert!(world.rows().await?.is_empty());
            Ok(())
        })
    }

    /// The title goes back to what Zoom held, while Zoom is being told another.
    #[test]
    fn a_change_that_is_taken_back_while_it_is_sent_is_taken_back_at_zoom() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let holder = Uuid::new_v4();
            world.edit(json!({"title": "B"})).await?;
            let task = world.claim_one(holder).await?;
            world.edit(json!({"title": "A"})).await?;
            assert_eq!(world.settle(&task, holder, json!({})).await?, "done");
            let task = world.claim_one(holder).await?;
            assert_eq!(task["desired"]["title"], "A");
            assert_eq!(world.settle(&task, holder, json!({})).await?, "done");
            assert!(world.rows().await?.is_empty());
            Ok(())
        })
    }

    /// The answer to a PATCH was lost, or whoever sent it died: Zoom may hold the new title or the old one.
    #[test]
    fn a_change_whose_fate_is_unknown_is_taken_back_at_zoom_too() -> Result<()> {
        on_shared_stack(async |stack| {
            for fate in ["a lost answer", "a dead sender"] {
                let world = World::new(stack).await?;
                let holder = Uuid::new_v4();
                world.edit(json!({"title": "B"})).await?;
                let task = world.claim_one(holder).await?;
                if fate == "a lost answer" {
                    assert_eq!(world.settle(&task, holder, failed("unclear")).await?, "postponed");
                }
                world.edit(json!({"title": "A"})).await?;
                world.set("next_attempt_at = now(), claimed_until = null").await?;
                let task = world.claim_one(holder).await.context(fate)?;
                assert_eq!(task["desired"]["title"], "A", "{fate}");
                assert_eq!(world.settle(&task, holder, json!({})).await?, "done");
                assert!(world.rows().await?.is_empty());
            }
            Ok(())
        })
    }

    /// Zoom's event of our own change arrives when the host has taken the change back already.
    #[test]
    fn the_echo_of_a_change_does_not_bring_it_back() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let holder = Uuid::new_v4();
            world.edit(json!({"title": "B"})).await?;
            let task = world.claim_one(holder).await?;
            world.edit(json!({"title": "A"})).await?;
            let echo = json!({
                "event_id": Uuid::new_v4(), "event": "meeting.updated",
                "event_ts": chrono::Utc::now().timestamp_millis() + 5, "details": {"meeting_id": world.meeting, "topic": "B"},
            });
            assert_eq!(world.service.outcome("edge_webhook_receive", echo).await?, "applied");
            assert_eq!(world.settle(&task, holder, json!({})).await?, "done");
            let shown = world
                .host
                .get(&format!("video_sessions?id=eq.{}", world.session))
                .await?;
            assert_eq!(shown.json[0]["title"], "A");
            assert_eq!(world.claim_one(holder).await?["desired"]["title"], "A");
            Ok(())
        })
    }

    /// The host renames in Zoom after our change has arrived there, and we hear of that before the answer.
    #[test]
    fn news_that_overtakes_an_answer_is_newer_than_it() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let holder = Uuid::new_v4();
            world.edit(json!({"title": "B"})).await?;
            let task = world.claim_one(holder).await?;
            let event = json!({
                "event_id": Uuid::new_v4(), "event": "meeting.updated",
                "event_ts": chrono::Utc::now().timestamp_millis() + 5, "details": {"meeting_id": world.meeting, "topic": "C"},
            });
            assert_eq!(world.service.outcome("edge_webhook_receive", event).await?, "applied");
            assert_eq!(world.settle(&task, holder, json!({})).await?, "done");
            assert_eq!(world.held().await?["title"], "C");
            // The app's wish was the later one to be known here: it is sent again, though not at once, and both agree.
            assert_eq!(world.rows().await?[0]["attempts"], 1);
            assert!(world.claim(holder).await?.is_empty());
            world.set("next_attempt_at = now()").await?;
            let task = world.claim_one(holder).await?;
            assert_eq!(task["desired"]["title"], "B");
            assert_eq!(world.settle(&task, holder, json!({})).await?, "done");
            assert_eq!(world.held().await?["title"], "B");
            assert!(world.rows().await?.is_empty());
            Ok(())
        })
    }

    #[test]
    fn a_deletion_that_comes_while_a_change_is_sent_follows() -> Result<()> {
        on_shared_stack(async |stack| {
            for way in ["cancel", "delete"] {
                let world = World::new(stack).await?;
                let holder = Uuid::new_v4();
                world.edit(json!({"title": "B"})).await?;
                let task = world.claim_one(holder).await?;
                match way {
                    "cancel" => world.edit(json!({"status": "cancelled"})).await?,
                    _ => world.delete().await?,
                }
                assert_eq!(world.settle(&task, holder, json!({})).await?, "done");
                if way == "cancel" {
                    assert_eq!(world.held().await?["deleted_at"], Value::Null, "it is not deleted yet");
                }
                let task = world.claim_one(holder).await?;
                assert_eq!(
                    (&task["kind"], &task["meeting_id"]),
                    (&json!("delete"), &world.meeting),
                    "{way}"
                );
                assert_eq!(world.settle(&task, holder, json!({})).await?, "done");
                assert!(world.rows().await?.is_empty());
            }
            Ok(())
        })
    }

    #[test]
    fn a_meeting_that_is_gone_cancels_its_session() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let holder = Uuid::new_v4();
            world.edit(json!({"title": "B"})).await?;
            let task = world.claim_one(holder).await?;
            let gone = json!({"result": "gone", "code": "meeting_gone"});
            assert_eq!(world.settle(&task, holder, gone).await?, "gone");
            assert_eq!(world.status().await?, "cancelled");
            assert_ne!(world.held().await?["deleted_at"], Value::Null);
            assert_eq!(world.host.get("video_session_host_meta").await?.json, json!([]));
            // A last DELETE makes sure, and then there is nothing more to tell.
            for task in world.claim(holder).await? {
                assert_eq!(task["kind"], "delete");
                assert_eq!(
                    world.settle(&task, holder, json!({"code": "meeting_gone"})).await?,
                    "done"
                );
            }
            assert!(world.rows().await?.is_empty());
            world.delete().await?;
            assert!(world.rows().await?.is_empty());
            Ok(())
        })
    }

    #[test]
    fn another_zoom_user_cannot_say_that_a_meeting_is_gone() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let holder = Uuid::new_v4();
            world.edit(json!({"title": "B"})).await?;
            let task = world.claim_one(holder).await?;
            connect_as(
                &world.service,
                world.host.id,
                &format!("other-{}", world.host.id),
                &json!({}),
            )
            .await?;
            let gone = json!({"result": "gone", "code": "meeting_gone"});
            assert_eq!(world.settle(&task, holder, gone).await?, "postponed");
            assert_eq!(world.status().await?, "scheduled");
            connect(&world.service, world.host.id).await?;
            world.set("next_attempt_at = now()").await?;
            assert_eq!(world.claim_one(holder).await?["desired"]["title"], "B");
            Ok(())
        })
    }
}

mod postponed {
    use super::*;

    #[test]
    fn waits_grow_up_to_an_hour() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let holder = Uuid::new_v4();
            world.edit(json!({"title": "B"})).await?;
            for attempt in 0..11 {
                let task = world.claim_one(holder).await?;
                assert_eq!(world.settle(&task, holder, failed("unclear")).await?, "postponed");
                let whole = (15.0 * f64::from(1 << attempt)).min(3600.0);
                let waits = world.waits().await?;
                assert!(
                    (whole / 2.0 - 2.0..=whole).contains(&waits),
                    "attempt {attempt}: {waits} s of {whole}"
                );
                assert!(world.claim(holder).await?.is_empty(), "not before");
                let row = &world.rows().await?[0];
                assert_eq!(
                    (&row["attempts"], &row["last_code"]),
                    (&json!(attempt + 1), &json!("unclear"))
                );
                assert_eq!(row["dead_at"], Value::Null);
                world.set("next_attempt_at = now()").await?;
            }
            Ok(())
        })
    }

    #[test]
    fn after_twelve_tries_an_operator_has_to_look() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let holder = Uuid::new_v4();
            let dead = async || {
                let letters = world.service.step("edge_outbox_dead_letters", json!({})).await?;
                let letters = letters.as_array().context("letters")?.iter();
                anyhow::Ok(
                    letters
                        .filter(|letter| letter["user_id"] == json!(world.host.id))
                        .cloned()
                        .collect::<Vec<_>>(),
                )
            };
            let give_up = async || {
                for attempt in 0..12 {
                    assert!(dead().await?.is_empty(), "attempt {attempt}");
                    world.set("next_attempt_at = now()").await?;
                    let task = world.claim_one(holder).await?;
                    assert_eq!(world.settle(&task, holder, failed("unclear")).await?, "postponed");
                }
                world.set("next_attempt_at = now()").await?;
                assert!(world.claim(holder).await?.is_empty(), "given up");
                anyhow::Ok(())
            };
            world.edit(json!({"title": "B"})).await?;
            give_up().await?;
            let letters = dead().await?;
            assert_eq!(letters.len(), 1);
            for (name, value) in [
                ("session_id", json!(world.session)),
                ("meeting_id", world.meeting.clone()),
                ("kind", json!("update")),
                ("attempts", json!(12)),
                ("last_code", json!("unclear")),
            ] {
                assert_eq!(letters[0][name], value, "{name}");
            }
            // One of them, all of them, or by itself when the app changes it again.
            let other = json!({"task_id": -1});
            assert_eq!(
                world.service.step("edge_outbox_retry", other).await?,
                json!({"retried": 0})
            );
            for arguments in [json!({"task_id": letters[0]["task_id"]}), json!({}), Value::Null] {
                if arguments.is_null() {
                    world.edit(json!({"title": "C"})).await?;
                } else {
                    let retried = world.service.step("edge_outbox_retry", arguments).await?;
                    assert_eq!(retried, json!({"retried": 1}));
                }
                give_up().await?;
            }
            world
                .service
                .step("edge_outbox_retry", json!({"task_id": null}))
                .await?;
            let task = world.claim_one(holder).await?;
            assert_eq!(task["desired"]["title"], "C");
            assert_eq!(world.settle(&task, holder, json!({})).await?, "done");
            assert!(dead().await?.is_empty());
            Ok(())
        })
    }

    #[test]
    fn a_wait_that_zoom_asks_for_is_kept_and_is_no_try() -> Result<()> {
        on_shared_stack(async |stack| {
            let world = World::new(stack).await?;
            let holder = Uuid::new_v4();
            world.edit(json!({"title": "B"})).await?;
            for code in ["rate_limit", "not_connected", "no_token", "misconfigured"] {
                world.set("next_attempt_at = now()").await?;
                let task = world.claim_one(holder).await?;
                let postponed = with(wait(code), &json!({"retry_after_seconds": 120}));
                assert_eq!(world.settle(&task, holder, postponed).await?, "postponed");
                let waits = world.waits().await?;
                assert!((118.0..=125.0).contains(&waits), "{code}: {waits}");
                assert_eq!(world.rows().await?[0]["attempts"], 0, "{code}");
            }
            // A new change does not shorten Zoom's own wait; it does one of ours.
            world.set("last_code = 'rate_limit'").await?;
            world.edit(json!({"title": "C"})).await?;
            assert!(world.waits().await? > 100.0);
            world.set("last_code = 'unclear'").await?;
            world.edit(json!({"title": "D"})).await?;
            assert!(world.waits().await? <= 0.0);
            // No wait is longer than a day and an hour.
            let task = world.claim_one(holder).await?;
            let postponed = with(wait("rate_limit"), &json!({"retry_after_seconds": 100_000_000_000_i64}));
            assert_eq!(world.settle(&task, holder, postponed).await?, "postponed");
            assert!(world.waits().await? <= 90_005.0);
            Ok(())
        })
    }

    #[test]
    fn the_daily_limit_is_the_hosts() -> Result<()> {
        on_shared_stack(async |stack| {
            let (world, other) = (World::new(stack).await?, World::new(stack).await?);
            let holder = Uuid::new_v4();
            let second = world.another_session().await?;
            let third = world.another_session().await?;
            world.edit(json!({"title": "B"})).await?;
            let task = world.claim_one(holder).await?;
            world.edit_session(second, json!({"title": "B"})).await?;
            let limit = with(wait("daily_limit"), &json!({"retry_after_seconds": 36_000}));
            assert_eq!(world.settle(&task, holder, limit).await?, "postponed");
            assert!(
                world.claim(holder).await?.is_empty(),
                "the host's other changes wait as well"
            );
            world.edit_session(third, json!({"title": "B"})).await?;
            world.edit(json!({"title": "C"})).await?;
            assert!(world.claim(holder).await?.is_empty(), "and those that come after");
            other.edit(json!({"title": "B"})).await?;
            assert_eq!(other.claim(holder).await?.len(), 1, "another host's do not");

            // Deletions are not counted.
            world.edit_session(second, json!({"status": "cancelled"})).await?;
            world.delete().await?;
            let tasks = world.claim(holder).await?;
            assert!(
                tasks.len() == 2 && tasks.iter().all(|task| task["kind"] == "delete"),
                "{tasks:?}"
            );
            for task in &tasks {
                assert_eq!(world.settle(task, holder, json!({})).await?, "done");
            }
            // When the day is over, the rest goes.
            world.set_connection("daily_limit_until = now()").await?;
            world.set("next_attempt_at = least(next_attempt_at, now())").await?;
            let task = world.claim_one(holder).await?;
            assert_eq!(task["session_id"], json!(third));
            Ok(())
        })
    }
}

mod together {
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::Mutex;

    use super::*;

    /// A meeting in Zoom: its title, and the events that are on their way to us.
    #[derive(Default)]
    struct Meeting {
        title: String,
        changed_at: i64,
        events: VecDeque<(i64, String)>,
    }

    impl Meeting {
        /// No two changes have the same time.
        fn rename(&mut self, title: &str) {
            self.title = title.to_owned();
            self.changed_at = chrono::Utc::now().timestamp_millis().max(self.changed_at + 1);
            self.events.push_back((self.changed_at, title.to_owned()));
        }
    }

    /// A number below `end`, by chance.
    fn random(end: usize) -> usize {
        (Uuid::new_v4().as_u128() % end as u128) as usize
    }

    /// Tries everything in the outbox once: the answer to every third PATCH is lost, or the PATCH itself.
    async fn drain(world: &World, zoom: &Mutex<Meeting>) -> Result<()> {
        let holder = Uuid::new_v4();
        world.set("next_attempt_at = now()").await?;
        for task in world.claim(holder).await? {
            let title = task["desired"]["title"].as_str().context("a title")?;
            let fate = random(6);
            if fate != 0 {
                zoom.lock().expect("a lock").rename(title);
            }
            let answer = if fate < 2 { failed("unclear") } else { json!({}) };
            let outcome = world.settle(&task, holder, answer).await?;
            anyhow::ensure!(["done", "postponed"].contains(&outcome.as_str()), "{outcome}");
        }
        Ok(())
    }

    /// Delivers one event, by chance the oldest or another one, and by chance twice.
    async fn deliver(world: &World, zoom: &Mutex<Meeting>) -> Result<bool> {
        let event = {
            let mut zoom = zoom.lock().expect("a lock");
            let place = random(zoom.events.len().max(1));
            zoom.events.remove(place)
        };
        let Some((event_ts, title)) = event else {
            return Ok(false);
        };
        let event = json!({
            "event_id": Uuid::new_v4(), "event": "meeting.updated", "event_ts": event_ts,
            "details": {"meeting_id": world.meeting, "topic": title},
        });
        for expected in ["applied", "duplicate"].into_iter().take(1 + random(2)) {
            assert_eq!(
                world.service.outcome("edge_webhook_receive", event.clone()).await?,
                expected
            );
        }
        Ok(true)
    }

    /// A host renames in the app, and in Zoom if its events reach us, a few times in a row, while two drains run and
    /// answers are lost. Events come late and in any order.
    async fn come_to_agree(stack: &Stack, with_events: bool) -> Result<()> {
        let world = World::new(stack).await?;
        let zoom = Mutex::new(Meeting {
            title: "A".to_owned(),
            ..Meeting::default()
        });
        for n in 0..40 {
            let over = AtomicBool::new(false);
            let host = async {
                for _ in 0..=random(4) {
                    if with_events && random(6) == 0 {
                        zoom.lock().expect("a lock").rename(&format!("Zoom {n}"));
                    } else {
                        let title = ["A", "B"][random(2)];
                        world.edit(json!({"title": title})).await?;
                    }
                }
                over.store(true, Ordering::Relaxed);
                anyhow::Ok(())
            };
            let drainer = || async {
                while !over.load(Ordering::Relaxed) {
                    drain(&world, &zoom).await?;
                }
                anyhow::Ok(())
            };
            let courier = async {
                while !over.load(Ordering::Relaxed) {
                    if !with_events || !deliver(&world, &zoom).await? {
                        tokio::task::yield_now().await;
                    }
                }
                anyhow::Ok(())
            };
            tokio::try_join!(host, drainer(), drainer(), courier)?;

            let mut rounds = 0;
            while !world.rows().await?.is_empty() || (with_events && deliver(&world, &zoom).await?) {
                drain(&world, &zoom).await?;
                rounds += 1;
                anyhow::ensure!(rounds < 500, "it does not come to rest");
            }
            let shown = world
                .host
                .get(&format!("video_sessions?id=eq.{}", world.session))
                .await?;
            let in_app = shown.json[0]["title"].as_str().context("a title")?.to_owned();
            let in_zoom = zoom.lock().expect("a lock").title.clone();
            let held = world.held().await?["title"].clone();
            assert_eq!((&in_zoom, held), (&in_app, json!(in_app)), "burst {n}");
        }
        Ok(())
    }

    #[test]
    fn app_and_zoom_end_in_agreement() -> Result<()> {
        on_shared_stack(async |stack| come_to_agree(stack, true).await)
    }

    #[test]
    fn so_they_do_without_events() -> Result<()> {
        on_shared_stack(async |stack| come_to_agree(stack, false).await)
    }
}
