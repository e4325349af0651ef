//! Zoom's meetings.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{json, Map, Value};

use super::answer::Answer;
use super::meeting_fields::MeetingFields;
use super::meeting_lists::MeetingLists;
use super::opaque::{jwt, meeting_uuid, opaque, IssuedSecret, SecretKind};
use super::request::Parameters;
use super::users::{User, UserId};

/// A link that makes its holder the host works for this long.
const START_URL_LIFE: TimeDelta = TimeDelta::hours(2);

/// One time that a meeting was held, with a UUID of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Instance {
    /// What events of this time carry.
    pub uuid: String,
    /// When it was started.
    pub started_at: DateTime<Utc>,
    /// When it ended; `None` while it goes on.
    pub ended_at: Option<DateTime<Utc>>,
}

/// A meeting.
#[derive(Clone, Debug)]
pub(crate) struct Meeting {
    pub(crate) id: u64,
    /// Of the instance that goes on, else of the next one.
    pub(crate) uuid: String,
    pub(crate) host: UserId,
    pub(crate) topic: String,
    pub(crate) agenda: String,
    pub(crate) start: DateTime<Utc>,
    pub(crate) duration: u64,
    pub(crate) timezone: String,
    pub(crate) password: String,
    pub(crate) settings: Map<String, Value>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) instances: Vec<Instance>,
    /// Whether the host is in the meeting that goes on, and how many others are.
    pub(crate) host_is_in: bool,
    pub(crate) guests: u32,
    pub(crate) deleted_at: Option<DateTime<Utc>>,
    /// Deleted for good: it cannot be recovered.
    pub(crate) purged: bool,
    /// How often it was changed, by whomever.
    pub(crate) updates: u32,
}

/// Where a meeting is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MeetingStatus {
    /// Nobody is in it. A meeting that ended waits again.
    Waiting,
    /// It goes on.
    Started,
    /// It exists no more.
    Deleted,
}

/// A meeting, as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ZoomMeeting {
    /// Its number, which may pass 2^53.
    pub id: String,
    /// Its UUID.
    pub uuid: String,
    /// The host's email address.
    pub host: String,
    /// Its title.
    pub topic: String,
    /// Its description, uncut.
    pub agenda: String,
    /// When it is planned to start.
    pub start_time: DateTime<Utc>,
    /// Planned length in minutes.
    pub duration: u64,
    /// IANA name.
    pub timezone: String,
    /// Where it is in its life.
    pub status: MeetingStatus,
    /// How often it was changed, by whomever.
    pub updates: u32,
    /// What the settings came to.
    pub settings: Map<String, Value>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last started.
    pub started_at: Option<DateTime<Utc>>,
    /// When it last ended; `None` while it goes on.
    pub ended_at: Option<DateTime<Utc>>,
    /// Every time that it was held, in order.
    pub instances: Vec<Instance>,
    /// The passcode, which is a part of the link for participants.
    pub password: String,
}

impl Meeting {
    pub(crate) fn status(&self) -> MeetingStatus {
        match (self.deleted_at, self.running()) {
            (Some(_), _) => MeetingStatus::Deleted,
            (None, Some(_)) => MeetingStatus::Started,
            (None, None) => MeetingStatus::Waiting,
        }
    }

    /// The instance that goes on.
    pub(crate) fn running(&self) -> Option<&Instance> {
        self.instances.last().filter(|last| last.ended_at.is_none())
    }

    /// The host starts it, or comes back to it; tells whether a new instance began.
    pub(crate) fn start(&mut self, now: DateTime<Utc>) -> bool {
        self.host_is_in = true;
        if self.running().is_some() {
            return false;
        }
        self.instances.push(Instance {
            uuid: self.uuid.clone(),
            started_at: now,
            ended_at: None,
        });
        true
    }

    /// Ends what goes on, and gives it. The next time it is held it has another UUID.
    pub(crate) fn end(&mut self, now: DateTime<Utc>) -> Option<Instance> {
        let last = self.instances.last_mut().filter(|last| last.ended_at.is_none())?;
        last.ended_at = Some(now);
        self.uuid = meeting_uuid();
        self.host_is_in = false;
        self.guests = 0;
        Some(last.clone())
    }

