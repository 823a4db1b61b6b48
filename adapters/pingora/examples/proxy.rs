//! A caching reverse proxy (HTTP/1.1, plain) in front of one origin, with its cache on disk.
//!
//! ```sh
//! cargo run --release --example proxy -- --origin 127.0.0.1:8000 --dir /var/cache/proxy --capacity 10G
//! curl -i http://127.0.0.1:8080/
//! ```
//!
//! Ranges, revalidation, variants (`Vary`), stale answers while an origin is being asked or fails. `http://127.0.0.1:8081/` is
//! a page that shows what the cache does; beside it are `/metrics` (Prometheus), `/stats` (JSON), `/healthz`,
//! `POST /purge?prefix=HOST/PATH` and `POST /reindex`.
//!
//! SIGTERM lets requests end and closes the cache; SIGINT closes it at once. A kill loses what was not written yet
//! (`flush_interval_ms`), and nothing else.

#[path = "proxy/admin.rs"]
mod admin;
#[path = "proxy/args.rs"]
mod args;
#[path = "proxy/drops.rs"]
mod drops;
#[path = "proxy/gateway.rs"]
mod gateway;
#[path = "proxy/metrics.rs"]
mod metrics;
#[path = "proxy/segments.rs"]
mod segments;
#[path = "proxy/traffic.rs"]
mod traffic;

use std::error::Error;
use std::sync::Arc;

use clap::Parser;
use esker::{Config, DiskCache};
use esker_pingora::{EskerStorage, Options};
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server};
use pingora_core::services::listening::Service;
use pingora_proxy::http_proxy_service_with_name;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use admin::Admin;
use args::Args;
use drops::Drops;
use gateway::Gateway;
use traffic::Traffic;

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let origin = args.origin_address()?;
    args.check_admin()?;

    let drops = Arc::new(Drops::default());
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "error,esker=info".into());
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(filter).with(log).with(drops::Watch(drops.clone())).init();

    // The cache's own work needs a runtime that is there before pingora's services, and after them.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let storage = runtime.block_on(open(&args))?;
    runtime.spawn(drops::watch_counts(drops.clone(), storage));
    if args.reindex {
        runtime.spawn(async move {
            match storage.reindex().await {
                Ok(names) => tracing::info!(target: "esker_proxy", names, "the index of names is rebuilt"),
                Err(error) => tracing::warn!(target: "esker_proxy", %error, "cannot rebuild the index of names"),
            }
        });
    }

    let traffic = Arc::new(Traffic::default());
    let conf = ServerConf {
        threads: args.threads,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(5),
        upstream_keepalive_pool_size: 256,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let gateway = Gateway::new(&args, origin, storage, traffic.clone());
    let mut proxy = http_proxy_service_with_name(&server.configuration, gateway, "proxy");
    proxy.add_tcp(&args.listen.to_string());
    let admin = Admin::new(storage, &args.dir, traffic, drops);
    let mut admin = Service::new("admin".to_owned(), admin);
    admin.add_tcp(&args.admin.to_string());
    // A page that somebody looks at needs no threads of the proxy's.
    admin.threads = Some(1);
    server.add_service(proxy);
    server.add_service(admin);
    server.run(RunArgs::default());

    runtime.block_on(storage.close())?;
    Ok(())
}

async fn open(args: &Args) -> Result<&'static EskerStorage, Box<dyn Error>> {
    let config = Config {
        capacity_bytes: args.capacity,
        segment_len_bytes: args.segment_len,
        memory_bytes: args.memory,
        ..Config::default()
    };
    let cache = DiskCache::builder(&args.dir).config(config).open().await?;
    let report = cache.recovery_report();
    let (entries, ms, backend) = (report.entries_kept, report.elapsed_ms, cache.backend());
    tracing::info!(target: "esker_proxy", entries, ms, ?backend, dir = %args.dir.display(), "the cache is open");
    let options = Options { keep_stale: args.keep_stale(), ..Options::default() };
    Ok(EskerStorage::new(cache, &args.dir, options).leak())
}
