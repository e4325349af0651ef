//! The API below `/v2`: users and meetings.

use axum::http::header;
use chrono::{DateTime, Utc};
use serde_json::{json, Value};

use super::answer::Answer;
use super::endpoint::Endpoint;
use super::meeting_fields::{MeetingFields, Purpose};
use super::meetings::Meeting;
use super::options::{RunningMeeting, UnknownTimeZones};
use super::request::Request;
use super::scopes;
use super::tokens::{Status, TokenKind};
use super::users::User;
use super::world::{self, Notes, World};

/// Answers a call to the API; an error is Zoom's refusal.
pub(crate) fn answer(
    world: &mut World,
    endpoint: Endpoint,
    meeting: &str,
    request: &Request,
    notes: &mut Notes,
    now: DateTime<Utc>,
) -> Result<Answer, Answer> {
    let user = caller(world, endpoint, request, notes, now)?;
    if !request.query.is_empty() && endpoint != Endpoint::ListMeetings {
        return Err(Answer::api_error(
            400,
            300,
            "This endpoint takes no parameters in the address.",
        ));
    }
    let limits = world.limits.count(&user, endpoint, &world.rules, now)?;
    let answer = match endpoint {
        Endpoint::UsersMe => Answer::json(200, user.to_json()),
        Endpoint::CreateMeeting => create(world, &user, &body(request)?, now)?,
        Endpoint::ListMeetings => {
            let page = world
                .meetings
                .list(&user.id, &request.query_parameters(), &world.origin, now)?;
            Answer::json(200, page)
        }
        Endpoint::GetMeeting => {
            let meeting = own_meeting(world, &user, meeting)?.clone();
            Answer::json(200, world.meetings.for_host(&meeting, &user, &world.origin, now))
        }
        Endpoint::UpdateMeeting => update(world, &user, meeting, &body(request)?, now)?,
        Endpoint::DeleteMeeting => delete(world, &user, meeting, now)?,
        Endpoint::EndMeeting => end(world, &user, meeting, &body(request)?, now)?,
        Endpoint::Authorize | Endpoint::Token | Endpoint::Revoke | Endpoint::Unknown => {
            return Err(Answer::api_error(404, 2300, "This API endpoint is not recognized."));
        }
    };
    Ok(limits
        .into_iter()
        .fold(answer, |answer, (name, value)| answer.with_header(name, value)))
}

/// The user whose live access token the request carries, and who has granted what the endpoint needs.
fn caller(
    world: &World,
    endpoint: Endpoint,
    request: &Request,
    notes: &mut Notes,
    now: DateTime<Utc>,
) -> Result<User, Answer> {
    let invalid = |message: &str| Answer::api_error(401, 124, message);
    let token = request
        .header(header::AUTHORIZATION)
        .and_then(|value| value.strip_prefix("Bearer "));
    let token = token
        .and_then(|token| world.tokens.find(token))
        .filter(|token| token.kind == TokenKind::Access);
    let token = token.ok_or_else(|| invalid("Invalid access token."))?;
    notes.token = Some(token.id);
    notes.user = Some(token.user.clone());
    let user = world
        .users
        .by_id(&token.user)
        .ok_or_else(|| invalid("Invalid access token."))?;
    match token.status(now) {
        Status::Live => {}
        Status::Expired => return Err(invalid("Access token is expired.")),
        Status::OwnerGone => {
            return Err(Answer::api_error(
                404,
                1001,
                format!("User does not exist: {}.", user.id),
            ));
        }
        Status::Spent | Status::Replaced | Status::Revoked | Status::Overtaken | Status::Disabled => {
            return Err(invalid("Invalid access token."));
        }
    }
    let granted = &world.tokens.grant_of(token).scopes;
    if let Some(needed) = scopes::needed(endpoint) {
        if !needed
            .iter()
            .any(|scope| granted.iter().any(|granted| granted == scope))
        {
            let message = format!("Invalid access token, does not contain scopes:[{}].", needed.join(", "));
            return Err(Answer::api_error(400, 4711, message));
        }
    }
    Ok(user.clone())
}

fn body(request: &Request) -> Result<Value, Answer> {
    request
        .json()
        .ok_or_else(|| Answer::api_error(400, 300, "Request Body should be a valid JSON object."))
}

