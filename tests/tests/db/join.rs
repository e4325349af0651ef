//! Joining by share code.

use crate::support::db::{external_session, id_of, on_shared_stack, Caller};
use crate::support::Reply;
use anyhow::{Context, Result};
use futures_util::future::{join_all, try_join_all};
use local_stack::Stack;
use serde_json::{json, Value};
use uuid::Uuid;

/// A session of this host, and its share code.
async fn add_session(host: &Caller, max_participants: u32) -> Result<(Uuid, String)> {
    let session = external_session(&json!({"max_participants": max_participants}));
    let reply = host.post("video_sessions", &session).await?;
    let session = id_of(&reply.json[0])?;
    Ok((session, share_code(host, session).await?))
}

/// The code of a session, as its host reads it.
async fn share_code(host: &Caller, session: Uuid) -> Result<String> {
    let path = format!("video_sessions?select=invite:video_session_invites(share_code)&id=eq.{session}");
    let reply = host.get(&path).await?;
    let code = reply.json[0]["invite"]["share_code"].as_str();
    Ok(code.context(reply.text.clone())?.to_owned())
}

/// Joins, as join-session does for this user, and answers as it does.
async fn join(stack: &Stack, caller: &Caller, code: &str) -> Result<Reply> {
    answer(stack, caller, code, false).await
}

async fn preview(stack: &Stack, caller: &Caller, code: &str) -> Result<Reply> {
    answer(stack, caller, code, true).await
}

async fn answer(stack: &Stack, caller: &Caller, code: &str, preview: bool) -> Result<Reply> {
    let join = json!({"user_id": caller.id, "share_code": code, "preview": preview, "allow_anonymous": false});
    let mut reply = Caller::service(stack).rpc("edge_join", &join).await?;
    anyhow::ensure!(reply.status == 200, "{}", reply.text);
    (reply.status, reply.json) = match reply.json["outcome"].as_str() {
        Some("joined" | "preview") => (200, reply.json["session"].clone()),
        Some("not_joinable") => (404, json!({"code": "session_not_joinable"})),
        Some("too_many_attempts") => {
            let seconds = reply.json["retry_after_seconds"].to_string();
            reply.headers.insert("retry-after", seconds.parse()?);
            (429, json!({"code": "too_many_attempts"}))
        }
        Some("anonymous") => (403, json!({"code": "anonymous_not_allowed"})),
        _ => anyhow::bail!("{}", reply.text),
    };
    Ok(reply)
}

/// Who takes part, as the host sees it.
async fn people(host: &Caller, session: Uuid) -> Result<Vec<Value>> {
    let reply = host
        .get(&format!("video_session_participants?session_id=eq.{session}"))
        .await?;
    reply.json.as_array().cloned().context(reply.text)
}

async fn set_status(host: &Caller, session: Uuid, status: &str) -> Result<()> {
    let reply = host
        .patch(&format!("video_sessions?id=eq.{session}"), &json!({"status": status}))
        .await?;
    anyhow::ensure!(reply.status == 200, "{}", reply.text);
    Ok(())
}

/// What a client can tell one answer from another by: status, headers, body, byte by byte; all but the time.
fn whole(reply: &Reply) -> String {
    let mut headers = reply.headers.clone();
    headers.remove("date");
    let mut headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    headers.sort();
    format!("{}\n{}\n\n{}", reply.status, headers.join("\n"), reply.text)
}

async fn clients(stack: &Stack, number: usize) -> Result<Vec<Caller>> {
    let mut clients = Vec::new();
    for _ in 0..number {
        clients.push(Caller::client(stack).await?);
    }
    Ok(clients)
}

