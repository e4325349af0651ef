//! The server: takes calls, writes them down, and answers as the script says.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, header, server::conn::http1, service::service_fn, Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{json, Value};
use tokio::net::{TcpListener, TcpStream};

use crate::{fits, Answer, Call, Script, Shared, Step};

pub async fn start(shared: Arc<Shared>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, Arc::clone(&shared)));
        }
    });
    address
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| respond(Arc::clone(&shared), request));
    // An error is an answer that the script does not give: it ends the connection, which is all there is to it.
    let _: Result<(), hyper::Error> = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    let call = read(request).await?;
    let (number, answer) = shared.script().take(call);
    shared.came.notify_waiters();
    if let Some(gate) = answer.gate {
        let _: Result<(), _> = gate.await; // An open gate is a dropped one.
    }
    if !answer.delay.is_zero() {
        tokio::time::sleep(answer.delay).await;
    }
    shared.script().comings_and_goings.push((number, Step::Answered));
    let status = answer.status.ok_or(io::ErrorKind::ConnectionReset)?;
    let mut response = Response::builder().status(status);
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    response.body(Full::from(answer.body)).map_err(io::Error::other)
}

async fn read(request: Request<Incoming>) -> io::Result<Call> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let is_form = parts
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    Ok(Call {
        name: name(&parts.method, parts.uri.path()),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: if is_form {
            form_urlencoded::parse(&body)
                .map(|(name, value)| (name.into_owned(), json!(value)))
                .collect()
        } else {
            serde_json::from_slice(&body).unwrap_or(Value::Null)
        },
    })
}

/// What a call is known by.
fn name(method: &Method, path: &str) -> String {
    let below = |base| path.strip_prefix(base).map(str::to_owned);
    match path {
        "/auth/v1/.well-known/jwks.json" => "key_set".to_owned(),
        "/auth/v1/user" => "auth_user".to_owned(),
        _ => below("/rest/v1/rpc/")
            .or_else(|| below("/oauth/"))
            .unwrap_or_else(|| format!("{method} {}", path.strip_prefix("/v2").unwrap_or(path))),
    }
}

impl Script {
    /// Writes a call down, and gives its number and its answer.
    fn take(&mut self, call: Call) -> (usize, Answer) {
        let next = self
            .once
            .get_mut(&call.name)
            .and_then(std::collections::VecDeque::pop_front);
        let rule = self.always.iter_mut().rev().find(|(name, _)| fits(name, &call.name));
        let answer = next.or_else(|| Some((rule?.1)(&call))).unwrap_or_else(|| {
            self.unscripted.push(call.name.clone());
            Answer::text(500, "The test has no answer for this call.")
        });
        let number = self.calls.len();
        self.calls.push(call);
        self.comings_and_goings.push((number, Step::Came));
        (number, answer)
    }
}
