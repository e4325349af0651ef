//! Calls that a caller bends: casts that fail, filters that take for ever, preferences about the transaction. What
//! counts still counts, what is refused has changed nothing, and nobody holds a lock on what is not theirs for long.

use crate::support::db::{connect, consent_as, create_session, everything, id_of, on_shared_stack, Caller};
use crate::support::Reply;
use anyhow::Result;
use reqwest::Method;
use serde_json::{json, Value};

/// Ways to ask, each a query, a header, and that header's value: PostgREST evaluates them after the function has run.
const BENDS: [(&str, &str, &str); 24] = [
    ("", "x-none", ""),
    ("select=x", "x-none", ""),
    ("select=*,nothing", "x-none", ""),
    ("select=share_code::int", "x-none", ""),
    ("select=title::int", "x-none", ""),
    ("select=count()", "x-none", ""),
    ("select=*,video_sessions(*)", "x-none", ""),
    ("title=eq.x", "x-none", ""),
    ("id=eq.not-a-uuid", "x-none", ""),
    ("title=match.(", "x-none", ""),
    ("limit=0", "x-none", ""),
    ("offset=1000000", "x-none", ""),
    ("order=nothing", "x-none", ""),
    ("and=(x.eq.1)", "x-none", ""),
    ("", "prefer", "tx=rollback"),
    ("", "prefer", "max-affected=0,handling=strict"),
    ("", "prefer", "count=exact"),
    ("", "prefer", "params=single-object"),
    ("", "prefer", "return=representation,missing=default"),
    ("", "accept", "application/vnd.pgrst.object+json"),
    ("", "accept", "application/vnd.pgrst.plan+json"),
    ("", "accept", "text/csv"),
    ("", "range", "5-3"),
    ("", "accept-profile", "video_sessions_private"),
];

/// A filter on texts that does not get ahead with an odd number of `a`: `^(a*)(a*)(a*)(a*)(a*)(a*)\6\5\4\3\2\1$`.
const SLOW: &str = "match.%5E(a*)(a*)(a*)(a*)(a*)(a*)%5C6%5C5%5C4%5C3%5C2%5C1$";

fn bent(path: &str, query: &str) -> String {
    match query {
        "" => path.to_owned(),
        query => format!("{path}{}{query}", if path.contains('?') { '&' } else { '?' }),
    }
}

async fn one(db: &tokio_postgres::Client, sql: &str) -> Result<Value> {
    Ok(db.query_one(&format!("select to_jsonb(({sql}))"), &[]).await?.get(0))
}

#[test]
fn what_changes_something_answers_nothing_that_can_fail() -> Result<()> {
    on_shared_stack(async |stack| {
        let sql = "select p.proname, p.provolatile = 'v', p.prorettype = 'void'::regtype
                   from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
                   where n.nspname = 'public' and exists (
                     select from unnest(array['anon', 'authenticated']) as caller
                     where has_function_privilege(caller, p.oid, 'execute')
                   ) order by 1";
        let functions = stack.db().await?.query(sql, &[]).await?;
        let named = |volatile: bool| -> Vec<String> {
            let chosen = functions.iter().filter(|row| row.get::<_, bool>(1) == volatile);
            chosen.map(|row| row.get(0)).collect()
        };
        for row in &functions {
            let (name, is_volatile, is_void): (String, bool, bool) = (row.get(0), row.get(1), row.get(2));
            assert!(
                !is_volatile || is_void,
                "{name} changes something and answers something"
            );
        }
        // A function that is new here has its place in the tests below.
        assert_eq!(named(true), ["confirm_zoom_connection", "renew_share_code"]);
        let reading = [
            "can_host_video_sessions",
            "my_video_sessions",
            "phase",
            "video_session_contacts",
            "video_sessions_waiting",
            "zoom_account",
            "zoom_connection",
        ];
        assert_eq!(named(false), reading);
        Ok(())
    })
}

#[test]
fn a_bent_call_is_done_or_refused_and_never_half() -> Result<()> {
    on_shared_stack(async |stack| {
        let (db, service, host) = (stack.db().await?, Caller::service(stack), Caller::host(stack).await?);
        connect(&service, host.id).await?;
        let session = id_of(&create_session(&service, host.id, &json!({})).await?)?;
        let code = format!("select share_code from public.video_session_invites where session_id = '{session}'");
        let connected = format!(
            "select zoom_user_id from public.user_integrations_zoom where user_id = '{}'",
            host.id
        );
        let bend = async |function: &str, body: Value, (query, header, value): (&str, &str, &str)| -> Result<Reply> {
            let path = bent(&format!("rpc/{function}"), query);
            host.send(Method::POST, &path, &[(header, value)], Some(&body)).await
        };
        let mut done = 0;
        for (number, way) in BENDS.into_iter().enumerate() {
            let before = one(&db, &code).await?;
            let reply = bend("renew_share_code", json!({"session_id": session}), way).await?;
            let renewed = one(&db, &code).await? != before;
            assert!(
                reply.status < 300 || !renewed,
                "{way:?}: {} {}",
                reply.status,
                reply.text
            );

            let zoom_user = format!("bent-{number}-{}", host.id);
            let (_, handle) = consent_as(&service, host.id, &zoom_user, &json!({})).await?;
            let reply = bend("confirm_zoom_connection", json!({"handle": handle}), way).await?;
            let confirmed = one(&db, &connected).await? == zoom_user;
            assert!(
                reply.status < 300 || !confirmed,
                "{way:?}: {} {}",
                reply.status,
                reply.text
            );
            assert_eq!(renewed, confirmed, "{way:?}");
            done += usize::from(confirmed);

            // A read is a read in whatever way it is asked.
            let before = everything(&db).await?;
            for (function, body) in [
                ("my_video_sessions", json!({"phase": "upcoming"})),
                ("video_sessions_waiting", json!({})),
                ("video_session_contacts", json!({})),
                ("zoom_connection", json!({})),
                ("can_host_video_sessions", json!({"user_id": host.id})),
            ] {
                bend(function, body, way).await?;
                let (query, header, value) = way;
                let path = bent(&format!("rpc/{function}"), query);
                host.send(Method::GET, &path, &[(header, value)], None).await?;
            }
            assert!(everything(&db).await? == before, "{way:?} changed something");
        }
        // Many ways are no fault, tx=rollback among them, which the server does not let a caller ask for. (With
        // `limit=0` PostgREST does not call the function at all.)
        println!("{done} of {} ways are no fault", BENDS.len());
        assert!(done > 5, "{done}");
        Ok(())
    })
}

