//! A small HTTP service that embeds the cache.
//!
//! | request | answer |
//! |---|---|
//! | `PUT /objects/{key}` | 201 stored; 503 with a reason if refused; 413 if the body is too long. Headers: `x-ttl-seconds`, `content-type` (kept) |
//! | `GET /objects/{key}` | 200 with `age`, `content-type`, `x-expires-in-seconds` and `x-found-in`; 404 on a miss |
//! | `DELETE /objects/{key}` | 204 if there was one, 404 if not |
//! | `GET /stats` | the counters, as JSON |
//!
//! `cargo run --example embed_in_axum -- [--dir DIR] [--listen 127.0.0.1:3000] [--self-test]`
//!
//! It listens on loopback only: there is no authentication here. `--self-test` starts the service on a free port,
//! talks to it over loopback and ends, with an error if an answer was wrong.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use esker::{DiskCache, SetOptions, SetOutcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TTL: HeaderName = HeaderName::from_static("x-ttl-seconds");
const EXPIRES_IN: HeaderName = HeaderName::from_static("x-expires-in-seconds");
const FOUND_IN: HeaderName = HeaderName::from_static("x-found-in");
/// Longest body accepted, in bytes.
const MAX_BODY_BYTES: usize = 8 << 20;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let options = Options::from_args()?;
    let temporary = tempfile::tempdir()?;
    let dir = options.dir.unwrap_or_else(|| temporary.path().join("cache"));
    let cache = DiskCache::builder(&dir).capacity_bytes(1 << 30).open().await?;
    let listener = TcpListener::bind(options.listen).await?;
    let address = listener.local_addr()?;
    println!("serving {} on http://{address} over {}", dir.display(), cache.backend());

    let server = axum::serve(listener, service(cache.clone()));
    let result = if options.self_test {
        tokio::select! {
            served = server => served.map_err(Into::into),
            tested = self_test(address) => tested,
        }
    } else {
        server.with_graceful_shutdown(interrupted()).await.map_err(Into::into)
    };
    cache.close().await?;
    result
}

/// Resolves at ctrl-c. Without a way to hear it, never: the service then runs until it is killed.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The routes over a cache.
fn service(cache: DiskCache) -> Router {
    Router::new()
        .route("/objects/{key}", get(read).put(write).delete(remove))
        .route("/stats", get(async |State(cache): State<DiskCache>| axum::Json(cache.stats())))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(cache)
}

async fn read(State(cache): State<DiskCache>, Path(key): Path<String>) -> Result<Response, Problem> {
    let Some(hit) = cache.get(&key).await? else { return Ok(StatusCode::NOT_FOUND.into_response()) };
    let mut headers = HeaderMap::new();
    headers.insert(header::AGE, hit.age().as_secs().into());
    headers.insert(FOUND_IN, HeaderValue::from_str(&format!("{:?}", hit.source()).to_lowercase())?);
    if let Some(left) = hit.expires_at().and_then(|at| at.duration_since(now()).ok()) {
        headers.insert(EXPIRES_IN, left.as_secs().into());
    }
    if !hit.metadata().is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_bytes(hit.metadata())?);
    }
    Ok((headers, hit.into_value()).into_response())
}

async fn write(
    State(cache): State<DiskCache>,
    Path(key): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let mut options = SetOptions::new();
    if let Some(ttl) = headers.get(TTL) {
        let Some(seconds) = ttl.to_str().ok().and_then(|text| text.parse().ok()) else {
            return Ok((StatusCode::BAD_REQUEST, "x-ttl-seconds is not a whole number\n").into_response());
        };
        options = options.ttl(Duration::from_secs(seconds));
    }
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        options = options.metadata(kind.as_bytes().to_vec());
    }
    Ok(match cache.set_with(&key, body, options).await? {
        SetOutcome::Stored { .. } | SetOutcome::Held => StatusCode::CREATED.into_response(),
        SetOutcome::Refused { reason } => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason:?}\n")).into_response(),
    })
}

