//! Policies stay cheap: with a hundred thousand sessions, what an app typically asks is answered from indexes.

use crate::support::db::on_shared_stack;
use anyhow::{ensure, Context, Result};
use local_stack::Stack;
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

/// 2,000 hosts with 50 sessions each, and 100,000 participants among 20,000 clients. The user with the least id hosts
/// and takes part; triggers would take a minute.
const MANY_ROWS: &str = "
  insert into auth.users (id, raw_app_meta_data)
  select ('00000000-0000-4000-9000-' || lpad(n::text, 12, '0'))::uuid,
    case when n <= 2000 then '{\"role\": \"trainer\"}'::jsonb else '{}' end
  from generate_series(1, 22000) n;

  alter table public.video_sessions disable trigger user;
  alter table public.video_session_participants disable trigger user;
  insert into public.video_sessions (
    id, host_id, provider, title, scheduled_start, duration_minutes, max_participants, join_url, provider_meeting_id
  )
  select ('00000000-0000-4000-a000-' || lpad(n::text, 12, '0'))::uuid,
    ('00000000-0000-4000-9000-' || lpad((1 + n % 2000)::text, 12, '0'))::uuid,
    'zoom', 'Session ' || n, now() + n * interval '1 minute', 30, 5, 'https://zoom.us/j/' || n, n::text
  from generate_series(1, 100000) n;
  insert into public.video_session_invites (session_id, host_id, share_code)
  select id, host_id, 'TEST' || right(id::text, 8) from public.video_sessions;
  insert into public.video_session_participants (session_id, host_id, user_id, role)
  select id, host_id, host_id, 'host' from public.video_sessions;
  insert into public.video_session_participants (session_id, host_id, user_id)
  select v.id, v.host_id, ('00000000-0000-4000-9000-' || lpad((2001 + n % 20000)::text, 12, '0'))::uuid
  from generate_series(1, 100000) n
  join public.video_sessions v on v.id = ('00000000-0000-4000-a000-' || lpad(n::text, 12, '0'))::uuid;
  insert into public.video_session_participants (session_id, host_id, user_id)
  select v.id, v.host_id, '00000000-0000-4000-9000-000000000001'
  from generate_series(1, 40) n
  join public.video_sessions v on v.id = ('00000000-0000-4000-a000-' || lpad(n::text, 12, '0'))::uuid;
  insert into public.video_session_host_meta (session_id, host_id, host_start_url, expires_at)
  select id, host_id, 'https://zoom.us/s/1', now() + interval '1 hour' from public.video_sessions;
  alter table public.video_sessions enable trigger user;
  alter table public.video_session_participants enable trigger user;
  analyze auth.users, public.video_sessions, public.video_session_participants, public.video_session_host_meta;
";

/// Hosts 50 sessions and takes part in 40 others.
const HOST: &str = "00000000-0000-4000-9000-000000000001";
/// Takes part in five sessions.
const CLIENT: &str = "00000000-0000-4000-9000-000000002101";
/// Has nothing to do with any.
const STRANGER: Uuid = Uuid::max();

/// The nodes of a plan, `Seq Scan on video_sessions`, from the outermost in.
fn nodes(plan: &Value, found: &mut Vec<String>) {
    let text = |name: &str| plan[name].as_str().unwrap_or_default();
    if !text("Node Type").is_empty() {
        found.push(format!("{} on {}", text("Node Type"), text("Relation Name")));
    }
    for child in plan["Plans"].as_array().into_iter().flatten() {
        nodes(child, found);
    }
}

/// Explains a statement as PostgREST would run it for this user, and how many rows it gives or changes.
async fn explain(db: &mut Client, user: &str, sql: &str) -> Result<(Vec<String>, u64)> {
    let claims = format!("{{\"sub\": \"{user}\", \"role\": \"authenticated\"}}");
    let transaction = db.transaction().await?;
    transaction
        .execute("select set_config('request.jwt.claims', $1, true)", &[&claims])
        .await?;
    transaction.batch_execute("set local role authenticated").await?;
    let row = transaction
        .query_one(&format!("explain (format json) {sql}"), &[])
        .await?;
    let plan: Value = row.get(0);
    let mut found = Vec::new();
    nodes(&plan[0]["Plan"], &mut found);
    // As the role itself: what it may read decides how much there is.
    let rows = transaction.execute(sql, &[]).await?;
    transaction.rollback().await?;
    ensure!(!found.is_empty(), "{plan}");
    Ok((found, rows))
}

