//! The control surface under `/simulator`: what tests in any language, and people, can do to Zoom. The front page lists
//! it.

use std::sync::{Arc, PoisonError};

use anyhow::{anyhow, Result};
use axum::extract::{Path, State};
use axum::http::{header, HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{delete, get, patch, post};
use axum::{Json, Router};
use chrono::{TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{json, Value};

use super::deliveries::{self, DeliveryPlan, Signature};
use super::faults::Fault;
use super::server::Shared;
use super::tokens::{Status, TokenKind};
use super::users::{AppAccess, NewUser};
use super::world::HostAction;

type Simulator = State<Arc<Shared>>;
type Answer = Result<Json<Value>, Problem>;

/// What is wrong with a request, for whoever wrote it.
struct Problem(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, Json(json!({"error": format!("{:#}", self.0)}))).into_response()
    }
}

fn done() -> Answer {
    Ok(Json(json!({"status": "done"})))
}

pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/state", get(state))
        .route("/users", get(users).post(create_user))
        .route("/users/{email}", patch(change_user).delete(remove_user))
        .route("/users/{email}/deauthorize", post(deauthorize))
        .route("/users/{email}/expire", post(expire_tokens))
        .route("/users/{email}/revoke", post(revoke_tokens))
        .route("/tokens/{id}/{end}", post(end_token))
        .route("/meetings", get(meetings).post(schedule_meeting))
        .route("/meetings/{id}", patch(edit_meeting))
        .route("/meetings/{id}/{action}", post(host_action))
        .route("/calls", get(calls).delete(clear_calls))
        .route("/faults", get(faults).post(order_fault).delete(withdraw_faults))
        .route("/faults/{id}", delete(withdraw_fault))
        .route("/faults/{id}/release", post(release_fault))
        .route("/clock", post(advance_clock))
        .route("/rules", get(rules).patch(change_rules))
        .route("/webhooks", get(webhooks))
        .route("/webhooks/deliver", post(deliver))
        .route("/webhooks/retry", post(retry))
        .route("/webhooks/discard", post(discard))
        .route("/webhooks/send", post(send))
        .route("/webhooks/validate", post(validate))
}

async fn state(State(shared): Simulator) -> Json<Value> {
    Json(shared.world().state(Utc::now()))
}

async fn users(State(shared): Simulator) -> Json<Value> {
    Json(shared.world().state(Utc::now())["users"].take())
}

