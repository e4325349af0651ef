//! A stand-in for Supabase's management API: takes what the Supabase CLI uploads, so that a dry run goes as far as it
//! can without the network.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{ensure, Context, Result};
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::{Json, Router};
use serde_json::{json, Value};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// What every function has to bring along.
const FILES: [&str; 2] = ["index.ts", "function.generated.js"];

/// The running server.
pub struct OfflineApi {
    address: SocketAddr,
    uploads: Arc<Mutex<Uploads>>,
    _runtime: Runtime,
}

#[derive(Default)]
struct Uploads {
    functions: HashMap<String, Bytes>,
    secrets: HashMap<String, String>,
}

impl OfflineApi {
    /// Starts it on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// If there is none.
    pub fn start() -> Result<Self> {
        let runtime = Runtime::new()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let uploads = Arc::<Mutex<Uploads>>::default();
        let router = Router::new()
            .fallback(answer)
            .layer(axum::extract::DefaultBodyLimit::max(64 << 20))
            .with_state(uploads.clone());
        runtime.spawn(async move {
            // Serves until the runtime ends.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            uploads,
            _runtime: runtime,
        })
    }

    /// What the CLI's option `--profile` takes.
    pub fn profile(&self) -> String {
        let url = format!("http://{}", self.address);
        format!("name: offline\napi_url: {url}\ndashboard_url: {url}\nproject_host: localhost\n")
    }

    /// Looks over what was uploaded, and prints its sizes.
    ///
    /// # Errors
    /// If a function or one of its files, or a secret, did not arrive.
    pub fn check(&self, functions: &[&str], secrets: &BTreeMap<&'static str, String>) -> Result<()> {
        let uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, value) in secrets {
            ensure!(
                uploads.secrets.get(*name) == Some(value),
                "the secret {name} did not arrive as it is"
            );
        }
        println!("\n{:<22}{:>9}   KB uploaded", "function", "bundle");
        for name in functions {
            let body = uploads
                .functions
                .get(*name)
                .with_context(|| format!("{name} was not uploaded"))?;
            for file in FILES {
                ensure!(has_file(body, file), "{name} was uploaded without {file}");
            }
            println!("{name:<22}{:>9}", body.len() / 1000);
        }
        Ok(())
    }
}

/// Whether a form upload has a file whose path ends so.
fn has_file(body: &[u8], name: &str) -> bool {
    let end = format!("/{name}\"");
    body.windows(end.len()).any(|window| window == end.as_bytes())
}

async fn answer(
    State(uploads): State<Arc<Mutex<Uploads>>>,
    method: Method,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
    body: Bytes,
) -> (StatusCode, Json<Value>) {
    let mut uploads = uploads.lock().unwrap_or_else(PoisonError::into_inner);
    match (method, query.get("slug")) {
        (Method::POST, Some(slug)) => {
            uploads.functions.insert(slug.clone(), body);
            let function = json!({
                "id": "00000000-0000-4000-8000-000000000000", "slug": slug, "name": slug, "version": 1,
                "status": "ACTIVE", "created_at": 0, "updated_at": 0, "verify_jwt": false, "import_map": false,
                "entrypoint_path": "index.ts",
            });
            (StatusCode::CREATED, Json(function))
        }
        (Method::POST, None) if uri.path().ends_with("/secrets") => {
            let secrets: Vec<HashMap<String, String>> = serde_json::from_slice(&body).unwrap_or_default();
            for mut secret in secrets {
                if let (Some(name), Some(value)) = (secret.remove("name"), secret.remove("value")) {
                    uploads.secrets.insert(name, value);
                }
            }
            (StatusCode::CREATED, Json(json!({})))
        }
        _ => (StatusCode::OK, Json(json!([]))),
    }
}
