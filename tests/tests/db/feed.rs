//! The feed of what happened, on which an app puts its own notifications.

use crate::support::db::{connect, create_session, external_session, id_of, on_shared_stack, options, Caller};
use anyhow::{ensure, Context, Result};
use local_stack::{Stack, StackOptions};
use serde_json::{json, Value};
use uuid::Uuid;

/// What this person's feed has, the oldest first.
async fn feed(person: &Caller) -> Result<Vec<Value>> {
    let reply = person.get("video_session_events?order=id").await?;
    ensure!(reply.status == 200, "{}", reply.text);
    Ok(reply.json.as_array().cloned().unwrap_or_default())
}

async fn kinds(person: &Caller) -> Result<Vec<String>> {
    let feed = feed(person).await?;
    Ok(feed
        .iter()
        .filter_map(|event| event["kind"].as_str().map(str::to_owned))
        .collect())
}

async fn join(service: &Caller, person: &Caller, code: &Value) -> Result<()> {
    let join = json!({"user_id": person.id, "share_code": code, "preview": false, "allow_anonymous": false});
    ensure!(service.outcome("edge_join", join).await? == "joined");
    Ok(())
}

async fn change(host: &Caller, session: Uuid, changes: Value) -> Result<()> {
    let changed = host.patch(&format!("video_sessions?id=eq.{session}"), &changes).await?;
    ensure!(changed.status == 200, "{}", changed.text);
    Ok(())
}

async fn invite(host: &Caller, session: Uuid, guest: &Caller) -> Result<()> {
    let seat = json!({"session_id": session, "user_id": guest.id});
    let invited = host.post("video_session_participants", &seat).await?;
    ensure!(invited.status == 201, "{}", invited.text);
    Ok(())
}

fn seat(session: Uuid, guest: &Caller) -> String {
    format!(
        "video_session_participants?session_id=eq.{session}&user_id=eq.{}",
        guest.id
    )
}