/// The statements of an app, as PostgREST makes them of its requests, and how many rows they give to host, client,
/// stranger.
const STATEMENTS: &[(&str, [u64; 3])] = &[
    // All that one may see.
    ("select * from public.video_sessions", [90, 5, 0]),
    (
        "select * from public.video_sessions order by scheduled_start limit 20",
        [20, 5, 0],
    ),
    (
        "select * from public.video_sessions where scheduled_start >= now() and status = 'scheduled'
         order by scheduled_start limit 20",
        [20, 5, 0],
    ),
    // One's own, by id, by code.
    (
        "select * from public.video_sessions where host_id = auth.uid()",
        [50, 0, 0],
    ),
    (
        "select * from public.video_sessions where id = '00000000-0000-4000-a000-000000000100'",
        [0, 1, 0],
    ),
    (
        "select * from public.video_session_invites where share_code = 'TEST00002000'",
        [1, 0, 0],
    ),
    (
        "select * from public.video_sessions
         where id in ('00000000-0000-4000-a000-000000000001', '00000000-0000-4000-a000-000000000100')",
        [1, 1, 0],
    ),
    ("select count(*) from public.video_sessions", [1, 1, 1]),
    // Who takes part; with the sessions, and the other way round.
    ("select * from public.video_session_participants", [140, 5, 0]),
    (
        "select * from public.video_session_participants where session_id = '00000000-0000-4000-a000-000000002000'",
        [2, 0, 0],
    ),
    (
        "select * from public.video_session_participants where user_id = auth.uid()",
        [90, 5, 0],
    ),
    (
        "select v.*, p.people from public.video_sessions v left join lateral (
           select json_agg(p.user_id) as people from public.video_session_participants p where p.session_id = v.id
         ) p on true",
        [90, 5, 0],
    ),
    (
        "select v.*, m.url from public.video_sessions v left join lateral (
           select m.host_start_url as url from public.video_session_host_meta m where m.session_id = v.id
         ) m on true",
        [90, 5, 0],
    ),
    ("select * from public.video_session_host_meta", [50, 0, 0]),
    // Changes.
    (
        "update public.video_sessions set title = 'Renamed' where id = '00000000-0000-4000-a000-000000002000'",
        [1, 0, 0],
    ),
    (
        "update public.video_sessions set title = 'Renamed' where host_id = auth.uid()",
        [50, 0, 0],
    ),
    (
        "delete from public.video_sessions where id = '00000000-0000-4000-a000-000000002000'",
        [1, 0, 0],
    ),
    (
        "delete from public.video_session_participants
         where session_id = '00000000-0000-4000-a000-000000000100' and user_id = auth.uid()",
        [0, 1, 0],
    ),
    (
        "insert into public.video_session_participants (session_id, user_id)
         values ('00000000-0000-4000-a000-000000002000', '00000000-0000-4000-9000-000000000002')",
        [1, u64::MAX, u64::MAX],
    ),
];

async fn many_rows(stack: &Stack) -> Result<Client> {
    let db = stack.db().await?;
    let there = db.query_one("select count(*) from public.video_sessions", &[]).await?;
    if there.get::<_, i64>(0) == 0 {
        db.batch_execute(MANY_ROWS).await?;
    }
    Ok(db)
}

fn reads_all(node: &str) -> bool {
    let tables = [
        "video_sessions",
        "video_session_participants",
        "video_session_host_meta",
    ];
    node.split_once(" on ")
        .is_some_and(|(kind, table)| kind == "Seq Scan" && tables.contains(&table))
}

#[test]
fn what_the_app_asks_is_answered_from_indexes() -> Result<()> {
    on_shared_stack(async |stack| {
        let mut db = many_rows(stack).await?;
        for (sql, expected) in STATEMENTS {
            for (user, expected) in [HOST, CLIENT, &STRANGER.to_string()].into_iter().zip(expected) {
                if *expected == u64::MAX {
                    continue; // Refused, which another test shows.
                }
                let (plan, rows) = explain(&mut db, user, sql).await.with_context(|| (*sql).to_owned())?;
                assert_eq!(rows, *expected, "{user}: {sql}");
                assert!(!plan.iter().any(|node| reads_all(node)), "{user}: {sql}: {plan:#?}");
                let scans = plan.iter().any(|node| node.contains("Index"));
                assert!(scans || sql.starts_with("insert"), "{user}: {sql}: {plan:#?}");
            }
        }
        Ok(())
    })
}

/// The test above sees a plan that reads a whole table: here is one.
#[test]
fn a_plan_that_reads_a_whole_table_is_told_from_others() -> Result<()> {
    on_shared_stack(async |stack| {
        let mut db = many_rows(stack).await?;
        let sql = "select * from public.video_sessions where description = 'x' or title like '%9%'";
        let transaction = db.transaction().await?;
        let row = transaction
            .query_one(&format!("explain (format json) {sql}"), &[])
            .await?;
        let mut found = Vec::new();
        nodes(&row.get::<_, Value>(0)[0]["Plan"], &mut found);
        assert!(found.iter().any(|node| reads_all(node)), "{found:?}");
        Ok(())
    })
}

/// How often a table that is large has been read from end to end so far.
async fn full_reads(db: &Client) -> Result<i64> {
    db.batch_execute("select pg_stat_force_next_flush()").await?;
    let row = db
        .query_one(
            "select sum(seq_scan)::bigint from pg_catalog.pg_stat_user_tables
             where relname in (
               'video_sessions', 'video_session_participants', 'video_session_host_meta', 'video_session_invites',
               'session_creations'
             ) or relid = 'auth.users'::regclass",
            &[],
        )
        .await?;
    Ok(row.get(0))
}

