//! `cargo xtask keys`: keys for `TOKEN_ENCRYPTION_KEYS`.

use std::time::SystemTime;

use anyhow::{anyhow, Result};
use base64::prelude::{Engine, BASE64_STANDARD};
use chrono::{DateTime, Utc};
use ring::rand::{SecureRandom, SystemRandom};

/// What `cargo xtask keys` takes.
#[derive(clap::Subcommand)]
pub enum Args {
    /// Print a new key, and how to bring it into use.
    New,
}

/// Prints a new key on standard output, and the explanation on standard error.
///
/// # Errors
/// If the system gives no randomness.
pub fn run(args: &Args) -> Result<()> {
    match args {
        Args::New => {
            println!("{}", new_key(SystemTime::now().into())?);
            eprintln!(
                "\nTo bring it into use while connections are: put it at the end of TOKEN_ENCRYPTION_KEYS, behind a comma, and \
                 deploy; move it to the front, and deploy; call refresh-token with the secret key until it answers \
                 \"on_older_keys\":0; remove the old key, and deploy. docs/operations.md says more."
            );
            Ok(())
        }
    }
}

/// An id of the day and 32 random bytes.
fn new_key(now: DateTime<Utc>) -> Result<String> {
    let mut key = [0; 32];
    SystemRandom::new()
        .fill(&mut key)
        .map_err(|_| anyhow!("the system gives no randomness"))?;
    Ok(format!("{}:{}", now.format("k%Y%m%d"), BASE64_STANDARD.encode(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_one_that_the_functions_take() {
        let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
        let (one, other) = (new_key(now).unwrap(), new_key(now).unwrap());
        assert!(one.starts_with("k20261124:"));
        assert_ne!(one, other);
        assert!(shared::seal::SealingKeys::parse(&one).is_ok());
    }
}
