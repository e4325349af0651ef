//! A database and a Zoom that are played, for native tests of the use cases: no Postgres, no WebAssembly, milliseconds.
//!
//! [`Fakes`] is one HTTP server on the loopback address. It plays PostgREST's `/rest/v1/rpc/…`, Zoom's token endpoint
//! and API, and the key set of the project. The code under test talks to it through its own HTTP client. A test says
//! beforehand what is answered to which call ([`Fakes::on`], [`Fakes::always`]) and looks afterwards at what was asked
//! ([`Fakes::calls`], [`Fakes::sent_to`]). A call that no answer was written for fails the test, and so does an answer
//! that nobody asked for.
//!
//! Calls are known by short names: a step by its own (`edge_session_begin`), Zoom's token endpoint by `token` and
//! `revoke`, a call of the API by method and path below its base (`PATCH /meetings/85`).
//!
//! Waiting takes no time in such a test: see the module `clock`.

mod answer;
mod callers;
pub mod claim;
mod clock;
mod server;

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hyper::HeaderMap;
use serde_json::Value;
use tokio::sync::Notify;
use uuid::Uuid;

pub use answer::{Answer, Gate};
pub use callers::Reply;

/// The user who calls, where one user is enough.
pub const USER: Uuid = Uuid::from_u128(0x5b2d_6c66_5f0a_4c0e_9f4e_3a3f_6f2f_8a01);

/// Zoom's ids for the app, and what it signs events with.
const WEBHOOK_SECRET: &str = "a webhook's secret token";
/// What service callers present.
const SECRET_KEY: &str = "sb_secret_of_the_fakes";

/// A call that came in.
#[derive(Debug, Clone)]
pub struct Call {
    /// What it is known by: `edge_start_begin`, `token`, `GET /meetings/85`.
    pub name: String,
    /// The query string, undecoded.
    pub query: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its JSON body; a form as an object of texts; null without a body.
    pub body: Value,
}

impl Call {
    /// A header's text; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A rule's part of the script.
type Rule = Box<dyn FnMut(&Call) -> Answer + Send>;

/// What is to be answered, and what has been asked.
#[derive(Default)]
struct Script {
    /// By name; the first is given first.
    once: HashMap<String, VecDeque<Answer>>,
    /// By name, or by its beginning before `*`.
    always: Vec<(String, Rule)>,
    calls: Vec<Call>,
    /// The numbers of calls in the order in which they came and were answered.
    comings_and_goings: Vec<(usize, Step)>,
    /// Calls that no answer was written for.
    unscripted: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Came,
    Answered,
}

/// The state that tests and the server share.
#[derive(Default)]
struct Shared {
    script: Mutex<Script>,
    came: Notify,
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A played database and a played Zoom. See the crate's own words.
///
/// # Panics
/// When it is dropped: for a call that no answer was written for, and for an answer that nobody asked for.
pub struct Fakes {
    shared: Arc<Shared>,
    address: SocketAddr,
    settings: Mutex<HashMap<String, String>>,
    _clock: clock::Clock,
}

impl Fakes {
    /// Starts the server, and makes time fly, on the runtime of a `#[tokio::test]`.
    ///
    /// # Panics
    /// If the loopback address has no free port.
    pub async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let address = server::start(Arc::clone(&shared)).await;
        let fakes = Self {
            shared,
            address,
            settings: Mutex::default(),
            _clock: clock::Clock::start().await,
        };
        let key_set = fakes.key_set();
        fakes.always("key_set", move |_| key_set.clone().into());
        fakes
    }

    /// Answers a call of this name once. Several answers to one name are given in the order of the script.
    pub fn on(&self, name: &str, answer: impl Into<Answer>) -> &Self {
        let mut script = self.shared.script();
        script.once.entry(name.to_owned()).or_default().push_back(answer.into());
        self
    }

