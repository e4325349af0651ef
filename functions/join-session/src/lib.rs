//! `POST join-session`: a user takes a seat by the code that the host shares, or only looks where the code leads.
//!
//! A function and no RPC, because wrong codes are counted: PostgREST would let a caller bend the call's transaction
//! until the count is undone. A code that leads nowhere and a session that cannot be joined get the same answer.

use http::Method;
use serde::Deserialize;
use serde_json::{json, Map, Value};
use shared::{
    call::{json_answer, Answer, Endpoint, RequestContext},
    error::Error,
    input,
};

/// This function.
pub static ENDPOINT: Endpoint = Endpoint {
    name: "join-session",
    method: Method::POST,
    needs: &[],
};

#[derive(Deserialize)]
#[serde(rename = "outcome", rename_all = "snake_case")]
enum Found {
    /// The session as its participants see it.
    Joined {
        session: Map<String, Value>,
    },
    /// What is shown to somebody who may join.
    Preview {
        session: Map<String, Value>,
    },
    NotJoinable,
    TooManyAttempts {
        retry_after_seconds: u64,
    },
    /// Anonymous sign-ins do not take part.
    Anonymous,
}

/// Lets the caller in.
///
/// # Errors
/// [`Error::SessionNotJoinable`], [`Error::TooManyAttempts`], [`Error::AnonymousNotAllowed`].
pub async fn handle(call: &RequestContext<'_>) -> Result<Answer, Error> {
    let user = call.user().await?;
    let mut fields = call.fields().await?;
    let share_code = fields.required("share_code", input::text(1, 100));
    let preview = fields.optional("preview", input::boolean).unwrap_or(false);
    fields.finish()?;
    let found = call
        .db
        .rpc(
            "edge_join",
            &json!({
                "user_id": user.id, "share_code": share_code, "preview": preview,
                "allow_anonymous": call.config.allow_anonymous_participants,
            }),
        )
        .await?;
    match found {
        Found::Joined { session } | Found::Preview { session } => json_answer(&session),
        Found::NotJoinable => Err(Error::SessionNotJoinable),
        Found::TooManyAttempts { retry_after_seconds } => Err(Error::TooManyAttempts(retry_after_seconds)),
        Found::Anonymous => Err(Error::AnonymousNotAllowed),
    }
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
