//! Random stories of two hosts and two Zoom accounts, told to the real thing and to a small model of what must come of
//! them.
//!
//! A seed decides what happens in its stories; who is first among those that act at the same time, it does not. Without
//! more said, the seeds are the same every time. `MODEL_SEEDS=7,8` sets others, and `MODEL_SEEDS=fresh` draws one; a
//! story that fails is told in its shortest form, with its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::connection::{as_service, db, live_tokens, options, Host};
use crate::support::drift::show;
use crate::support::on_shared_stack;
use crate::support::seeds;
use anyhow::{anyhow, ensure, Result};
use chrono::TimeDelta;
use futures_util::future::try_join_all;
use local_stack::zoom::{
    Answer, DeliveryPlan, Fault, Grant, Moment, OldAccessToken, OvertakenAt, RecordedCall, Target, TokenKind,
    TokenStatus, Truncation,
};
use local_stack::Stack;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::{json, Value};
use tokio::runtime::Handle;

/// Each has stories of its own.
const SEEDS: [u64; 2] = [3, 4];
/// Stories of each seed.
const STORIES: u32 = 20;

/// Long enough for a connect or a disconnect to come in between.
const SLOW: Duration = Duration::from_millis(400);

/// A host of the app, or a Zoom account: one of two.
type One = usize;

/// What changes the state of connections; at most one thing at a time.
#[derive(Clone, Copy, Debug)]
enum Change {
    Nothing,
    /// A host connects a Zoom account.
    Connect(One, One),
    Disconnect(One),
    /// Somebody removes the app in Zoom.
    Remove(One),
    /// Zoom's events arrive.
    Deliver,
    /// zoom-sync runs.
    Sync,
    /// Two minutes pass.
    Wait,
}

/// What hosts do meanwhile, all at the same time.
#[derive(Clone, Copy, Debug)]
enum Use {
    Create(One),
    Refresh(One),
}

/// What has befallen access tokens before.
#[derive(Clone, Copy, Debug)]
enum Loss {
    /// The hour of a host's is over.
    RunOut(One),
    /// Zoom does not take those of an account any more.
    Refused(One),
}

/// What goes wrong, once, at a call to Zoom.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    FailsBefore,
    FailsAfter,
    DroppedBefore,
    DroppedAfter,
    CutOff,
}

#[derive(Clone, Debug)]
struct Turn {
    losses: Vec<Loss>,
    /// All access tokens have run out, and refreshes take their time, before Zoom acts or after.
    slow: Option<Moment>,
    mishap: Option<(&'static str, Mishap)>,
    change: Change,
    uses: Vec<Use>,
}

#[derive(Clone, Debug)]
struct Story {
    old_access_token: OldAccessToken,
    overtaken_at: OvertakenAt,
    turns: Vec<Turn>,
}

fn stories() -> impl Strategy<Value = Story> {
    let one = || 0..2_usize;
    let loss = prop_oneof![one().prop_map(Loss::RunOut), one().prop_map(Loss::Refused)];
    let at = prop::sample::select(vec![
        "token_refresh",
        "token_refresh",
        "token_exchange",
        "users_me",
        "revoke",
    ]);
    let mishap = prop::sample::select(vec![
        Mishap::FailsBefore,
        Mishap::FailsAfter,
        Mishap::DroppedBefore,
        Mishap::DroppedAfter,
        Mishap::CutOff,
    ]);
    let change = prop_oneof![
        3 => Just(Change::Nothing),
        6 => (one(), one()).prop_map(|(host, account)| Change::Connect(host, account)),
        2 => one().prop_map(Change::Disconnect),
        1 => one().prop_map(Change::Remove),
        2 => Just(Change::Deliver),
        1 => Just(Change::Sync),
        2 => Just(Change::Wait),
    ];
    let used = prop_oneof![one().prop_map(Use::Create), one().prop_map(Use::Refresh)];
    let turn = (
        prop::collection::vec(loss, 0..3),
        prop::option::weighted(0.5, prop::sample::select(vec![Moment::Before, Moment::After])),
        prop::option::weighted(0.3, (at, mishap)),
        change,
        prop::collection::vec(used, 1..4),
    );
    let turn = turn.prop_map(|(losses, slow, mishap, change, uses)| Turn {
        losses,
        slow,
        mishap,
        change,
        uses,
    });
    let old_access_token = prop::sample::select(vec![OldAccessToken::Dies, OldAccessToken::LivesOn]);
    let overtaken_at = prop::sample::select(vec![OvertakenAt::Consent, OvertakenAt::Exchange]);
    (old_access_token, overtaken_at, prop::collection::vec(turn, 4..14)).prop_map(
        |(old_access_token, overtaken_at, turns)| Story {
            old_access_token,
            overtaken_at,
            turns,
        },
    )
}

/// A connection as the model knows it.
#[derive(Clone, Copy, Debug)]
struct Connection {
    account: One,
    /// The turn that it was made in.
    made: usize,
    /// The account has moved to the other host.
    moved: bool,
    /// Something happened at Zoom that nobody here can know of yet: an answer was swallowed, or the grant has ended. It
    /// may have to be made anew.
    doubtful: bool,
}

/// What must be true.
#[derive(Debug, Default)]
struct Model {
    of_hosts: [Option<Connection>; 2],
    /// Accounts that may have tokens in nobody's hands: answers with them were lost, or their host has changed to the
    /// other account.
    stray: [bool; 2],
    /// Accounts of which the answer to a refresh was swallowed, at some time.
    swallowed: [bool; 2],
    /// Events on their way: of which account, from which turn.
    events: Vec<(u64, One, usize)>,
}

impl Model {
    fn connected(&mut self, host: One, account: One, turn: usize) {
        if let Some(left) = self.of_hosts[host].filter(|connection| !connection.moved) {
            self.stray[left.account] = true;
        }
        self.stray[account] = false;
        self.of_account(account).for_each(|other| other.moved = true);
        self.of_hosts[host] = Some(Connection {
            account,
            made: turn,
            moved: false,
            doubtful: false,
        });
    }

