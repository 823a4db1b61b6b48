//! What operators are served, on loopback.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use esker_pingora::EskerStorage;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN};
use http::{Method, Response};
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use pingora_http::RequestHeader;
use serde_json::json;

use crate::drops::Drops;
use crate::metrics;
use crate::segments::Segments;
use crate::traffic::Traffic;

const PAGE: &str = include_str!("page.html");

pub struct Admin {
    storage: &'static EskerStorage,
    segments: Segments,
    traffic: Arc<Traffic>,
    drops: Arc<Drops>,
    started: Instant,
}

type Answer = Result<Response<Vec<u8>>, (u16, String)>;

impl Admin {
    pub fn new(storage: &'static EskerStorage, dir: &Path, traffic: Arc<Traffic>, drops: Arc<Drops>) -> Self {
        Self { storage, segments: Segments::new(dir), traffic, drops, started: Instant::now() }
    }

    async fn answer(&self, request: &RequestHeader) -> Answer {
        check_asker(request)?;
        match (&request.method, request.uri.path()) {
            (&Method::GET | &Method::HEAD, "/") => reply("text/html; charset=utf-8", PAGE),
            (&Method::GET, "/metrics") => reply("text/plain; version=0.0.4", self.metrics()),
            (&Method::GET, "/stats") => self.stats().await,
            (&Method::GET, "/healthz") => match self.storage.cache().contains("healthz").await {
                Ok(_) => reply("text/plain", "ok\n"),
                Err(error) => Err((503, error.to_string())),
            },
            (&Method::POST, "/purge") => self.purge(request.uri.query().unwrap_or_default()).await,
            (&Method::POST, "/reindex") => {
                let names = self.storage.reindex().await.map_err(|error| (500, error.to_string()))?;
                reply("application/json", json!({ "names": names }).to_string())
            }
            (_, "/" | "/metrics" | "/stats" | "/healthz" | "/purge" | "/reindex") => {
                Err((405, "another method".to_owned()))
            }
            _ => Err((404, "no such page".to_owned())),
        }
    }

    async fn purge(&self, query: &str) -> Answer {
        let prefix = query.split('&').find_map(|part| part.strip_prefix("prefix="));
        let prefix = prefix.and_then(decode).ok_or_else(|| (400, "?prefix=HOST/PATH, percent-encoded".to_owned()))?;
        let purged = self.storage.purge_prefix(prefix).await.map_err(|error| (500, error.to_string()))?;
        reply("application/json", json!({ "purged": purged }).to_string())
    }

    fn metrics(&self) -> String {
        let (traffic, cache) = (self.traffic.snapshot(), self.storage.cache().stats());
        let counts = metrics::object(&cache.counts);
        let mut gauges = metrics::object(&cache);
        gauges.retain(|name, _| !counts.contains_key(name));
        gauges.insert("names".to_owned(), self.storage.names().into());
        let mut text = String::new();
        metrics::counters(&mut text, "proxy", &metrics::object(traffic));
        metrics::counters(&mut text, "esker_pingora", &metrics::object(self.storage.counts()));
        metrics::counters(&mut text, "esker", &counts);
        metrics::gauges(&mut text, "esker", &gauges);
        text
    }

    async fn stats(&self) -> Answer {
        let segments = self.segments.now().await.map_err(|error| (500, error.to_string()))?;
        let (traffic, cache) = (self.traffic.snapshot(), self.storage.cache().stats());
        let all = json!({
            "uptime_s": self.started.elapsed().as_secs(),
            "hit_ratio": traffic.hit_ratio(),
            "traffic": traffic,
            "storage": self.storage.counts(),
            "names": self.storage.names(),
            "cache": cache,
            "recovery": self.storage.cache().recovery_report(),
            "segments": segments,
            "drops": self.drops.recent(),
        });
        reply("application/json", all.to_string())
    }
}

/// A page of somebody else's, open in the operator's browser, must not purge: neither by a request of its own, nor under a
/// name that it gives to this address.
fn check_asker(request: &RequestHeader) -> Result<(), (u16, String)> {
    let text = |name| request.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let host = text(HOST).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_local = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
    let is_own = text(ORIGIN).is_none_or(|origin| origin == format!("http://{host}"));
    if is_local && is_own { Ok(()) } else { Err((403, "only from this machine's own pages".to_owned())) }
}

fn reply(kind: &str, body: impl Into<Vec<u8>>) -> Answer {
    let body = body.into();
    let response = Response::builder().header(CONTENT_TYPE, kind).header(CONTENT_LENGTH, body.len());
    response.header("Cache-Control", "no-store").body(body).map_err(|error| (500, error.to_string()))
}

/// Percent-decoded; `None` if it is not well-formed.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    Some(decoded)
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        match self.answer(session.req_header()).await {
            Ok(response) => response,
            Err((status, text)) => {
                let mut response = Response::new(format!("{text}\n").into_bytes());
                *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
                let len = response.body().len();
                response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
                response.headers_mut().insert(CONTENT_LENGTH, len.into());
                response
            }
        }
    }
}
