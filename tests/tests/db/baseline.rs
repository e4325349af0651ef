//! The baseline migration: made from `supabase/schemas/`, and all or nothing in each way that people run it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::catalog::{catalog, Catalog, CATALOG};
use crate::support::db::options;
use crate::support::supabase_cli;
use anyhow::{ensure, Context, Result};
use local_stack::{repository, Stack, StackOptions};
use tokio::process::Command;
use tokio_postgres::{Client, SimpleQueryMessage};

/// What the seed brings, for local databases only.
const SEEDED: &str = "public.video_session_contacts";

/// A database with what the platform brings and `before`.
async fn bare(before: &str) -> Result<Stack> {
    Stack::start_local(StackOptions {
        migrate: false,
        before_migrations: before.to_owned(),
        ..options()
    })
    .await
}

/// The SQL files of a folder in `supabase/`, in their order.
fn sql_files(folder: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(repository().join("supabase").join(folder))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn baseline() -> Result<String> {
    let first = sql_files("migrations")?.into_iter().next().context("no migration")?;
    Ok(std::fs::read_to_string(first)?)
}

/// What the database has of ours, without the seed.
async fn schema(db: &Client) -> Result<Catalog> {
    let mut schema = catalog(db, CATALOG).await?;
    schema.retain(|[_, object, _], _| object != SEEDED);
    Ok(schema)
}

fn assert_same(one: &Catalog, other: &Catalog) {
    assert!(one.len() > 250, "{}", one.len());
    for (key, definition) in one {
        assert_eq!(other.get(key), Some(definition), "{key:?}");
    }
    assert_eq!(one.len(), other.len());
}

/// `supabase migration up` on the stack's database, as the role that the platform gives to operators.
async fn migration_up(stack: &Stack) -> Result<String> {
    let db_url = format!("{}?sslmode=disable", stack.db_url());
    let output = Command::new("node")
        .arg(supabase_cli())
        .args(["migration", "up", "--yes", "--db-url", &db_url, "--workdir"])
        .arg(repository())
        .env("HOME", stack.run_dir())
        .env("SUPABASE_TELEMETRY_DISABLED", "1")
        .output()
        .await
        .context("running the Supabase CLI")?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(
        output.status.success(),
        "supabase migration up: {}\n{text}",
        output.status
    );
    Ok(text)
}

/// The versions and names of the migrations that the database says it has.
async fn recorded(db: &Client) -> Result<Vec<[String; 2]>> {
    let all = "select version, name from supabase_migrations.schema_migrations order by version";
    let rows = db.query(all, &[]).await?;
    Ok(rows.iter().map(|row| [row.get(0), row.get(1)]).collect())
}

/// Runs statement by statement, each in a transaction of its own, and goes on after errors: as `psql -f` does.
async fn run_as_psql(db: &Client, path: &Path) -> Result<(String, Vec<String>)> {
    let text = std::fs::read_to_string(path)?;
    let (block, last) = text.split_at(text.find("$video_sessions$;").context("the block's end")? + 17);
    let mut errors = Vec::new();
    if let Err(error) = db.batch_execute(block).await {
        errors.push(error.as_db_error().context("a refusal")?.message().to_owned());
    }
    let shown = db.simple_query(last).await?;
    let said = shown.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok((said.context("nothing was said")?, errors))
}

#[tokio::test]
async fn schemas_and_migrations_make_the_same_database() -> Result<()> {
    let (from_schemas, from_migrations) = tokio::try_join!(bare(""), Stack::start_local(options()))?;
    let db = from_schemas.db().await?;
    for path in sql_files("schemas")? {
        let text = std::fs::read_to_string(&path)?;
        db.batch_execute(&text)
            .await
            .with_context(|| path.display().to_string())?;
    }
    assert_same(&schema(&db).await?, &schema(&from_migrations.db().await?).await?);
    Ok(())
}

#[tokio::test]
async fn the_supabase_cli_applies_them_and_then_has_nothing_to_do() -> Result<()> {
    let (bare, ours) = tokio::try_join!(bare(""), Stack::start_local(options()))?;
    let (db, migrated) = tokio::try_join!(bare.db(), ours.db())?;

    let first = migration_up(&bare).await?;
    let versions = recorded(&db).await?;
    assert!(!versions.is_empty());
    for [version, name] in &versions {
        assert!(first.contains(&format!("{version}_{name}.sql")), "{version}: {first}");
    }
    assert_eq!(versions, recorded(&migrated).await?);
    let applied = schema(&db).await?;
    assert_same(&schema(&migrated).await?, &applied);

    let second = migration_up(&bare).await?;
    assert!(!second.contains(".sql"), "{second}");
    assert_eq!(schema(&db).await?, applied);
    assert_eq!(recorded(&db).await?, versions);
    Ok(())
}

#[tokio::test]
async fn by_psql_it_is_applied_once_and_says_so() -> Result<()> {
    let stack = bare("").await?;
    let (db, path) = (stack.db().await?, sql_files("migrations")?.remove(0));
    let (said, errors) = run_as_psql(&db, &path).await?;
    assert_eq!(
        (said.as_str(), errors.len()),
        ("Video Sessions is installed.", 0),
        "{errors:?}"
    );
    let applied = schema(&db).await?;
    let (said, errors) = run_as_psql(&db, &path).await?;
    assert_eq!(
        (said.as_str(), errors.len()),
        ("Video Sessions is there already: nothing was changed.", 0),
        "{errors:?}"
    );
    assert_eq!(schema(&db).await?, applied);
    // Another connection has nothing of the run in its memory.
    let last = std::fs::read_to_string(&path)?;
    let (_, last) = last.split_once("$video_sessions$;").context("the block's end")?;
    let shown = stack.db().await?.simple_query(last).await?;
    let said = shown.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    assert_eq!(said, Some("Video Sessions is installed."));
    Ok(())
}

/// Whether a project gives the API's roles everything or nobody anything by default.
#[tokio::test]
async fn what_a_project_grants_by_default_makes_no_difference() -> Result<()> {
    let generous = "alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
                    alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;";
    let sparing = "alter default privileges revoke execute on functions from public;
                   alter default privileges in schema public revoke all on functions from anon, authenticated, service_role;
                   alter default privileges revoke usage on types from public;";
    let (usual, generous, sparing) = tokio::try_join!(bare(""), bare(generous), bare(sparing))?;
    let path = sql_files("migrations")?.remove(0);
    let mut made = Vec::new();
    for stack in [usual, generous, sparing] {
        let db = stack.db().await?;
        let (_, errors) = run_as_psql(&db, &path).await?;
        assert!(errors.is_empty(), "{errors:?}");
        // Who may do what, however it is written down.
        let may = "
            select format('%s %s %s', r.rolname, c.oid::regclass, privilege)
            from pg_roles r, pg_class c, unnest(array['select', 'insert', 'update', 'delete', 'truncate']) privilege
            where r.rolname in ('anon', 'authenticated', 'service_role') and c.relkind in ('r', 'S')
              and c.relnamespace in ('public'::regnamespace, 'video_sessions_private'::regnamespace)
              and case c.relkind when 'r' then has_table_privilege(r.oid, c.oid, privilege)
                else privilege in ('select', 'update') and has_sequence_privilege(r.oid, c.oid, privilege) end
            union all
            select format('%s %s', r.rolname, p.oid::regprocedure)
            from pg_roles r, pg_proc p
            where r.rolname in ('anon', 'authenticated', 'service_role') and has_function_privilege(r.oid, p.oid, 'execute')
              and p.pronamespace in ('public'::regnamespace, 'video_sessions_private'::regnamespace)
            order by 1";
        let rows = db.query(may, &[]).await?;
        made.push(rows.iter().map(|row| row.get(0)).collect::<Vec<String>>());
    }
    assert!(made[0].len() > 40, "{:?}", made[0]);
    assert_eq!(made[0], made[1]);
    assert_eq!(made[0], made[2]);
    Ok(())
}

/// The names that the baseline looks for before it begins: their kinds, and with their schemas.
fn names(baseline: &str) -> Result<Vec<(&str, &str)>> {
    let (names, _) = baseline.split_once("execute $schemas$").context("the schemas")?;
    let pairs = names
        .lines()
        .filter_map(|line| line.trim().strip_prefix("('")?.split_once("', '"));
    let names: Vec<_> = pairs
        .map(|(kind, name)| (kind, name.trim_end_matches(',').trim_end_matches("')")))
        .collect();
    ensure!(names.len() > 50, "{names:?}");
    Ok(names)
}

/// Whatever it puts where an app has things of its own is among the names that it looks for first. PostgreSQL itself
/// finds free names for the indexes of keys and for the sequences of identity columns.
#[tokio::test]
async fn no_name_is_taken_without_looking_first() -> Result<()> {
    let stack = bare("").await?;
    let (db, text) = (stack.db().await?, baseline()?);
    let named = r"
        select 'schema', nspname::text from pg_namespace where nspname !~ '^pg_'
        union select 'table', format('public.%s', relname) from pg_class
        where relnamespace = 'public'::regnamespace and relkind not in ('i', 'I')
          and not exists (select from pg_depend where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype = 'i')
        union select 'index', format('public.%s', relname) from pg_class
        where relnamespace = 'public'::regnamespace and relkind in ('i', 'I')
          and not exists (select from pg_constraint where conindid = pg_class.oid)
        union select 'function', format('public.%s', proname) from pg_proc where pronamespace = 'public'::regnamespace
        union select 'type', format('public.%s', typname) from pg_type
        where typnamespace = 'public'::regnamespace and typrelid = 0 and typelem = 0
        union select 'trigger', format('%s.%s', tgrelid::regclass, tgname) from pg_trigger
        join pg_class on pg_class.oid = tgrelid
        where not tgisinternal and relnamespace not in (
          select oid from pg_namespace where nspname in ('public', 'video_sessions_private')
        )
        union select 'event trigger', evtname from pg_event_trigger
        union select 'publication', pubname from pg_publication
        union select 'role', rolname from pg_roles
        union select 'setting', setconfig::text from pg_db_role_setting";
    let made = async || {
        let rows = db.query(named, &[]).await?;
        anyhow::Ok(
            rows.iter()
                .map(|row| (row.get(0), row.get(1)))
                .collect::<BTreeSet<(String, String)>>(),
        )
    };
    let before = made().await?;
    db.batch_execute(&text).await?;
    let looked_for: BTreeSet<_> = names(&text)?
        .iter()
        .map(|(kind, name)| ((*kind).to_owned(), (*name).to_owned()))
        .collect();
    let made: BTreeSet<_> = made().await?.difference(&before).cloned().collect();
    assert_eq!(made, looked_for);
    Ok(())
}

/// Something else by each name that the baseline creates: it says which, in one sentence, and leaves the database as it
/// was.
#[tokio::test]
async fn a_name_that_is_taken_stops_it() -> Result<()> {
    let stack = bare("").await?;
    let db = stack.db().await?;
    let text = baseline()?;
    let mut tried = 0;
    for (kind, name) in names(&text)? {
        let bare_name = name.rsplit('.').next().unwrap_or(name);
        let mut takers = match kind {
            "schema" => vec![format!("create schema {name}")],
            "table" => vec![
                format!("create table {name} (mine text)"),
                format!("create view {name} as select 1 as mine"),
                format!("create type {name} as enum ('mine')"),
            ],
            "index" => vec![format!(
                "create table public.mine (mine text); create index {bare_name} on public.mine (mine)"
            )],
            "function" => vec![format!(
                "create function {name}(mine text) returns text language sql as $$ select mine $$"
            )],
            "trigger" => vec![format!(
                "create function public.mine() returns trigger language plpgsql as $$ begin return null; end $$;
                 create trigger {bare_name} after delete on auth.users for each row execute function public.mine()"
            )],
            other => anyhow::bail!("a kind that nobody knows: {other}"),
        };
        for taker in takers.drain(..) {
            db.batch_execute(&format!("begin; {taker};"))
                .await
                .context(taker.clone())?;
            let before = catalog(&db, CATALOG).await?;
            db.batch_execute("savepoint before").await?;
            let refused = db.batch_execute(&text).await.err().context(taker.clone())?;
            let message = refused
                .as_db_error()
                .map(|error| error.message().to_owned())
                .unwrap_or_default();
            assert!(message.contains(name) && !message.contains('\n'), "{taker}: {message}");
            db.batch_execute("rollback to before").await?;
            assert_eq!(catalog(&db, CATALOG).await?, before, "{taker}");
            db.batch_execute("rollback").await?;
            tried += 1;
        }
    }
    assert!(tried > 50, "{tried}");
    Ok(())
}
