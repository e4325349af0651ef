//! What a process has used, as Linux tells: it and all its children.

use std::fs;

use anyhow::{Context, Result};

/// A process and its children at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU of all threads, in microseconds.
    pub cpu_us: f64,
    /// Memory that is in use, in KB.
    pub rss_kb: f64,
}

/// What a process and its children have used so far.
pub fn usage(pid: u32) -> Result<Usage> {
    let mut sum = Usage::default();
    let mut pids = vec![pid];
    while let Some(pid) = pids.pop() {
        pids.extend(children(pid)?);
        sum.cpu_us += cpu_us(pid)?;
        sum.rss_kb += rss_kb(pid)?;
    }
    Ok(sum)
}

/// The children of a process.
pub fn children(pid: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("no process {pid}"))? {
        let text = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(children)
}

/// By the scheduler's own account of each thread, in nanoseconds. Threads that have ended are missing from it, which
/// those of a worker do not do.
fn cpu_us(pid: u32) -> Result<f64> {
    let mut nanoseconds = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let first = text
            .split_whitespace()
            .next()
            .and_then(|first| first.parse::<f64>().ok());
        nanoseconds += first.unwrap_or_default();
    }
    Ok(nanoseconds / 1_000.0)
}

fn rss_kb(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    Ok(number.unwrap_or_default())
}