#[test]
fn a_code_lets_in_and_does_so_again() -> Result<()> {
    on_shared_stack(async |stack| {
        let (host, client) = (Caller::host(stack).await?, Caller::client(stack).await?);
        let (session, code) = add_session(&host, 3).await?;
        assert!(code.len() == 12 && !code.contains(['O', 'I', 'L', 'U']), "{code}");
        let hidden = client.get("video_sessions").await?;
        assert_eq!(hidden.json, json!([]));

        let joined = join(stack, &client, &code).await?;
        assert_eq!(joined.status, 200, "{}", joined.text);
        let row = client.get(&format!("video_sessions?id=eq.{session}")).await?;
        assert_eq!(joined.json, row.json[0], "the row as the table shows it");
        assert!(joined.json.get("host_start_url").is_none());

        let again = join(stack, &client, &code).await?;
        assert_eq!(whole(&again), whole(&joined));
        let of_host = join(stack, &host, &code).await?;
        assert_eq!(whole(&of_host), whole(&joined));
        let roles = async || {
            let people = people(&host, session).await?;
            let mut roles: Vec<_> = people
                .iter()
                .map(|person| person["role"].as_str().map(str::to_owned))
                .collect();
            roles.sort();
            anyhow::Ok(roles.into_iter().flatten().collect::<Vec<_>>())
        };
        assert_eq!(roles().await?, ["host", "participant"]);

        // Left, and back again.
        let path = format!(
            "video_session_participants?session_id=eq.{session}&user_id=eq.{}",
            client.id
        );
        assert_eq!(client.delete(&path).await?.json.as_array().map(Vec::len), Some(1));
        assert_eq!(client.get("video_sessions").await?.json, json!([]));
        assert_eq!(join(stack, &client, &code).await?.status, 200);
        assert_eq!(roles().await?, ["host", "participant"]);
        Ok(())
    })
}

#[test]
fn whom_the_host_removed_stays_out_until_the_host_invites_them() -> Result<()> {
    on_shared_stack(async |stack| {
        let (host, client, other) = (
            Caller::host(stack).await?,
            Caller::client(stack).await?,
            Caller::client(stack).await?,
        );
        let (session, code) = add_session(&host, 4).await?;
        assert_eq!(join(stack, &client, &code).await?.status, 200);
        let seat = format!("video_session_participants?session_id=eq.{session}&user_id=eq.");
        let removed = host.delete(&format!("{seat}{}", client.id)).await?;
        assert_eq!(removed.json.as_array().map(Vec::len), Some(1));
        for answer in [
            join(stack, &client, &code).await?,
            preview(stack, &client, &code).await?,
        ] {
            assert_eq!(answer.code(), (404, "session_not_joinable"));
        }
        assert_eq!(join(stack, &other, &code).await?.status, 200, "everybody else may");

        // A new code is for everybody but them, and the old one for nobody.
        let renew = json!({"session_id": session});
        assert_eq!(
            client.rpc("renew_share_code", &renew).await?.code(),
            (404, "session_not_found")
        );
        assert_eq!(
            other.rpc("renew_share_code", &renew).await?.code(),
            (404, "session_not_found")
        );
        assert_eq!(share_code(&host, session).await?, code);
        assert_eq!(host.rpc("renew_share_code", &renew).await?.status, 204);
        let newer = share_code(&host, session).await?;
        assert!(newer != code && newer.len() == 12, "{newer}");
        let late = Caller::client(stack).await?;
        assert_eq!(join(stack, &late, &code).await?.status, 404);
        assert_eq!(join(stack, &client, &newer).await?.status, 404);
        assert_eq!(join(stack, &late, &newer).await?.status, 200);

        // The host's invitation lets them in, and then the code does again.
        let invitation = json!({"session_id": session, "user_id": client.id});
        assert_eq!(host.post("video_session_participants", &invitation).await?.status, 201);
        assert_eq!(client.delete(&format!("{seat}{}", client.id)).await?.status, 200);
        assert_eq!(join(stack, &client, &newer).await?.status, 200);

        // Sessions and accounts go with all that is remembered of them.
        let db = stack.db().await?;
        host.delete(&format!("{seat}{}", client.id)).await?;
        let remembered = async || {
            let sql = "select count(*) from video_sessions_private.removed_participants where user_id = any($1)";
            let ids = [client.id, other.id];
            anyhow::Ok(db.query_one(sql, &[&ids.as_slice()]).await?.get::<_, i64>(0))
        };
        assert_eq!(remembered().await?, 1);
        assert_eq!(
            host.delete(&format!("video_sessions?id=eq.{session}")).await?.status,
            200
        );
        assert_eq!(remembered().await?, 0, "nobody is removed when a session goes");
        Ok(())
    })
}