    /// Changes what the fields name; gives what has changed, and what it was before, as `meeting.updated` tells it.
    pub(crate) fn update(
        &mut self,
        fields: MeetingFields,
        locked: &Map<String, Value>,
    ) -> (Map<String, Value>, Map<String, Value>) {
        let before = self.editable();
        self.topic = fields.topic.unwrap_or(std::mem::take(&mut self.topic));
        self.agenda = fields.agenda.unwrap_or(std::mem::take(&mut self.agenda));
        self.start = fields.start.unwrap_or(self.start);
        self.duration = fields.duration.unwrap_or(self.duration);
        self.timezone = fields.timezone.unwrap_or(std::mem::take(&mut self.timezone));
        self.password = fields.password.unwrap_or(std::mem::take(&mut self.password));
        self.settings.extend(fields.settings);
        self.enforce(locked);
        self.updates += 1;
        let after = self.editable();
        let changed = |name: &String| after.get(name) != before.get(name);
        let of = |fields: &Map<String, Value>| {
            let kept = fields.iter().filter(|(name, _)| changed(name));
            kept.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        (of(&after), of(&before))
    }

    fn editable(&self) -> Map<String, Value> {
        let fields = json!({
            "topic": self.topic, "agenda": self.agenda, "start_time": instant(self.start), "duration": self.duration,
            "timezone": self.timezone, "password": self.password, "settings": self.settings,
        });
        fields.as_object().cloned().unwrap_or_default()
    }

    /// What Zoom makes of the settings: what the account has locked stays, and a meeting is never open to everybody.
    fn enforce(&mut self, locked: &Map<String, Value>) {
        self.settings.extend(locked.clone());
        let on = |name: &str| self.settings.get(name) == Some(&json!(true));
        if self.password.is_empty() && !on("waiting_room") && !on("meeting_authentication") {
            self.settings.insert("waiting_room".to_owned(), json!(true));
        }
    }

    /// What events and lists show.
    pub(crate) fn outline(&self) -> Map<String, Value> {
        let outline = json!({
            "uuid": self.uuid, "id": self.id, "host_id": self.host, "topic": self.topic, "type": 2,
            "start_time": instant(self.start), "duration": self.duration, "timezone": self.timezone,
        });
        outline.as_object().cloned().unwrap_or_default()
    }

    pub(crate) fn join_url(&self, origin: &str) -> String {
        format!("{origin}/j/{}?pwd={}", self.id, self.password)
    }
}

pub(crate) fn instant(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// All meetings, the deleted ones too.
#[derive(Default)]
pub(crate) struct Meetings {
    all: Vec<Meeting>,
    by_id: HashMap<u64, usize>,
    /// The tokens in start URLs, with their meeting and the end of their time.
    start_tokens: HashMap<String, (u64, DateTime<Utc>)>,
    start_urls: Vec<String>,
    lists: MeetingLists,
}

impl Meetings {
    /// A new meeting. Every third one has a number beyond 2^53.
    pub(crate) fn create(&mut self, host: &User, fields: MeetingFields, now: DateTime<Utc>) -> &Meeting {
        let index = self.all.len();
        let spread = u64::from(uuid::Uuid::new_v4().as_fields().0);
        let mut id = if index % 3 == 1 {
            (1 << 53) + 1 + spread * 2
        } else {
            80_000_000_000 + spread
        };
        while self.by_id.contains_key(&id) {
            id += 2;
        }
        let settings = json!({
            "waiting_room": false, "join_before_host": true, "mute_upon_entry": false, "host_video": false,
            "participant_video": false, "meeting_authentication": false, "approval_type": 2, "audio": "both",
            "auto_recording": "none",
        });
        let mut meeting = Meeting {
            id,
            uuid: meeting_uuid(),
            host: host.id.clone(),
            topic: String::new(),
            agenda: String::new(),
            start: now,
            duration: 0,
            timezone: host.timezone.clone(),
            password: opaque(10),
            settings: settings.as_object().cloned().unwrap_or_default(),
            created_at: now,
            instances: Vec::new(),
            host_is_in: false,
            guests: 0,
            deleted_at: None,
            purged: false,
            updates: 0,
        };
        meeting.update(fields, &host.locked_settings);
        meeting.updates = 0;
        self.by_id.insert(id, index);
        self.all.push(meeting);
        &self.all[index]
    }

    /// The meeting of this number, unless it was deleted.
    pub(crate) fn get(&self, id: &str) -> Option<&Meeting> {
        let meeting = &self.all[*self.by_id.get(&id.parse().ok()?)?];
        meeting.deleted_at.is_none().then_some(meeting)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Meeting> {
        let meeting = &mut self.all[*self.by_id.get(&id.parse().ok()?)?];
        meeting.deleted_at.is_none().then_some(meeting)
    }

    /// The meeting of this number, also if it was deleted.
    pub(crate) fn get_deleted_mut(&mut self, id: &str) -> Option<&mut Meeting> {
        Some(&mut self.all[*self.by_id.get(&id.parse().ok()?)?])
    }

    /// The meetings that go on.
    pub(crate) fn running_mut(&mut self) -> impl Iterator<Item = &mut Meeting> {
        self.all.iter_mut().filter(|meeting| meeting.running().is_some())
    }

    pub(crate) fn delete_all_of(&mut self, host: &UserId, now: DateTime<Utc>) {
        let meetings = self.all.iter_mut().filter(|meeting| meeting.host == *host);
        meetings.for_each(|meeting| meeting.deleted_at = meeting.deleted_at.or(Some(now)));
    }

    /// The meeting as its host gets it, with a fresh start URL.
    pub(crate) fn for_host(&mut self, meeting: &Meeting, host: &User, origin: &str, now: DateTime<Utc>) -> Value {
        let expires_at = now + START_URL_LIFE;
        let claims = json!({
            "aud": "clientsm", "uid": host.id, "iss": "web", "sty": 1, "mnum": meeting.id.to_string(),
            "exp": expires_at.timestamp(), "iat": now.timestamp(), "aid": host.account_id,
        });
        let token = jwt(&claims, 400);
        let start_url = format!("{origin}/s/{}?zak={token}", meeting.id);
        self.start_tokens.insert(token, (meeting.id, expires_at));
        self.start_urls.push(start_url.clone());
        let mut shown = meeting.outline();
        let more = json!({
            "host_email": host.email, "agenda": meeting.agenda, "status": meeting.status(),
            "created_at": instant(meeting.created_at), "start_url": start_url, "join_url": meeting.join_url(origin),
            "password": meeting.password, "settings": meeting.settings, "pre_schedule": false,
        });
        shown.extend(more.as_object().cloned().unwrap_or_default());
        shown.into()
    }

    /// The meeting that a start URL's token opens now.
    pub(crate) fn opened_by(&self, token: &str, now: DateTime<Utc>) -> Option<&Meeting> {
        let (id, expires_at) = self.start_tokens.get(token)?;
        (now < *expires_at).then(|| self.get(&id.to_string()))?
    }

    /// One page of a host's meetings.
    pub(crate) fn list(
        &mut self,
        host: &UserId,
        query: &Parameters,
        origin: &str,
        now: DateTime<Utc>,
    ) -> Result<Value, Answer> {
        self.lists.page(&self.all, host, query, origin, now)
    }

    /// Time passes, but plans stay: only what has happened is longer ago now.
    pub(crate) fn grow_older(&mut self, by: TimeDelta) {
        for meeting in &mut self.all {
            meeting.created_at -= by;
            meeting.deleted_at = meeting.deleted_at.map(|at| at - by);
            for instance in &mut meeting.instances {
                instance.started_at -= by;
                instance.ended_at = instance.ended_at.map(|at| at - by);
            }
        }
        for (_, expires_at) in self.start_tokens.values_mut() {
            *expires_at -= by;
        }
        self.lists.grow_older(by);
    }

    /// Plans too are nearer now.
    pub(crate) fn bring_nearer(&mut self, by: TimeDelta) {
        for meeting in &mut self.all {
            meeting.start -= by;
        }
    }

    /// Every meeting that ever was, in order of creation.
    pub(crate) fn shown(&self, email_of: impl Fn(&UserId) -> String) -> Vec<ZoomMeeting> {
        let show = |meeting: &Meeting| ZoomMeeting {
            id: meeting.id.to_string(),
            uuid: meeting.uuid.clone(),
            host: email_of(&meeting.host),
            topic: meeting.topic.clone(),
            agenda: meeting.agenda.clone(),
            start_time: meeting.start,
            duration: meeting.duration,
            timezone: meeting.timezone.clone(),
            status: meeting.status(),
            updates: meeting.updates,
            settings: meeting.settings.clone(),
            created_at: meeting.created_at,
            started_at: meeting.instances.last().map(|last| last.started_at),
            ended_at: meeting.instances.last().and_then(|last| last.ended_at),
            instances: meeting.instances.clone(),
            password: meeting.password.clone(),
        };
        self.all.iter().map(show).collect()
    }

    pub(crate) fn secrets(&self) -> impl Iterator<Item = IssuedSecret> + '_ {
        let secret = |kind, value: &String| IssuedSecret {
            kind,
            value: value.clone(),
        };
        let urls = self.start_urls.iter().map(move |url| secret(SecretKind::StartUrl, url));
        urls.chain(
            self.start_tokens
                .keys()
                .map(move |token| secret(SecretKind::StartToken, token)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::meeting_fields::Purpose;
    use super::super::users::Users;
    use super::*;

    const ORIGIN: &str = "http://127.0.0.1:1";

    struct World {
        users: Users,
        meetings: Meetings,
        now: DateTime<Utc>,
    }

    impl World {
        fn new() -> Self {
            let now = "2026-03-01T12:00:00Z".parse().unwrap();
            Self {
                users: Users::seeded(now).unwrap(),
                meetings: Meetings::default(),
                now,
            }
        }

        fn host(&self) -> User {
            self.users.all()[0].clone()
        }

        fn create(&mut self, changes: Value) -> Meeting {
            let mut body = json!({"topic": "t", "type": 2, "start_time": "2026-03-02T12:00:00Z", "duration": 30});
            for (name, value) in changes.as_object().unwrap() {
                body[name] = value.clone();
            }
            let fields = MeetingFields::parse(&body, Purpose::Create).unwrap();
            self.meetings.create(&self.host(), fields, self.now).clone()
        }
    }

    #[test]
    fn some_numbers_pass_what_a_float_can_hold() {
        let mut world = World::new();
        let ids: Vec<_> = (0..9).map(|_| world.create(json!({})).id).collect();
        assert_eq!(ids.iter().filter(|id| **id > 1 << 53).count(), 3);
        assert!(
            ids.iter()
                .filter(|id| **id > 1 << 53)
                .all(|id| *id as f64 as u64 != *id),
            "{ids:?}"
        );
        assert!(ids.iter().all(|id| world.meetings.get(&id.to_string()).is_some()));
        assert!(world.meetings.get("x").is_none() && world.meetings.get("1").is_none());
    }

    #[test]
    fn an_update_tells_what_has_changed() {
        let mut world = World::new();
        let id = world.create(json!({"agenda": "a"})).id.to_string();
        let fields = json!({"topic": "new", "start_time": "2026-03-02T12:00:00Z", "duration": 45});
        let fields = MeetingFields::parse(&fields, Purpose::Update).unwrap();
        let (changed, old) = world.meetings.get_mut(&id).unwrap().update(fields.clone(), &Map::new());
        assert_eq!(Value::from(changed), json!({"topic": "new", "duration": 45}));
        assert_eq!(Value::from(old), json!({"topic": "t", "duration": 30}));
        let (changed, _) = world.meetings.get_mut(&id).unwrap().update(fields, &Map::new());
        assert!(changed.is_empty());
        assert_eq!(world.meetings.get(&id).unwrap().updates, 2);
        assert_eq!(world.meetings.get(&id).unwrap().agenda, "a");
    }

    #[test]
    fn zoom_overwrites_settings() {
        let mut world = World::new();
        let open = world.create(json!({"password": "", "settings": {"waiting_room": false}}));
        assert_eq!(open.settings["waiting_room"], true);
        let protected = world.create(json!({"settings": {"waiting_room": false}}));
        assert_eq!(protected.settings["waiting_room"], false);
        let locked = Map::from_iter([("join_before_host".to_owned(), json!(false))]);
        let fields = MeetingFields::parse(&json!({"settings": {"join_before_host": true}}), Purpose::Update).unwrap();
        let id = protected.id.to_string();
        world.meetings.get_mut(&id).unwrap().update(fields, &locked);
        assert_eq!(world.meetings.get(&id).unwrap().settings["join_before_host"], false);
    }

    #[test]
    fn a_start_url_works_for_two_hours_and_differs_each_time() {
        let mut world = World::new();
        let (host, meeting) = (world.host(), world.create(json!({})));
        let mut url = || {
            let shown = world.meetings.for_host(&meeting, &host, ORIGIN, world.now);
            shown["start_url"].as_str().unwrap().to_owned()
        };
        let (first, second) = (url(), url());
        assert_ne!(first, second);
        let token = |url: &str| url.split_once("zak=").unwrap().1.to_owned();
        let almost = world.now + TimeDelta::minutes(119);
        assert_eq!(world.meetings.opened_by(&token(&first), almost).unwrap().id, meeting.id);
        world.meetings.grow_older(TimeDelta::hours(1));
        assert!(world
            .meetings
            .opened_by(&token(&second), world.now + TimeDelta::hours(1))
            .is_none());
        assert_eq!(world.meetings.secrets().count(), 4);
    }
}
