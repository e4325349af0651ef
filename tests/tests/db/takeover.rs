//! The Supabase CLI puts the migrations into apps that exist: beside their own history, schemas and names, and over a
//! Zoom integration that somebody wrote by hand.

use std::path::PathBuf;

use crate::legacy;
use crate::support::catalog::{catalog, Catalog, CATALOG};
use crate::support::db::{connect, connect_as, options, Caller};
use crate::support::supabase_cli;
use anyhow::{ensure, Context, Result};
use local_stack::{repository, Stack, StackOptions};
use serde_json::{json, Value};
use tokio::process::Command;
use tokio_postgres::Client;
use uuid::Uuid;

/// An app with everyday names, and a schema `private` that is used through PUBLIC.
const APP: &str = r#"
create schema private;
grant usage on schema private to public;
create table private.settings (name text primary key, value text);
grant select on private.settings to public;
insert into private.settings values ('greeting', 'hello');
create function private.is_admin() returns boolean language sql stable as $$ select false $$;
create type public.video_session_status as enum ('scheduled', 'ended');
create function public.touch() returns trigger language plpgsql as
  $$ begin new.updated_at := now(); return new; end $$;
create function public.set_updated_at() returns trigger language plpgsql as
  $$ begin new.updated_at := now(); return new; end $$;
create table public.profiles (id uuid primary key references auth.users (id), role text, updated_at timestamptz);
create trigger touch before update on public.profiles for each row execute function public.touch();
create table public.providers (user_id uuid primary key, provider_type text);
insert into auth.users (id, email) select id_of(n), n || '@example.test' from generate_series(1, 12) n;
insert into public.profiles (id, role) select id_of(n), case when n = 1 then 'trainer' else 'client' end from generate_series(1, 12) n;
alter table public.profiles enable row level security;
create policy "own" on public.profiles for select to authenticated using (id = auth.uid() or private.is_admin());
create publication supabase_realtime for table public.profiles;
"#;

/// A Zoom integration written by hand: tokens in clear text, sessions of five providers, people without a unique pair.
const BY_HAND: &str = r#"
create table public.user_integrations_zoom (
  user_id uuid primary key references auth.users (id) on delete cascade,
  zoom_account_email text, access_token text not null, refresh_token text not null,
  expires_at timestamptz not null, updated_at timestamptz not null default now()
);
create table public.video_sessions (
  id uuid primary key default gen_random_uuid(),
  host_id uuid not null references auth.users (id) on delete cascade,
  client_id uuid references auth.users (id) on delete set null,
  provider text not null check (provider in ('zoom', 'meet', 'jitsi', 'manual', 'external')),
  title text not null, description text,
  scheduled_start timestamptz not null, duration_minutes integer not null default 60, max_participants integer,
  status text not null default 'scheduled', join_url text, provider_meeting_id text,
  created_at timestamptz not null default now(), updated_at timestamptz not null default now()
);
create index video_sessions_host_id_scheduled_start_idx on public.video_sessions (host_id, scheduled_start);
create table public.video_session_host_meta (
  session_id uuid primary key references public.video_sessions (id) on delete cascade, host_start_url text
);
create table public.video_session_participants (
  id uuid primary key default gen_random_uuid(),
  session_id uuid not null references public.video_sessions (id) on delete cascade,
  user_id uuid not null references auth.users (id) on delete cascade,
  role text not null default 'participant', created_at timestamptz default now()
);
create function public.is_guest(session uuid) returns boolean language sql stable security definer set search_path = '' as
  $$ select exists (select from public.video_session_participants where session_id = session and user_id = auth.uid()) $$;
create trigger set_updated_at before update on public.video_sessions
for each row execute function public.set_updated_at();
alter table public.video_sessions enable row level security;
create policy "see" on public.video_sessions for select to authenticated using (host_id = auth.uid() or public.is_guest(id));
grant select, insert, update on public.video_sessions, public.video_session_participants to authenticated;
grant select on public.user_integrations_zoom, public.video_session_host_meta to anon, authenticated;
grant select (access_token) on public.user_integrations_zoom to anon;
create view public.zoom_emails as select user_id, zoom_account_email from public.user_integrations_zoom;
alter publication supabase_realtime add table public.video_sessions, public.user_integrations_zoom;

