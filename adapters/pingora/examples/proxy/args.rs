//! What the command line says.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// A caching reverse proxy, with its cache on disk.
#[derive(Debug, Clone, Parser)]
pub struct Args {
    /// Where responses come from: HOST:PORT, or http://HOST:PORT.
    #[arg(long)]
    pub origin: String,
    /// Where clients are served.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where operators are served: the page, metrics, purges. Only on loopback: nobody is asked who they are.
    #[arg(long, default_value = "127.0.0.1:8081")]
    pub admin: SocketAddr,
    /// The cache's directory.
    #[arg(long)]
    pub dir: PathBuf,
    /// Disk space for the cache, in bytes, or with K, M, G or T.
    #[arg(long, default_value = "1G", value_parser = bytes)]
    pub capacity: u64,
    /// Length of a segment file, as above; chosen from the capacity if not given.
    #[arg(long, value_parser = bytes)]
    pub segment_len: Option<u64>,
    /// Memory for the hot tier, as above; 0 is none: the page cache does it.
    #[arg(long, default_value = "0", value_parser = bytes)]
    pub memory: u64,
    /// Longest body that is stored, as above.
    #[arg(long, default_value = "1G", value_parser = bytes)]
    pub max_body: u64,
    /// Threads of the proxy.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
    /// How long a response without freshness of its own is fresh, in seconds; without this it is not stored.
    #[arg(long)]
    pub default_fresh: Option<u64>,
    /// How long a stale response may be served while the origin is asked, in seconds, unless it says so itself.
    #[arg(long, default_value_t = 0)]
    pub stale_while_revalidate: u32,
    /// How long a stale response may be served if the origin fails, in seconds, unless it says so itself.
    #[arg(long, default_value_t = 86_400)]
    pub stale_if_error: u32,
    /// How long a stale response is kept for revalidation after that, in seconds; without this until it is evicted.
    #[arg(long)]
    pub keep_stale: Option<u64>,
    /// Whether to rebuild the index of names at the start, instead of at the first purge by prefix.
    #[arg(long)]
    pub reindex: bool,
}

impl Args {
    pub fn keep_stale(&self) -> Option<Duration> {
        self.keep_stale.map(Duration::from_secs)
    }

    /// The first address of the origin's name.
    pub fn origin_address(&self) -> Result<SocketAddr, String> {
        let name = self.origin.strip_prefix("http://").unwrap_or(&self.origin).trim_end_matches('/');
        let mut found = name.to_socket_addrs().map_err(|error| format!("--origin {name}: {error}"))?;
        found.next().ok_or_else(|| format!("--origin {name}: no address"))
    }

    pub fn check_admin(&self) -> Result<(), String> {
        match self.admin.ip().is_loopback() {
            true => Ok(()),
            false => Err(format!("--admin {}: only a loopback address", self.admin)),
        }
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        other => return Err(format!("{other}: not one of K, M, G, T")),
    };
    let number: u64 = digits.parse().map_err(|error| format!("{text}: {error}"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text}: too much"))
}