#[test]
fn a_preview_shows_what_an_invitation_is_to() -> Result<()> {
    on_shared_stack(async |stack| {
        let db = stack.db().await?;
        let (host, client) = (Caller::host(stack).await?, Caller::client(stack).await?);
        db.execute(
            "update auth.users set raw_user_meta_data = '{\"full_name\": \" Ada \"}' where id = $1",
            &[&host.id],
        )
        .await?;
        let (session, code) = add_session(&host, 3).await?;
        let shown = preview(stack, &client, &code).await?;
        let row = host.get(&format!("video_sessions?id=eq.{session}")).await?.json;
        let expected = json!({
            "title": "Check-in", "host_name": "Ada", "scheduled_start": row[0]["scheduled_start"], "timezone": "UTC",
            "duration_minutes": 30, "seats_left": 2, "joined": false,
        });
        assert_eq!((shown.status, &shown.json), (200, &expected));
        assert_eq!(
            client.get("video_sessions").await?.json,
            json!([]),
            "and lets nobody in"
        );
        assert_eq!(join(stack, &client, &code).await?.status, 200);
        let shown = preview(stack, &client, &code).await?;
        assert_eq!(
            (&shown.json["joined"], &shown.json["seats_left"]),
            (&json!(true), &json!(1))
        );
        // Misses count as they do for joining.
        let guesser = Caller::client(stack).await?;
        for _ in 0..10 {
            assert_eq!(preview(stack, &guesser, "000000000000").await?.status, 404);
        }
        assert_eq!(preview(stack, &guesser, &code).await?.status, 429);

        let anonymous = Caller::client(stack).await?;
        db.execute(
            "update auth.users set is_anonymous = true where id = $1",
            &[&anonymous.id],
        )
        .await?;
        assert_eq!(
            join(stack, &anonymous, &code).await?.code(),
            (403, "anonymous_not_allowed")
        );
        let allowed = json!({"user_id": anonymous.id, "share_code": code, "preview": false, "allow_anonymous": true});
        assert_eq!(Caller::service(stack).outcome("edge_join", allowed).await?, "joined");
        Ok(())
    })
}

/// Outsiders who hold the code of a session that is full lock nobody out.
#[test]
fn a_session_that_cannot_be_joined_is_not_locked() -> Result<()> {
    on_shared_stack(async |stack| {
        let (host, client) = (Caller::host(stack).await?, Caller::client(stack).await?);
        let (session, code) = add_session(&host, 2).await?;
        assert_eq!(join(stack, &client, &code).await?.status, 200);
        let outsider = Caller::client(stack).await?;
        let mut holder = stack.db().await?;
        let holding = holder.transaction().await?;
        holding
            .execute(
                "select from public.video_sessions where id = $1 for update",
                &[&session],
            )
            .await?;
        assert_eq!(
            join(stack, &outsider, &code).await?.status,
            404,
            "answered while the row is locked"
        );
        assert_eq!(preview(stack, &client, &code).await?.status, 200);
        holding.rollback().await?;
        Ok(())
    })
}

#[test]
fn a_code_may_be_typed_as_people_type() -> Result<()> {
    on_shared_stack(async |stack| {
        let db = stack.db().await?;
        let (host, client) = (Caller::host(stack).await?, Caller::client(stack).await?);
        let (session, _) = add_session(&host, 3).await?;
        let random = &Uuid::new_v4().simple().to_string().to_uppercase()[..6];
        let code = format!("01{random}1ZK0");
        db.execute(
            "update public.video_session_invites set share_code = $1 where session_id = $2",
            &[&code, &session],
        )
        .await?;
        let leave = format!("video_session_participants?session_id=eq.{session}");
        for typed in [
            code.clone(),
            code.to_lowercase(),
            format!("{}-{}-{}", &code[..4], &code[4..8], &code[8..]),
            format!(" {} {}  {} ", &code[..4], &code[4..8], &code[8..]),
            format!("Ol{random}iZKo"),
            format!("oI{}-LzkO", random.to_lowercase()),
        ] {
            let reply = join(stack, &client, &typed).await?;
            assert_eq!(
                (reply.status, &reply.json["id"]),
                (200, &json!(session)),
                "{typed:?}: {}",
                reply.text
            );
            assert_eq!(client.delete(&leave).await?.status, 200);
        }
        for wrong in [
            String::new(),
            "-".to_owned(),
            code[..11].to_owned(),
            format!("{code}0"),
            format!("{code}%"),
            "____________".to_owned(),
            "*".repeat(5000),
        ] {
            let guesser = Caller::client(stack).await?;
            let reply = join(stack, &guesser, &wrong).await?;
            assert_eq!(reply.code(), (404, "session_not_joinable"), "{wrong:?}: {}", reply.text);
        }
        Ok(())
    })
}