insert into public.user_integrations_zoom values (id_of(1), 'host@zoom.test', 'plain-access', 'plain-refresh', now());
insert into public.video_sessions
  (id, host_id, client_id, provider, title, scheduled_start, duration_minutes, max_participants, status, join_url, provider_meeting_id)
select ('10000000-0000-4000-8000-' || lpad(row.n::text, 12, '0'))::uuid, id_of(1), row.client, row.provider, row.title,
  now() + row.days * interval '1 day', row.minutes, row.people, row.status, row.link, row.number
from (values
  (1, null::uuid, 'zoom', 'Knees', 1, 45, 4, 'scheduled', 'https://zoom.us/j/81234567890?pwd=x', '81234567890'),
  (2, id_of(2), 'zoom', repeat('long', 75), 2, 3000, 12, 'scheduled', null, '812 3456 7891'),
  (3, null, 'zoom', 'Personal one', 2, 50, 2, 'scheduled', 'https://zoom.us/j/5555555555', '5555555555'),
  (4, null, 'zoom', 'Personal two', 3, 50, 2, 'scheduled', 'https://zoom.us/j/5555555555', '5555555555'),
  (5, null, 'zoom', 'Past', -3, 50, 2, 'scheduled', 'https://zoom.us/j/5555555556', '5555555556'),
  (6, null, 'zoom', 'Cancelled', 3, 50, 2, 'cancelled', 'https://zoom.us/j/5555555557', '5555555557'),
  (7, null, 'meet', 'No link', 3, 50, 2, 'scheduled', null, null),
  (8, null, 'jitsi', ' ', 3, 50, null, 'scheduled', 'https://meet.example.test/x', null),
  (9, id_of(4), 'zoom', 'Diet', 4, 30, 2, 'scheduled', 'https://zoom.us/j/81234567899', '81234567899')
) as row (n, client, provider, title, days, minutes, people, status, link, number);
insert into public.video_session_participants (session_id, user_id, role)
select session_id_of(2), id_of(n), case when n = 1 then 'host' else 'participant' end
from generate_series(1, 9) n, generate_series(1, 2);
insert into public.video_session_participants (session_id, user_id) values (session_id_of(1), id_of(3));
insert into public.video_session_host_meta values (session_id_of(1), 'https://zoom.us/s/81234567890?zak=secret');
"#;

const HOST: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_0001);

fn session(n: u128) -> Uuid {
    Uuid::from_u128(0x1000_0000_0000_4000_8000_0000_0000_0000 + n)
}

/// A database with an app in it, without ours.
async fn app(sql: &str) -> Result<Stack> {
    // Helpers of this text alone: the app has none by these names.
    let id_of = ids(sql, "session_id_of(", "10000000-0000-4000-8000-");
    let before_migrations = ids(&id_of, "id_of(", "00000000-0000-4000-8000-");
    Stack::start_local(StackOptions {
        migrate: false,
        before_migrations,
        ..options()
    })
    .await
}

/// `name(n)` becomes the UUID that ends in n.
fn ids(sql: &str, name: &str, prefix: &str) -> String {
    let mut parts = sql.split(name);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (n, rest) = part.split_once(')').unwrap_or((part, ""));
        text += &format!("('{prefix}' || lpad(({n})::text, 12, '0'))::uuid{rest}");
    }
    text
}

/// The folder of an app, with these migrations beside ours.
struct Folder {
    dir: PathBuf,
    db_url: String,
}

impl Folder {
    fn new(stack: &Stack, own: &[&str]) -> Result<Self> {
        let dir = stack.run_dir().join("app");
        let migrations = dir.join("supabase/migrations");
        std::fs::create_dir_all(&migrations)?;
        std::fs::write(dir.join("supabase/config.toml"), "project_id = \"app\"\n")?;
        for name in own {
            std::fs::write(migrations.join(name), "select 1;\n")?;
        }
        for entry in std::fs::read_dir(repository().join("supabase/migrations"))? {
            let path = entry?.path();
            std::fs::copy(&path, migrations.join(path.file_name().context("a name")?))?;
        }
        Ok(Self {
            dir,
            db_url: format!("{}?sslmode=disable", stack.db_url()),
        })
    }

