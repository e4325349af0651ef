//! The rules for what the app stores by itself: values, capacity, what is over, and who may host.

use crate::support::db::{
    connect, create_session, everything, external_session, id_of, on_shared_stack, options, session_request, with,
    Caller,
};
use crate::support::in_hours;
use anyhow::{Context, Result};
use local_stack::{Stack, StackOptions};
use serde_json::{json, Value};
use uuid::Uuid;

/// An external session of the host's own.
async fn add_session(host: &Caller, changes: &Value) -> Result<Uuid> {
    let reply = host.post("video_sessions", &external_session(changes)).await?;
    id_of(&reply.json[0]).context(reply.text)
}

fn guest(session: Uuid, user: &Caller) -> Value {
    json!({"session_id": session, "user_id": user.id})
}

/// Values that are wrong in a new session and in a change alike.
fn wrong_values() -> Vec<Value> {
    let too_long = "ä".repeat(2001);
    let mut wrong = Vec::new();
    let mut refuse = |column: &str, values: Vec<Value>| {
        wrong.extend(
            values
                .into_iter()
                .chain([Value::Null])
                .map(|value| json!({column: value})),
        );
    };
    let title = [
        "",
        "   ",
        "a\u{0}b",
        "a\u{7}b",
        "a\nb",
        "a\u{7f}b",
        "a\u{9d}b",
        &too_long[..402],
    ];
    refuse("title", title.map(Value::from).into());
    refuse("description", ["a\u{0}b", &too_long].map(Value::from).into());
    let start = [
        "infinity",
        "-infinity",
        "1970-01-01T00:00:00Z",
        "999999-01-01T00:00:00Z",
        "next week",
        "",
    ];
    refuse("scheduled_start", start.map(Value::from).into());
    refuse(
        "scheduled_start",
        vec![json!(in_hours(-1)), json!(in_hours(24 * 365 * 6)), json!(1)],
    );
    let zone = [
        "pst",
        "PST9PDT",
        "europe/berlin",
        "Etc/GMT+15",
        "+02:00",
        "GMT+2:60",
        "GMT+20",
        "Europe/Berlin ",
        "UTC'--",
        "",
    ];
    refuse("timezone", zone.map(Value::from).into());
    let minutes = [0, 1, 29, 31, -30, 90, 1440, 99_999_999_999_i64].map(Value::from);
    refuse("duration_minutes", minutes.into());
    refuse("duration_minutes", vec![json!(30.5), json!("x"), json!([30])]);
    refuse(
        "max_participants",
        vec![json!(0), json!(1), json!(6), json!(-3), json!(2.5), json!(1e30)],
    );
    wrong
}

#[test]
fn wrong_values_are_refused_and_not_stored() -> Result<()> {
    on_shared_stack(async |stack| {
        let (db, service) = (stack.db().await?, Caller::service(stack));
        let host = Caller::host(stack).await?;
        connect(&service, host.id).await?;
        let zoom = id_of(&create_session(&service, host.id, &json!({})).await?)?;
        let external = add_session(&host, &json!({})).await?;
        for session in [zoom, external] {
            for _ in 0..2 {
                let guest = guest(session, &Caller::client(stack).await?);
                assert_eq!(host.post("video_session_participants", &guest).await?.status, 201);
            }
        }
        let new_ones_only = [
            json!({"join_url": "http://meet.example.test/room"}),
            json!({"join_url": "https://user@meet.example.test/"}),
            json!({"join_url": "https://zoom.us:pw@evil.test/"}),
            json!({"join_url": "https://"}),
            json!({"join_url": "https:///room"}),
            json!({"join_url": "https://meet.example.test/a b"}),
            json!({"join_url": "https://meet.example.test/\n"}),
            json!({"join_url": "javascript:alert(1)"}),
            json!({"join_url": " https://meet.example.test/"}),
            json!({"join_url": format!("https://meet.example.test/{}", "x".repeat(2000))}),
            json!({"join_url": ""}),
            json!({"join_url": null}),
            json!({"provider": "teams"}),
            json!({"provider": null}),
            json!({"host_id": null}),
        ];
        let changes_only = [
            json!({"max_participants": 2}), // Three take part.
            json!({"status": "ongoing"}),
            json!({"status": ""}),
            json!({"status": null}),
        ];
        let before = everything(&db).await?;
        let wrong = wrong_values();
        for changes in wrong.iter().chain(&new_ones_only) {
            let reply = host.post("video_sessions", &external_session(changes)).await?;
            // The policy, which has its say first, knows some of them as well.
            assert!(
                [400, 403].contains(&reply.status),
                "new: {changes}: {} {}",
                reply.status,
                reply.text
            );
        }
        for changes in wrong.iter().chain(&changes_only) {
            for session in [zoom, external] {
                let reply = host.patch(&format!("video_sessions?id=eq.{session}"), changes).await?;
                assert_eq!(reply.status, 400, "{changes}: {}", reply.text);
                let message = reply.json["message"].as_str().unwrap_or_default();
                assert!(!message.is_empty(), "{changes}: {}", reply.text);
            }
        }
        assert!(everything(&db).await? == before, "something wrong was stored");
        Ok(())
    })
}