#[test]
fn a_stranger_cannot_tell_why_a_code_leads_nowhere() -> Result<()> {
    on_shared_stack(async |stack| {
        let (host, stranger) = (Caller::host(stack).await?, Caller::client(stack).await?);
        let guest = Caller::client(stack).await?;
        let mut codes = vec![("wrong", "000000000000".to_owned())];
        for what in ["full", "cancelled", "ended", "full and cancelled"] {
            let (session, code) = add_session(&host, if what.starts_with("full") { 2 } else { 3 }).await?;
            assert_eq!(join(stack, &guest, &code).await?.status, 200);
            if let Some(status) = what.split(' ').find(|word| ["cancelled", "ended"].contains(word)) {
                set_status(&host, session, status).await?;
            }
            codes.push((what, code));
        }
        let (gone, code) = add_session(&host, 3).await?;
        host.delete(&format!("video_sessions?id=eq.{gone}")).await?;
        codes.push(("deleted", code));

        let unknown = join(stack, &stranger, "000000000000").await?;
        assert_eq!(unknown.code(), (404, "session_not_joinable"));
        for (what, code) in &codes {
            assert_eq!(whole(&join(stack, &stranger, code).await?), whole(&unknown), "{what}");
        }
        assert_eq!(
            stranger.get("video_sessions").await?.json,
            json!([]),
            "nothing was joined"
        );

        // Whoever takes part already has every right to know.
        for (what, code) in &codes[1..5] {
            let reply = join(stack, &guest, code).await?;
            assert_eq!(reply.status, 200, "{what}: {}", reply.text);
            let status = what
                .rsplit(' ')
                .next()
                .filter(|status| *status != "full")
                .unwrap_or("scheduled");
            assert_eq!(reply.json["status"], status, "{what}");
        }
        Ok(())
    })
}

#[test]
fn who_guesses_is_slowed_down() -> Result<()> {
    on_shared_stack(async |stack| {
        let db = stack.db().await?;
        let (host, guesser) = (Caller::host(stack).await?, Caller::client(stack).await?);
        let (_, code) = add_session(&host, 5).await?;
        let (full, full_code) = add_session(&host, 2).await?;
        let guest = Caller::client(stack).await?;
        assert_eq!(join(stack, &guest, &full_code).await?.status, 200);
        assert_eq!(people(&host, full).await?.len(), 2);

        // A session that is full counts like a code that is wrong, and a good code costs nothing.
        for n in 0..10 {
            let code = if n % 2 == 0 {
                format!("00000000000{n}")
            } else {
                full_code.clone()
            };
            assert_eq!(
                join(stack, &guesser, &code).await?.code(),
                (404, "session_not_joinable"),
                "miss {n}"
            );
        }
        for code in [&code, "000000000000", &full_code, ""] {
            let reply = join(stack, &guesser, code).await?;
            assert_eq!(reply.code(), (429, "too_many_attempts"), "{code}: {}", reply.text);
            let retry_after: u32 = reply.header("retry-after").parse()?;
            assert!((1..=600).contains(&retry_after), "{retry_after}");
        }
        // Nobody else is.
        assert_eq!(join(stack, &guest, &code).await?.status, 200);

        let age = async |minutes: &str| {
            let sql = "update video_sessions_private.share_code_misses set window_started_at = window_started_at - $1::text::interval
                       where user_id = $2";
            db.execute(sql, &[&minutes, &guesser.id]).await
        };
        age("9 minutes").await?;
        assert_eq!(join(stack, &guesser, &code).await?.status, 429, "not yet");
        age("61 seconds").await?;
        assert_eq!(join(stack, &guesser, &code).await?.status, 200);
        // And a new window begins.
        for n in 0..10 {
            assert_eq!(
                join(stack, &guesser, &format!("00000000000{n}")).await?.status,
                404,
                "miss {n}"
            );
        }
        assert_eq!(join(stack, &guesser, &code).await?.status, 429);
        Ok(())
    })
}

