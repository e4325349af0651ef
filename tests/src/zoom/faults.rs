//! Faults that a test orders: what goes wrong, at which calls, and whether Zoom has acted by then.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use tokio::sync::watch;

use super::answer::Answer;
use super::dice::Dice;
use super::endpoint::{Endpoint, Grant, Target};

/// Something that goes wrong. Without more said, it happens at the next call, before Zoom acts.
///
/// ```
/// # use local_stack::zoom::{Answer, Endpoint, Fault, Target};
/// # use std::time::Duration;
/// Fault::at(Endpoint::CreateMeeting).answering(Answer::bad_gateway()).times(3);
/// Fault::at(Target::TOKEN_REFRESH).after_acting().dropping().skipping(1);
/// Fault::at(Target::ANY).delayed(Duration::from_millis(200)).lasting().share(0.3, 7);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The calls that it may happen at.
    pub endpoint: Target,
    /// Of these, only those with a token or code of this user's, by email address; null is everybody's.
    #[serde(default)]
    pub user: Option<String>,
    /// Whether Zoom has acted by then.
    #[serde(default)]
    pub moment: Moment,
    /// How long the call waits at that moment, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// What then happens; nothing if null.
    #[serde(default)]
    pub effect: Option<Effect>,
    /// How often it happens; null is for as long as it stands.
    #[serde(default = "once")]
    pub times: Option<u32>,
    /// So many calls pass first.
    #[serde(default)]
    pub skip: u32,
    /// At which of the calls after those it happens.
    #[serde(default)]
    pub often: Often,
}

fn once() -> Option<u32> {
    Some(1)
}

/// Whether Zoom has acted when something goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// It has not, and will not if it does not come to answer by itself.
    #[default]
    Before,
    /// It has.
    After,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// This is the answer, whatever Zoom's own would be.
    Answer(Answer),
    /// The connection closes without an answer.
    Drop,
    /// Zoom acts, and its answer is cut off in the middle.
    Truncate(Truncation),
    /// The call waits until it is released, then goes on as if nothing was.
    Hang,
}

/// How an answer is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncation {
    /// The connection breaks: `Content-Length` promised more.
    Broken,
    /// `Content-Length` fits what is left, so that it looks like a whole answer.
    Fitting,
}

/// At which calls a fault happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Often {
    /// At each.
    #[default]
    Always,
    /// At every so-manieth.
    Every(u32),
    /// At this share of them, as the seed decides.
    Share {
        /// Between 0 and 1.
        share: f64,
        /// Decides at which.
        #[serde(default)]
        seed: u64,
    },
}

impl Fault {
    /// A fault at these calls, that does nothing yet.
    pub fn at(target: impl Into<Target>) -> Self {
        Self {
            endpoint: target.into(),
            user: None,
            moment: Moment::Before,
            delay_ms: 0,
            effect: None,
            times: once(),
            skip: 0,
            often: Often::Always,
        }
    }

    /// Happens to calls for this user only.
    pub fn of(mut self, email: &str) -> Self {
        self.user = Some(email.to_owned());
        self
    }

    /// Gives this answer.
    pub fn answering(mut self, answer: Answer) -> Self {
        self.effect = Some(Effect::Answer(answer));
        self
    }

    /// Closes the connection without an answer.
    pub fn dropping(mut self) -> Self {
        self.effect = Some(Effect::Drop);
        self
    }

    /// Has Zoom act, and cuts its answer off.
    pub fn truncating(mut self, truncation: Truncation) -> Self {
        self.effect = Some(Effect::Truncate(truncation));
        self.after_acting()
    }

    /// Lets the call wait until [`release`](super::ZoomSimulator::release).
    pub fn hanging(mut self) -> Self {
        self.effect = Some(Effect::Hang);
        self
    }

    /// Lets the call wait for so long.
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Lets Zoom act first.
    pub fn after_acting(mut self) -> Self {
        self.moment = Moment::After;
        self
    }

    /// Happens so often.
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Happens for as long as it stands.
    pub fn lasting(mut self) -> Self {
        self.times = None;
        self
    }

    /// Lets so many calls pass first.
    pub fn skipping(mut self, calls: u32) -> Self {
        self.skip = calls;
        self
    }

    /// Happens at every so-manieth call only.
    pub fn every(mut self, nth: u32) -> Self {
        self.often = Often::Every(nth);
        self
    }

    /// Happens at a share of the calls only; the seed decides at which.
    pub fn share(mut self, share: f64, seed: u64) -> Self {
        self.often = Often::Share { share, seed };
        self
    }
}