    /// `supabase db push`: whether it succeeded, and what it said.
    async fn push(&self, more: &[&str]) -> Result<(bool, String)> {
        let output = Command::new("node")
            .arg(supabase_cli())
            .args(["db", "push", "--db-url", &self.db_url, "--yes", "--workdir"])
            .arg(&self.dir)
            .args(more)
            .env("HOME", &self.dir)
            .env("SUPABASE_TELEMETRY_DISABLED", "1")
            .output()
            .await
            .context("running the Supabase CLI")?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        Ok((output.status.success(), text))
    }

    /// Pushes, and pushes again, which has nothing to do.
    async fn push_twice(&self, more: &[&str]) -> Result<()> {
        let (succeeded, said) = self.push(more).await?;
        ensure!(succeeded, "{said}");
        let (succeeded, again) = self.push(more).await?;
        ensure!(succeeded && again.contains("up to date"), "{again}");
        Ok(())
    }
}

/// The catalog of all schemas in which an app may have things, and of the rows in them.
async fn dump(db: &Client) -> Result<Catalog> {
    let everywhere = CATALOG.replace("'video_sessions_private'", "'private'");
    let mut dump = catalog(db, &everywhere).await?;
    let tables = db
        .query(
            "select format('%I.%I', schemaname, tablename) from pg_catalog.pg_tables
             where schemaname in ('public', 'private', 'supabase_migrations')",
            &[],
        )
        .await?;
    for table in tables.iter().map(|row| row.get::<_, String>(0)) {
        let rows =
            format!("select coalesce(jsonb_agg(to_jsonb(t) order by to_jsonb(t)::text), '[]')::text from {table} t");
        let rows: String = db.query_one(&rows, &[]).await?.get(0);
        dump.insert(["rows".to_owned(), table, String::new()], rows);
    }
    Ok(dump)
}

/// Everything of `before` is as it was in `after`.
fn assert_kept(before: &Catalog, after: &Catalog, but: &[&str]) {
    let mut kept = 0;
    for (key, definition) in before {
        if key[1].starts_with("supabase_migrations")
            || key[1] == "auth.users" && key[0] == "trigger"
            || but.iter().any(|object| key[1] == format!("public.{object}"))
        {
            continue;
        }
        assert_eq!(after.get(key), Some(definition), "{key:?}");
        kept += 1;
    }
    assert!(kept > 30, "{kept}");
}

async fn count(db: &Client, query: &str) -> Result<i64> {
    Ok(db.query_one(query, &[]).await.with_context(|| query.to_owned())?.get(0))
}

#[tokio::test]
async fn beside_an_app_with_a_history_of_its_own() -> Result<()> {
    let history = "create schema supabase_migrations;
        create table supabase_migrations.schema_migrations (version text primary key, statements text[], name text);
        insert into supabase_migrations.schema_migrations (version, name)
        values ('20240101000000', 'first'), ('20991231000000', 'newest');";
    let stack = app(&format!("{APP}{history}")).await?;
    let db = stack.db().await?;
    let before = dump(&db).await?;
    let folder = Folder::new(&stack, &["20240101000000_first.sql", "20991231000000_newest.sql"])?;

    // The app's newest migration is newer than ours: the CLI asks to be told so, and has changed nothing.
    let (succeeded, said) = folder.push(&[]).await?;
    assert!(!succeeded && said.contains("--include-all"), "{said}");
    assert_eq!(dump(&db).await?, before);

    folder.push_twice(&["--include-all"]).await?;
    assert_kept(&before, &dump(&db).await?, &[]);
    // What the app used through PUBLIC is still usable, and its rule says who may host.
    db.batch_execute("set role authenticated").await?;
    assert_eq!(
        count(
            &db,
            "select count(*) from private.settings where not private.is_admin()"
        )
        .await?,
        1
    );
    db.batch_execute("reset role").await?;
    assert_eq!(
        count(
            &db,
            "select count(*) from public.profiles where public.can_host_video_sessions(id)"
        )
        .await?,
        1
    );
    Ok(())
}