#[test]
fn a_slow_filter_holds_nobody_up() -> Result<()> {
    on_shared_stack(async |stack| {
        let (db, service, host) = (stack.db().await?, Caller::service(stack), Caller::host(stack).await?);
        let guest = Caller::client(stack).await?;
        connect(&service, host.id).await?;
        let wanted = json!({"title": "a".repeat(199), "participant_ids": [guest.id], "max_participants": 5});
        create_session(&service, host.id, &wanted).await?;
        let me = guest.id;
        for (caller, method, path, body) in [
            (&guest, Method::POST, format!("rpc/my_video_sessions?title={SLOW}"), json!({"phase": "upcoming"})),
            (&host, Method::POST, format!("rpc/my_video_sessions?title={SLOW}"), json!({"phase": "upcoming"})),
            (&guest, Method::GET, format!("video_sessions?title={SLOW}"), Value::Null),
            // Who leaves changes a row of their own; the session is somebody else's.
            (
                &guest,
                Method::DELETE,
                format!(
                    "video_session_participants?user_id=eq.{me}&select=video_sessions!inner(id)&video_sessions.title={SLOW}"
                ),
                Value::Null,
            ),
        ] {
            let asked = (method.as_str().to_owned(), path.clone());
            let call = async {
                let prefer = [("prefer", "return=representation")];
                let body = (!body.is_null()).then_some(&body);
                let ended = caller.send(method, &path, &prefer, body).await.err();
                anyhow::Ok(ended.map(|error| error.to_string()).unwrap_or_default())
            };
            let free =
                |table: &str| format!("select count(*) from (select from {table} for no key update skip locked) v");
            let look = stack.during_slow_statement(async || {
                let sessions = one(&db, &free("public.video_sessions")).await?;
                anyhow::Ok((sessions, one(&db, &free("public.user_integrations_zoom")).await?))
            });
            let (ended, (sessions, connections)) = tokio::try_join!(call, look)?;
            assert_eq!(sessions, one(&db, "select count(*) from public.video_sessions").await?, "{asked:?}");
            assert_eq!(connections, one(&db, "select count(*) from public.user_integrations_zoom").await?, "{asked:?}");
            assert!(ended.ends_with("due to user request\"}"), "{asked:?}: {ended}");
        }
        let sql = format!("select count(*) from public.video_session_participants where user_id = '{me}'");
        assert_eq!(one(&db, &sql).await?, 1, "what was ended has done nothing");
        Ok(())
    })
}

#[test]
fn a_write_whose_answer_fails_is_not_done() -> Result<()> {
    on_shared_stack(async |stack| {
        let (db, service, host) = (stack.db().await?, Caller::service(stack), Caller::host(stack).await?);
        let guest = Caller::client(stack).await?;
        connect(&service, host.id).await?;
        let wanted = json!({"participant_ids": [guest.id], "max_participants": 5});
        let session = id_of(&create_session(&service, host.id, &wanted).await?)?;
        let another = Caller::client(stack).await?.id;
        let before = everything(&db).await?;
        let participant = json!({"session_id": session, "user_id": another, "role": "participant"});
        let fails = "select=role::int";
        for (caller, method, path, body) in [
            (
                &host,
                Method::POST,
                format!("video_session_participants?{fails}"),
                participant,
            ),
            (
                &guest,
                Method::DELETE,
                format!("video_session_participants?user_id=eq.{}&{fails}", guest.id),
                Value::Null,
            ),
            (
                &host,
                Method::PATCH,
                format!("video_sessions?id=eq.{session}&select=title::int"),
                json!({"title": "Renamed"}),
            ),
        ] {
            let prefer = [("prefer", "return=representation")];
            let reply = caller
                .send(method, &path, &prefer, (!body.is_null()).then_some(&body))
                .await?;
            assert!(reply.status >= 400, "{path}: {} {}", reply.status, reply.text);
            assert!(everything(&db).await? == before, "{path} changed something");
        }
        Ok(())
    })
}