    /// Answers every call of this name that [`Fakes::on`] has no answer for. `GET /meetings/*` means every name that
    /// begins so. The rule that was made last counts.
    pub fn always(&self, name: &str, rule: impl FnMut(&Call) -> Answer + Send + 'static) -> &Self {
        self.shared.script().always.push((name.to_owned(), Box::new(rule)));
        self
    }

    /// Gives a variable of the environment another value than the usual one.
    pub fn set(&self, variable: &str, value: &str) -> &Self {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        settings.insert(variable.to_owned(), value.to_owned());
        self
    }

    /// The environment, for `App::new`.
    pub fn variable(&self, name: &str) -> Option<String> {
        let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = settings.get(name) {
            return Some(value.clone());
        }
        let base = format!("http://{}", self.address);
        Some(match name {
            "SUPABASE_URL" => base,
            "SUPABASE_SECRET_KEY" => SECRET_KEY.to_owned(),
            "ZOOM_CLIENT_ID" => "client-id".to_owned(),
            "ZOOM_CLIENT_SECRET" => "client-secret".to_owned(),
            "ZOOM_REDIRECT_URI" => format!("{base}/functions/v1/zoom-oauth-callback"),
            "ZOOM_OAUTH_URL" => format!("{base}/oauth"),
            "ZOOM_API_URL" => format!("{base}/v2"),
            "ZOOM_WEBHOOK_SECRET_TOKEN" => WEBHOOK_SECRET.to_owned(),
            "APP_REDIRECT_URI" => "https://app.example/connected".to_owned(),
            "TOKEN_ENCRYPTION_KEYS" => claim::KEYS.to_owned(),
            _ => return None,
        })
    }

    /// The names of the calls so far, in the order in which they came. The key set is left out: a token's check is no
    /// part of any story.
    pub fn calls(&self) -> Vec<String> {
        let script = self.shared.script();
        let names = script.calls.iter().map(|call| call.name.clone());
        names.filter(|name| name != "key_set").collect()
    }

    /// The calls of one name, or of all names that begin with what is before `*`.
    pub fn sent_to(&self, name: &str) -> Vec<Call> {
        let script = self.shared.script();
        script
            .calls
            .iter()
            .filter(|call| fits(name, &call.name))
            .cloned()
            .collect()
    }

    /// The body of the only call of one name.
    ///
    /// # Panics
    /// If there was none, or another.
    pub fn told(&self, name: &str) -> Value {
        match self.sent_to(name).as_slice() {
            [call] => call.body.clone(),
            calls => panic!("{name} was called {} times, not once: {:?}", calls.len(), self.calls()),
        }
    }

    /// Waits until this many calls of one name have come.
    pub async fn until_called(&self, name: &str, times: usize) {
        loop {
            let next = self.shared.came.notified();
            if self.sent_to(name).len() >= times {
                return;
            }
            next.await;
        }
    }

    /// The most calls that were on their way at a time, of those that `counts` is true of.
    pub fn most_at_once(&self, counts: impl Fn(&Call) -> bool) -> usize {
        let script = self.shared.script();
        let (mut now, mut most) = (0, 0);
        for (number, step) in &script.comings_and_goings {
            if counts(&script.calls[*number]) {
                match step {
                    Step::Came => now += 1,
                    Step::Answered => now -= 1,
                }
                most = most.max(now);
            }
        }
        most
    }
}

impl Drop for Fakes {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // One panic at a time: the first says what is wrong.
        }
        let script = self.shared.script();
        let unscripted = script.unscripted.clone();
        let left: Vec<String> = script
            .once
            .iter()
            .filter(|(_, answers)| !answers.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        drop(script);
        assert!(
            unscripted.is_empty(),
            "The test has no answer for these calls: {}. Write one with `fakes.on(…)`, or find out why they were made.",
            unscripted.join(", ")
        );
        assert!(
            left.is_empty(),
            "Nobody asked for the answers to: {}. Calls were: {:?}.",
            left.join(", "),
            self.calls()
        );
    }
}

/// Whether a name is `pattern`, or begins with what `pattern` has before `*`.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests;