async fn remove(State(cache): State<DiskCache>, Path(key): Path<String>) -> Result<StatusCode, Problem> {
    Ok(if cache.delete(&key).await? { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND })
}

#[expect(clippy::disallowed_methods, reason = "a service may read the wall clock; the library takes it as an argument")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Anything that went wrong on the way to an answer.
struct Problem(Failure);

impl<E: Into<Failure>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = match self.0.downcast_ref::<esker::Error>() {
            Some(esker::Error::InvalidInput(_)) => StatusCode::BAD_REQUEST,
            Some(esker::Error::Closed) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, format!("{}\n", self.0)).into_response()
    }
}

struct Options {
    dir: Option<PathBuf>,
    listen: SocketAddr,
    self_test: bool,
}

impl Options {
    fn from_args() -> Result<Self, Failure> {
        let mut options = Self { dir: None, listen: SocketAddr::from(([127, 0, 0, 1], 3000)), self_test: false };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--dir" => options.dir = Some(args.next().ok_or("--dir needs a directory")?.into()),
                "--listen" => options.listen = args.next().ok_or("--listen needs an address")?.parse()?,
                "--self-test" => options.self_test = true,
                other => return Err(format!("unknown option {other}").into()),
            }
        }
        if options.self_test {
            options.listen.set_port(0);
        }
        if !options.listen.ip().is_loopback() {
            return Err("this example has no authentication: it listens on loopback only".into());
        }
        Ok(options)
    }
}

/// Talks to the service as a client would, and checks every answer.
async fn self_test(address: SocketAddr) -> Result<(), Failure> {
    let put = "PUT /objects/a%2Fb HTTP/1.1\r\nx-ttl-seconds: 60\r\ncontent-type: text/plain\r\n";
    expect(address, put, b"hello", 201, "").await?;
    let answer = expect(address, "GET /objects/a%2Fb HTTP/1.1\r\n", b"", 200, "hello").await?;
    for header in ["content-type: text/plain", "x-expires-in-seconds: ", "x-found-in: "] {
        if !answer.contains(header) {
            return Err(format!("no {header:?} in {answer:?}").into());
        }
    }
    expect(address, "PUT /objects/c HTTP/1.1\r\nx-ttl-seconds: soon\r\n", b"x", 400, "").await?;
    expect(address, "PUT /objects/d HTTP/1.1\r\n", &vec![0; MAX_BODY_BYTES + 1], 413, "").await?;
    expect(address, "GET /stats HTTP/1.1\r\n", b"", 200, "\"sets\":1").await?;
    expect(address, "DELETE /objects/a%2Fb HTTP/1.1\r\n", b"", 204, "").await?;
    expect(address, "DELETE /objects/a%2Fb HTTP/1.1\r\n", b"", 404, "").await?;
    expect(address, "GET /objects/a%2Fb HTTP/1.1\r\n", b"", 404, "").await?;
    println!("self test passed");
    Ok(())
}

/// Sends one request and checks status and a part of the answer, which it returns whole.
async fn expect(address: SocketAddr, head: &str, body: &[u8], status: u16, part: &str) -> Result<String, Failure> {
    let mut stream = TcpStream::connect(address).await?;
    let length = body.len();
    let head_and_length = format!("{head}host: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head_and_length.as_bytes()).await?;
    // A service that refuses a body need not read it: what counts is its answer.
    let sent = stream.write_all(body).await;
    let mut answer = Vec::new();
    let received = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let what = head.lines().next().unwrap_or_default();
    if !answer.starts_with(&format!("HTTP/1.1 {status} ")) || !answer.contains(part) {
        return Err(format!(
            "{what}: expected {status} with {part:?}; sent {sent:?}, received {received:?} {answer:?}"
        )
        .into());
    }
    println!("{what}: {status}");
    Ok(answer)
}