/// A fault as ordered, with what has come of it.
#[derive(Serialize)]
struct Ordered {
    id: u64,
    #[serde(flatten)]
    fault: Fault,
    /// Calls that it looked at.
    seen: u32,
    /// Calls that it happened at.
    happened: u32,
    #[serde(skip)]
    dice: Dice,
    /// Gone or true: calls that hang go on.
    #[serde(skip)]
    release: watch::Sender<bool>,
}

impl Ordered {
    /// Whether it happens at this call, which it now has seen.
    fn happens(&mut self) -> bool {
        if self.fault.times.is_some_and(|times| self.happened >= times) {
            return false;
        }
        self.seen += 1;
        let Some(turn) = self.seen.checked_sub(self.fault.skip).filter(|turn| *turn > 0) else {
            return false;
        };
        let happens = match self.fault.often {
            Often::Always => true,
            Often::Every(nth) => turn % nth.max(1) == 0,
            Often::Share { share, .. } => self.dice.happens(share),
        };
        self.happened += u32::from(happens);
        happens
    }
}

/// What happens to one call.
pub(crate) struct Happening {
    pub(crate) id: u64,
    pub(crate) moment: Moment,
    pub(crate) delay: Duration,
    pub(crate) effect: Option<Effect>,
    released: watch::Receiver<bool>,
}

impl Happening {
    /// Waits until somebody releases the fault's calls, or withdraws it.
    pub(crate) async fn released(&mut self) {
        // An error says that it was withdrawn.
        let _ = self.released.wait_for(|released| *released).await;
    }
}

/// All faults, in the order in which they were ordered.
#[derive(Default)]
pub(crate) struct Faults {
    ordered: Vec<Ordered>,
    next_id: u64,
}

impl Faults {
    pub(crate) fn order(&mut self, mut fault: Fault) -> Result<u64> {
        if let Often::Share { share, .. } = fault.often {
            ensure!((0.0..=1.0).contains(&share), "a share lies between 0 and 1");
        }
        if matches!(fault.effect, Some(Effect::Truncate(_))) {
            fault.moment = Moment::After;
        }
        let seed = match fault.often {
            Often::Share { seed, .. } => seed,
            Often::Always | Often::Every(_) => 0,
        };
        self.next_id += 1;
        self.ordered.push(Ordered {
            id: self.next_id,
            fault,
            seen: 0,
            happened: 0,
            dice: Dice::new(seed),
            release: watch::Sender::new(false),
        });
        Ok(self.next_id)
    }

    /// What happens to a call: the first fault whose turn it is. Those before it in the order have counted the call.
    pub(crate) fn take(&mut self, endpoint: Endpoint, grant: Option<Grant>, user: Option<&str>) -> Option<Happening> {
        let mut candidates = self.ordered.iter_mut().filter(|Ordered { fault, .. }| {
            fault.endpoint.includes(endpoint, grant) && (fault.user.is_none() || fault.user.as_deref() == user)
        });
        let ordered = candidates.find_map(|ordered| ordered.happens().then_some(ordered))?;
        Some(Happening {
            id: ordered.id,
            moment: ordered.fault.moment,
            delay: Duration::from_millis(ordered.fault.delay_ms),
            effect: ordered.fault.effect.clone(),
            released: ordered.release.subscribe(),
        })
    }

    pub(crate) fn release(&self, id: u64) -> Result<()> {
        let ordered = self.ordered.iter().find(|ordered| ordered.id == id);
        ordered
            .with_context(|| format!("there is no fault {id}"))?
            .release
            .send_replace(true);
        Ok(())
    }

    /// Takes a fault back and releases its calls.
    pub(crate) fn withdraw(&mut self, id: u64) -> Result<()> {
        let before = self.ordered.len();
        self.ordered.retain(|ordered| ordered.id != id);
        ensure!(self.ordered.len() < before, "there is no fault {id}");
        Ok(())
    }

    pub(crate) fn withdraw_all(&mut self) {
        self.ordered.clear();
    }

    /// How often a fault has happened.
    pub(crate) fn happened(&self, id: u64) -> Option<u32> {
        let ordered = self.ordered.iter().find(|ordered| ordered.id == id);
        ordered.map(|ordered| ordered.happened)
    }

