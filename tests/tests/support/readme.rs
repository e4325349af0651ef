//! The README's own commands, as a reader runs them.

use anyhow::{ensure, Context, Result};
use local_stack::{repository, Stack};
use serde_json::Value;
use tokio::process::Command;

/// The README as it is.
pub fn readme() -> Result<String> {
    std::fs::read_to_string(repository().join("README.md")).context("README.md")
}

/// "The whole path with curl", as it stands there.
fn path_with_curl() -> Result<String> {
    let readme = readme()?;
    let (_, rest) = readme.split_once("```sh\n").context("a block of commands")?;
    let (block, _) = rest.split_once("```").context("the block's end")?;
    ensure!(block.contains("zoom-oauth-start"), "the first block is another one");
    Ok(block.to_owned())
}

/// Runs "The whole path with curl" against this stack, and looks at all that it prints. `path` is the PATH to run it
/// with.
pub async fn run_path_with_curl(stack: &Stack, path: Option<&str>) -> Result<()> {
    // In place of `cargo xtask status`, which knows the stack of `cargo xtask dev` alone.
    let status = format!(
        "cargo() {{ test \"$*\" = 'xtask status -o env' && printf '%s\\n' 'API_URL=\"{}\"' 'PUBLISHABLE_KEY=\"{}\"'; }}\n",
        stack.url(),
        stack.publishable_key()
    );
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &(status + &path_with_curl()?)]);
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let output = command.output().await.context("running bash")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && error.is_empty(),
        "the README's commands need bash, curl and jq: {error}\n{said}"
    );
    let answers = serde_json::Deserializer::from_str(&said)
        .into_iter::<Value>()
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| said.clone())?;
    let [connection, session, joined, started, disconnected, refused] = answers.as_slice() else {
        anyhow::bail!("six answers were expected:\n{said}");
    };
    assert_eq!(connection["state"], "connected", "{said}");
    assert!(session["share_code"].is_string(), "{said}");
    assert_eq!(joined["join_url"], session["join_url"], "{said}");
    assert!(!joined.to_string().contains("zak="), "{said}");
    let start_url = started["host_start_url"].as_str().unwrap_or_default();
    assert!(start_url.contains("zak="), "{said}");
    assert_eq!(disconnected["state"], "not_connected", "{said}");
    assert_eq!(refused["code"], "zoom_not_connected", "{said}");
    Ok(())
}
