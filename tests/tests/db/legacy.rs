//! A database that holds the app's older `video_sessions` keeps all of it, and ends as any other.

use crate::support::catalog::{catalog, Catalog, CATALOG};
use crate::support::db::{external_session, options, Caller};
use anyhow::{Context, Result};
use local_stack::{Stack, StackOptions};
use serde_json::{json, Value};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

const HOST: &str = "00000000-0000-4000-8000-00000000001e";
const CLIENT: &str = "00000000-0000-4000-8000-00000000002e";

/// The older table with all that may hang on one. Some names are those that the new table's indexes and constraints
/// have.
const LEGACY: &str = r#"
create type public.video_session_status as enum ('scheduled', 'active', 'ended', 'cancelled');
create table public.leads (id uuid primary key default gen_random_uuid(), name text not null);
create table public.conversations (id uuid primary key default gen_random_uuid(), topic text not null);
create function public.set_updated_at() returns trigger language plpgsql as
  $$ begin new.updated_at := now(); return new; end $$;
create function public.check_room() returns trigger language plpgsql as
  $$ begin if new.room_id = 'closed' then raise exception 'this room is closed'; end if; return null; end $$;

create table public.video_sessions (
  id uuid primary key default gen_random_uuid(),
  host_id uuid not null references auth.users (id) on delete cascade,
  lead_id uuid references public.leads (id) on delete set null,
  conversation_id uuid references public.conversations (id) on delete cascade,
  status public.video_session_status not null default 'scheduled',
  room_id text not null unique,
  token text default md5(random()::text),
  number bigserial,
  slug text generated always as (lower(room_id)) stored,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (lead_id, conversation_id, room_id),
  constraint video_sessions_share_code_key unique (number),
  constraint video_sessions_provider_check check (room_id <> ''),
  constraint token_is_long check (char_length(token) > 10) not valid,
  constraint one_at_a_time exclude using hash (token with =) where (status = 'active')
);
create index idx_video_sessions_host_id on public.video_sessions (host_id);
create index idx_video_sessions_scheduled on public.video_sessions (created_at desc) where status = 'scheduled';
create index video_sessions_host_id_scheduled_start_idx on public.video_sessions (host_id, created_at);
create index video_sessions_scheduled_start_idx on public.video_sessions (lower(room_id) text_pattern_ops) include (status);
create unique index video_sessions_provider_meeting_id_key on public.video_sessions (token, room_id) nulls not distinct;
create index by_conversation on public.video_sessions using hash (conversation_id);
create trigger video_sessions_set_updated_at before update on public.video_sessions
for each row execute function public.set_updated_at();
create constraint trigger check_room after insert on public.video_sessions
deferrable initially deferred for each row execute function public.check_room();

comment on table public.video_sessions is 'Calls of the first version.';
comment on column public.video_sessions.token is 'Of the room.';
comment on constraint token_is_long on public.video_sessions is 'Rooms ask for eleven.';
comment on index public.idx_video_sessions_host_id is 'For the list.';

create table public.session_notes (
  id uuid primary key default gen_random_uuid(),
  video_session_id uuid not null constraint session_notes_video_sessions_fkey references public.video_sessions (id) on delete cascade,
  note text not null
);
create view public.open_video_sessions with (security_invoker) as
  select id, room_id from public.video_sessions where status in ('scheduled', 'active');

alter table public.video_sessions enable row level security;
grant select, insert, update (status, room_id) on public.video_sessions to authenticated;
grant select on public.open_video_sessions to authenticated;
grant all on public.video_sessions to service_role;
create policy "hosts see their sessions" on public.video_sessions for select to authenticated using (host_id = auth.uid());
create policy "hosts change their sessions" on public.video_sessions for update to authenticated
using (host_id = auth.uid()) with check (host_id = auth.uid());
create policy "no strangers" on public.video_sessions as restrictive for all to public using (auth.uid() is not null);
alter table public.session_notes enable row level security;
grant select on public.session_notes to authenticated;
create policy "hosts see notes on their sessions" on public.session_notes for select to authenticated
using (exists (select from public.video_sessions v where v.id = video_session_id and v.host_id = auth.uid()));
create publication supabase_realtime for table public.video_sessions;

