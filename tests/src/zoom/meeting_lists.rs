//! Lists of a host's meetings, page by page.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{json, Value};

use super::answer::Answer;
use super::meetings::{instant, Meeting, MeetingStatus};
use super::opaque::opaque;
use super::request::Parameters;
use super::users::UserId;

/// The next page can be asked for within this time.
const PAGE_TOKEN_LIFE: TimeDelta = TimeDelta::minutes(15);
/// Lists show this much of an agenda, in UTF-16 units.
const LISTED_AGENDA: usize = 250;

/// Which meetings a list shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListType {
    Scheduled,
    Upcoming,
    Live,
}

impl ListType {
    fn includes(self, meeting: &Meeting, now: DateTime<Utc>) -> bool {
        let live = meeting.status() == MeetingStatus::Started;
        let over = meeting.start + TimeDelta::minutes(i64::try_from(meeting.duration).unwrap_or(0)) < now;
        match self {
            Self::Scheduled => true,
            Self::Upcoming => live || !over,
            Self::Live => live,
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
struct Page {
    host: UserId,
    list: ListType,
    size: usize,
    /// The place among all meetings where it begins.
    from: usize,
    expires_at: DateTime<Utc>,
}

/// The pages that can be asked for next, by their tokens.
#[derive(Default)]
pub(crate) struct MeetingLists(HashMap<String, Page>);

impl MeetingLists {
    /// One page of a host's meetings, in the order of `all`.
    pub(crate) fn page(
        &mut self,
        all: &[Meeting],
        host: &UserId,
        query: &Parameters,
        origin: &str,
        now: DateTime<Utc>,
    ) -> Result<Value, Answer> {
        let page = self.asked_for(host, query, now)?;
        let belongs = |meeting: &Meeting| {
            meeting.host == *host && meeting.deleted_at.is_none() && page.list.includes(meeting, now)
        };
        let total = all.iter().filter(|meeting| belongs(meeting)).count();
        let mut rest = all
            .iter()
            .enumerate()
            .skip(page.from)
            .filter(|(_, meeting)| belongs(meeting));
        let meetings: Vec<_> = rest
            .by_ref()
            .take(page.size)
            .map(|(_, meeting)| listed(meeting, origin))
            .collect();
        let next_page_token = match rest.next() {
            None => String::new(),
            Some((from, _)) => {
                // Base64 has characters that mean something in an address: whoever does not encode them is found out.
                let token = format!("{}+/==", opaque(22));
                let expires_at = now + PAGE_TOKEN_LIFE;
                self.0.insert(
                    token.clone(),
                    Page {
                        from,
                        expires_at,
                        ..page.clone()
                    },
                );
                token
            }
        };
        Ok(json!({
            "page_size": page.size, "total_records": total, "next_page_token": next_page_token, "meetings": meetings,
        }))
    }

    fn asked_for(&self, host: &UserId, query: &Parameters, now: DateTime<Utc>) -> Result<Page, Answer> {
        let mut page = Page {
            host: host.clone(),
            list: ListType::Scheduled,
            size: 30,
            from: 0,
            expires_at: now,
        };
        let refused = |message: &str| Answer::api_error(400, 300, message);
        let mut next = None;
        for (at, (name, value)) in query.iter().enumerate() {
            if query[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(refused("A parameter was given twice."));
            }
            match (name.as_str(), value.as_str()) {
                ("type", "scheduled") => page.list = ListType::Scheduled,
                // The latter looks no further than six months, which no test of ours does either.
                ("type", "upcoming" | "upcoming_meetings") => page.list = ListType::Upcoming,
                ("type", "live") => page.list = ListType::Live,
                ("page_size", size) => {
                    let size = size.parse().ok().filter(|size| (1..=300).contains(size));
                    page.size = size.ok_or_else(|| refused("The value of page_size must be between 1 and 300."))?;
                }
                ("next_page_token", token) => next = Some(token).filter(|token| !token.is_empty()),
                _ => return Err(refused(&format!("The parameter {name} is unknown, or its value is."))),
            }
        }
        let Some(token) = next else {
            return Ok(page);
        };
        let known = self.0.get(token).filter(|next| {
            next.host == page.host && next.list == page.list && next.size == page.size && now < next.expires_at
        });
        known
            .cloned()
            .ok_or_else(|| refused("The next page token is invalid or expired."))
    }

    pub(crate) fn grow_older(&mut self, by: TimeDelta) {
        for page in self.0.values_mut() {
            page.expires_at -= by;
        }
    }
}

/// A meeting as lists show it: without a start URL.
fn listed(meeting: &Meeting, origin: &str) -> Value {
    let mut listed = meeting.outline();
    listed.insert("agenda".to_owned(), json!(cut(&meeting.agenda, LISTED_AGENDA)));
    listed.insert("created_at".to_owned(), json!(instant(meeting.created_at)));
    listed.insert("join_url".to_owned(), json!(meeting.join_url(origin)));
    listed.into()
}

/// The longest beginning of at most `max` UTF-16 units.
fn cut(text: &str, max: usize) -> String {
    let mut units = 0;
    let fits = |c: &char| {
        units += c.len_utf16();
        units <= max
    };
    text.chars().take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::super::meeting_fields::{MeetingFields, Purpose};
    use super::super::meetings::Meetings;
    use super::super::users::Users;
    use super::*;

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

        fn create(&mut self, changes: Value) -> String {
            let mut body = json!({"topic": "t", "type": 2, "start_time": "2026-03-02T12:00:00Z", "duration": 30});
            for (name, value) in changes.as_object().unwrap() {
                body[name] = value.clone();
            }
            let fields = MeetingFields::parse(&body, Purpose::Create).unwrap();
            self.meetings
                .create(&self.users.all()[0], fields, self.now)
                .id
                .to_string()
        }

        fn list(&mut self, query: &str) -> Result<Value, Answer> {
            let query: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            self.meetings
                .list(&self.users.all()[0].id, &query, "http://127.0.0.1:1", self.now)
        }
    }

    #[test]
    fn lists_come_in_pages_with_cut_agendas() {
        let mut world = World::new();
        for number in 0..7 {
            world.create(json!({"topic": format!("{number}"), "agenda": "x".repeat(300)}));
        }
        let gone = world.create(json!({}));
        world.meetings.get_mut(&gone).unwrap().deleted_at = Some(world.now);
        let mut topics = String::new();
        let mut token = String::new();
        for size in [3, 3, 1] {
            let encoded: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
            let page = world
                .list(&format!("type=scheduled&page_size=3&next_page_token={encoded}"))
                .unwrap();
            assert_eq!(
                (&page["total_records"], page["meetings"].as_array().unwrap().len()),
                (&json!(7), size)
            );
            for meeting in page["meetings"].as_array().unwrap() {
                topics += meeting["topic"].as_str().unwrap();
                assert_eq!(meeting["agenda"].as_str().unwrap().len(), 250);
                assert!(meeting.get("start_url").is_none() && meeting["join_url"].is_string());
            }
            token = page["next_page_token"].as_str().unwrap().to_owned();
        }
        assert_eq!((topics.as_str(), token.as_str()), ("0123456", ""));
    }

    #[test]
    fn a_page_token_is_for_the_same_list_within_a_quarter_of_an_hour() {
        let mut world = World::new();
        for _ in 0..3 {
            world.create(json!({}));
        }
        let page = world.list("page_size=2").unwrap();
        let token = page["next_page_token"].as_str().unwrap().to_owned();
        let encoded: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
        assert!(
            world.list(&format!("page_size=2&next_page_token={token}")).is_err(),
            "not encoded"
        );
        assert!(world.list(&format!("page_size=1&next_page_token={encoded}")).is_err());
        assert!(world
            .list(&format!("page_size=2&type=upcoming&next_page_token={encoded}"))
            .is_err());
        assert!(world.list(&format!("page_size=2&next_page_token={encoded}")).is_ok());
        world.meetings.grow_older(TimeDelta::minutes(15));
        assert!(world.list(&format!("page_size=2&next_page_token={encoded}")).is_err());
        for bad in [
            "page_size=301",
            "page_size=0",
            "page_size=x",
            "type=past",
            "page_number=2",
            "type=live&type=live",
        ] {
            assert_eq!(world.list(bad).unwrap_err().body["code"], 300, "{bad}");
        }
    }

    #[test]
    fn upcoming_leaves_out_what_is_over_unless_it_goes_on() {
        let mut world = World::new();
        let over = world.create(json!({"start_time": "2026-03-01T11:00:00Z"}));
        world.create(json!({"start_time": "2026-03-01T11:45:00Z"}));
        assert_eq!(world.list("type=upcoming").unwrap()["total_records"], 1);
        assert_eq!(world.list("").unwrap()["total_records"], 2);
        world.meetings.get_mut(&over).unwrap().start(world.now);
        assert_eq!(world.list("type=upcoming").unwrap()["total_records"], 2);
        assert_eq!(world.list("type=live").unwrap()["total_records"], 1);
        world.meetings.bring_nearer(TimeDelta::days(1));
        assert_eq!(world.list("type=upcoming").unwrap()["total_records"], 1);
    }
}
