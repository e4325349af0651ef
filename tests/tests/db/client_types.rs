//! The types that clients/typescript has of the database and of the functions, and the OpenAPI document under a linter.
//!
//! `UPDATE_CLIENT_TYPES=1` writes them.

use std::process::Command;

use crate::support::db::options;
use anyhow::{ensure, Result};
use local_stack::{repository, Stack};

#[tokio::test]
async fn the_types_are_those_of_the_database_and_of_the_document() -> Result<()> {
    let stack = Stack::start_local(options()).await?;
    let mut make = Command::new("node");
    make.arg(repository().join("tests/clients/types.mjs"))
        .env("DB_URL", stack.db_url());
    if std::env::var_os("UPDATE_CLIENT_TYPES").is_some() {
        make.env("UPDATE", "1");
    }
    let status = tokio::task::spawn_blocking(move || make.status()).await??;
    ensure!(status.success(), "see above");
    stack.stop().await
}