async fn create_user(State(shared): Simulator, Json(user): Json<NewUser>) -> Answer {
    Ok(Json(json!(shared.world().users.create(user, Utc::now())?)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserChanges {
    scopes: Option<Vec<String>>,
    app: Option<AppAccess>,
    may_host: Option<bool>,
    hides_email: Option<bool>,
}

async fn change_user(State(shared): Simulator, Path(email): Path<String>, Json(changes): Json<UserChanges>) -> Answer {
    let mut world = shared.world();
    world.users.by_email_mut(&email)?;
    if let Some(scopes) = changes.scopes {
        world.set_scopes(&email, &scopes)?;
    }
    if let Some(access) = changes.app {
        world.set_app_access(&email, access, Utc::now())?;
    }
    if let Some(may_host) = changes.may_host {
        world.users.by_email_mut(&email)?.may_host = may_host;
    }
    if let Some(hides) = changes.hides_email {
        world.users.by_email_mut(&email)?.hides_email = hides;
    }
    done()
}

async fn remove_user(State(shared): Simulator, Path(email): Path<String>) -> Answer {
    shared.world().remove_user(&email, Utc::now())?;
    done()
}

async fn deauthorize(State(shared): Simulator, Path(email): Path<String>) -> Answer {
    shared.world().deauthorize(&email, Utc::now())?;
    shared.new_events.notify_one();
    done()
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expiry {
    kind: Option<TokenKind>,
}

async fn expire_tokens(State(shared): Simulator, Path(email): Path<String>, expiry: Option<Json<Expiry>>) -> Answer {
    let kind = expiry.and_then(|Json(expiry)| expiry.kind);
    shared.world().expire_tokens(&email, kind, Utc::now())?;
    done()
}

async fn revoke_tokens(State(shared): Simulator, Path(email): Path<String>) -> Answer {
    shared.world().revoke_tokens(&email, Utc::now())?;
    done()
}

async fn end_token(State(shared): Simulator, Path((id, end)): Path<(String, String)>) -> Answer {
    let status = match end.as_str() {
        "expire" => Status::Expired,
        "revoke" => Status::Revoked,
        _ => return Err(anyhow!("a token can be made to expire, or revoked").into()),
    };
    shared.world().tokens.end_one(&id, status, Utc::now())?;
    done()
}

async fn meetings(State(shared): Simulator) -> Json<Value> {
    Json(shared.world().state(Utc::now())["meetings"].take())
}

async fn schedule_meeting(State(shared): Simulator, Json(mut fields): Json<Value>) -> Answer {
    let host = fields
        .as_object_mut()
        .and_then(|fields| fields.remove("host"))
        .unwrap_or_default();
    let id = shared
        .world()
        .host_schedules(host.as_str().unwrap_or_default(), &fields, Utc::now())?;
    Ok(Json(json!({"id": id})))
}

async fn edit_meeting(State(shared): Simulator, Path(id): Path<String>, Json(fields): Json<Value>) -> Answer {
    host_acts(&shared, &id, &HostAction::Edit(fields))?;
    done()
}

/// Also behind the buttons of the pages: a browser goes back to where it came from.
async fn host_action(
    State(shared): Simulator,
    Path((id, action)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let action = match action.as_str() {
        "start" => HostAction::Start,
        "end" => HostAction::End,
        "delete" => HostAction::Delete,
        "host-leaves" => HostAction::HostLeaves,
        "guest-joins" => HostAction::GuestJoins,
        "guest-leaves" => HostAction::GuestLeaves,
        "recover" => HostAction::Recover,
        "purge" => HostAction::Purge,
        "delete-occurrence" => HostAction::DeleteOccurrence,
        _ => return Err(anyhow!("there is no such thing to do with a meeting: {action}").into()),
    };
    host_acts(&shared, &id, &action)?;
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let browser = text(header::ACCEPT).is_some_and(|accept| accept.contains("text/html"));
    let back = text(header::REFERER)
        .filter(|from| from.starts_with(&shared.world().origin))
        .unwrap_or("/");
    Ok(if browser {
        Redirect::to(back).into_response()
    } else {
        done().into_response()
    })
}

fn host_acts(shared: &Shared, id: &str, action: &HostAction) -> Result<()> {
    shared.world().host_acts(id, action, Utc::now())?;
    shared.new_events.notify_one();
    Ok(())
}

async fn calls(State(shared): Simulator) -> Json<Value> {
    Json(json!(shared.world().calls.all()))
}

async fn clear_calls(State(shared): Simulator) -> Answer {
    shared.world().calls.clear();
    done()
}

async fn faults(State(shared): Simulator) -> Json<Value> {
    Json(shared.world().faults.to_json())
}

async fn order_fault(State(shared): Simulator, Json(fault): Json<Fault>) -> Answer {
    Ok(Json(json!({"id": shared.world().faults.order(fault)?})))
}

async fn withdraw_faults(State(shared): Simulator) -> Answer {
    shared.world().faults.withdraw_all();
    done()
}

async fn withdraw_fault(State(shared): Simulator, Path(id): Path<u64>) -> Answer {
    shared.world().faults.withdraw(id)?;
    done()
}

async fn release_fault(State(shared): Simulator, Path(id): Path<u64>) -> Answer {
    shared.world().faults.release(id)?;
    done()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: u32,
}

async fn advance_clock(State(shared): Simulator, Json(advance): Json<Advance>) -> Json<Value> {
    let mut world = shared.world();
    world.advance(TimeDelta::seconds(advance.advance_seconds.into()), Utc::now());
    Json(world.state(Utc::now())["clock"].take())
}

async fn rules(State(shared): Simulator) -> Json<Value> {
    Json(json!(shared.world().rules))
}

async fn change_rules(State(shared): Simulator, Json(changes): Json<Value>) -> Answer {
    let mut world = shared.world();
    let mut rules = json!(world.rules);
    let (Some(rules_by_name), Value::Object(changes)) = (rules.as_object_mut(), changes) else {
        return Err(anyhow!("rules are an object").into());
    };
    rules_by_name.extend(changes);
    world.rules = serde_json::from_value(rules)?;
    shared.new_events.notify_one();
    Ok(Json(json!(world.rules)))
}

async fn webhooks(State(shared): Simulator) -> Json<Value> {
    let mut shown = shared.world().state(Utc::now())["events"].take();
    shown["deliveries"] = json!(*shared.reports.lock().unwrap_or_else(PoisonError::into_inner));
    Json(shown)
}

async fn deliver(State(shared): Simulator, plan: Option<Json<DeliveryPlan>>) -> Answer {
    let Json(plan) = plan.unwrap_or_default();
    Ok(Json(json!(deliveries::deliver(&shared, &plan).await?)))
}

async fn retry(State(shared): Simulator) -> Json<Value> {
    Json(json!(deliveries::retry(&shared).await))
}

async fn discard(State(shared): Simulator) -> Answer {
    shared.world().events.held.clear();
    done()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnDelivery {
    body: Value,
    #[serde(default)]
    signature: Signature,
}

async fn send(State(shared): Simulator, Json(delivery): Json<OwnDelivery>) -> Answer {
    let body = match delivery.body {
        Value::String(text) => text,
        json => json.to_string(),
    };
    Ok(Json(json!(
        deliveries::send_body(&shared, body, delivery.signature).await
    )))
}

async fn validate(State(shared): Simulator) -> Answer {
    deliveries::validate(&shared).await?;
    done()
}