    fn doubt(&mut self, account: One) {
        self.stray[account] = true;
        self.of_account(account)
            .for_each(|connection| connection.doubtful = true);
    }

    fn of_account(&mut self, account: One) -> impl Iterator<Item = &mut Connection> {
        let connections = self.of_hosts.iter_mut().flatten();
        connections.filter(move |connection| connection.account == account)
    }

    /// Events end what was made before what they tell of.
    fn delivered(&mut self) {
        for (_, account, turn) in std::mem::take(&mut self.events) {
            for host in &mut self.of_hosts {
                *host = host.filter(|connection| connection.account != account || connection.made > turn);
            }
        }
    }
}

/// That a refresh token was sent to Zoom.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// The turn that it was sent in.
    turn: usize,
    /// A fault kept the answer from whoever sent it.
    swallowed: bool,
    /// Its host disconnected in that turn.
    while_leaving: bool,
}

/// Whoever sends a refresh token is alone with it, and it is sent again for one reason only: nobody has heard the
/// answer.
///
/// Unless its host disconnects while it is under way. The disconnect does not wait for that refresh and ends the grant
/// with the same token: Zoom refuses one of the two, and the other one revokes what it was given.
fn assert_sent_once(token: &str, sent: &[Sent]) {
    let mut after = sent.iter().skip_while(|sent| sent.swallowed);
    let (heard, more) = (after.next(), after.next());
    let leaving = |heard: &Sent, again: &Sent| heard.while_leaving && again.turn == heard.turn;
    assert!(
        more.is_none_or(|again| heard.is_some_and(|heard| leaving(heard, again))) && after.next().is_none(),
        "{token} was sent after its answer had been heard: {sent:?}"
    );
}

/// A story on its way.
struct Play<'s> {
    stack: &'s Stack,
    hosts: [Host; 2],
    /// Their addresses at Zoom, and the ids that events name them by.
    accounts: [(String, String); 2],
    model: Model,
    turn: usize,
    /// A refresh has failed lately: hosts may have to wait.
    cooling: bool,
    /// Uses that had to work, and did.
    worked: usize,
    /// The faults by which something went wrong.
    mishaps: BTreeSet<u64>,
    /// Refresh tokens, by the ids that Zoom's records show them under.
    sent: BTreeMap<String, Vec<Sent>>,
}

