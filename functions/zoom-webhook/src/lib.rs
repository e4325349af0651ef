//! `POST zoom-webhook`: Zoom tells what happened to meetings and to the app's installations.
//!
//! The signature is checked over the raw body, the event reduced to what counts, and applied by `edge_webhook_receive`
//! in one transaction: once, however often and in whatever order events come. Zoom gets its 200 when that is done and a
//! 5xx when it could not be, so that it delivers again.

mod event;
mod signature;

use http::Method;
use serde::Deserialize;
use serde_json::json;
use shared::{
    call::{json_answer, Answer, Endpoint, RequestContext},
    config::Need,
    error::Error,
    hash::sha256_hex,
    time::now,
};

use crate::event::{Change, Envelope, Event};

/// This function.
pub static ENDPOINT: Endpoint = Endpoint {
    name: "zoom-webhook",
    method: Method::POST,
    needs: &[Need::Webhook],
};

/// Takes one event.
///
/// # Errors
/// [`Error::Unauthorized`] for a forged or stale event, and those of every function.
pub async fn handle(call: &RequestContext<'_>) -> Result<Answer, Error> {
    let config = call.config.webhook()?;
    let body = call.body().await?;
    signature::check(
        &config.secret_token,
        call.header("x-zm-signature"),
        call.header("x-zm-request-timestamp"),
        &body,
        config.max_age,
        now(),
    )?;
    call.set_caller(json!({"kind": "zoom"}));
    let envelope: Envelope = shared::json::parse(&body).ok_or(Error::InvalidJson)?;
    let (name, happened_at) = (envelope.event.clone(), envelope.happened_at(now()));
    match envelope.into_event(&config.client_id).ok_or(Error::InvalidJson)? {
        Event::UrlValidation { plain_token } => {
            let encrypted_token = signature::sign_token(&config.secret_token, &plain_token)?;
            json_answer(&json!({"plainToken": plain_token, "encryptedToken": encrypted_token}))
        }
        Event::Change(change) => {
            let outcome = receive(call, &body, &name, happened_at, &change).await?;
            json_answer(&json!({"outcome": outcome}))
        }
        Event::Unknown => json_answer(&json!({"outcome": "ignored"})),
    }
}

/// Applies the event, and gives the database's word for what came of it. A delivery is known by its body's hash: Zoom
/// repeats the very same text.
async fn receive(
    call: &RequestContext<'_>,
    body: &[u8],
    event: &str,
    event_ts: i64,
    details: &Change,
) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Received {
        outcome: String,
    }
    let event_id = sha256_hex(body);
    let received: Received = call
        .db
        .rpc(
            "edge_webhook_receive",
            &json!({"event_id": event_id, "event": event, "event_ts": event_ts, "details": details}),
        )
        .await?;
    Ok(received.outcome)
}

#[cfg(target_arch = "wasm32")]
mod entry {
    use shared::edge::{serve, HostRequest, HostResponse, NoResponse};

    #[worker::event(fetch)]
    async fn fetch(request: HostRequest, env: worker::Env, _: worker::Context) -> Result<HostResponse, NoResponse> {
        serve(request, env, &super::ENDPOINT, super::handle).await
    }
}

#[cfg(test)]
mod tests;
