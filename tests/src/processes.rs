//! The stack's child processes: each in a process group of its own, its output collected line by line, and all of them
//! ended by the reaper, a small shell process that outlives this one if this one is killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{mpsc, Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{kill_process, kill_process_group, Pid, Signal};
use tokio::sync::watch;

use crate::places;

/// What becomes of the log lines and of the gateway's record of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Kept in memory, for a test to look at.
    #[default]
    Keep,
    /// Printed to standard output as they come.
    Print,
}

/// Where every line goes that a part of the stack has to say.
#[derive(Clone, Default)]
pub(crate) struct Logs {
    output: Output,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Logs {
    pub(crate) fn new(output: Output) -> Self {
        Self {
            output,
            lines: Arc::default(),
        }
    }

    pub(crate) fn line(&self, source: &str, text: &str) {
        let line = format!("{source}: {text}");
        match self.output {
            Output::Print => println!("{line}"),
            Output::Keep => self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line),
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last words of one source, to explain why it did not start.
    fn last_lines(&self, source: &str) -> String {
        let prefix = format!("{source}: ");
        let lines = self.lines();
        let own: Vec<_> = lines.iter().filter(|l| l.starts_with(&prefix)).collect();
        own.iter()
            .skip(own.len().saturating_sub(12))
            .map(|l| format!("\n  {l}"))
            .collect()
    }
}

/// A child process. It is not ended on drop: the reaper sees to that.
pub(crate) struct Process {
    name: String,
    pid: Pid,
    status: watch::Receiver<Option<ExitStatus>>,
    logs: Logs,
}

impl Process {
    /// Its id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Its exit status, once it has ended.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        *self.status.borrow()
    }

    pub(crate) async fn wait(&self) -> Result<ExitStatus> {
        let mut status = self.status.clone();
        let ended = status.wait_for(Option::is_some).await?;
        ended.context("the exit status of a process that ended")
    }

    /// Signals the process alone, not its group.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid, signal).with_context(|| format!("signalling {}", self.name))
    }

    /// Kills the process and its children, and waits until it has gone.
    pub(crate) async fn kill(&self) -> Result<()> {
        if self.ended().is_none() {
            kill_process_group(self.pid, Signal::KILL).with_context(|| format!("killing {}", self.name))?;
            self.wait().await?;
        }
        Ok(())
    }

    /// The error for a process that ended, or was silent for too long, before it was ready.
    pub(crate) fn not_ready(&self) -> anyhow::Error {
        let state = match self.ended() {
            Some(status) => format!("ended with {status}"),
            None => "did not get ready in time".to_owned(),
        };
        anyhow::anyhow!("{} {state}{}", self.name, self.logs.last_lines(&self.name))
    }
}

/// All processes of one stack and the directory that they work in.
pub(crate) struct Processes {
    run_dir: PathBuf,
    logs: Logs,
    reaper: Child,
    to_reaper: Arc<Mutex<Option<ChildStdin>>>,
    waiters: Mutex<Vec<JoinHandle<()>>>,
}

impl Processes {
    /// Makes the run directory and starts the reaper that removes it in the end.
    pub(crate) fn new(logs: Logs) -> Result<Self> {
        let run_dir = places::create_run_dir()?;
        let mut reaper = Command::new("/bin/sh")
            .args(["-c", include_str!("reaper.sh"), "reaper"])
            .arg(&run_dir)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting the reaper, /bin/sh")?;
        let to_reaper = Arc::new(Mutex::new(reaper.stdin.take()));
        Ok(Self {
            run_dir,
            logs,
            reaper,
            to_reaper,
            waiters: Mutex::default(),
        })
    }

    pub(crate) fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    pub(crate) fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Starts `command`. `end` is the signal that ends it when the stack stops; `on_line` sees each line of its
    /// standard output.
    pub(crate) fn spawn(
        &self,
        name: &str,
        mut command: Command,
        end: &str,
        on_line: impl FnMut(&str) + Send + 'static,
    ) -> Result<Process> {
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {name}: {:?}", command.get_program()))?;
        let pid = Pid::from_child(&child);
        tell(&self.to_reaper, &format!("+{end} {}", child.id()));

        let stdout = child.stdout.take().context("standard output")?;
        let stderr = child.stderr.take().context("standard error")?;
        let (readers, all_read) = mpsc::channel::<()>();
        let (logs, source, reader) = (self.logs.clone(), name.to_owned(), readers.clone());
        std::thread::spawn(move || {
            read_lines(stdout, &logs, &source, on_line);
            drop(reader);
        });
        let (logs, source) = (self.logs.clone(), name.to_owned());
        std::thread::spawn(move || {
            read_lines(stderr, &logs, &source, |_| ());
            drop(readers);
        });
        let (ended, status) = watch::channel(None);
        let to_reaper = self.to_reaper.clone();
        let waiter = std::thread::spawn(move || {
            let status = child.wait();
            tell(&to_reaper, &format!("-{}", child.id()));
            // Its last words first; but a grandchild may hold the pipes open for longer.
            let _ = all_read.recv_timeout(Duration::from_secs(1));
            ended.send_replace(status.ok());
        });
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner).push(waiter);
        Ok(Process {
            name: name.to_owned(),
            pid,
            status,
            logs: self.logs.clone(),
        })
    }
}

impl Drop for Processes {
    /// Ends everything and waits for it: takes about a tenth of a second.
    fn drop(&mut self) {
        drop(self.to_reaper.lock().unwrap_or_else(PoisonError::into_inner).take());
        // There is nobody to report a failure to.
        let _ = self.reaper.wait();
        for waiter in std::mem::take(&mut *self.waiters.lock().unwrap_or_else(PoisonError::into_inner)) {
            let _ = waiter.join();
        }
    }
}

fn tell(reaper: &Mutex<Option<ChildStdin>>, line: &str) {
    if let Some(pipe) = reaper.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        // A reaper that is gone cannot be told; the stack still works.
        let _ = writeln!(pipe, "{line}");
    }
}

fn read_lines(from: impl Read, logs: &Logs, source: &str, mut on_line: impl FnMut(&str)) {
    let mut reader = BufReader::new(from);
    let mut bytes = Vec::new();
    while matches!(reader.read_until(b'\n', &mut bytes), Ok(n) if n > 0) {
        let line = String::from_utf8_lossy(&bytes);
        let line = line.trim_end();
        logs.line(source, line);
        on_line(line);
        bytes.clear();
    }
}
