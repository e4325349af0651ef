//! The edge functions: workerd processes, each of which serves all of them, and each under a Node process that sets it up.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tokio::sync::watch;

use crate::places;
use crate::processes::{Process, Processes};

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What `edge/local-workers.mjs` prints, with its address, as soon as it takes requests.
const READY: &str = "listening on ";

/// One process that serves the functions.
pub(crate) struct Worker {
    pub(crate) address: SocketAddr,
    process: Process,
}

impl Worker {
    /// Starts a process and waits until it takes requests. The functions see `env` and reach the world through the forward
    /// proxy `egress`.
    pub(crate) async fn start(
        processes: &Processes,
        index: usize,
        env: &BTreeMap<String, String>,
        egress: SocketAddr,
    ) -> Result<Self> {
        let name = format!("workers-{index}");
        let config = processes.run_dir().join(format!("{name}.json"));
        let text = json!({"env": env, "egress": egress}).to_string();
        places::write_private(&config, &text)?;

        let mut command = Command::new("node");
        command
            .arg(places::repository().join("edge/local-workers.mjs"))
            .arg(config)
            // Wrangler keeps files in its home and asks the network for news: neither is wanted here.
            .env("HOME", processes.run_dir())
            .env("XDG_CONFIG_HOME", processes.run_dir())
            .env("WRANGLER_SEND_METRICS", "false")
            .env("NO_COLOR", "1")
            .current_dir(processes.run_dir());
        let (found, mut address) = watch::channel(None);
        let process = processes.spawn(&name, command, "KILL", move |line| {
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

    /// Kills the process as it stands, requests and all.
    pub(crate) async fn kill(&self) -> Result<()> {
        self.process.kill().await
    }
}
