//! One request over HTTP and its whole answer, within a deadline.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::HeaderMap;
use reqwest::RequestBuilder;

use crate::time::{with_deadline, DeadlineExceeded};

/// What came back, undecided.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body. It can hold tokens and start URLs: it is never logged.
    pub body: Bytes,
}

/// Sends a request once.
///
/// Boxed, since whoever awaits a future compiles it anew: so the client is in the wasm once.
///
/// # Errors
/// [`DeadlineExceeded`], or that of the client: either way, whoever was asked may or may not have acted.
pub fn exchange(
    request: RequestBuilder,
    limit: Duration,
) -> LocalBoxFuture<'static, Result<Result<Reply, reqwest::Error>, DeadlineExceeded>> {
    Box::pin(with_deadline(limit, async {
        let answer = request.send().await?;
        Ok(Reply {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.bytes().await?,
        })
    }))
}