/// What functions, triggers and foreign keys run behind the scenes, by the server's own count.
#[test]
fn functions_and_triggers_use_indexes_too() -> Result<()> {
    on_shared_stack(async |stack| {
        let mut db = many_rows(stack).await?;
        db.batch_execute(&format!(
            "insert into public.user_integrations_zoom (
               user_id, zoom_user_id, zoom_account_id, zoom_account_email, scope, access_token, refresh_token,
               access_token_expires_at, expires_at
             ) values ('{HOST}', 'z', 'a', 'e', 's', 'v1.a', 'v1.r', now() + interval '5 minutes', now() + interval '90 days');
             insert into video_sessions_private.zoom_meetings
             select id, 'z', title, description, scheduled_start, timezone, duration_minutes from public.video_sessions;
             insert into video_sessions_private.session_creations (user_id, request_hash, state, next_check_at, closed_at)
             select host_id, 'x', 'done', now(), now() from public.video_sessions;
             analyze video_sessions_private.session_creations;
             analyze video_sessions_private.zoom_meetings;"
        ))
        .await?;
        let session = "00000000-0000-4000-a000-000000002000";
        let request = "{\"provider\": \"external\", \"title\": \"New\", \"description\": \"\", \"timezone\": \"UTC\",
            \"scheduled_start\": \"2030-01-01T00:00:00Z\", \"duration_minutes\": 30, \"max_participants\": 3,
            \"join_url\": \"https://meet.example.test/\", \"participant_ids\": []}";
        let mut statements = vec![
            ("service_role", format!("select public.edge_join('{HOST}', 'TEST00000100', false, false)")),
            ("service_role", format!("select public.edge_join('{HOST}', 'wrong', true, false)")),
            ("authenticated", format!("select public.renew_share_code('{session}')")),
            ("authenticated", "select public.zoom_connection()".to_owned()),
            (
                "authenticated",
                "insert into public.video_sessions (provider, title, scheduled_start, duration_minutes, max_participants, join_url)
                 values ('external', 'New', now() + interval '1 day', 30, 3, 'https://meet.example.test/')"
                    .to_owned(),
            ),
        ];
        for change in ["max_participants = 2", "title = 'Renamed'", "status = 'cancelled'"] {
            let update = format!("update public.video_sessions set {change} where id = '{session}'");
            statements.push(("authenticated", update));
        }
        let delete = format!("delete from public.video_sessions where id = '{session}'");
        statements.push(("authenticated", delete));
        let invite = format!(
            "insert into public.video_session_participants (session_id, user_id)
             values ('{session}', '00000000-0000-4000-9000-000000000002')"
        );
        statements.push(("authenticated", invite));
        for call in [
            format!("edge_session_begin('{HOST}', gen_random_uuid(), 'key', 'hash', '{request}')"),
            format!("edge_start_begin('{HOST}', gen_random_uuid(), '{session}')"),
            format!("edge_start_complete('{HOST}', '{session}', '2000', jsonb_build_object('start_url', 'https://zoom.us/s/2'))"),
            format!("edge_start_gone('{HOST}', '{session}', '2000')"),
            "edge_webhook_receive('1', 'meeting.started', 1, '{\"meeting_id\": \"2000\"}')".to_owned(),
            "edge_webhook_receive('2', 'meeting.updated', 2, '{\"meeting_id\": \"2000\", \"topic\": \"New\"}')"
                .to_owned(),
            "edge_webhook_receive('3', 'meeting.ended', 3, '{\"meeting_id\": \"2000\"}')".to_owned(),
            "edge_webhook_receive('4', 'meeting.deleted', 4, '{\"meeting_id\": \"2000\"}')".to_owned(),
            format!("can_host_video_sessions('{HOST}')"),
            format!("edge_token_claim('{HOST}', gen_random_uuid(), 60, null)"),
            "edge_refresh_due(100)".to_owned(),
            "edge_outbox_claim(gen_random_uuid(), 100, null, 'due')".to_owned(),
            "edge_creations_claim(100)".to_owned(),
            "edge_revocations_claim(100)".to_owned(),
            "edge_purge()".to_owned(),
            "edge_sync_due()".to_owned(),
            format!("edge_disconnect_begin('{HOST}', 'always')"),
        ] {
            statements.push(("service_role", format!("select public.{call}")));
        }
        // An account is deleted, and fifty sessions with it.
        statements.push(("postgres", format!("delete from auth.users where id = '{HOST}'")));
        for (role, sql) in statements {
            let before = full_reads(&db).await?;
            let transaction = db.transaction().await?;
            if role == "authenticated" {
                let claims = format!("set local request.jwt.claims = '{{\"sub\": \"{HOST}\"}}'");
                transaction.batch_execute(&claims).await?;
            }
            transaction.batch_execute(&format!("set local role {role}")).await?;
            transaction.batch_execute(&sql).await.with_context(|| sql.clone())?;
            transaction.rollback().await?;
            assert_eq!(full_reads(&db).await? - before, 0, "{sql}");
        }
        let before = full_reads(&db).await?;
        db.batch_execute("select from public.video_sessions where description = 'x'")
            .await?;
        assert_eq!(full_reads(&db).await? - before, 1, "and one that does is seen");
        Ok(())
    })
}
