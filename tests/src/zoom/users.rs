//! Zoom's users: people with a Zoom account of their own, whatever they are to the app.

use std::fmt;

use anyhow::{ensure, Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use super::opaque::opaque;
use super::scopes;

/// A user's id, which the app's deauthorization names them by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub(crate) struct UserId(String);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A Zoom user.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) account_id: String,
    pub(crate) email: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    #[serde(rename = "type")]
    pub(crate) licence: Licence,
    pub(crate) timezone: String,
    pub(crate) may_host: bool,
    /// Whether `GET /users/me` leaves the address out.
    pub(crate) hides_email: bool,
    pub(crate) app: AppAccess,
    pub(crate) scopes: Vec<String>,
    pub(crate) locked_settings: serde_json::Map<String, Value>,
    pub(crate) removed: bool,
    pub(crate) created_at: DateTime<Utc>,
}

impl User {
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name)
    }

    /// The user as `GET /users/me` shows one.
    pub(crate) fn to_json(&self) -> Value {
        let mut shown = json!({
            "id": self.id,
            "account_id": self.account_id,
            "email": self.email,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "display_name": self.name(),
            "type": self.licence,
            "role_name": "Member",
            "timezone": self.timezone,
            "language": "en-US",
            "verified": 1,
            "status": "active",
            "created_at": self.created_at.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        });
        if let (true, Some(fields)) = (self.hides_email, shown.as_object_mut()) {
            fields.remove("email");
        }
        shown
    }
}

/// What the user pays for; Zoom counts from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Licence {
    /// 1: nothing.
    Basic,
    /// 2: a licence.
    #[default]
    Licensed,
}

impl From<Licence> for u8 {
    fn from(licence: Licence) -> Self {
        match licence {
            Licence::Basic => 1,
            Licence::Licensed => 2,
        }
    }
}

impl TryFrom<u8> for Licence {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, &'static str> {
        match number {
            1 => Ok(Self::Basic),
            2 => Ok(Self::Licensed),
            _ => Err("a user's type is 1 (basic) or 2 (licensed)"),
        }
    }
}

/// Whether the user's administrator lets them use the app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppAccess {
    /// Yes.
    #[default]
    Allowed,
    /// No: tokens are refused with 4738.
    Disabled,
    /// Not before the administrator has approved: from the consent page, the user does not come back.
    NeedsApproval,
}

/// A user to be made. [`NewUser::named`] gives one without anything special.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The email address, of which there is one user at most.
    pub email: String,
    /// Users of the same account share its limits.
    #[serde(default)]
    pub account_id: Option<String>,
    /// Basic or licensed.
    #[serde(default, rename = "type")]
    pub licence: Licence,
    /// Whether they may host meetings; else Zoom refuses with 3161.
    #[serde(default = "yes")]
    pub may_host: bool,
    /// IANA name.
    #[serde(default = "utc")]
    pub timezone: String,
    /// Settings of meetings that their account has locked, which a request cannot change.
    #[serde(default)]
    pub locked_settings: serde_json::Map<String, Value>,
}

fn yes() -> bool {
    true
}

fn utc() -> String {
    "UTC".to_owned()
}

impl NewUser {
    /// A licensed user with an account of their own.
    pub fn named(email: &str) -> Self {
        Self {
            email: email.to_owned(),
            account_id: None,
            licence: Licence::Licensed,
            may_host: true,
            timezone: utc(),
            locked_settings: serde_json::Map::new(),
        }
    }
}

/// All users, the removed ones too.
#[derive(Default)]
pub(crate) struct Users(Vec<User>);

