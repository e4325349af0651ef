//! The watch in the database: what is asked and when, and what becomes of the answers.

use crate::support::db::{connect, connect_as, create_session, id_of, on_shared_stack, with, Caller};
use anyhow::{Context, Result};
use local_stack::Stack;
use serde_json::{json, Value};
use tokio_postgres::Client;
use uuid::Uuid;

/// A connected host with a session that began so many minutes ago, as far as was planned.
struct World {
    db: Client,
    service: Caller,
    host: Caller,
    session: Uuid,
    meeting: Value,
}

impl World {
    async fn new(stack: &Stack, minutes_ago: i32) -> Result<Self> {
        let (db, service, host) = (stack.db().await?, Caller::service(stack), Caller::host(stack).await?);
        connect(&service, host.id).await?;
        let session = create_session(&service, host.id, &json!({"title": "A"})).await?;
        let world = Self {
            db,
            service,
            host,
            session: id_of(&session)?,
            meeting: session["provider_meeting_id"].clone(),
        };
        let began = format!("now() - interval '{minutes_ago} minutes'");
        world
            .set("public.video_sessions", "id", &format!("scheduled_start = {began}"))
            .await?;
        let held = format!("scheduled_start = date_trunc('second', {began})");
        world.set_held(&held).await?;
        Ok(world)
    }

    async fn set(&self, table: &str, key: &str, assignment: &str) -> Result<()> {
        let sql = format!("update {table} set {assignment} where {key} = $1");
        self.db.execute(&sql, &[&self.session]).await?;
        Ok(())
    }

    async fn set_held(&self, assignment: &str) -> Result<()> {
        self.set("video_sessions_private.zoom_meetings", "session_id", assignment)
            .await
    }

    fn zoom_user(&self) -> String {
        format!("zoom-{}", self.host.id)
    }

    /// The questions about this session that are claimed now.
    async fn questions(&self) -> Result<usize> {
        let claim = json!({"max_questions": 1000, "max_lists": 0});
        let claimed = self.service.step("edge_watch_claim", claim).await?;
        let questions = claimed["questions"].as_array().context("questions")?;
        let ours = questions
            .iter()
            .filter(|question| question["session_id"] == json!(self.session));
        Ok(ours.count())
    }

    async fn save(&self, answer: Value) -> Result<String> {
        self.save_as_of(&self.now().await?, answer).await
    }

    async fn save_as_of(&self, asked_at: &Value, answer: Value) -> Result<String> {
        let save = json!({
            "session_id": self.session, "zoom_user_id": self.zoom_user(), "asked_at": asked_at, "answer": answer,
        });
        self.service.outcome("edge_watch_save", save).await
    }

    /// The database's time.
    async fn now(&self) -> Result<Value> {
        Ok(self.db.query_one("select to_jsonb(now())", &[]).await?.get(0))
    }

    async fn seen(&self) -> Result<Value> {
        let reply = self.host.get(&format!("video_sessions?id=eq.{}", self.session)).await?;
        Ok(reply.json[0].clone())
    }

    /// In how many minutes Zoom is asked next; `None`: never.
    async fn next(&self) -> Result<Option<f64>> {
        let sql = "select (extract(epoch from ask_at - now()) / 60)::float8
                   from video_sessions_private.watched_sessions where session_id = $1";
        Ok(self.db.query_one(sql, &[&self.session]).await?.get(0))
    }
}

fn found(status: &str, changes: Value) -> Value {
    let meeting = json!({
        "uuid": "u", "status": status, "topic": "A", "join_url": "https://zoom.us/j/1?pwd=new", "passcode": "new",
        "settings": {"waiting_room": false},
    });
    json!({"outcome": "found", "meeting": with(meeting, &changes)})
}

#[test]
fn a_session_is_asked_about_around_its_start_and_its_end() -> Result<()> {
    on_shared_stack(async |stack| {
        for (minutes_ago, asked) in [(-5, 0), (9, 0), (11, 1), (41, 1), (86, 1), (60 * 25, 0)] {
            let world = World::new(stack, minutes_ago).await?;
            assert_eq!(world.questions().await?, asked, "{minutes_ago}");
            assert_eq!(world.questions().await?, 0, "a claim holds");
        }
        // It goes on: at its end, and then every half an hour.
        let world = World::new(stack, 11).await?;
        assert_eq!(world.save(found("started", json!({}))).await?, "found");
        assert!(world.seen().await?["started_at"].is_string());
        let next = world.next().await?.context("another question")?;
        assert!((28.0..31.0).contains(&next), "{next}");
        let world = World::new(stack, 41).await?;
        assert_eq!(world.save(found("started", json!({}))).await?, "found");
        let next = world.next().await?.context("another question")?;
        assert!((29.0..31.0).contains(&next), "{next}");
        // It was held, and is over.
        assert_eq!(world.save(found("waiting", json!({"uuid": "v"}))).await?, "found");
        assert_eq!(
            (world.seen().await?["status"].as_str(), world.next().await?),
            (Some("ended"), None)
        );
        Ok(())
    })
}