    pub(crate) fn to_json(&self) -> Value {
        json!(self.ordered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of so many calls to create a meeting something happens at.
    fn pattern(faults: &mut Faults, calls: usize) -> String {
        let take = |_| match faults.take(Endpoint::CreateMeeting, None, None) {
            None => '.',
            Some(happening) => char::from_digit(happening.id as u32, 10).unwrap(),
        };
        (0..calls).map(take).collect()
    }

    fn of(fault: Fault) -> Faults {
        let mut faults = Faults::default();
        faults.order(fault).unwrap();
        faults
    }

    #[test]
    fn a_fault_happens_at_the_calls_it_is_ordered_for() {
        let fault = || Fault::at(Endpoint::CreateMeeting).dropping();
        assert_eq!(pattern(&mut of(fault()), 4), "1...");
        assert_eq!(pattern(&mut of(fault().times(3)), 4), "111.");
        assert_eq!(pattern(&mut of(fault().skipping(2).times(1)), 4), "..1.");
        assert_eq!(pattern(&mut of(fault().every(3).lasting()), 9), "..1..1..1");
        assert_eq!(pattern(&mut of(fault().every(2).times(2).skipping(1)), 9), "..1.1....");
        assert_eq!(pattern(&mut of(Fault::at(Endpoint::GetMeeting).dropping()), 3), "...");
        let third = pattern(&mut of(fault().share(1.0 / 3.0, 11).lasting()), 300);
        let hits = third.chars().filter(|c| *c == '1').count();
        assert!((70..130).contains(&hits), "{hits}");
        assert_eq!(third, pattern(&mut of(fault().share(1.0 / 3.0, 11).lasting()), 300));
    }

    #[test]
    fn faults_take_turns_in_the_order_they_were_ordered() {
        let mut faults = Faults::default();
        faults
            .order(
                Fault::at(Endpoint::CreateMeeting)
                    .answering(Answer::empty(500))
                    .times(2),
            )
            .unwrap();
        faults.order(Fault::at(Target::ANY).dropping()).unwrap();
        faults
            .order(Fault::at(Endpoint::CreateMeeting).hanging().skipping(1))
            .unwrap();
        assert_eq!(pattern(&mut faults, 6), "112.3.");
        assert_eq!(
            (faults.happened(1), faults.happened(3), faults.happened(9)),
            (Some(2), Some(1), None)
        );
        faults.withdraw(1).unwrap();
        assert!(faults.withdraw(1).is_err() && faults.release(1).is_err());
    }

    #[test]
    fn a_fault_can_be_for_one_user() {
        let mut faults = of(Fault::at(Target::ANY).of("a@zoom.test").dropping());
        let mut happens = |user| faults.take(Endpoint::UsersMe, None, user).is_some();
        assert!(!happens(None) && !happens(Some("b@zoom.test")));
        assert!(happens(Some("a@zoom.test")) && !happens(Some("a@zoom.test")));
    }

    #[tokio::test]
    async fn what_hangs_is_released_or_set_free() {
        let mut faults = of(Fault::at(Target::ANY).hanging().times(2));
        let mut first = faults.take(Endpoint::UsersMe, None, None).unwrap();
        let mut second = faults.take(Endpoint::UsersMe, None, None).unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(20), first.released()).await;
        assert!(waiting.is_err());
        faults.release(1).unwrap();
        first.released().await;
        faults.withdraw_all();
        second.released().await;
    }

    #[test]
    fn faults_are_ordered_as_json() {
        let fault: Fault = serde_json::from_value(json!({
            "endpoint": "token_refresh", "effect": {"answer": {"status": 502, "headers": {"content-type": "text/html"}, "body": "<html>"}},
            "times": null, "often": {"share": {"share": 0.5}},
        }))
        .unwrap();
        assert_eq!(fault.endpoint, Target::TOKEN_REFRESH);
        assert_eq!((fault.times, fault.moment), (None, Moment::Before));
        let simple: Fault = serde_json::from_value(json!({"endpoint": "any", "effect": "drop"})).unwrap();
        assert_eq!(simple, Fault::at(Target::ANY).dropping());
        for bad in [
            json!({"endpoint": "nowhere"}),
            json!({"endpoint": "any", "efect": "drop"}),
            json!({"endpoint": "any", "effect": "explode"}),
        ] {
            assert!(serde_json::from_value::<Fault>(bad.clone()).is_err(), "{bad}");
        }
        let mut faults = of(Fault::at(Target::ANY).truncating(Truncation::Broken));
        assert!(faults.order(Fault::at(Target::ANY).share(2.0, 1)).is_err());
        assert_eq!(faults.to_json()[0]["effect"], json!({"truncate": "broken"}));
    }
}