insert into auth.users (instance_id, id, aud, role, email, encrypted_password, raw_app_meta_data, raw_user_meta_data)
select '00000000-0000-0000-0000-000000000000', id::uuid, 'authenticated', 'authenticated', email,
  extensions.crypt('demo-password', extensions.gen_salt('bf', 4)), jsonb_build_object('role', role), '{}'
from (values ('{host}', 'legacy-host@example.test', 'trainer'), ('{client}', 'legacy-client@example.test', 'client'))
  as users (id, email, role);
insert into public.leads (name) values ('Ada'), ('Grace');
insert into public.conversations (topic) values ('Knees'), ('Sleep');
insert into public.video_sessions (host_id, lead_id, conversation_id, status, room_id)
select '{host}', lead.id, conversation.id, status, lead.name || conversation.topic || status
from public.leads lead, public.conversations conversation, unnest(enum_range(null::public.video_session_status)) as status;
insert into public.video_sessions (host_id, room_id, token) values ('{client}', 'Empty', null);
insert into public.session_notes (video_session_id, note) select id, 'A note on ' || room_id from public.video_sessions;
"#;

/// What of the database is the app's own, after the migrations.
const APPS_OWN: &[&str] = &[
    "leads",
    "conversations",
    "session_notes",
    "open_video_sessions",
    "video_sessions_legacy",
    "video_sessions_number_seq",
    "set_updated_at",
    "check_room",
    "video_session_status",
];

/// The SQL of an app that has the older table.
pub fn sql() -> String {
    LEGACY.replace("{host}", HOST).replace("{client}", CLIENT)
}

/// A database with the older table, which remembers how it was before the migrations.
async fn with_legacy() -> Result<Stack> {
    let legacy = sql();
    Stack::start_local(StackOptions {
        before_migrations: format!(
            "{legacy}
             create schema memory;
             create table memory.catalog as {CATALOG};
             create table memory.sessions as select to_jsonb(v) as session from public.video_sessions v;
             create table memory.notes as select to_jsonb(n) as note from public.session_notes n;"
        ),
        ..options()
    })
    .await
}

fn is_the_apps_own(object: &str) -> bool {
    let name = object.rsplit('.').next().unwrap_or(object);
    APPS_OWN.contains(&name)
}

#[tokio::test]
async fn all_of_it_is_still_there_under_another_name() -> Result<()> {
    let stack = with_legacy().await?;
    let db = stack.db().await?;
    let before = catalog(&db, "table memory.catalog").await?;
    let mut after = catalog(&db, CATALOG).await?;
    after.retain(|[_, object, _], _| is_the_apps_own(object));

    // Names of indexes and constraints are freed, all others kept.
    let renamed =
        |kind: &str, object: &str| ["index", "constraint"].contains(&kind) && object == "public.video_sessions_legacy";
    let names: Vec<_> = after
        .keys()
        .filter(|[kind, object, _]| renamed(kind, object))
        .map(|[_, _, name]| name.clone())
        .collect();
    assert!(names.len() > 20, "{names:?}");
    for name in &names {
        assert!(name.starts_with("video_sessions_legacy_"), "{name}");
    }
    let ours = catalog(&db, CATALOG).await?;
    let taken: Vec<_> = ours
        .keys()
        .filter(|[_, object, _]| object == "public.video_sessions")
        .map(|key| &key[2])
        .collect();
    assert!(names.iter().all(|name| !taken.contains(&name)));
    let unnamed = |catalog: &Catalog| {
        let entries = catalog.iter().map(|([kind, object, name], definition)| {
            let legacy = |text: &str| text.replace("video_sessions_legacy", "video_sessions");
            let name = if ["index", "constraint"].contains(&kind.as_str()) && object.contains("video_sessions") {
                ""
            } else {
                name
            };
            format!("{kind} {} {name}: {}", legacy(object), legacy(definition))
        });
        let mut entries: Vec<_> = entries.collect();
        entries.sort();
        entries
    };
    let mut before = before;
    before.retain(|[_, object, _], _| is_the_apps_own(object) || object == "public.video_sessions");
    let (before, after) = (unnamed(&before), unnamed(&after));
    assert!(before.len() > 60, "{}", before.len());
    for entry in &before {
        assert!(after.contains(entry), "lost: {entry}");
    }
    assert_eq!(before, after);

    for (memory, now) in [
        (
            "select session from memory.sessions",
            "select to_jsonb(v) from public.video_sessions_legacy v",
        ),
        (
            "select note from memory.notes",
            "select to_jsonb(n) from public.session_notes n",
        ),
    ] {
        let difference = format!("(({memory}) except ({now})) union all (({now}) except ({memory}))");
        assert!(db.query(&difference, &[]).await?.is_empty());
        assert_eq!(db.query(memory, &[]).await?.len(), 17);
    }
    Ok(())
}