#[test]
fn everybody_reads_what_concerns_them() -> Result<()> {
    on_shared_stack(async |stack| {
        let db = stack.db().await?;
        let (host, stranger) = (Caller::host(stack).await?, Caller::client(stack).await?);
        let (invited, joined) = (Caller::client(stack).await?, Caller::client(stack).await?);
        let reply = host
            .post("video_sessions", &external_session(&json!({"max_participants": 4})))
            .await?;
        let session = id_of(&reply.json[0])?;
        let invites = host
            .get(&format!("video_session_invites?session_id=eq.{session}"))
            .await?;
        let (service, code) = (Caller::service(stack), &invites.json[0]["share_code"]);

        invite(&host, session, &invited).await?;
        join(&service, &joined, code).await?;
        join(&service, &joined, code).await?;
        change(&host, session, json!({"title": "Knees"})).await?;
        change(&host, session, json!({"scheduled_start": crate::support::in_hours(48)})).await?;
        change(
            &host,
            session,
            json!({"title": "Hips", "duration_minutes": 45, "description": "Bring a mat."}),
        )
        .await?;
        change(
            &host,
            session,
            json!({"description": "Bring two.", "max_participants": 5}),
        )
        .await?;
        change(&host, session, json!({"description": "Bring two."})).await?;
        joined.delete(&seat(session, &joined)).await?;
        // The host looks in, long before the session: while that lasts it has started.
        db.batch_execute(&format!(
            "alter table public.video_sessions disable trigger tell_of_session;
             update public.video_sessions set provider = 'zoom', provider_meeting_id = id where id = '{session}';
             alter table public.video_sessions enable trigger tell_of_session"
        ))
        .await?;
        for instance in [
            "'one', now(), null, now()",
            "'one', now(), now(), null",
            "'two', now(), null, now()",
        ] {
            db.batch_execute(&format!(
                "select video_sessions_private.note_instance('{session}', {instance});
                 select video_sessions_private.settle('{session}')"
            ))
            .await?;
        }
        change(&host, session, json!({"status": "cancelled"})).await?;
        host.delete(&seat(session, &invited)).await?;

        let common = ["renamed", "moved", "moved", "renamed", "changed"];
        let life = ["started", "changed", "started", "cancelled"];
        fn expected(parts: &[&[&'static str]]) -> Vec<&'static str> {
            parts.concat()
        }
        assert_eq!(
            kinds(&host).await?,
            expected(&[
                &["created", "invited", "joined"],
                &common,
                &["left"],
                &life,
                &["removed"]
            ])
        );
        assert_eq!(
            kinds(&invited).await?,
            expected(&[&["invited"], &common, &life, &["removed"]])
        );
        assert_eq!(kinds(&joined).await?, expected(&[&["joined"], &common, &["left"]]));
        assert_eq!(feed(&stranger).await?, Vec::<Value>::new());

        let events = feed(&host).await?;
        assert!(events.iter().all(|event| event["session_id"] == json!(session)));
        assert!(events.iter().all(|event| event["user_id"] == json!(host.id)));
        let (of_guest, of_joined) = (&events[1]["details"], &events[2]["details"]);
        assert_eq!(
            (&of_guest["person_id"], &of_guest["by"]),
            (&json!(invited.id), &json!(host.id))
        );
        assert_eq!(of_joined["person_id"], json!(joined.id));
        assert_eq!(events[3]["details"]["was"]["title"], "Check-in");
        assert_eq!(events[3]["details"]["title"], "Knees");
        assert_ne!(
            events[4]["details"]["was"]["scheduled_start"],
            events[4]["details"]["scheduled_start"]
        );
        assert_eq!(
            events[7]["details"]["fields"],
            json!(["description", "max_participants"])
        );
        // What Zoom or the clock did was nobody's act.
        assert_eq!(events[9]["details"]["by"], Value::Null);

        let everything = serde_json::to_string(&[events, feed(&invited).await?, feed(&joined).await?])?;
        for secret in [code.as_str().unwrap_or_default(), "https://"] {
            assert!(!everything.contains(secret), "{secret} in {everything}");
        }
        Ok(())
    })
}

#[test]
fn a_session_that_is_created_with_its_guests_tells_them() -> Result<()> {
    on_shared_stack(async |stack| {
        let service = Caller::service(stack);
        let (host, guest) = (Caller::host(stack).await?, Caller::client(stack).await?);
        connect(&service, host.id).await?;
        create_session(&service, host.id, &json!({"participant_ids": [guest.id]})).await?;
        assert_eq!(kinds(&guest).await?, ["invited"]);
        assert_eq!(kinds(&host).await?, ["created", "invited"]);
        Ok(())
    })
}

#[test]
fn what_is_deleted_tells_once_and_fails_nothing() -> Result<()> {
    on_shared_stack(async |stack| {
        let db = stack.db().await?;
        let (host, other_host) = (Caller::host(stack).await?, Caller::host(stack).await?);
        let (guest, leaving) = (Caller::client(stack).await?, Caller::client(stack).await?);
        let mut sessions = Vec::new();
        for host in [&host, &host, &other_host] {
            let reply = host.post("video_sessions", &external_session(&json!({}))).await?;
            sessions.push(id_of(&reply.json[0])?);
            invite(host, sessions[sessions.len() - 1], &guest).await?;
        }
        invite(&other_host, sessions[2], &leaving).await?;

        let deleted = host.delete(&format!("video_sessions?id=eq.{}", sessions[0])).await?;
        assert_eq!(deleted.status, 200, "{}", deleted.text);
        let last = feed(&guest).await?.pop().unwrap_or_default();
        assert_eq!(
            (&last["kind"], &last["details"]["deleted"], &last["session_id"]),
            (&json!("cancelled"), &json!(true), &json!(sessions[0]))
        );

        // Accounts go: a guest's, then a host's.
        let delete = "delete from auth.users where id = $1";
        assert_eq!(db.execute(delete, &[&leaving.id]).await?, 1);
        assert_eq!(kinds(&other_host).await?, ["created", "invited", "invited", "left"]);
        assert_eq!(db.execute(delete, &[&host.id]).await?, 1);
        assert_eq!(
            kinds(&guest).await?,
            ["invited", "invited", "invited", "cancelled", "cancelled"]
        );
        let left = "select count(*) from public.video_session_events where user_id = any ($1)";
        let left: i64 = db.query_one(left, &[&[host.id, leaving.id].as_slice()]).await?.get(0);
        assert_eq!(left, 0, "the feed goes with the account");
        Ok(())
    })
}

#[test]
fn the_end_of_a_connection_is_told_with_its_reason() -> Result<()> {
    on_shared_stack(async |stack| {
        let service = Caller::service(stack);
        let host = Caller::host(stack).await?;
        let reasons = async || {
            let feed = feed(&host).await?;
            let reasons = feed.iter().map(|event| {
                assert_eq!(
                    (&event["kind"], &event["session_id"]),
                    (&json!("connection_ended"), &Value::Null)
                );
                event["details"]["reason"].as_str().unwrap_or_default().to_owned()
            });
            anyhow::Ok(reasons.collect::<Vec<_>>())
        };
        let connection = connect(&service, host.id).await?;
        service
            .step(
                "edge_webhook_receive",
                json!({
                    "event_id": Uuid::new_v4(), "event": "app_deauthorized", "event_ts": 1,
                    "details": {
                        "zoom_user_id": connection.zoom_user_id,
                        "zoom_account_id": format!("account-{}", connection.zoom_user_id),
                        "deauthorization_time": crate::support::in_hours(1),
                    },
                }),
            )
            .await?;
        assert_eq!(reasons().await?, ["revoked"]);
        connect(&service, host.id).await?;
        service
            .step("edge_disconnect_begin", json!({"user_id": host.id, "mode": "always"}))
            .await?;
        assert_eq!(reasons().await?, ["revoked", "disconnected"]);

        connect(&service, host.id).await?;
        let db = stack.db().await?;
        let expire = "select video_sessions_private.expire_connection($1, 'owner_gone')";
        db.execute(expire, &[&host.id]).await?;
        db.execute(expire, &[&host.id]).await?;
        service
            .step("edge_disconnect_begin", json!({"user_id": host.id, "mode": "always"}))
            .await?;
        assert_eq!(reasons().await?, ["revoked", "disconnected", "owner_gone"]);
        Ok(())
    })
}

#[test]
fn nobody_writes_the_feed_and_it_goes_after_thirty_days() -> Result<()> {
    on_shared_stack(async |stack| {
        let db = stack.db().await?;
        let (host, service) = (Caller::host(stack).await?, Caller::service(stack));
        host.post("video_sessions", &external_session(&json!({}))).await?;
        let forged = json!({"user_id": host.id, "kind": "cancelled"});
        assert_eq!(host.post("video_session_events", &forged).await?.code(), (403, "42501"));
        let of_host = format!("video_session_events?user_id=eq.{}", host.id);
        assert_eq!(
            host.patch(&of_host, &json!({"kind": "ended"})).await?.code(),
            (403, "42501")
        );
        assert_eq!(host.delete(&of_host).await?.code(), (403, "42501"));

        db.execute(
            "insert into public.video_session_events (user_id, kind, created_at)
             select $1, 'changed', now() - interval '30 days 1 second' from generate_series(1, 5001)",
            &[&host.id],
        )
        .await?;
        // A piece at a time.
        let left = "select count(*) from public.video_session_events where user_id = $1";
        let left = async || anyhow::Ok(db.query_one(left, &[&host.id]).await?.get::<_, i64>(0));
        assert_eq!(left().await?, 5002);
        while service.step("edge_purge", json!({})).await?["more"] == true {
            assert!(left().await? > 1);
        }
        assert_eq!(left().await?, 1);
        Ok(())
    })
}

/// The trigger that docs/notifications.md shows, as it stands there.
#[test]
fn the_example_of_the_documentation_works() -> Result<()> {
    on_shared_stack(async |stack| {
        let page = std::fs::read_to_string(local_stack::repository().join("docs/notifications.md"))?;
        let example = page.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next());
        let example = example.context("an example in SQL")?;
        let db = stack.db().await?;
        db.batch_execute("create table public.outgoing_messages (user_id uuid, template text, values jsonb)")
            .await?;
        db.batch_execute(example).await?;

        let (host, guest) = (Caller::host(stack).await?, Caller::client(stack).await?);
        let reply = host.post("video_sessions", &external_session(&json!({}))).await?;
        let session = id_of(&reply.json[0])?;
        invite(&host, session, &guest).await?;
        change(&host, session, json!({"title": "Renamed"})).await?;
        change(&host, session, json!({"duration_minutes": 60})).await?;
        let messages = db
            .query("select user_id, values ->> 'title' from public.outgoing_messages", &[])
            .await?;
        let messages: Vec<(Uuid, String)> = messages.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(messages, [(guest.id, "Renamed".to_owned())]);
        db.batch_execute("drop function public.queue_moved_message cascade; drop table public.outgoing_messages")
            .await?;
        Ok(())
    })
}

#[tokio::test]
async fn realtime_gets_this_table_and_no_other() -> Result<()> {
    let stack = Stack::start_local(StackOptions {
        before_migrations: "create publication supabase_realtime".to_owned(),
        ..options()
    })
    .await?;
    let published = "select relname::text from pg_publication_rel join pg_class on pg_class.oid = prrelid";
    let rows = stack.db().await?.query(published, &[]).await?;
    let tables: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(tables, ["video_session_events"]);
    Ok(())
}
