//! The database of a later release, as the functions of this one see it: every answer of a step has a field that they
//! do not know. A database is upgraded before its functions are, so they have to read what they know and leave the
//! rest.

use anyhow::Result;
use axum::body::{self, Body};
use axum::http::header;
use axum::response::Response;
use serde_json::{json, Value};

/// No answer of a step is longer.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// What is not read by name: the reasons of refused fields, and a session, which is passed on.
const PASSED_ON: [&str; 2] = ["fields", "session"];

/// Adds a field to what a step has answered. An answer that is not JSON, or an error, stays as it is.
pub(crate) async fn add_fields(response: Response) -> Result<Response> {
    let (mut parts, body) = response.into_parts();
    let text = body::to_bytes(body, MAX_BODY).await?;
    let Some(mut answer) = serde_json::from_slice::<Value>(&text)
        .ok()
        .filter(|_| parts.status.is_success())
    else {
        return Ok(Response::from_parts(parts, Body::from(text)));
    };
    extend(&mut answer);
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(parts, Body::from(answer.to_string())))
}

fn extend(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (name, member) in object.iter_mut() {
                if !PASSED_ON.contains(&name.as_str()) {
                    extend(member);
                }
            }
            object.insert("of_a_later_release".to_owned(), json!({"number": 1}));
        }
        Value::Array(items) => items.iter_mut().for_each(extend),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_that_is_read_by_name_gets_a_field() {
        let mut answer = json!({
            "outcome": "x", "tasks": [{"token": {"state": "busy"}}], "fields": {"a": "b"}, "session": {"id": 1},
        });
        extend(&mut answer);
        let added = json!({"number": 1});
        assert_eq!(answer["of_a_later_release"], added);
        assert_eq!(answer["tasks"][0]["token"]["of_a_later_release"], added);
        assert_eq!(answer["fields"], json!({"a": "b"}));
        assert_eq!(answer["session"], json!({"id": 1}));
    }
}