impl Users {
    /// The users that are there from the start.
    pub(crate) fn seeded(now: DateTime<Utc>) -> Result<Self> {
        let mut users = Self::default();
        let studio = Some(opaque(22));
        let people = [
            NewUser {
                account_id: studio.clone(),
                timezone: "Europe/Berlin".to_owned(),
                ..NewUser::named("trainer@zoom.test")
            },
            NewUser {
                account_id: studio,
                timezone: "Europe/Berlin".to_owned(),
                ..NewUser::named("nutritionist@zoom.test")
            },
            NewUser {
                licence: Licence::Basic,
                locked_settings: serde_json::Map::from_iter([("waiting_room".to_owned(), json!(true))]),
                ..NewUser::named("basic@zoom.test")
            },
            NewUser {
                may_host: false,
                ..NewUser::named("nohost@zoom.test")
            },
        ];
        let others = (1..=6).map(|number| NewUser::named(&format!("user{number}@zoom.test")));
        for new in people.into_iter().chain(others) {
            users.create(new, now)?;
        }
        Ok(users)
    }

    pub(crate) fn create(&mut self, new: NewUser, now: DateTime<Utc>) -> Result<&User> {
        ensure!(new.email.contains('@'), "{:?} is no email address", new.email);
        ensure!(
            self.by_email(&new.email).is_none(),
            "there is a user {} already",
            new.email
        );
        ensure!(
            new.timezone.parse::<chrono_tz::Tz>().is_ok(),
            "{:?} is no time zone",
            new.timezone
        );
        let name = new.email.split('@').next().unwrap_or_default();
        let (first, rest) = name.split_at(name.char_indices().nth(1).map_or(name.len(), |(at, _)| at));
        self.0.push(User {
            id: UserId(opaque(22)),
            account_id: new.account_id.unwrap_or_else(|| opaque(22)),
            first_name: first.to_uppercase() + rest,
            last_name: "Zoomer".to_owned(),
            email: new.email,
            licence: new.licence,
            timezone: new.timezone,
            may_host: new.may_host,
            app: AppAccess::Allowed,
            scopes: scopes::GRANULAR
                .iter()
                .chain([&scopes::GRANULAR_END])
                .map(|scope| (*scope).to_owned())
                .collect(),
            hides_email: false,
            locked_settings: new.locked_settings,
            removed: false,
            created_at: now,
        });
        self.0.last().context("the user just made")
    }

    /// The user of this address, unless removed.
    pub(crate) fn by_email(&self, email: &str) -> Option<&User> {
        self.0.iter().find(|user| user.email == email && !user.removed)
    }

    pub(crate) fn by_email_mut(&mut self, email: &str) -> Result<&mut User> {
        let user = self.0.iter_mut().find(|user| user.email == email && !user.removed);
        user.with_context(|| format!("there is no Zoom user {email}"))
    }

    /// Also one that was removed.
    pub(crate) fn by_id(&self, id: &UserId) -> Option<&User> {
        self.0.iter().find(|user| user.id == *id)
    }

    pub(crate) fn present(&self) -> impl Iterator<Item = &User> {
        self.0.iter().filter(|user| !user.removed)
    }

    pub(crate) fn all(&self) -> &[User] {
        &self.0
    }

    pub(crate) fn grow_older(&mut self, by: TimeDelta) {
        for user in &mut self.0 {
            user.created_at -= by;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_users_from_the_start_and_more_on_demand() {
        let mut users = Users::seeded(Utc::now()).unwrap();
        let account = |users: &Users, email| users.by_email(email).unwrap().account_id.clone();
        assert_eq!(users.present().count(), 10);
        assert_eq!(users.present().next().unwrap().email, "trainer@zoom.test");
        assert_eq!(
            account(&users, "trainer@zoom.test"),
            account(&users, "nutritionist@zoom.test")
        );
        assert_ne!(account(&users, "trainer@zoom.test"), account(&users, "user1@zoom.test"));
        assert!(!users.by_email("nohost@zoom.test").unwrap().may_host);
        assert_eq!(users.by_email("basic@zoom.test").unwrap().to_json()["type"], 1);

        users.create(NewUser::named("host99@zoom.test"), Utc::now()).unwrap();
        assert!(users.create(NewUser::named("host99@zoom.test"), Utc::now()).is_err());
        users.by_email_mut("host99@zoom.test").unwrap().removed = true;
        assert!(users.by_email("host99@zoom.test").is_none());
        users.create(NewUser::named("host99@zoom.test"), Utc::now()).unwrap();
    }
}
