//! How much one user may do, through both doors. No person meets these bounds.

use crate::support::db::{
    connect, create_session, external_session, id_of, on_shared_stack, session_request, with, Caller,
};
use crate::support::{in_hours, Reply};
use anyhow::Result;
use local_stack::Stack;
use serde_json::{json, Value};
use uuid::Uuid;

struct World {
    db: tokio_postgres::Client,
    service: Caller,
    host: Caller,
}

impl World {
    async fn new(stack: &Stack) -> Result<Self> {
        let (service, host) = (Caller::service(stack), Caller::host(stack).await?);
        connect(&service, host.id).await?;
        Ok(Self {
            db: stack.db().await?,
            service,
            host,
        })
    }

    /// Leaves this much of an hourly quota of the host's.
    async fn leave(&self, quota: &str, left: i32) -> Result<()> {
        let sql = "insert into video_sessions_private.quota_uses (user_id, quota, used, window_started_at)
                   select $1, name, most - $3, now() from video_sessions_private.quotas where name = $2
                   on conflict (user_id, quota) do update set used = excluded.used, window_started_at = now()";
        assert_eq!(self.db.execute(sql, &[&self.host.id, &quota, &left]).await?, 1);
        Ok(())
    }

    async fn an_hour_passes(&self) -> Result<()> {
        let sql =
            "update video_sessions_private.quota_uses set window_started_at = window_started_at - interval '61 minutes'
                   where user_id = $1";
        self.db.execute(sql, &[&self.host.id]).await?;
        Ok(())
    }

    /// What create-session is told first.
    async fn begin(&self, changes: &Value) -> Result<Value> {
        let begin = json!({
            "user_id": self.host.id, "holder": Uuid::new_v4(), "idempotency_key": null, "request_hash": "hash",
            "session": session_request(changes),
        });
        self.service.step("edge_session_begin", begin).await
    }

    async fn consent(&self) -> Result<Value> {
        let state = Uuid::new_v4().to_string();
        let begin = json!({"user_id": self.host.id, "state_hash": state, "sealed_verifier": "v1.test.verifier"});
        self.service.step("edge_oauth_begin", begin).await
    }

    async fn sessions(&self) -> Result<i64> {
        let sql = "select count(*) from public.video_sessions where host_id = $1";
        Ok(self.db.query_one(sql, &[&self.host.id]).await?.get(0))
    }
}

fn assert_refused(reply: &Reply) {
    assert_eq!(reply.code(), (429, "quota_reached"), "{}", reply.text);
    assert!(reply.json["message"].as_str().is_some_and(|text| text.ends_with('.')));
    let seconds: u64 = reply.header("retry-after").parse().expect("seconds");
    assert!((1..=3600).contains(&seconds), "{seconds}");
}

fn assert_told(answer: &Value) {
    assert_eq!(answer["outcome"], "quota_reached", "{answer}");
    assert!(answer["sentence"].as_str().is_some_and(|text| text.ends_with('.')));
    assert!(answer["retry_after_seconds"]
        .as_i64()
        .is_some_and(|seconds| (1..=3600).contains(&seconds)));
}

#[test]
fn nine_thousand_sessions_in_one_request_are_none() -> Result<()> {
    on_shared_stack(async |stack| {
        let world = World::new(stack).await?;
        let many: Value = (0..9_000).map(|_| external_session(&json!({}))).collect();
        assert_refused(&world.host.post("video_sessions", &many).await?);
        assert_eq!(world.sessions().await?, 0);
        // A busy trainer's week comes through, in one request.
        let week: Value = (0..40).map(|_| external_session(&json!({}))).collect();
        assert_eq!(world.host.post("video_sessions", &week).await?.status, 201);
        assert_eq!(world.sessions().await?, 40);
        Ok(())
    })
}

#[test]
fn creations_are_counted_whichever_door_they_come_through() -> Result<()> {
    on_shared_stack(async |stack| {
        let world = World::new(stack).await?;
        world.leave("creations_an_hour", 3).await?;
        assert_eq!(world.begin(&json!({})).await?["outcome"], "create");
        let link = json!({"provider": "external", "join_url": "https://meet.example.test/room"});
        assert_eq!(world.begin(&link).await?["outcome"], "created");
        let two: Value = (0..2).map(|_| external_session(&json!({}))).collect();
        assert_refused(&world.host.post("video_sessions", &two).await?);
        let last = world.host.post("video_sessions", &external_session(&json!({}))).await?;
        assert_eq!(last.status, 201, "what was refused does not count: {}", last.text);

        // What is deleted has been created all the same.
        let deleted = format!("video_sessions?id=eq.{}", id_of(&last.json[0])?);
        assert_eq!(world.host.delete(&deleted).await?.status, 200);
        assert_refused(&world.host.post("video_sessions", &external_session(&json!({}))).await?);
        assert_told(&world.begin(&json!({})).await?);
        assert_told(&world.begin(&link).await?);
        world.an_hour_passes().await?;
        assert_eq!(world.begin(&json!({})).await?["outcome"], "create");
        Ok(())
    })
}

