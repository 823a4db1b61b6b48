//! What went, and why: the last lines, for the page.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use esker::clock::{Clock, SystemClock};
use esker_pingora::EskerStorage;
use parking_lot::Mutex;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

const KEPT: usize = 40;
const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Drops(Mutex<VecDeque<Drop>>);

/// One line.
#[derive(Debug, Clone, Serialize)]
pub struct Drop {
    /// In unix milliseconds.
    pub at: u64,
    /// `evicted`, `refused`, `purged`, `lost`, `warning`.
    pub kind: &'static str,
    pub text: String,
}

impl Drops {
    pub fn add(&self, kind: &'static str, text: String) {
        let mut all = self.0.lock();
        if all.len() == KEPT {
            all.pop_back();
        }
        all.push_front(Drop { at: SystemClock.now().0, kind, text });
    }

    /// The newest first.
    pub fn recent(&self) -> Vec<Drop> {
        self.0.lock().iter().cloned().collect()
    }
}

/// Takes in what Esker warns of.
pub struct Watch(pub Arc<Drops>);

impl<S: Subscriber> Layer<S> for Watch {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let about = event.metadata();
        if about.target().starts_with("esker") && *about.level() <= Level::WARN {
            let mut text = Text::default();
            event.record(&mut text);
            self.0.add("warning", text.0);
        }
    }
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a String does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?} "),
            name => write!(self.0, "{name}={value:?} "),
        };
    }
}

/// Says each second what went in it.
pub async fn watch_counts(drops: Arc<Drops>, storage: &'static EskerStorage) {
    let counts = || (storage.cache().stats().counts, storage.counts());
    let mut last = counts();
    loop {
        tokio::time::sleep(EVERY).await;
        let now = counts();
        let (cache, was) = (&now.0, &last.0);
        let entries = cache.entries_evicted - was.entries_evicted;
        let segments = cache.segments_evicted - was.segments_evicted;
        if segments > 0 {
            let (expired, dead) =
                (cache.segments_expired - was.segments_expired, cache.segments_dead - was.segments_dead);
            let kept = cache.entries_reinserted - was.entries_reinserted;
            let whys = [(expired, "expired"), (dead, "dead"), (segments - expired - dead, "oldest")];
            let whys = whys.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{n} {why}"));
            let whys = whys.collect::<Vec<_>>().join(", ");
            drops.add("evicted", format!("{whys} segments: {entries} entries dropped, {kept} kept"));
        }
        let tell = |kind, n: u64, what: &str| {
            if n > 0 {
                drops.add(kind, format!("{n} {what}"));
            }
        };
        tell("lost", cache.entries_damaged - was.entries_damaged, "entries with a damaged record");
        tell("lost", cache.entries_lost - was.entries_lost, "entries that the disk did not take");
        let (fills, was) = (&now.1, &last.1);
        tell("refused", fills.fills_refused - was.fills_refused, "responses refused: too large, or the disk");
        tell("refused", fills.fills_aborted - was.fills_aborted, "responses given up before they were whole");
        tell("purged", fills.purged - was.purged, "entries purged");
        last = now;
    }
}