impl<'s> Play<'s> {
    async fn begin(stack: &'s Stack, story: &Story) -> Result<Self> {
        stack.zoom().withdraw_all();
        stack.zoom().discard_events();
        stack.zoom().change_rules(|rules| {
            rules.old_access_token = story.old_access_token;
            rules.overtaken_at = story.overtaken_at;
            rules.daily_limit = None;
        });
        let hosts = [Host::new(stack).await?, Host::new(stack).await?];
        let state = stack.zoom().state();
        let accounts = hosts.each_ref().map(|host| {
            let mut users = state["users"].as_array().into_iter().flatten();
            let user = users
                .find(|user| user["email"] == *host.zoom_email)
                .unwrap_or(&Value::Null);
            (
                host.zoom_email.clone(),
                user["id"].as_str().unwrap_or_default().to_owned(),
            )
        });
        stack.zoom().clear_calls();
        Ok(Self {
            stack,
            hosts,
            accounts,
            model: Model::default(),
            turn: 0,
            cooling: false,
            worked: 0,
            mishaps: BTreeSet::new(),
            sent: BTreeMap::new(),
        })
    }

    /// Plays a turn, and sees whether everything is as it must be.
    async fn play(&mut self, turn: &Turn) -> Result<()> {
        self.turn += 1;
        for loss in &turn.losses {
            self.lose(*loss).await?;
        }
        let seen = self.stack.zoom().calls().len();
        if let Some((at, mishap)) = turn.mishap {
            self.mishaps
                .insert(self.stack.zoom().order(fault(at.parse()?, mishap))?);
        }
        if let Some(moment) = turn.slow {
            for host in 0..2 {
                self.lose(Loss::RunOut(host)).await?;
            }
            let slow = Fault::at(Target::TOKEN_REFRESH).delayed(SLOW).lasting();
            self.stack.zoom().order(Fault { moment, ..slow })?;
        }
        if let Change::Wait = turn.change {
            self.stack.travel(TimeDelta::minutes(2)).await?;
            self.cooling = false;
        }
        let uses = turn.uses.iter().map(|used| self.use_it(*used));
        let (codes, connected) = tokio::try_join!(try_join_all(uses), self.change(turn.change, turn.mishap.is_some()))?;
        self.stack.zoom().withdraw_all();

        let before = self.model.of_hosts;
        self.account_for(turn.change, connected, turn.mishap.is_some(), seen);
        for (used, code) in turn.uses.iter().zip(codes) {
            let (Use::Create(host) | Use::Refresh(host)) = *used;
            let calm = turn.mishap.is_none() && !self.cooling && matches!(turn.change, Change::Nothing | Change::Sync);
            let connects = matches!(turn.change, Change::Connect(connecting, _) if connecting == host);
            let expected: &[&str] = match (calm, before[host]) {
                // Whatever goes wrong.
                (_, None) if !connects => &["zoom_not_connected"],
                (false, _) | (true, Some(Connection { doubtful: true, .. })) => {
                    &["ok", "zoom_not_connected", "zoom_expired", "zoom_unavailable"]
                }
                (true, None) => &["zoom_not_connected"],
                (true, Some(Connection { moved: true, .. })) => &["zoom_expired"],
                (true, Some(_)) => &["ok"],
            };
            assert!(
                expected.contains(&&*code),
                "{used:?} heard {code}, and not {expected:?}"
            );
            self.worked += usize::from(expected == ["ok"]);
        }
        self.check().await
    }

    fn went_wrong(&self, call: &RecordedCall) -> bool {
        call.fault.is_some_and(|fault| self.mishaps.contains(&fault))
    }

    async fn lose(&self, loss: Loss) -> Result<()> {
        match loss {
            Loss::RunOut(host) => {
                let host = &self.hosts[host];
                let set = "update public.user_integrations_zoom set access_token_expires_at = now() where user_id = $1";
                db(self.stack).await?.execute(set, &[&host.id()]).await?;
            }
            Loss::Refused(account) => {
                self.stack
                    .zoom()
                    .expire_tokens(&self.accounts[account].0, Some(TokenKind::Access))?;
            }
        }
        Ok(())
    }

