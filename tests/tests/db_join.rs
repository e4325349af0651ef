//! Joining by share code.

mod support;

use anyhow::{Context, Result};
use futures_util::future::{join_all, try_join_all};
use local_stack::Stack;
use serde_json::{json, Value};
use support::db::{external_session, id_of, on_shared_stack, Caller};
use support::Reply;
use uuid::Uuid;

/// A session of this host, and its share code.
async fn add_session(host: &Caller, max_participants: u32) -> Result<(Uuid, String)> {
    let session = external_session(&json!({"max_participants": max_participants}));
    let reply = host.post("video_sessions", &session).await?;
    let code = reply.json[0]["share_code"].as_str().context("a share code")?;
    Ok((id_of(&reply.json[0])?, code.to_owned()))
}

async fn join(caller: &Caller, code: &str) -> Result<Reply> {
    caller.rpc("join_video_session", &json!({"share_code": code})).await
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

        let joined = join(&client, &code).await?;
        assert_eq!(joined.status, 200, "{}", joined.text);
        let row = client.get(&format!("video_sessions?id=eq.{session}")).await?;
        assert_eq!(joined.json, row.json[0], "the row as the table shows it");
        assert!(joined.json.get("host_start_url").is_none());

        let again = join(&client, &code).await?;
        assert_eq!(whole(&again), whole(&joined));
        let of_host = join(&host, &code).await?;
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

        // Left, and back again; removed, and back as well: whoever has the code may come.
        for leaver in [&client, &host] {
            let path = format!(
                "video_session_participants?session_id=eq.{session}&user_id=eq.{}",
                client.id
            );
            assert_eq!(leaver.delete(&path).await?.json.as_array().map(Vec::len), Some(1));
            assert_eq!(client.get("video_sessions").await?.json, json!([]));
            assert_eq!(join(&client, &code).await?.status, 200);
        }
        assert_eq!(roles().await?, ["host", "participant"]);
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
            "update public.video_sessions set share_code = $1 where id = $2",
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
            let reply = join(&client, &typed).await?;
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
            let reply = join(&guesser, &wrong).await?;
            assert_eq!(reply.code(), (404, "session_not_joinable"), "{wrong:?}: {}", reply.text);
        }
        for (arguments, expected) in [
            (json!({"share_code": null}), (404, "session_not_joinable")),
            (json!({"share_code": "a\u{0}b"}), (400, "22P05")),
            (json!({}), (404, "PGRST202")),
        ] {
            let reply = client.rpc("join_video_session", &arguments).await?;
            assert_eq!(reply.code(), expected, "{arguments}: {}", reply.text);
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
            assert_eq!(join(&guest, &code).await?.status, 200);
            if let Some(status) = what.split(' ').find(|word| ["cancelled", "ended"].contains(word)) {
                set_status(&host, session, status).await?;
            }
            codes.push((what, code));
        }
        let (gone, code) = add_session(&host, 3).await?;
        host.delete(&format!("video_sessions?id=eq.{gone}")).await?;
        codes.push(("deleted", code));

        let unknown = join(&stranger, "000000000000").await?;
        assert_eq!(unknown.code(), (404, "session_not_joinable"));
        for (what, code) in &codes {
            assert_eq!(whole(&join(&stranger, code).await?), whole(&unknown), "{what}");
        }
        assert_eq!(
            stranger.get("video_sessions").await?.json,
            json!([]),
            "nothing was joined"
        );

        // Whoever takes part already has every right to know.
        for (what, code) in &codes[1..5] {
            let reply = join(&guest, code).await?;
            assert_eq!(reply.status, 200, "{what}: {}", reply.text);
            let status = what
                .rsplit(' ')
                .next()
                .filter(|status| *status != "full")
                .unwrap_or("scheduled");
            assert_eq!(reply.json["status"], status, "{what}");
        }
        let anon = join(&Caller::anon(stack), &codes[1].1).await?;
        assert_eq!(anon.code(), (401, "42501"));
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
        assert_eq!(join(&guest, &full_code).await?.status, 200);
        assert_eq!(people(&host, full).await?.len(), 2);

        // A session that is full counts like a code that is wrong, and a good code costs nothing.
        for n in 0..10 {
            let code = if n % 2 == 0 {
                format!("00000000000{n}")
            } else {
                full_code.clone()
            };
            assert_eq!(
                join(&guesser, &code).await?.code(),
                (404, "session_not_joinable"),
                "miss {n}"
            );
        }
        for code in [&code, "000000000000", &full_code, ""] {
            let reply = join(&guesser, code).await?;
            assert_eq!(reply.code(), (429, "too_many_attempts"), "{code}: {}", reply.text);
            let retry_after: u32 = reply.header("retry-after").parse()?;
            assert!((1..=600).contains(&retry_after), "{retry_after}");
        }
        // Nobody else is.
        assert_eq!(join(&guest, &code).await?.status, 200);

        let age = async |minutes: &str| {
            let sql = "update private.share_code_misses set window_started_at = window_started_at - $1::text::interval
                       where user_id = $2";
            db.execute(sql, &[&minutes, &guesser.id]).await
        };
        age("9 minutes").await?;
        assert_eq!(join(&guesser, &code).await?.status, 429, "not yet");
        age("61 seconds").await?;
        assert_eq!(join(&guesser, &code).await?.status, 200);
        // And a new window begins.
        for n in 0..10 {
            assert_eq!(
                join(&guesser, &format!("00000000000{n}")).await?.status,
                404,
                "miss {n}"
            );
        }
        assert_eq!(join(&guesser, &code).await?.status, 429);
        Ok(())
    })
}

#[test]
fn guessing_at_once_is_guessing_all_the_same() -> Result<()> {
    on_shared_stack(async |stack| {
        let guesser = Caller::client(stack).await?;
        let guesses = (0..40).map(|n| {
            let guesser = guesser.clone();
            async move { join(&guesser, &format!("0000000000{n:02}")).await }
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
                            let reply = join(&runner, &code).await?;
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
            db.execute("delete from private.share_code_misses", &[]).await?;
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
            let joins = (0..8).map(|_| join(&client, &code));
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
            let joins = try_join_all(clients.iter().map(|client| join(client, &code)));
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