#[tokio::test]
async fn it_works_as_it_did() -> Result<()> {
    let stack = with_legacy().await?;
    let db = stack.db().await?;
    let host = Caller::signed_in(&stack, "legacy-host@example.test").await?;
    let client = Caller::signed_in(&stack, "legacy-client@example.test").await?;
    let anon = Caller::anon(&stack);
    let count = |reply: crate::support::Reply| reply.json.as_array().map(Vec::len).context(reply.text);

    // Policies, of its own and of a table that asks it.
    for (caller, rows) in [(&host, 16), (&client, 1)] {
        assert_eq!(count(caller.get("video_sessions_legacy").await?)?, rows);
        assert_eq!(count(caller.get("session_notes").await?)?, rows);
    }
    assert_eq!(count(host.get("open_video_sessions").await?)?, 8);
    assert_eq!(anon.get("video_sessions_legacy").await?.code(), (401, "42501"));
    let theirs = client
        .patch("video_sessions_legacy?room_id=like.A*", &json!({"status": "ended"}))
        .await?;
    assert_eq!(theirs.json, json!([]));
    let closed = host
        .patch(
            "video_sessions_legacy?room_id=like.A*",
            &json!({"token": "stolen stolen"}),
        )
        .await?;
    assert_eq!(closed.code(), (403, "42501"));

    // Its trigger and its constraints.
    let path = "video_sessions_legacy?room_id=eq.AdaKneesended&select=updated_at,created_at,status";
    let changed = host.patch(path, &json!({"status": "cancelled"})).await?;
    let row = &changed.json[0];
    assert_eq!(row["status"], "cancelled", "{}", changed.text);
    assert!(
        row["updated_at"].as_str() > row["created_at"].as_str(),
        "the trigger fires: {row}"
    );
    let refused = async |sql: &str| db.execute(sql, &[]).await.err().and_then(|error| error.code().cloned());
    let insert = |columns: &str, values: &str| {
        format!("insert into public.video_sessions_legacy (host_id, {columns}) values ('{HOST}', {values})")
    };
    let unknown = Uuid::new_v4();
    for (sql, code) in [
        (insert("room_id", "'Empty'"), SqlState::UNIQUE_VIOLATION),
        (insert("room_id", "''"), SqlState::CHECK_VIOLATION),
        (insert("room_id, token", "'a', 'short'"), SqlState::CHECK_VIOLATION),
        (
            insert("room_id, lead_id", &format!("'b', '{unknown}'")),
            SqlState::FOREIGN_KEY_VIOLATION,
        ),
        (insert("room_id", "'closed'"), SqlState::RAISE_EXCEPTION),
        (
            "update public.video_sessions_legacy set token = 'the same token', status = 'active'".to_owned(),
            SqlState::UNIQUE_VIOLATION,
        ),
        (
            format!("insert into public.session_notes (video_session_id, note) values ('{unknown}', 'x')"),
            SqlState::FOREIGN_KEY_VIOLATION,
        ),
    ] {
        let got = refused(&sql).await;
        let exclusion = got == Some(SqlState::EXCLUSION_VIOLATION) && sql.starts_with("update");
        assert!(exclusion || got == Some(code), "{sql}: {got:?}");
    }
    let numbered = db
        .query_one(&format!("{} returning number", insert("room_id", "'new'")), &[])
        .await?;
    assert!(numbered.get::<_, i64>(0) > 17, "its sequence goes on");

    // Its keys cascade.
    db.batch_execute("delete from public.leads where name = 'Ada'").await?;
    db.batch_execute("delete from public.conversations where topic = 'Sleep'")
        .await?;
    let left = "select count(*), count(lead_id), (select count(*) from public.session_notes) from public.video_sessions_legacy";
    let row = db.query_one(left, &[]).await?;
    assert_eq!(
        (row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(2)),
        (10, 4, 9)
    );
    db.execute("delete from auth.users where id::text = $1", &[&CLIENT])
        .await?;
    assert_eq!(db.query_one(left, &[]).await?.get::<_, i64>(0), 9);

    // And the new table beside it is in nobody's way.
    let added = host.post("video_sessions", &external_session(&json!({}))).await?;
    assert_eq!(added.status, 201, "{}", added.text);
    db.execute("delete from auth.users where id::text = $1", &[&HOST])
        .await?;
    assert_eq!(db.query_one(left, &[]).await?.get::<_, i64>(0), 0);
    Ok(())
}

