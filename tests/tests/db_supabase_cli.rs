//! The migrations as operators apply them: with the Supabase CLI.

mod support;

use anyhow::{ensure, Context, Result};
use local_stack::{repository, Stack, StackOptions};
use support::catalog::{catalog, CATALOG};
use support::db::options;
use tokio::process::Command;
use tokio_postgres::Client;

/// What the seed brings, for local databases only.
const SEEDED: &str = "public.video_session_contacts";

/// `supabase migration up` on the stack's database, as the role that the platform gives to operators.
async fn migration_up(stack: &Stack) -> Result<String> {
    let db_url = format!("{}?sslmode=disable", stack.db_url());
    let output = Command::new("node")
        .arg(repository().join("node_modules/supabase/dist/supabase.js"))
        .args(["migration", "up", "--db-url", &db_url, "--workdir"])
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

#[tokio::test]
async fn the_supabase_cli_applies_them_and_then_has_nothing_to_do() -> Result<()> {
    let bare = StackOptions {
        migrate: false,
        ..options()
    };
    let (bare, ours) = tokio::try_join!(Stack::start_local(bare), Stack::start_local(options()))?;
    let (db, migrated) = tokio::try_join!(bare.db(), ours.db())?;

    let first = migration_up(&bare).await?;
    let (schema, versions) = (catalog(&db, CATALOG).await?, recorded(&db).await?);
    assert!(versions.len() > 7, "{versions:?}");
    for [version, name] in &versions {
        assert!(first.contains(&format!("{version}_{name}.sql")), "{version}: {first}");
    }
    assert_eq!(versions, recorded(&migrated).await?);
    let mut expected = catalog(&migrated, CATALOG).await?;
    expected.retain(|[_, object, _], _| object != SEEDED);
    assert!(expected.len() > 250, "{}", expected.len());
    for (key, definition) in &expected {
        assert_eq!(schema.get(key), Some(definition), "{key:?}");
    }
    assert_eq!(schema.len(), expected.len());

    let second = migration_up(&bare).await?;
    assert!(!second.contains(".sql"), "{second}");
    assert_eq!(catalog(&db, CATALOG).await?, schema);
    assert_eq!(recorded(&db).await?, versions);
    Ok(())
}