#[test]
fn a_404_counts_only_for_the_zoom_user_that_made_the_meeting() -> Result<()> {
    on_shared_stack(async |stack| {
        let gone = || json!({"outcome": "gone"});
        let world = World::new(stack, 11).await?;
        assert_eq!(world.save(gone()).await?, "gone");
        assert_eq!(world.seen().await?["status"], "cancelled");

        let taken_over = World::new(stack, 11).await?;
        taken_over.set_held("zoom_user_id = null").await?;
        assert_eq!(taken_over.questions().await?, 1);
        assert_eq!(taken_over.save(gone()).await?, "postponed");
        assert_eq!(taken_over.seen().await?["status"], "scheduled");
        // The first answer says whose it is.
        assert_eq!(taken_over.save(found("waiting", json!({}))).await?, "found");
        assert_eq!(taken_over.save(gone()).await?, "gone");

        let elsewhere = World::new(stack, 11).await?;
        connect_as(
            &elsewhere.service,
            elsewhere.host.id,
            &format!("other-{}", elsewhere.host.id),
            &json!({}),
        )
        .await?;
        assert_eq!(elsewhere.questions().await?, 0);
        let next = elsewhere.next().await?.context("put off")?;
        assert!((29.0..31.0).contains(&next), "{next}");
        assert_eq!(elsewhere.save(gone()).await?, "postponed");
        assert_eq!(elsewhere.seen().await?["status"], "scheduled");
        Ok(())
    })
}

#[test]
fn links_follow_an_event_by_a_question() -> Result<()> {
    on_shared_stack(async |stack| {
        let world = World::new(stack, -600).await?;
        assert_eq!(world.questions().await?, 0);
        let event = json!({
            "event_id": Uuid::new_v4(), "event": "meeting.updated", "event_ts": 1_764_000_000_000_i64,
            "details": {"meeting_id": world.meeting, "changes_link": {}},
        });
        assert_eq!(world.service.outcome("edge_webhook_receive", event).await?, "applied");
        assert_eq!(world.questions().await?, 1);
        assert_eq!(
            world.save(found("waiting", json!({"topic": "Renamed"}))).await?,
            "found"
        );
        let seen = world.seen().await?;
        assert_eq!(
            (&seen["join_url"], &seen["passcode"], &seen["settings"], &seen["title"]),
            (
                &json!("https://zoom.us/j/1?pwd=new"),
                &json!("new"),
                &json!({"waiting_room": false}),
                &json!("Renamed")
            )
        );
        assert_eq!(world.questions().await?, 0);
        Ok(())
    })
}

#[test]
fn no_answer_is_asked_for_again_later_and_later() -> Result<()> {
    on_shared_stack(async |stack| {
        let world = World::new(stack, 11).await?;
        for (answer, minutes) in [
            (json!({"outcome": "failed"}), 5.0),
            (json!({"outcome": "failed"}), 10.0),
            (json!({"outcome": "failed", "retry_after_seconds": 120}), 2.0),
        ] {
            assert_eq!(world.save(answer).await?, "postponed");
            let next = world.next().await?.context("another try")?;
            assert!((next - minutes).abs() < 0.5, "{next} {minutes}");
        }
        Ok(())
    })
}

