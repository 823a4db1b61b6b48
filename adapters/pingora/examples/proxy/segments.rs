//! The segment files, for the page: oldest to newest, and what is in them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use esker::backend::tokio_fs::TokioFs;
use esker::clock::{Clock, SystemClock};
use esker::inspect::{Inspector, SegmentState, SegmentSummary};
use esker::{Error, Millis};
use serde::Serialize;
use tokio::sync::Mutex;

/// Not looked at more often.
const AT_MOST_EVERY: Duration = Duration::from_secs(2);
/// And not for more than this share of the time.
const TIMES_ITS_COST: u32 = 20;

pub struct Segments {
    dir: PathBuf,
    last: Mutex<Option<(Instant, Duration, Vec<Segment>)>>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Segment {
    pub id: Option<u64>,
    pub state: SegmentState,
    pub stream: Option<&'static str>,
    pub len_bytes: u64,
    pub live_bytes: u64,
    /// Of entries that would be served, had they not expired.
    pub expired_bytes: u64,
    /// Replaced, deleted, padding, headers, and what was not written yet.
    pub dead_bytes: u64,
    /// Records that are served, chunks of large bodies among them.
    pub records: u64,
}

impl Segments {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), last: Mutex::new(None) }
    }

    /// As they are, or were a little ago. Who asks while another one looks waits for that.
    pub async fn now(&self) -> Result<Vec<Segment>, Error> {
        let mut last = self.last.lock().await;
        if let Some((at, cost, segments)) = &*last
            && at.elapsed() < AT_MOST_EVERY.max(*cost * TIMES_ITS_COST)
        {
            return Ok(segments.clone());
        }
        let began = Instant::now();
        let segments = self.look().await?;
        *last = Some((Instant::now(), began.elapsed(), segments.clone()));
        Ok(segments)
    }

    async fn look(&self) -> Result<Vec<Segment>, Error> {
        let look = |now: Millis| {
            let inspector = Inspector::new(Arc::new(TokioFs), &self.dir, now);
            async move { inspector.segments().await }
        };
        // At the beginning of time nothing had expired: the difference is what has.
        let (now, unexpired) = (look(SystemClock.now()).await?, look(Millis(0)).await?);
        let of = |segment: &SegmentSummary| {
            let before = unexpired.iter().find(|other| other.id == segment.id && other.file == segment.file);
            let before = before.map_or(segment.live_bytes, |other| other.live_bytes);
            let expired_bytes = before.saturating_sub(segment.live_bytes);
            Segment {
                id: segment.id,
                state: segment.state,
                stream: segment.stream,
                len_bytes: segment.len_bytes,
                live_bytes: segment.live_bytes,
                expired_bytes,
                dead_bytes: segment.len_bytes.saturating_sub(segment.live_bytes + expired_bytes),
                records: segment.live_records,
            }
        };
        let mut segments: Vec<Segment> = now.iter().map(of).collect();
        segments.sort_by_key(|segment| (segment.state == SegmentState::Free, segment.id));
        Ok(segments)
    }
}