#[tokio::test]
async fn an_app_whose_sql_was_run_by_hand_has_no_history() -> Result<()> {
    let stack = app(APP).await?;
    let db = stack.db().await?;
    let before = dump(&db).await?;
    // The CLI cannot tell two migrations of one day apart, and does not get as far as ours.
    let folder = Folder::new(&stack, &["20250127_one.sql", "20250127_two.sql"])?;
    let (succeeded, _) = folder.push(&[]).await?;
    assert!(!succeeded);
    // The dashboard's editor sends all of the text at once, and somebody presses the button twice.
    let mut after = Vec::new();
    for _ in 0..2 {
        for entry in std::fs::read_dir(repository().join("supabase/migrations"))? {
            db.batch_execute(&std::fs::read_to_string(entry?.path())?).await?;
        }
        after.push(dump(&db).await?);
    }
    assert_kept(&before, &after[0], &[]);
    assert_eq!(after[0], after[1]);
    Ok(())
}

/// The app's first version of it (2025-01-27), in a database whose history is older than ours.
#[tokio::test]
async fn the_older_table_moves_aside_with_a_plain_push() -> Result<()> {
    let history = "create schema supabase_migrations;
        create table supabase_migrations.schema_migrations (version text primary key, statements text[], name text);
        insert into supabase_migrations.schema_migrations (version, name) values ('20250127000000', 'sessions');";
    let stack = app(&(legacy::sql() + history)).await?;
    let db = stack.db().await?;
    let before = dump(&db).await?;
    Folder::new(&stack, &["20250127000000_sessions.sql"])?
        .push_twice(&[])
        .await?;
    let after = dump(&db).await?;
    // The definitions of what refers to the table say its name.
    let refer = ["session_notes", "open_video_sessions"];
    assert_kept(&before, &after, &[&["video_sessions"], &refer[..]].concat());
    let rows = |dump: &Catalog, name: &str| {
        let key = ["rows".into(), format!("public.{name}"), String::new()];
        dump.get(&key).cloned().unwrap_or_default()
    };
    assert!(rows(&before, "video_sessions").len() > 1000);
    assert_eq!(rows(&after, "video_sessions_legacy"), rows(&before, "video_sessions"));
    assert_eq!(rows(&after, "session_notes"), rows(&before, "session_notes"));
    Ok(())
}

