//! The proxy itself: what is asked of the cache, and what may be stored.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use esker_pingora::EskerStorage;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, SET_COOKIE, VARY};
use http::{Method, StatusCode};
use pingora_cache::cache_control::CacheControl;
use pingora_cache::filters::resp_cacheable;
use pingora_cache::key::HashBinary;
use pingora_cache::lock::{CacheKeyLockImpl, CacheLock};
use pingora_cache::storage::{PurgeTarget, PurgeType, Storage};
use pingora_cache::trace::Span;
use pingora_cache::{CacheKey, CacheMeta, CacheMetaDefaults, NoCacheReason, RespCacheable, VarianceBuilder};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{ProxyHttp, Session};

use crate::args::Args;
use crate::traffic::{Traffic, word};

/// How long one request may hold others back that want the same.
const LOCK_AGE: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Seconds for which a response without freshness of its own is fresh. Pingora asks by a plain function.
static DEFAULT_FRESH: OnceLock<Option<u64>> = OnceLock::new();

pub struct Gateway {
    origin: SocketAddr,
    storage: &'static EskerStorage,
    traffic: Arc<Traffic>,
    lock: &'static CacheKeyLockImpl,
    defaults: CacheMetaDefaults,
    max_body_bytes: usize,
}

impl Gateway {
    pub fn new(args: &Args, origin: SocketAddr, storage: &'static EskerStorage, traffic: Arc<Traffic>) -> Self {
        let default_fresh = *DEFAULT_FRESH.get_or_init(|| args.default_fresh);
        tracing::debug!(?default_fresh, %origin, "the gateway is set up");
        Self {
            origin,
            storage,
            traffic,
            lock: Box::leak(CacheLock::new_boxed(LOCK_AGE)),
            defaults: CacheMetaDefaults::new(default_fresh_of, args.stale_while_revalidate, args.stale_if_error),
            max_body_bytes: usize::try_from(args.max_body).unwrap_or(usize::MAX),
        }
    }
}

fn default_fresh_of(status: StatusCode) -> Option<Duration> {
    let is_usual = matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 410);
    let seconds = DEFAULT_FRESH.get().copied().flatten();
    seconds.filter(|_| is_usual).map(Duration::from_secs)
}

/// `HOST/PATH?QUERY`: a host has no slash and a path begins with one, so no two requests share one. `None` for a request
/// without a host.
fn primary_key(request: &RequestHeader) -> Option<String> {
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok()).or_else(|| request.uri.host())?;
    let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
    Some(format!("{}{path}", host.to_ascii_lowercase()))
}

/// Names in `Vary`, in lower case.
fn varies_by(header: &ResponseHeader) -> impl Iterator<Item = String> {
    let values = header.headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase())
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _session: &mut Session, (): &mut Self::CTX) -> Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(self.origin, false, String::new());
        peer.options.connection_timeout = Some(CONNECT_TIMEOUT);
        peer.options.read_timeout = Some(IDLE_TIMEOUT);
        peer.options.write_timeout = Some(IDLE_TIMEOUT);
        Ok(Box::new(peer))
    }

    fn request_cache_filter(&self, session: &mut Session, (): &mut Self::CTX) -> Result<()> {
        let request = session.req_header();
        if matches!(request.method, Method::GET | Method::HEAD) && primary_key(request).is_some() {
            // No eviction manager: Esker evicts by itself.
            session.cache.enable(self.storage, None, None, Some(self.lock), None);
            session.cache.set_max_file_size_bytes(self.max_body_bytes);
        }
        Ok(())
    }

    fn cache_key_callback(&self, session: &Session, (): &mut Self::CTX) -> Result<CacheKey> {
        let key = primary_key(session.req_header());
        key.map(|key| CacheKey::new(key, "")).ok_or_else(|| Error::explain(ErrorType::InvalidHTTPHeader, "no host"))
    }

    fn cache_vary_filter(&self, meta: &CacheMeta, (): &mut Self::CTX, request: &RequestHeader) -> Option<HashBinary> {
        let mut variance = VarianceBuilder::new();
        for name in varies_by(meta.response_header()) {
            let values: Vec<&[u8]> = request.headers.get_all(&name).iter().map(|value| value.as_bytes()).collect();
            variance.add_owned_name_value(name, values.join(&b", "[..]));
        }
        variance.finalize()
    }

    fn response_cache_filter(
        &self,
        session: &Session,
        response: &ResponseHeader,
        (): &mut Self::CTX,
    ) -> Result<RespCacheable> {
        let is_personal = response.headers.contains_key(SET_COOKIE);
        // A body whose end is the connection's may be cut short without a sign.
        let has_end = response.headers.contains_key(CONTENT_LENGTH)
            || response.headers.contains_key(http::header::TRANSFER_ENCODING)
            || matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if is_personal || !has_end || varies_by(response).any(|name| name == "*") {
            return Ok(RespCacheable::Uncacheable(NoCacheReason::Custom("personal, endless, or varies by anything")));
        }
        let control = CacheControl::from_resp_headers(response);
        let is_authorized = session.req_header().headers.contains_key(AUTHORIZATION);
        Ok(resp_cacheable(control.as_ref(), response.clone(), is_authorized, &self.defaults))
    }

    /// While a stale response is renewed in the background, and when the origin fails: each within its time.
    fn should_serve_stale(&self, _session: &mut Session, (): &mut Self::CTX, error: Option<&Error>) -> bool {
        error.is_none_or(|error| *error.esource() == ErrorSource::Upstream)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        (): &mut Self::CTX,
    ) -> Result<()> {
        response.insert_header("X-Cache", word(session.cache.phase()))
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, (): &mut Self::CTX) {
        let phase = session.cache.phase();
        self.traffic.add(phase, error.is_some(), session.body_bytes_sent() as u64);
        // What was changed is not served any more (RFC 9111, 4.4).
        let request = session.req_header();
        let is_safe = request.method.is_safe();
        let is_done = session.response_written().is_some_and(|response| response.status.as_u16() < 400);
        if let (false, true, Some(key)) = (is_safe, is_done, primary_key(request)) {
            let key = pingora_cache::CacheKey::new(key, "").to_compact();
            let (target, trace) = (PurgeTarget::Active(&key), Span::inactive().handle());
            if let Err(error) = self.storage.purge(target, PurgeType::Invalidation, &trace).await {
                tracing::warn!(target: "esker_proxy", %error, "cannot purge what was changed");
            }
        }
    }
}