/// Links and titles, and whether they may be: the same through PostgREST and through create-session.
#[test]
fn both_doors_take_the_same_links_and_titles() -> Result<()> {
    on_shared_stack(async |stack| {
        let (host, service) = (Caller::host(stack).await?, Caller::service(stack));
        let long = format!("https://a.example/{}", "x".repeat(2000));
        let (long_title, fitting_title) = ("\u{e4}".repeat(201), "\u{e4}".repeat(200));
        let table = [
            ("join_url", "https://meet.example/room", true),
            ("join_url", "https://a.example:8443/j/1?pwd=a.b-c_~&x=(1)#top", true),
            (
                "join_url",
                "https://teams.microsoft.com/l/meetup-join/19%3ameeting_x%40thread.v2/0?context=%7b%22Tid%22%7d",
                true,
            ),
            ("join_url", "http://meet.example/", false),
            ("join_url", "javascript:alert(1)", false),
            ("join_url", "https://meet.example:x/", false),
            ("join_url", "https://user@meet.example/", false),
            ("join_url", "https://user:secret@meet.example/", false),
            ("join_url", r"https://meet.example\@evil.example/", false),
            ("join_url", "https://m\u{435}\u{435}t.example/", false),
            ("join_url", "https://meet.example\u{ff0f}evil/", false),
            ("join_url", "https://meet.example/\u{ff0f}evil", false),
            ("join_url", r#"https://meet.example/"onclick"#, false),
            ("join_url", "https://meet.example/'x", false),
            ("join_url", "https://meet.example/<b>", false),
            ("join_url", "https://meet.example/a b", false),
            ("join_url", "https://meet.example/a\u{200b}b", false),
            ("join_url", "https://meet.example/a\u{202e}b", false),
            ("join_url", "https://127.0.0.1/", false),
            ("join_url", "https://2130706433/", false),
            ("join_url", "https://0x7f.1/", false),
            ("join_url", "https://10.0.0.1/", false),
            ("join_url", "https://[::1]/", false),
            ("join_url", "https://localhost/", false),
            ("join_url", "https://printer.local/", false),
            ("join_url", "https://nas.home.arpa/", false),
            ("join_url", "https://a..example/", false),
            ("join_url", &long, false),
            ("title", "Check-in \u{1f9d8} \u{65e5}\u{672c}", true),
            ("title", "\u{1f469}\u{200d}\u{1f467}", true),
            ("title", &fitting_title, true),
            ("title", &long_title, false),
            ("title", "\u{200b}", false),
            ("title", "\u{a0}\u{3164}", false),
            ("title", "safe\u{202e}txt.exe", false),
            ("title", "a\u{2028}b", false),
            ("title", "a\u{200f}b", false),
            ("title", "a\u{9d}b", false),
        ];
        for (field, value, fits) in table {
            let inserted = host
                .post("video_sessions", &external_session(&json!({field: value})))
                .await?;
            let own = json!({"provider": "external", "join_url": "https://meet.example/"});
            let begin = json!({
                "user_id": host.id, "holder": Uuid::new_v4(), "idempotency_key": null, "request_hash": "x",
                "session": with(session_request(&own), &json!({field: value})),
            });
            let begun = service.step("edge_session_begin", begin).await?;
            if fits {
                assert_eq!(inserted.status, 201, "{value:?}: {}", inserted.text);
                assert_eq!(begun["outcome"], "created", "{value:?}: {begun}");
                assert_eq!(begun["session"][field], json!(value));
            } else {
                assert_eq!(inserted.code(), (400, "23514"), "{value:?}: {}", inserted.text);
                assert_eq!(begun["outcome"], "invalid", "{value:?}: {begun}");
                let reason = begun["fields"][field].as_str().context("a reason")?;
                let sentence = inserted.json["message"].as_str().unwrap_or_default();
                assert_eq!(sentence, format!("{field} {reason}."), "the same words");
            }
        }
        Ok(())
    })
}

#[test]
fn right_values_are_stored_as_they_came() -> Result<()> {
    on_shared_stack(async |stack| {
        let host = Caller::host(stack).await?;
        for changes in [
            json!({"title": "x"}),
            json!({"title": "ä".repeat(200)}),
            json!({"title": "🏋️‍♀️ Lunges & \"squats\" <b>'; --"}),
            json!({"description": "ä".repeat(2000)}),
            json!({"description": "Bring\n\ta mat."}),
            json!({"timezone": "America/Argentina/Buenos_Aires"}),
            json!({"duration_minutes": 45}),
            json!({"duration_minutes": 60}),
            json!({"max_participants": 2}),
            json!({"max_participants": 5}),
        ] {
            let (column, value) = changes.as_object().and_then(|o| o.iter().next()).context("a value")?;
            let added = host.post("video_sessions", &external_session(&changes)).await?;
            assert_eq!((added.status, &added.json[0][column]), (201, value), "{}", added.text);
            let session = add_session(&host, &json!({})).await?;
            let changed = host.patch(&format!("video_sessions?id=eq.{session}"), &changes).await?;
            assert_eq!(
                (changed.status, &changed.json[0][column]),
                (200, value),
                "{}",
                changed.text
            );
        }
        // A clock that is a little slow, and blanks around a title.
        let changes = json!({"title": "  Legs  ", "scheduled_start": in_hours(0) - chrono::TimeDelta::minutes(4)});
        let added = host.post("video_sessions", &external_session(&changes)).await?;
        assert_eq!(
            (added.status, &added.json[0]["title"]),
            (201, &json!("Legs")),
            "{}",
            added.text
        );
        Ok(())
    })
}

#[test]
fn what_is_over_stays_over() -> Result<()> {
    on_shared_stack(async |stack| {
        let (host, client) = (Caller::host(stack).await?, Caller::client(stack).await?);
        for over in ["cancelled", "ended"] {
            let session = add_session(&host, &json!({})).await?;
            let path = format!("video_sessions?id=eq.{session}");
            let reply = host.patch(&path, &json!({"status": over})).await?;
            assert_eq!(
                (reply.status, &reply.json[0]["status"]),
                (200, &json!(over)),
                "{}",
                reply.text
            );
            for status in ["scheduled", "cancelled", "ended"] {
                let reply = host.patch(&path, &json!({"status": status})).await?;
                let expected = if status == over { (200, "ok") } else { (400, "23514") };
                assert_eq!(reply.code(), expected, "{over} -> {status}: {}", reply.text);
            }
            let reply = host
                .post("video_session_participants", &guest(session, &client))
                .await?;
            assert_eq!(
                reply.code(),
                (400, "23514"),
                "invited to a session that is {over}: {}",
                reply.text
            );
        }
        Ok(())
    })
}

#[test]
fn a_session_holds_as_many_as_it_has_room_for() -> Result<()> {
    on_shared_stack(async |stack| {
        let (host, service) = (Caller::host(stack).await?, Caller::service(stack));
        let clients = [
            Caller::client(stack).await?,
            Caller::client(stack).await?,
            Caller::client(stack).await?,
        ];
        let session = add_session(&host, &json!({"max_participants": 3})).await?;
        let guests = clients.each_ref().map(|client| guest(session, client));
        let everybody = format!("video_session_participants?session_id=eq.{session}");
        let taken = async || anyhow::Ok(host.get(&everybody).await?.json.as_array().map_or(0, Vec::len));
        let invite = async |guests: Value| host.post("video_session_participants", &guests).await;

        // All at once or none.
        let reply = invite(json!(guests)).await?;
        assert_eq!(reply.code(), (400, "23514"), "{}", reply.text);
        assert_eq!(taken().await?, 1, "only the host");
        let reply = invite(json!(guests[..2])).await?;
        assert_eq!(reply.status, 201, "{}", reply.text);
        let reply = invite(guests[2].clone()).await?;
        assert_eq!(reply.code(), (400, "23514"), "{}", reply.text);
        let reply = service.post("video_session_participants", &guests[2]).await?;
        assert_eq!(
            reply.code(),
            (400, "23514"),
            "nor is there more room for the functions: {}",
            reply.text
        );
        // Inviting somebody again changes nothing, and is no question of room.
        let ignore = [("prefer", "resolution=ignore-duplicates")];
        let path = "video_session_participants";
        let again = host
            .send(reqwest::Method::POST, path, &ignore, Some(&guests[0]))
            .await?;
        assert_eq!(again.status, 201, "{}", again.text);
        assert_eq!(taken().await?, 3);

        let shrink = async || {
            host.patch(
                &format!("video_sessions?id=eq.{session}"),
                &json!({"max_participants": 2}),
            )
            .await
        };
        assert_eq!(shrink().await?.code(), (400, "23514"));
        let left = clients[0].delete(&everybody).await?;
        assert_eq!(left.json.as_array().map(Vec::len), Some(1), "{}", left.text);
        assert_eq!(shrink().await?.status, 200);
        assert_eq!(invite(guests[2].clone()).await?.code(), (400, "23514"));
        Ok(())
    })
}

/// Somebody who knows a session's id, from a time when they took part, learns nothing of it any more by trying to get
/// in.
#[test]
fn strangers_learn_nothing_of_a_session_by_its_id() -> Result<()> {
    on_shared_stack(async |stack| {
        let (host, client) = (Caller::host(stack).await?, Caller::client(stack).await?);
        let mut sessions = vec![("does not exist", Uuid::new_v4())];
        for what in ["has room", "is full", "is cancelled", "is ended"] {
            let most = if what == "has room" { 3 } else { 2 };
            let session = add_session(&host, &json!({"max_participants": most})).await?;
            let invited = host
                .post("video_session_participants", &guest(session, &client))
                .await?;
            assert_eq!(invited.status, 201, "{}", invited.text);
            if let Some(status @ ("cancelled" | "ended")) = what.strip_prefix("is ") {
                let path = format!("video_sessions?id=eq.{session}");
                assert_eq!(host.patch(&path, &json!({"status": status})).await?.status, 200);
            }
            sessions.push((what, session));
        }
        for caller in [Caller::host(stack).await?, Caller::client(stack).await?] {
            let mut answers = Vec::new();
            for (what, session) in &sessions {
                let reply = caller
                    .post("video_session_participants", &guest(*session, &caller))
                    .await?;
                answers.push((what, (reply.status, reply.text)));
            }
            let (_, unknown) = answers[0].clone();
            assert_eq!(unknown.0, 403, "{}", unknown.1);
            let different: Vec<_> = answers.iter().filter(|(_, answer)| *answer != unknown).collect();
            assert!(different.is_empty(), "more than {unknown:?}: {different:#?}");
        }
        Ok(())
    })
}

#[test]
fn nobody_makes_themselves_a_host() -> Result<()> {
    on_shared_stack(async |stack| {
        let (db, service) = (stack.db().await?, Caller::service(stack));
        let may_host = async |caller: &Caller, user: Uuid| {
            let answer = caller.step("can_host_video_sessions", json!({"user_id": user})).await?;
            answer.as_bool().context("true or false")
        };
        let add = async |caller: &Caller| {
            let reply = caller.post("video_sessions", &external_session(&json!({}))).await?;
            anyhow::Ok(reply.code().0)
        };
        for (role, hosts) in [
            (Some("trainer"), true),
            (Some("nutritionist"), true),
            (Some("client"), false),
            (Some("Trainer"), false),
            (Some("admin"), false),
            (None, false),
        ] {
            let user = Caller::user(stack, role).await?;
            assert_eq!(may_host(&user, user.id).await?, hosts, "{role:?}");
            assert_eq!(may_host(&service, user.id).await?, hosts, "{role:?}");
            assert_eq!(add(&user).await?, if hosts { 201 } else { 403 }, "{role:?}");
            let begin = json!({"user_id": user.id, "state_hash": user.id, "sealed_verifier": "x"});
            let outcome = service.outcome("edge_oauth_begin", begin).await?;
            assert_eq!(outcome, if hosts { "ok" } else { "not_a_host" }, "{role:?}");
        }
        // What a client says of itself counts for nothing: neither in its own metadata nor in a token.
        let client = Caller::client(stack).await?;
        db.execute(
            "update auth.users set raw_user_meta_data = '{\"role\": \"trainer\"}' where id = $1",
            &[&client.id],
        )
        .await?;
        let mut claims = stack.issuer().claims(client.id, "client@example.test");
        claims["app_metadata"]["role"] = json!("trainer");
        claims["user_metadata"]["role"] = json!("trainer");
        let promoted = client.with_token(stack.issuer().token(&claims)?);
        for caller in [&client, &promoted] {
            assert!(!may_host(caller, client.id).await?);
            assert_eq!(add(caller).await?, 403);
        }
        // Users learn it of themselves only.
        let (trainer, other) = (Caller::host(stack).await?, Caller::host(stack).await?);
        assert!(!may_host(&client, trainer.id).await?);
        assert!(!may_host(&other, trainer.id).await?);
        assert!(!may_host(&service, Uuid::new_v4()).await?);
        let nobody = service
            .step("can_host_video_sessions", json!({"user_id": null}))
            .await?;
        assert_eq!(nobody, false);
        Ok(())
    })
}

#[tokio::test]
async fn the_apps_own_tables_decide_who_hosts() -> Result<()> {
    let stack = Stack::start_local(StackOptions {
        before_migrations: "create type public.app_role as enum ('trainer', 'nutritionist', 'client');
            create table public.profiles (id uuid primary key references auth.users (id), role public.app_role);
            alter table public.profiles enable row level security;
            create table public.providers (
              id uuid primary key default gen_random_uuid(), user_id uuid not null references auth.users (id), provider_type text
            );"
        .to_owned(),
        ..options()
    })
    .await?;
    let db = stack.db().await?;
    // By the accounts' metadata; the app's tables know nothing or something else.
    let (trainer, client) = (Caller::host(&stack).await?, Caller::client(&stack).await?);
    let hosts = async || {
        let mut hosts = [false; 2];
        for (user, hosts) in [&trainer, &client].into_iter().zip(&mut hosts) {
            let answer = user
                .step("can_host_video_sessions", json!({"user_id": user.id}))
                .await?;
            let reply = user.post("video_sessions", &external_session(&json!({}))).await?;
            assert_eq!(reply.status, if answer == true { 201 } else { 403 }, "{}", reply.text);
            *hosts = answer == true;
        }
        anyhow::Ok(hosts)
    };
    assert_eq!(hosts().await?, [false, false], "the account's metadata counts no more");
    let profiles = "insert into public.profiles values ($1, 'client'), ($2, 'nutritionist')";
    db.execute(profiles, &[&trainer.id, &client.id]).await?;
    assert_eq!(hosts().await?, [false, true], "by profile");
    let providers = "insert into public.providers (user_id, provider_type) values ($1, 'trainer')";
    db.execute(providers, &[&trainer.id]).await?;
    assert_eq!(hosts().await?, [true, true], "by profile or among the providers");
    db.batch_execute("update public.providers set provider_type = 'gym'")
        .await?;
    assert_eq!(hosts().await?, [false, true]);

    db.batch_execute("drop table public.providers").await?;
    assert_eq!(hosts().await?, [false, true], "profiles alone");
    db.batch_execute("alter table public.profiles drop column role").await?;
    assert_eq!(hosts().await?, [true, false], "profiles without a role decide nothing");
    db.batch_execute("create table public.providers (id uuid primary key, provider_type text)")
        .await?;
    db.execute(
        "insert into public.providers values ($1, 'nutritionist')",
        &[&client.id],
    )
    .await?;
    assert_eq!(hosts().await?, [false, true], "providers alone");
    Ok(())
}