#[test]
fn guessing_at_once_is_guessing_all_the_same() -> Result<()> {
    on_shared_stack(async |stack| {
        let guesser = Caller::client(stack).await?;
        let guesses = (0..40).map(|n| {
            let guesser = guesser.clone();
            async move { join(stack, &guesser, &format!("0000000000{n:02}")).await }
        });
        let replies = try_join_all(guesses).await?;
        let heard = |status| replies.iter().filter(|reply| reply.status == status).count();
        assert_eq!((heard(404), heard(429)), (10, 30));
        Ok(())
    })
}

#[test]
fn of_twenty_who_race_for_the_last_seat_one_wins() -> Result<()> {
    on_shared_stack(async |stack| {
        let host = Caller::host(stack).await?;
        let runners = clients(stack, 20).await?;
        // By code, by the host's invitations, and both at once.
        for race in ["codes", "invitations", "both"] {
            for seats in [1, 2, 4] {
                let (session, code) = add_session(&host, seats + 1).await?;
                let run = |(n, runner): (usize, &Caller)| {
                    let (host, runner, code) = (host.clone(), runner.clone(), code.clone());
                    let by_code = race == "codes" || (race == "both" && n % 2 == 0);
                    async move {
                        if by_code {
                            let reply = join(stack, &runner, &code).await?;
                            anyhow::Ok((reply.status == 200, reply.code().1.to_owned(), runner.id))
                        } else {
                            let guest = json!({"session_id": session, "user_id": runner.id});
                            let reply = host.post("video_session_participants", &guest).await?;
                            anyhow::Ok((reply.status == 201, reply.code().1.to_owned(), runner.id))
                        }
                    }
                };
                let results = join_all(runners.iter().enumerate().map(run)).await;
                let results = results.into_iter().collect::<Result<Vec<_>>>()?;
                let mut winners: Vec<_> = results.iter().filter(|r| r.0).map(|r| json!(r.2)).collect();
                assert_eq!(winners.len(), seats as usize, "{race}: {results:?}");
                for (_, code, _) in results.iter().filter(|r| !r.0) {
                    assert!(
                        ["session_not_joinable", "23514"].contains(&code.as_str()),
                        "{race}: {code}"
                    );
                }
                let people = people(&host, session).await?;
                let mut seated: Vec<_> = people.iter().map(|p| p["user_id"].clone()).collect();
                winners.push(json!(host.id));
                winners.sort_by_key(Value::to_string);
                seated.sort_by_key(Value::to_string);
                assert_eq!(seated, winners, "{race}");
            }
            // Their misses would slow them down in the next race.
            let db = stack.db().await?;
            db.execute("delete from video_sessions_private.share_code_misses", &[])
                .await?;
        }
        Ok(())
    })
}

#[test]
fn one_user_who_joins_twice_at_once_takes_one_seat() -> Result<()> {
    on_shared_stack(async |stack| {
        let (host, client) = (Caller::host(stack).await?, Caller::client(stack).await?);
        for _ in 0..5 {
            let (session, code) = add_session(&host, 2).await?;
            let joins = (0..8).map(|_| join(stack, &client, &code));
            for reply in try_join_all(joins).await? {
                assert_eq!(reply.status, 200, "{}", reply.text);
            }
            assert_eq!(people(&host, session).await?.len(), 2);
        }
        Ok(())
    })
}

#[test]
fn a_session_that_shrinks_while_somebody_joins_is_never_overfull() -> Result<()> {
    on_shared_stack(async |stack| {
        let host = Caller::host(stack).await?;
        let clients = clients(stack, 3).await?;
        for _ in 0..12 {
            let (session, code) = add_session(&host, 4).await?;
            let path = format!("video_sessions?id=eq.{session}");
            let two = json!({"max_participants": 2});
            let joins = try_join_all(clients.iter().map(|client| join(stack, client, &code)));
            let (joins, shrunk) = futures_util::future::try_join(joins, host.patch(&path, &two)).await?;
            let most = if shrunk.status == 200 { 2 } else { 4 };
            let joined = joins.iter().filter(|reply| reply.status == 200).count();
            let people = people(&host, session).await?.len();
            assert_eq!(people, joined + 1);
            assert!(people <= most, "{people} of {most}: {}", shrunk.text);
        }
        Ok(())
    })
}