#[test]
fn a_list_is_followed_and_what_is_missing_is_asked_about() -> Result<()> {
    on_shared_stack(async |stack| {
        let world = World::new(stack, -600).await?;
        let missing = id_of(&create_session(&world.service, world.host.id, &json!({"title": "B"})).await?)?;
        let host = world.host.id;
        world
            .db
            .execute(
                "update video_sessions_private.watched_hosts set list_at = now() where user_id = $1",
                &[&host],
            )
            .await?;
        let claim = json!({"max_questions": 0, "max_lists": 1000});
        let claimed = world.service.step("edge_watch_claim", claim).await?;
        let lists = claimed["lists"].as_array().context("lists")?;
        assert!(lists.iter().any(|list| list["user_id"] == json!(host)));
        let listed = |is_whole: bool| {
            json!({
                "user_id": host, "zoom_user_id": world.zoom_user(), "asked_at": crate::support::in_hours(0) + chrono::TimeDelta::seconds(5),
                "meetings": [{"id": world.meeting, "topic": "Renamed", "duration": 75}, {"id": "77", "topic": "A stranger"}],
                "is_whole": is_whole,
            })
        };
        for (is_whole, gone) in [(false, 0), (true, 1)] {
            let followed = world.service.step("edge_watch_save_list", listed(is_whole)).await?;
            assert_eq!(followed, json!({"followed": 1, "missing": gone}));
        }
        let seen = world.seen().await?;
        assert_eq!(
            (&seen["title"], &seen["duration_minutes"]),
            (&json!("Renamed"), &json!(75))
        );
        let row = world
            .db
            .query_one(
                "select status, (select list_at > now() + interval '12 hours' from video_sessions_private.watched_hosts
                   where user_id = host_id),
                 (select ask_at <= now() from video_sessions_private.watched_sessions where session_id = id)
                 from public.video_sessions where id = $1",
                &[&missing],
            )
            .await?;
        assert_eq!(
            (row.get::<_, String>(0), row.get::<_, bool>(1), row.get::<_, bool>(2)),
            ("scheduled".to_owned(), true, true),
            "nothing is believed of what is missing"
        );
        let everything = world.service.step("edge_watch_all", json!({})).await?;
        assert!(everything["hosts"].as_i64() >= Some(1), "{everything}");
        Ok(())
    })
}

#[test]
fn an_answer_from_before_our_change_takes_nothing_back() -> Result<()> {
    on_shared_stack(async |stack| {
        for told_by in ["answer", "list", "event"] {
            let world = World::new(stack, -600).await?;
            let session = format!("video_sessions?id=eq.{}", world.session);
            world.host.patch(&session, &json!({"title": "Renamed"})).await?;
            let holder = Uuid::new_v4();
            let claim = json!({"holder": holder, "max_rows": 9, "only_user": world.host.id, "scope": "due"});
            let claimed = world.service.step("edge_outbox_claim", claim).await?;
            // Zoom is asked now; it answers before the change reaches it, and the answer is saved after that.
            let asked_at = world.now().await?;
            let results = json!([{"task_id": claimed["tasks"][0]["task_id"], "result": "done"}]);
            let settled = world
                .service
                .step("edge_outbox_settle", json!({"holder": holder, "results": results}))
                .await?;
            assert_eq!(settled, json!({"outcomes": ["done"]}), "{claimed}");
            let other = if told_by == "answer" { "A" } else { "Edited in Zoom" };
            match told_by {
                "answer" => {
                    let answer = found("waiting", json!({"topic": other}));
                    assert_eq!(world.save_as_of(&asked_at, answer).await?, "found");
                }
                "list" => {
                    let list = json!({
                        "user_id": world.host.id, "zoom_user_id": world.zoom_user(), "asked_at": asked_at,
                        "meetings": [{"id": world.meeting, "topic": other}], "is_whole": true,
                    });
                    world.service.step("edge_watch_save_list", list).await?;
                }
                _ => {
                    let at: chrono::DateTime<chrono::Utc> = asked_at.as_str().context("a time")?.parse()?;
                    let event = json!({
                        "event_id": Uuid::new_v4(), "event": "meeting.updated", "event_ts": at.timestamp_millis() + 1,
                        "details": {"meeting_id": world.meeting, "topic": other},
                    });
                    assert_eq!(world.service.outcome("edge_webhook_receive", event).await?, "applied");
                }
            }
            assert_eq!(world.seen().await?["title"], "Renamed", "{told_by}");
            // Which of the two came last only an answer says that was asked for after both.
            assert_eq!(world.questions().await?, 1, "{told_by}");
            assert_eq!(
                world.save(found("waiting", json!({"topic": "Edited in Zoom"}))).await?,
                "found"
            );
            assert_eq!(world.seen().await?["title"], "Edited in Zoom", "{told_by}");
            assert_eq!(world.questions().await?, 0, "{told_by}");
        }
        Ok(())
    })
}
