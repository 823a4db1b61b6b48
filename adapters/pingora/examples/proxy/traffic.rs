//! What is counted of the proxy's requests.

use std::sync::atomic::{AtomicU64, Ordering};

use pingora_cache::CachePhase;
use serde::Serialize;

macro_rules! counts {
    ($($name:ident),* $(,)?) => {
        #[derive(Debug, Default)]
        pub struct Traffic { $(pub $name: AtomicU64),* }

        #[derive(Debug, Clone, Copy, Serialize)]
        pub struct TrafficCounts { $(pub $name: u64),* }

        impl Traffic {
            pub fn snapshot(&self) -> TrafficCounts {
                TrafficCounts { $($name: self.$name.load(Ordering::Relaxed)),* }
            }
        }
    };
}

counts! { requests, hits, stale, revalidated, misses, expired, uncached, errors, body_bytes }

impl Traffic {
    pub fn add(&self, phase: CachePhase, failed: bool, body_bytes: u64) {
        let counter = match phase {
            CachePhase::Hit => &self.hits,
            CachePhase::Stale | CachePhase::StaleUpdating => &self.stale,
            CachePhase::Revalidated | CachePhase::RevalidatedNoCache(_) => &self.revalidated,
            CachePhase::Miss => &self.misses,
            CachePhase::Expired => &self.expired,
            CachePhase::Disabled(_) | CachePhase::Uninit | CachePhase::Bypass | CachePhase::CacheKey => &self.uncached,
        };
        for (counter, n) in
            [(&self.requests, 1), (counter, 1), (&self.errors, failed.into()), (&self.body_bytes, body_bytes)]
        {
            counter.fetch_add(n, Ordering::Relaxed);
        }
    }
}

impl TrafficCounts {
    /// Of the requests that the cache was asked for, those whose body came from it, 0 to 1.
    pub fn hit_ratio(&self) -> f64 {
        let hits = self.hits + self.stale + self.revalidated;
        let asked = hits + self.misses + self.expired;
        if asked > 0 { hits as f64 / asked as f64 } else { 0.0 }
    }
}

/// The word for the `X-Cache` header.
pub fn word(phase: CachePhase) -> &'static str {
    match phase {
        CachePhase::Hit => "hit",
        CachePhase::Stale | CachePhase::StaleUpdating => "stale",
        CachePhase::Revalidated | CachePhase::RevalidatedNoCache(_) => "revalidated",
        CachePhase::Miss => "miss",
        CachePhase::Expired => "expired",
        CachePhase::Disabled(_) | CachePhase::Uninit | CachePhase::Bypass | CachePhase::CacheKey => "none",
    }
}
