//! The edge functions: processes of workerd or Deno, each of which serves all of them, and each under a Node process
//! that sets it up.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{bail, Result};
use serde_json::{json, Value};
use tokio::sync::watch;

use crate::places;
use crate::processes::{Process, Processes};

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What either script prints, with its address, as soon as it takes requests.
const READY: &str = "listening on ";

/// What runs the edge functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EdgeRuntime {
    /// As on Cloudflare; needs `cargo xtask build --for cloudflare`.
    #[default]
    Workerd,
    /// As on Supabase; needs `cargo xtask build --for supabase`.
    Deno,
}

impl EdgeRuntime {
    /// What the variable `EDGE_RUNTIME` names, `workerd` or `deno`; without it, workerd.
    ///
    /// # Errors
    /// If it names something else.
    pub fn from_env() -> Result<Self> {
        Ok(match std::env::var("EDGE_RUNTIME").as_deref() {
            Err(_) | Ok("" | "workerd") => Self::Workerd,
            Ok("deno") => Self::Deno,
            Ok(other) => bail!("EDGE_RUNTIME is `workerd` or `deno`, not `{other}`"),
        })
    }

    /// Its name, as in `EDGE_RUNTIME`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Workerd => "workerd",
            Self::Deno => "deno",
        }
    }

    fn script(self) -> &'static str {
        match self {
            Self::Workerd => "edge/local-workers.mjs",
            Self::Deno => "edge/local-deno.mjs",
        }
    }
}

/// One process that serves the functions.
pub(crate) struct Worker {
    pub(crate) address: SocketAddr,
    process: Process,
}

impl Worker {
    /// Starts a process and waits until it takes requests. The functions see `env` and reach the world through the
    /// forward proxy `egress`, but for the origins in `outside`. Deno serves those in the folder `functions`, by
    /// default the repository's.
    pub(crate) async fn start(
        processes: &Processes,
        runtime: EdgeRuntime,
        index: usize,
        env: &BTreeMap<String, String>,
        egress: SocketAddr,
        outside: &[String],
        functions: Option<&Path>,
    ) -> Result<Self> {
        let config = json!({"env": env, "egress": egress, "outside": outside, "functions": functions});
        Self::start_with(processes, runtime, &format!("workers-{index}"), &config).await
    }

    /// The same of a configuration as `edge/local-workers.mjs` describes it.
    pub(crate) async fn start_with(
        processes: &Processes,
        runtime: EdgeRuntime,
        name: &str,
        config: &Value,
    ) -> Result<Self> {
        let text = config.to_string();
        let config = processes.run_dir().join(format!("{name}.json"));
        places::write_private(&config, &text)?;

        let mut command = Command::new("node");
        command
            .arg(places::repository().join(runtime.script()))
            .arg(config)
            // Wrangler keeps files in its home and asks the network for news: neither is wanted here.
            .env("HOME", processes.run_dir())
            .env("XDG_CONFIG_HOME", processes.run_dir())
            .env("WRANGLER_SEND_METRICS", "false")
            .env("NO_COLOR", "1")
            .current_dir(processes.run_dir());
        let (found, mut address) = watch::channel(None);
        let process = processes.spawn(name, command, "KILL", move |line| {
            if let Some(address) = line.strip_prefix(READY) {
                found.send_replace(address.parse::<SocketAddr>().ok());
            }
        })?;
        // The sender goes with the process's output, so a process that ends early ends the wait.
        let ready = tokio::time::timeout(START_TIMEOUT, address.wait_for(Option::is_some)).await;
        let address = match ready {
            Ok(Ok(address)) => *address,
            _ => None,
        };
        match address {
            Some(address) => Ok(Self { address, process }),
            None => Err(process.not_ready()),
        }
    }

    /// The id of its Node process, whose child serves the functions.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Kills the process as it stands, requests and all.
    pub(crate) async fn kill(&self) -> Result<()> {
        self.process.kill().await
    }
}