#[tokio::test]
async fn the_schema_is_the_same_with_and_without_it() -> Result<()> {
    let (with, without) = tokio::try_join!(with_legacy(), Stack::start_local(options()))?;
    let mut with = catalog(&with.db().await?, CATALOG).await?;
    let without = catalog(&without.db().await?, CATALOG).await?;
    // The fixture has Supabase's publication, which the feed joins.
    with.retain(|[kind, object, _], _| !is_the_apps_own(object) && kind != "publication");
    assert!(without.len() > 250, "{}", without.len());
    for kind in [
        "relation",
        "column",
        "constraint",
        "index",
        "policy",
        "trigger",
        "function",
        "schema",
    ] {
        assert!(without.keys().any(|key| key[0] == kind), "{kind}");
    }
    for (key, definition) in &without {
        assert_eq!(with.get(key), Some(definition), "{key:?}");
    }
    assert_eq!(with.keys().collect::<Vec<_>>(), without.keys().collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn moving_it_again_changes_nothing() -> Result<()> {
    let migrations = local_stack::repository().join("supabase/migrations");
    let file = std::fs::read_dir(migrations)?
        .flatten()
        .find(|file| file.file_name().to_string_lossy().ends_with("_video_sessions.sql"))
        .context("the migration")?;
    let migration = std::fs::read_to_string(file.path())?;
    for stack in [with_legacy().await?, Stack::start_local(options()).await?] {
        let db = stack.db().await?;
        let host = Caller::host(&stack).await?;
        let added = host.post("video_sessions", &external_session(&json!({}))).await?;
        assert_eq!(added.status, 201, "{}", added.text);
        let rows = async || anyhow::Ok(crate::support::db::everything(&db).await?);
        let (before, rows_before) = (catalog(&db, CATALOG).await?, rows().await?);
        db.batch_execute(&migration).await?;
        assert_eq!(catalog(&db, CATALOG).await?, before);
        assert_eq!(Value::Object(rows().await?), Value::Object(rows_before));
    }
    Ok(())
}

/// PostgreSQL's own names for long lists of columns fill the 63 bytes that a name has, and differ in the last one.
#[tokio::test]
async fn names_that_are_as_long_as_names_get_stay_apart() -> Result<()> {
    let index = "create index on public.video_sessions (host_id, lead_id, conversation_id, status, created_at);";
    let stack = Stack::start_local(StackOptions {
        before_migrations: format!(
            "create table public.video_sessions (
               id uuid primary key, host_id uuid, lead_id uuid, conversation_id uuid, status text, created_at timestamptz
             );
             {index} {index}"
        ),
        ..options()
    })
    .await?;
    let names = stack
        .db()
        .await?
        .query(
            "select indexname::text from pg_catalog.pg_indexes where tablename = 'video_sessions_legacy'",
            &[],
        )
        .await?;
    let names: Vec<String> = names.iter().map(|row| row.get(0)).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(
        names.iter().all(|name| name.starts_with("video_sessions_legacy_")),
        "{names:?}"
    );
    Ok(())
}
