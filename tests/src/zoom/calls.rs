//! The record of calls to Zoom.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::endpoint::{Endpoint, Grant};
use crate::sequence;

/// A simulator that runs for days forgets its oldest calls.
const MOST: usize = 100_000;

/// A call to Zoom, of an edge function or of a browser.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RecordedCall {
    /// Counts on with every call and with every request to the gateway: puts them all in order.
    pub number: u64,
    /// When it arrived.
    pub at: DateTime<Utc>,
    /// Where it went.
    pub endpoint: Endpoint,
    /// Of a call to the token endpoint: what it meant to spend.
    pub grant: Option<Grant>,
    /// `GET`, `POST`, …
    pub method: String,
    /// Without the query.
    pub path: String,
    /// The status of the answer; `None` as long as there is none, and for ever if the connection was dropped.
    pub status: Option<u16>,
    /// In the order of `number`, when it was answered or dropped; `None` while it is in flight.
    pub ended: Option<u64>,
    /// Whether Zoom did what was asked, whatever answer came of it.
    pub acted: bool,
    /// The fault that happened to it.
    pub fault: Option<u64>,
    /// The token that it presented, by the id that the state shows it under.
    pub token: Option<String>,
    /// The email address of the Zoom user that it was for.
    pub user: Option<String>,
}

/// All calls since the start, or since the record was cleared.
#[derive(Default)]
pub(crate) struct Calls(Vec<RecordedCall>);

impl Calls {
    /// Records a call that has just arrived, and gives its number.
    pub(crate) fn arrived(&mut self, endpoint: Endpoint, grant: Option<Grant>, method: &str, path: &str) -> u64 {
        if self.0.len() >= MOST {
            self.0.drain(..MOST / 2);
        }
        let number = sequence::next();
        self.0.push(RecordedCall {
            number,
            at: Utc::now(),
            endpoint,
            grant,
            method: method.to_owned(),
            path: path.to_owned(),
            status: None,
            ended: None,
            acted: false,
            fault: None,
            token: None,
            user: None,
        });
        number
    }

    /// The call of this number, unless the record was cleared.
    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut RecordedCall> {
        self.0.iter_mut().rev().find(|call| call.number == number)
    }

    pub(crate) fn all(&self) -> &[RecordedCall] {
        &self.0
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