fn own_meeting<'w>(world: &'w World, user: &User, id: &str) -> Result<&'w Meeting, Answer> {
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Answer::api_error(400, 300, "Invalid meeting id."));
    }
    let gone = || Answer::api_error(404, 3001, format!("Meeting does not exist: {id}."));
    let meeting = world.meetings.get(id).ok_or_else(gone)?;
    if meeting.host == user.id {
        return Ok(meeting);
    }
    let colleague = world
        .users
        .by_id(&meeting.host)
        .is_some_and(|host| host.account_id == user.account_id);
    Err(if colleague {
        Answer::api_error(403, 200, "No permission.")
    } else {
        gone()
    })
}

fn create(world: &mut World, user: &User, body: &Value, now: DateTime<Utc>) -> Result<Answer, Answer> {
    let fields = MeetingFields::parse(body, Purpose::Create)?;
    check_time_zone(world, &fields)?;
    if !user.may_host {
        let message = "Your user account is not allowed meeting hosting and scheduling capabilities.";
        return Err(Answer::api_error(400, 3161, message));
    }
    let meeting = world.meetings.create(user, fields, now).clone();
    Ok(Answer::json(
        201,
        world.meetings.for_host(&meeting, user, &world.origin, now),
    ))
}

fn update(world: &mut World, user: &User, id: &str, body: &Value, now: DateTime<Utc>) -> Result<Answer, Answer> {
    let mut fields = MeetingFields::parse(body, Purpose::Update)?;
    check_time_zone(world, &fields)?;
    check_waiting(world, own_meeting(world, user, id)?)?;
    // A start in the past is passed over without a word.
    fields.start = fields.start.filter(|start| *start >= now);
    if let Some(meeting) = world.meetings.get_mut(id) {
        let changes = meeting.update(fields, &user.locked_settings);
        if world.rules.events_of_api_changes {
            world.events.updated(user, meeting.id, changes, now);
        }
    }
    Ok(Answer::empty(204))
}

/// Zoom's own zones, where it takes no others.
fn check_time_zone(world: &World, fields: &MeetingFields) -> Result<(), Answer> {
    let known = |zone: &String| super::TIME_ZONES.lines().any(|name| name == zone);
    if world.rules.unknown_time_zones == UnknownTimeZones::Taken || fields.timezone.as_ref().is_none_or(known) {
        return Ok(());
    }
    let errors = json!([{"field": "timezone", "message": "Invalid field."}]);
    Err(Answer::json(
        400,
        json!({"code": 300, "message": "Validation Failed.", "errors": errors}),
    ))
}

/// What a meeting that goes on refuses, where it does.
fn check_waiting(world: &World, meeting: &Meeting) -> Result<(), Answer> {
    let refusal = match world.rules.running_meeting {
        _ if meeting.running().is_none() => return Ok(()),
        RunningMeeting::TakesChanges => return Ok(()),
        RunningMeeting::RefusedAsStarted => (3000, "Cannot access meeting information: it has started."),
        RunningMeeting::RefusedAsInProgress => (3002, "Sorry, you cannot do this: the meeting is in progress."),
    };
    Err(Answer::api_error(400, refusal.0, refusal.1))
}

/// `PUT /meetings/{id}/status`, for a meeting that goes on.
fn end(world: &mut World, user: &User, id: &str, body: &Value, now: DateTime<Utc>) -> Result<Answer, Answer> {
    if *body != json!({"action": "end"}) {
        return Err(Answer::api_error(400, 300, "Validation Failed."));
    }
    if own_meeting(world, user, id)?.running().is_none() {
        return Err(Answer::api_error(400, 3000, "Cannot access meeting information."));
    }
    if let Some(meeting) = world.meetings.get_mut(id) {
        world::end(&mut world.events, user, meeting, now);
    }
    Ok(Answer::empty(204))
}

fn delete(world: &mut World, user: &User, id: &str, now: DateTime<Utc>) -> Result<Answer, Answer> {
    check_waiting(world, own_meeting(world, user, id)?)?;
    if let Some(meeting) = world.meetings.get_mut(id) {
        meeting.deleted_at = Some(now);
        if world.rules.events_of_api_changes {
            world.events.deleted(user, meeting, now);
        }
    }
    Ok(Answer::empty(204))
}