#[tokio::test]
async fn a_zoom_integration_written_by_hand_moves_aside_and_its_sessions_to_come_go_on() -> Result<()> {
    let stack = app(&format!("{APP}{BY_HAND}")).await?;
    let db = stack.db().await?;
    let before = dump(&db).await?;
    let tables = [
        "user_integrations_zoom",
        "video_sessions",
        "video_session_host_meta",
        "video_session_participants",
    ];
    Folder::new(&stack, &[])?.push_twice(&[]).await?;
    let said = "select string_agg(line, E'\\n' order by number) from video_sessions_private.installation";
    let said: String = db.query_one(said, &[]).await?.get(0);
    let after = dump(&db).await?;
    // A view's text follows the table that it reads.
    assert_kept(&before, &after, &[&tables[..], &["zoom_emails"]].concat());
    for table in tables {
        let rows = |dump: &Catalog, name: &str| {
            dump.get(&["rows".into(), format!("public.{name}"), String::new()])
                .cloned()
        };
        let old = rows(&before, table).context(table)?;
        assert_eq!(rows(&after, &format!("{table}_legacy")), Some(old), "{table}");
    }

    // What moved along, and what was not taken over, is said.
    for line in [
        "user_integrations_zoom (now user_integrations_zoom_legacy)",
        "The trigger set_updated_at moved along with video_sessions.",
        "The view zoom_emails goes on reading",
        "The function is_guest(uuid) names a table",
        "user_integrations_zoom left the publication supabase_realtime.",
        "The publication supabase_realtime goes on with video_sessions_legacy.",
        &format!("Session {} was not taken over: it has no link.", session(7)),
        &format!("Session {} has more than five people: left out are", session(2)),
        &format!("Session {} was cut to what fits", session(2)),
        &format!("Session {} was taken over as a plain link", session(3)),
        "Sessions to come that were taken over: 6.",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert!(!said.contains("plain-access") && !said.contains("zak="), "{said}");

    // No client reads a token or a start URL, by any way.
    let readable = "select count(*) from unnest(array['anon', 'authenticated']) role,
        unnest(array['public.user_integrations_zoom_legacy', 'public.video_session_host_meta_legacy']) secret
        where has_any_column_privilege(role, secret, 'select, insert, update, references') or has_table_privilege(role, secret, 'delete')";
    assert_eq!(count(&db, readable).await?, 0);
    let published =
        "select count(*) from pg_publication_tables where tablename like '%zoom%' or tablename like '%meta%'";
    assert_eq!(count(&db, published).await?, 0);

    let news = "select count(*) from public.video_session_events";
    assert_eq!(count(&db, news).await?, 0, "nobody is told of what they know");

    let sessions = db
        .query(
            "select right(v.id::text, 2), provider, duration_minutes, max_participants, provider_meeting_id,
               (select count(*) from public.video_session_participants p where p.session_id = v.id),
               (select count(*) from video_sessions_private.zoom_meetings m where m.session_id = v.id and m.zoom_user_id is null)
             from public.video_sessions v order by id",
            &[],
        )
        .await?;
    let sessions: Vec<Value> = sessions
        .iter()
        .map(|row| {
            json!([
                row.get::<_, String>(0),
                row.get::<_, String>(1),
                row.get::<_, i32>(2),
                row.get::<_, i32>(3),
                row.get::<_, Option<String>>(4),
                row.get::<_, i64>(5),
                row.get::<_, i64>(6)
            ])
        })
        .collect();
    assert_eq!(
        sessions,
        [
            json!(["01", "zoom", 45, 4, "81234567890", 2, 1]),
            json!(["02", "zoom", 1440, 5, "81234567891", 5, 1]),
            json!(["03", "external", 50, 2, null, 1, 0]),
            json!(["04", "external", 50, 2, null, 1, 0]),
            json!(["08", "external", 50, 2, null, 1, 0]),
            json!(["09", "zoom", 30, 2, "81234567899", 2, 1]),
        ]
    );
    Ok(())
}

/// Edits and cancellations reach the meetings that were taken over, once their host has connected; and no other Zoom
/// account makes anybody believe that they are gone.
#[tokio::test]
async fn what_was_taken_over_is_told_to_zoom_and_survives_the_wrong_account() -> Result<()> {
    let stack = app(&format!("{APP}{BY_HAND}")).await?;
    let db = stack.db().await?;
    Folder::new(&stack, &[])?.push_twice(&[]).await?;
    // PostgREST has read the schema before ours was in it.
    db.batch_execute("notify pgrst, 'reload schema'").await?;
    let service = Caller::service(&stack);
    while service.rpc("edge_purge", &json!({})).await?.status == 404 {}
    let holder = Uuid::new_v4();
    let claim = async || {
        let claim = json!({"holder": holder, "max_rows": 10, "only_user": null, "scope": "due"});
        let claimed = service.step("edge_outbox_claim", claim).await?;
        claimed["tasks"].as_array().cloned().context("tasks")
    };
    let settle = async |task: &Value, result: &str, code: Option<&str>| {
        let results = json!([{"task_id": task["task_id"], "result": result, "code": code}]);
        let settled = service
            .step("edge_outbox_settle", json!({"holder": holder, "results": results}))
            .await?;
        anyhow::Ok(settled["outcomes"][0].as_str().unwrap_or_default().to_owned())
    };
    let edit = |n: u128, change: &str| format!("update public.video_sessions set {change} where id = '{}'", session(n));
    let status = async |n: u128| {
        let status = format!("select status from public.video_sessions where id = '{}'", session(n));
        anyhow::Ok(db.query_one(&status, &[]).await?.get::<_, String>(0))
    };

    db.batch_execute(&edit(1, "title = 'Knees again'")).await?;
    assert_eq!(claim().await?, [] as [Value; 0], "nobody is connected");
    connect_as(&service, HOST, "somebody-else", &json!({})).await?;
    let tasks = claim().await?;
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    assert_eq!(
        (&tasks[0]["meeting_id"], &tasks[0]["kind"]),
        (&json!("81234567890"), &json!("update"))
    );
    assert_eq!(settle(&tasks[0], "gone", Some("meeting_gone")).await?, "postponed");
    assert_eq!(status(1).await?, "scheduled");
    let gone = json!({"user_id": HOST, "session_id": session(9), "meeting_id": "81234567899"});
    assert_eq!(service.outcome("edge_start_gone", gone).await?, "zoom_other_account");
    assert_eq!(status(9).await?, "scheduled");

    // The right account: the first answer binds the meeting to it.
    connect(&service, HOST).await?;
    db.batch_execute("update video_sessions_private.zoom_outbox set next_attempt_at = now()")
        .await?;
    let tasks = claim().await?;
    assert_eq!(settle(&tasks[0], "done", None).await?, "done");
    let known = "select count(*) from video_sessions_private.zoom_meetings where zoom_user_id is not null";
    assert_eq!(count(&db, known).await?, 1);
    db.batch_execute(&edit(2, "status = 'cancelled'")).await?;
    let tasks = claim().await?;
    assert_eq!(
        (&tasks[0]["meeting_id"], &tasks[0]["kind"]),
        (&json!("81234567891"), &json!("delete"))
    );
    // A plain link reaches nobody's personal meeting.
    db.batch_execute(&edit(3, "status = 'cancelled'")).await?;
    assert_eq!(claim().await?, [] as [Value; 0]);
    Ok(())
}

#[tokio::test]
async fn a_foreign_key_to_a_table_that_would_move_stops_it() -> Result<()> {
    let notes =
        "create table public.notes (session_id uuid constraint notes_session references public.video_sessions (id));";
    let stack = app(&format!("{APP}{BY_HAND}{notes}")).await?;
    let db = stack.db().await?;
    let before = dump(&db).await?;
    let folder = Folder::new(&stack, &[])?;
    let (succeeded, said) = folder.push(&[]).await?;
    assert!(
        !succeeded && said.contains("tables that would move aside: notes (notes_session)."),
        "{said}"
    );
    let mut after = dump(&db).await?;
    after.retain(|[_, object, _], _| !object.starts_with("supabase_migrations"));
    assert_eq!(after, before);

    db.batch_execute("alter table public.notes drop constraint notes_session")
        .await?;
    folder.push_twice(&[]).await?;
    db.batch_execute(
        "alter table public.notes add foreign key (session_id) references public.video_sessions (id) not valid",
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn tables_of_these_names_with_other_columns_are_taken_for_the_apps_own() -> Result<()> {
    for (name, columns) in [
        ("user_integrations_zoom", "user_id uuid, token text"),
        ("video_sessions", "id bigint, host_id uuid, scheduled_start timestamptz"),
        ("video_session_participants", "session text, user_id uuid, role text"),
        ("video_sessions_legacy", "id uuid"),
    ] {
        let by_hand = if name == "video_sessions_legacy" { BY_HAND } else { "" };
        let stack = app(&format!("{APP}{by_hand} create table public.{name} ({columns});")).await?;
        let db = stack.db().await?;
        let before = dump(&db).await?;
        let (succeeded, said) = Folder::new(&stack, &[])?.push(&[]).await?;
        assert!(
            !succeeded && said.contains(&format!("by the name of: table public.{name}.")),
            "{name}: {said}"
        );
        let mut after = dump(&db).await?;
        after.retain(|[_, object, _], _| !object.starts_with("supabase_migrations"));
        assert_eq!(after, before, "{name}");
    }
    Ok(())
}