    /// What a host hears.
    async fn use_it(&self, used: Use) -> Result<String> {
        let reply = match used {
            Use::Create(host) => self.hosts[host].create().await?,
            Use::Refresh(host) => self.hosts[host].refresh().await?,
        };
        Ok(match (used, reply.json["state"].as_str()) {
            (Use::Refresh(_), Some("expired")) => "zoom_expired".to_owned(),
            (Use::Refresh(_), Some("not_connected")) => "zoom_not_connected".to_owned(),
            _ => reply.code().1.to_owned(),
        })
    }

    /// Makes the change; says whether a connect has succeeded, which only a mishap may prevent.
    async fn change(&self, change: Change, mishap: bool) -> Result<bool> {
        match change {
            Change::Connect(host, account) => {
                let page = self.hosts[host].user.connect_zoom(&self.accounts[account].0).await?;
                let connected = page.text.contains("success=1");
                ensure!(connected || mishap, "connecting failed: {}", page.text);
                return Ok(connected);
            }
            Change::Disconnect(host) => self.hosts[host].disconnect().await?,
            Change::Remove(account) => self.stack.zoom().deauthorize(&self.accounts[account].0)?,
            Change::Deliver => {
                let reports = self.stack.zoom().deliver(&DeliveryPlan::default()).await?;
                assert!(reports.iter().all(|report| report.status == Some(200)), "{reports:?}");
            }
            Change::Sync => drop(as_service(self.stack, "zoom-sync").await?),
            Change::Nothing | Change::Wait => {}
        }
        Ok(false)
    }

    /// Tells the model what has happened.
    fn account_for(&mut self, change: Change, connected: bool, mishap: bool, seen: usize) {
        let leaving = match change {
            Change::Disconnect(host) => self.model.of_hosts[host].map(|left| left.account),
            _ => None,
        };
        self.note_what_was_sent(seen, leaving);
        match change {
            Change::Connect(host, account) if connected => self.model.connected(host, account, self.turn),
            // Zoom may have ended the tokens of before, and what came in their place was not saved.
            Change::Connect(_, account) | Change::Remove(account) => self.model.doubt(account),
            Change::Disconnect(host) => {
                let left = self.model.of_hosts[host].take();
                if let (Some(left), true) = (left, mishap) {
                    self.model.stray[left.account] = true;
                }
            }
            Change::Deliver => self.model.delivered(),
            Change::Nothing | Change::Sync | Change::Wait => {}
        }
        for call in self.stack.zoom().calls().iter().skip(seen) {
            if self.went_wrong(call) && call.grant == Some(Grant::RefreshToken) {
                self.cooling = true;
                let account = self
                    .accounts
                    .iter()
                    .position(|(email, _)| call.user.as_ref() == Some(email));
                if let (true, Some(account)) = (call.acted, account) {
                    self.model.doubt(account);
                    self.model.swallowed[account] = true;
                }
            }
        }
        for event in self.stack.zoom().held_events() {
            let account = self
                .accounts
                .iter()
                .position(|(_, id)| event.body["payload"]["user_id"] == **id);
            let known = self.model.events.iter().any(|(id, ..)| *id == event.id);
            if let (Some(account), false) = (account, known) {
                self.model.events.push((event.id, account, self.turn));
            }
        }
    }

    fn note_what_was_sent(&mut self, seen: usize, leaving: Option<One>) {
        let left = leaving.map(|account| &self.accounts[account].0);
        for call in self.stack.zoom().calls().into_iter().skip(seen) {
            let sent = Sent {
                turn: self.turn,
                swallowed: self.went_wrong(&call),
                while_leaving: left.is_some() && left == call.user.as_ref(),
            };
            if let (Some(Grant::RefreshToken), Some(token)) = (call.grant, call.token) {
                self.sent.entry(token).or_default().push(sent);
            }
        }
    }