#[test]
fn a_refused_creation_keeps_no_lease() -> Result<()> {
    on_shared_stack(async |stack| {
        let world = World::new(stack).await?;
        let sql = "update public.user_integrations_zoom set access_token_expires_at = now() where user_id = $1";
        world.db.execute(sql, &[&world.host.id]).await?;
        world.leave("creations_an_hour", 0).await?;
        assert_told(&world.begin(&json!({})).await?);
        world.leave("creations_an_hour", 1).await?;
        assert_eq!(world.begin(&json!({})).await?["token"]["state"], "refresh");
        Ok(())
    })
}

#[test]
fn sessions_to_come_are_bounded_and_those_that_are_over_are_not() -> Result<()> {
    on_shared_stack(async |stack| {
        let world = World::new(stack).await?;
        let fill = "insert into public.video_sessions
                      (host_id, provider, title, scheduled_start, duration_minutes, max_participants, join_url)
                    select $1, 'external', 'Check-in', now() + make_interval(days => $2), 30, 3, 'https://meet.example.test/room'
                    from video_sessions_private.quotas, generate_series(1, most + $3) where name = 'sessions_to_come'";
        world.db.execute(fill, &[&world.host.id, &-3_i32, &5_i32]).await?;
        let added = world.host.post("video_sessions", &external_session(&json!({}))).await?;
        assert_eq!(added.status, 201, "{}", added.text);
        world.db.execute(fill, &[&world.host.id, &1_i32, &-2_i32]).await?;
        assert_eq!(world.begin(&json!({})).await?["outcome"], "create");
        create_session(&world.service, world.host.id, &json!({"scheduled_start": in_hours(3)})).await?;
        assert_told(&world.begin(&json!({})).await?);
        assert_refused(&world.host.post("video_sessions", &external_session(&json!({}))).await?);
        Ok(())
    })
}

#[test]
fn invitations_and_consents_are_counted() -> Result<()> {
    on_shared_stack(async |stack| {
        let world = World::new(stack).await?;
        let session = world.host.post("video_sessions", &external_session(&json!({}))).await?;
        let guests = [Caller::client(stack).await?, Caller::client(stack).await?];
        let invited = guests
            .each_ref()
            .map(|guest| json!({"session_id": session.json[0]["id"], "user_id": guest.id}));
        world.leave("guests_an_hour", 1).await?;
        assert_refused(&world.host.post("video_session_participants", &json!(invited)).await?);
        let one = world.host.post("video_session_participants", &invited[0]).await?;
        assert_eq!(one.status, 201, "{}", one.text);
        assert_refused(&world.host.post("video_session_participants", &invited[1]).await?);

        world.leave("consents_an_hour", 1).await?;
        assert_eq!(world.consent().await?["outcome"], "ok");
        assert_told(&world.consent().await?);
        world.an_hour_passes().await?;
        assert_eq!(world.consent().await?["outcome"], "ok");
        Ok(())
    })
}

/// Twenty at once find one place.
#[test]
fn of_many_at_once_as_many_pass_as_there_is_room() -> Result<()> {
    on_shared_stack(async |stack| {
        let world = World::new(stack).await?;
        world.leave("creations_an_hour", 7).await?;
        let body = external_session(&json!({}));
        let replies =
            futures_util::future::try_join_all((0..20).map(|_| world.host.post("video_sessions", &body))).await?;
        let made = replies.iter().filter(|reply| reply.status == 201).count();
        assert_eq!((made, world.sessions().await?), (7, 7));
        replies
            .iter()
            .filter(|reply| reply.status != 201)
            .for_each(assert_refused);
        Ok(())
    })
}

#[test]
fn an_operator_changes_them_in_one_place() -> Result<()> {
    on_shared_stack(async |stack| {
        let world = World::new(stack).await?;
        let set = "update video_sessions_private.quotas set most = $1 where name = 'creations_an_hour'";
        world.db.execute(set, &[&1_i32]).await?;
        let first = world.host.post("video_sessions", &external_session(&json!({}))).await?;
        let second = world.host.post("video_sessions", &external_session(&json!({}))).await?;
        world.db.execute(set, &[&300_i32]).await?;
        assert_eq!(first.status, 201);
        assert_refused(&second);
        // Imports by the service are not bound.
        let many: Value = (0..400)
            .map(|_| with(external_session(&json!({})), &json!({"host_id": world.host.id})))
            .collect();
        assert_eq!(world.service.post("video_sessions", &many).await?.status, 201);
        Ok(())
    })
}
