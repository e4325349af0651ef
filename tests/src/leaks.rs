//! The leak check that every stack runs when it stops: no secret in any log line, none in any answer to somebody who is
//! not entitled to it.

use std::collections::{BTreeMap, BTreeSet};

use aho_corasick::AhoCorasick;
use anyhow::{Context, Result};
use axum::http::{header, HeaderMap};
use base64::prelude::{Engine, BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use uuid::Uuid;

/// Who asked, as far as the credentials say. Whether they are good is for the functions and PostgREST to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reader {
    /// Holds a secret key of the project.
    Service,
    /// A user whose account may host.
    Host(Uuid),
    /// A user whose account may not host.
    Client(Uuid),
    /// Anybody else.
    Nobody,
}

impl Reader {
    pub(crate) fn identify(headers: &HeaderMap, secret_key: &str) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if text("apikey") == Some(secret_key) {
            return Self::Service;
        }
        let bearer = text(header::AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
        match bearer.and_then(claims) {
            None => Self::Nobody,
            Some(claims) if matches!(claims.app_metadata.role.as_str(), "trainer" | "nutritionist") => {
                Self::Host(claims.sub)
            }
            Some(claims) => Self::Client(claims.sub),
        }
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: Uuid,
    #[serde(default)]
    app_metadata: AppMetadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AppMetadata {
    role: String,
}

fn claims(token: &str) -> Option<Claims> {
    let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// An answer that left the stack.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) reader: Reader,
    /// Method and path, without the query.
    pub(crate) request: String,
    pub(crate) body: Vec<u8>,
}

/// What nobody may see, with one exception each.
#[derive(Clone, Debug)]
pub(crate) struct Secret {
    /// What it is called in a report: never its value.
    pub(crate) what: String,
    pub(crate) value: String,
    pub(crate) for_its_host: ForItsHost,
}

/// Whether a secret may be in answers to the one host whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForItsHost {
    /// A start URL may.
    Yes,
    /// Tokens and keys may not.
    No,
}

/// Where secrets are that should not be there: one sentence each.
pub(crate) fn find(secrets: &[Secret], logs: &[String], answers: &[Answer]) -> Result<Vec<String>> {
    // A short "secret" would be found anywhere.
    let secrets: Vec<&Secret> = secrets.iter().filter(|secret| secret.value.len() >= 12).collect();
    let needles =
        AhoCorasick::new(secrets.iter().map(|secret| &secret.value)).context("too many secrets to look for")?;
    let mut leaks = BTreeSet::new();
    for line in logs {
        for found in needles.find_overlapping_iter(line) {
            let source = line.split(':').next().unwrap_or_default();
            leaks.insert(format!(
                "{} is in a log line of {source}",
                secrets[found.pattern()].what
            ));
        }
    }
    let mut readers: BTreeMap<usize, BTreeSet<Reader>> = BTreeMap::new();
    for answer in answers {
        for found in needles.find_overlapping_iter(&answer.body) {
            let secret = secrets[found.pattern()];
            let entitled =
                secret.for_its_host == ForItsHost::Yes && matches!(answer.reader, Reader::Host(_) | Reader::Service);
            if !entitled {
                leaks.insert(format!(
                    "{} is in the answer of {} to {:?}",
                    secret.what, answer.request, answer.reader
                ));
            }
            readers
                .entry(found.pattern().as_usize())
                .or_default()
                .insert(answer.reader);
        }
    }
    for (secret, readers) in readers {
        let hosts = readers
            .iter()
            .filter(|reader| matches!(reader, Reader::Host(_)))
            .count();
        if hosts > 1 {
            leaks.insert(format!("{} was given to {hosts} hosts", secrets[secret].what));
        }
    }
    Ok(leaks.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::json;

    use super::*;

    const TOKEN: &str = "a-token-of-some-length";
    const START_URL: &str = "https://zoom.test/s/1?zak=abc";

    fn secrets() -> [Secret; 2] {
        [
            ("an access token", TOKEN, ForItsHost::No),
            ("a start URL", START_URL, ForItsHost::Yes),
        ]
        .map(|(what, value, for_its_host)| Secret {
            what: what.to_owned(),
            value: value.to_owned(),
            for_its_host,
        })
    }

    fn answer(reader: Reader, body: &str) -> Answer {
        Answer {
            reader,
            request: "GET /x".to_owned(),
            body: body.into(),
        }
    }

    fn leaks(logs: &[&str], answers: &[Answer]) -> usize {
        let logs: Vec<String> = logs.iter().map(|line| (*line).to_owned()).collect();
        find(&secrets(), &logs, answers).unwrap().len()
    }

    #[test]
    fn no_secret_is_in_a_log_line() {
        assert_eq!(leaks(&["workers-0: fine", ""], &[]), 0);
        assert_eq!(leaks(&[&format!("workers-0: {{\"token\":\"{TOKEN}\"}}")], &[]), 1);
        assert_eq!(leaks(&[&format!("postgres: {START_URL} and {TOKEN}")], &[]), 2);
    }

    #[test]
    fn a_start_url_is_for_one_host() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let start = format!("{{\"host_start_url\":\"{START_URL}\"}}");
        assert_eq!(
            leaks(
                &[],
                &[answer(Reader::Host(one), &start), answer(Reader::Host(one), &start)]
            ),
            0
        );
        assert_eq!(leaks(&[], &[answer(Reader::Service, &start)]), 0);
        assert_eq!(
            leaks(
                &[],
                &[answer(Reader::Host(one), &start), answer(Reader::Host(other), &start)]
            ),
            1
        );
        assert_eq!(leaks(&[], &[answer(Reader::Client(one), &start)]), 1);
        assert_eq!(leaks(&[], &[answer(Reader::Nobody, &start)]), 1);
    }

    #[test]
    fn a_token_is_for_nobody() {
        for reader in [Reader::Service, Reader::Host(Uuid::nil()), Reader::Nobody] {
            assert_eq!(leaks(&[], &[answer(reader, TOKEN)]), 1, "{reader:?}");
        }
    }

    #[test]
    fn credentials_say_who_reads() {
        let reader = |apikey: &str, claims: Option<serde_json::Value>| {
            let mut headers =
                HeaderMap::from_iter([("apikey".parse().unwrap(), HeaderValue::from_str(apikey).unwrap())]);
            if let Some(claims) = claims {
                let token = format!("Bearer e30.{}.x", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()));
                headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&token).unwrap());
            }
            Reader::identify(&headers, "secret key")
        };
        let id = Uuid::from_u128(7);
        assert_eq!(reader("secret key", None), Reader::Service);
        assert_eq!(reader("other", None), Reader::Nobody);
        assert_eq!(reader("other", Some(json!({"sub": id}))), Reader::Client(id));
        let host = json!({"sub": id, "app_metadata": {"role": "trainer"}});
        assert_eq!(reader("other", Some(host)), Reader::Host(id));
    }
}