    /// What is always true.
    async fn check(&self) -> Result<()> {
        let mut connected = BTreeMap::new();
        for (host, expected) in self.hosts.iter().zip(self.model.of_hosts) {
            let stored = host.stored(self.stack).await?;
            if stored["status"] == "connected" {
                *connected.entry(stored["zoom_user_id"].to_string()).or_insert(0) += 1;
            }
            let refresh_token = host.stored_tokens(self.stack).await?.map(|[_, refresh]| refresh);
            match expected {
                None => assert_eq!(stored, Value::Null),
                // Its tokens may have been refused before it was known why.
                Some(Connection { moved: true, .. }) => {
                    assert_eq!((&stored["status"], refresh_token), (&json!("expired"), None));
                }
                Some(Connection {
                    doubtful: true,
                    account,
                    ..
                }) => {
                    assert_ne!(stored, Value::Null);
                    assert!(refresh_token != Some(TokenStatus::Spent) || self.model.swallowed[account]);
                }
                Some(_) => {
                    assert_eq!(
                        (&stored["status"], refresh_token),
                        (&json!("connected"), Some(TokenStatus::Live))
                    );
                }
            }
        }
        for (account, (email, _)) in self.accounts.iter().enumerate() {
            let mut connections = self.model.of_hosts.iter().flatten();
            let held = connections.any(|connection| connection.account == account);
            if !held && !self.model.stray[account] {
                assert_eq!(live_tokens(self.stack, email), [""; 0], "of nobody's");
            }
        }
        assert!(
            connected.values().all(|hosts| *hosts == 1),
            "one account, two hosts: {connected:?}"
        );
        Ok(())
    }

    /// The end of the story: once everything has been heard of, whoever is connected is so for true. Gives the uses
    /// that had to work.
    async fn end(mut self) -> Result<usize> {
        self.turn += 1;
        let seen = self.stack.zoom().calls().len();
        self.change(Change::Deliver, false).await?;
        self.account_for(Change::Deliver, false, false, usize::MAX);
        self.stack.travel(TimeDelta::minutes(2)).await?;
        self.check().await?;
        for index in 0..2 {
            self.lose(Loss::RunOut(index)).await?;
            let code = self.use_it(Use::Create(index)).await?;
            let expected: &[&str] = match self.model.of_hosts[index] {
                None => &["zoom_not_connected"],
                Some(Connection { moved: true, .. }) => &["zoom_expired"],
                Some(Connection { doubtful: true, .. }) => &["ok", "zoom_expired"],
                Some(_) => &["ok"],
            };
            assert!(expected.contains(&&*code), "in the end: {code}, and not {expected:?}");
            self.worked += usize::from(expected == ["ok"]);
            let tokens = self.hosts[index].stored_tokens(self.stack).await?;
            assert_eq!(
                tokens.is_some_and(|tokens| tokens == [TokenStatus::Live; 2]),
                code == "ok",
                "{tokens:?}"
            );
        }
        self.note_what_was_sent(seen, None);
        for (token, sent) in &self.sent {
            assert_sent_once(token, sent);
        }
        Ok(self.worked)
    }
}

fn fault(at: Target, mishap: Mishap) -> Fault {
    let fault = Fault::at(at);
    match mishap {
        Mishap::FailsBefore => fault.answering(Answer::bad_gateway()),
        Mishap::FailsAfter => fault.after_acting().answering(Answer::bad_gateway()),
        Mishap::DroppedBefore => fault.dropping(),
        Mishap::DroppedAfter => fault.after_acting().dropping(),
        Mishap::CutOff => fault.truncating(Truncation::Fitting),
    }
}

#[test]
fn whoever_is_connected_holds_a_token_that_works() -> Result<()> {
    let config = Config {
        cases: STORIES,
        failure_persistence: None,
        max_shrink_iters: 60,
        ..Config::default()
    };
    let seeds = seeds(&SEEDS)?;
    on_shared_stack(options(), async |stack| {
        let tell = async |story: Story| {
            let mut play = Play::begin(stack, &story).await?;
            for turn in &story.turns {
                play.play(turn).await?;
            }
            play.end().await
        };
        for seed in seeds {
            let worked = AtomicUsize::new(0);
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
            let mut runner = TestRunner::new_with_rng(config.clone(), rng);
            let played = tokio::task::block_in_place(|| {
                runner.run(&stories(), |story| {
                    let told = Handle::current().block_on(tell(story));
                    let told = told.map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
                    worked.fetch_add(told, Ordering::Relaxed);
                    Ok(())
                })
            });
            played.map_err(|failure| anyhow!("{failure}\nMODEL_SEEDS={seed} tells the same stories"))?;
            let worked = worked.into_inner();
            show(&format!("seed {seed}: {STORIES} stories, {worked} uses had to work"));
            ensure!(2 * worked > STORIES as usize, "these stories say little");
        }
        Ok(())
    })
}
