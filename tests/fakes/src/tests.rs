//! The fakes by themselves: a test that they do not fail must mean something.

use std::{panic::AssertUnwindSafe, time::Duration};

use http::Method;
use serde_json::json;
use shared::{
    call::{json_answer, Endpoint, RequestContext},
    error::Error,
    time::{millis_since, now},
};

use crate::{Answer, Fakes, Reply, USER};

const ENDPOINT: Endpoint = Endpoint {
    name: "test",
    method: Method::POST,
    needs: &[],
};

/// A function that takes two steps and counts what came of them.
async fn two_steps(call: &RequestContext<'_>) -> Result<shared::call::Answer, Error> {
    let user = call.user().await?;
    let arguments = json!({"user_id": user.id});
    let first: serde_json::Value = call.db.rpc("edge_first", &arguments).await?;
    let second: serde_json::Value = call.db.commit("edge_second", &arguments).await?;
    json_answer(&json!([first, second]))
}

async fn call(fakes: &Fakes) -> Reply {
    fakes.call(&ENDPOINT, two_steps, fakes.as_user(&json!({}))).await
}

/// What the fakes say when they are dropped.
fn complaint(fakes: Fakes) -> String {
    let complained = std::panic::catch_unwind(AssertUnwindSafe(|| drop(fakes)));
    complained.map_or_else(|why| *why.downcast::<String>().expect("a sentence"), |()| String::new())
}

#[tokio::test]
async fn a_call_gets_the_answers_of_the_script_in_their_order() {
    let fakes = Fakes::start().await;
    fakes.on("edge_first", json!(1)).on("edge_first", json!(2));
    fakes.always("edge_sec*", |call| json!({"was": call.body["user_id"]}).into());
    assert_eq!(call(&fakes).await.body, json!([1, {"was": USER}]));
    assert_eq!(call(&fakes).await.body, json!([2, {"was": USER}]));
    assert_eq!(
        fakes.calls(),
        ["edge_first", "edge_second", "edge_first", "edge_second"]
    );
}

#[tokio::test]
async fn a_call_without_an_answer_fails_the_test() {
    let fakes = Fakes::start().await;
    assert_eq!(call(&fakes).await.code(), (503, "service_unavailable"));
    let complaint = complaint(fakes);
    assert!(
        complaint.starts_with("The test has no answer for these calls: edge_first."),
        "{complaint}"
    );
}

#[tokio::test]
async fn an_answer_without_a_call_fails_the_test() {
    let fakes = Fakes::start().await;
    fakes.on("edge_first", Answer::none()).on("edge_second", json!(1));
    assert_eq!(call(&fakes).await.code(), (503, "service_unavailable"));
    let complaint = complaint(fakes);
    assert!(
        complaint.starts_with("Nobody asked for the answers to: edge_second."),
        "{complaint}"
    );
}

#[tokio::test]
async fn waiting_takes_no_time_and_deadlines_still_count() {
    let begun = now();
    let fakes = Fakes::start().await;
    fakes.on("edge_first", Answer::from(json!(1)).after(Duration::from_secs(9)));
    fakes.on("edge_second", Answer::from(json!(2)).after(Duration::from_secs(11)));
    fakes.on("edge_second", Answer::database_error(503, "PGRST002"));
    fakes
        .on("edge_second", Answer::text(502, "<html>"))
        .on("edge_second", json!(3));
    assert_eq!(
        call(&fakes).await.body,
        json!([1, 3]),
        "the answer after eleven seconds came too late"
    );
    assert!(millis_since(begun) < 5_000);
}

#[tokio::test]
async fn calls_that_are_on_their_way_at_a_time_are_counted() {
    let fakes = Fakes::start().await;
    let (gate, held) = Answer::from(json!(1)).held();
    fakes.on("edge_first", held).on("edge_first", json!(2));
    fakes.always("edge_second", |_| json!(0).into());
    let both = async { tokio::join!(call(&fakes), call(&fakes)) };
    let opening = async {
        fakes.until_called("edge_first", 2).await;
        gate.open();
    };
    let ((one, other), ()) = tokio::join!(both, opening);
    assert_eq!((one.status, other.status), (200, 200));
    assert_eq!(fakes.most_at_once(|call| call.name == "edge_first"), 2);
}
