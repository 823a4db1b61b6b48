//! What a replay says in the end, as JSON and as a table.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Job;
use super::run::Measured;
use super::verify::Reopen;
use crate::latency::Quantiles;
use crate::size::human_bytes;
use crate::table::{Table, number};
use crate::trace::Summary;

/// The report of one trace. The names of its fields are a contract.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The trace's name.
    pub trace: String,
    /// `esker` or `file-per-key`.
    pub cache: super::Kind,
    /// The backend that ran.
    pub backend: String,
    /// What the trace holds.
    pub summary: Summary,
    /// Capacity in bytes.
    pub capacity_bytes: u64,
    /// Segment length in bytes; 0 for the baseline.
    pub segment_len_bytes: u64,
    /// Tasks that sent requests.
    pub concurrency: u16,
    /// Requests answered.
    pub requests: u64,
    /// Wall time of the replay in seconds.
    pub seconds: f64,
    /// Requests a second, verification included.
    pub requests_per_s: f64,
    /// CPU time of the process per request, in microseconds, verification included.
    pub cpu_us_per_request: f64,
    /// Gets sent.
    pub gets: u64,
    /// Sets sent, misses filled included.
    pub sets: u64,
    /// Deletes sent.
    pub deletes: u64,
    /// Hits of all gets, 0 to 1.
    pub object_hit_ratio: f64,
    /// Bytes of hits of all bytes asked for, 0 to 1.
    pub byte_hit_ratio: f64,
    /// Latencies of gets in microseconds.
    pub get_us: Quantiles,
    /// Latencies of sets in microseconds.
    pub set_us: Quantiles,
    /// Bytes written to the disk per byte admitted.
    pub written_per_admitted: f64,
    /// Memory of the index per entry, in bytes.
    pub index_bytes_per_entry: f64,
    /// Entries at the end.
    pub entries: u64,
    /// Regular files in the directory at the end.
    pub files: u64,
    /// Disk space used at the end, in bytes.
    pub used_bytes: u64,
    /// Sets refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Hits whose bytes were not those set last. Must be 0.
    pub wrong_bytes: u64,
    /// The first of them.
    pub wrong_examples: Vec<String>,
    /// After the kill.
    pub reopen: Reopen,
    /// What was changed to make the run possible.
    pub notes: Vec<String>,
    /// Everything that the cache counted.
    pub stats: serde_json::Value,
    /// The same run through the baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Box<Report>>,
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Report {
    /// Puts together what was measured and found.
    pub fn new(job: &Job, summary: Summary, measured: Measured, reopen: Reopen, notes: Vec<String>) -> Self {
        let figures = measured.figures;
        let segmented = job.plan.kind == super::Kind::Esker;
        Self {
            trace: job.trace.name(),
            cache: job.plan.kind,
            backend: figures.backend,
            summary,
            capacity_bytes: job.plan.capacity_bytes,
            segment_len_bytes: if segmented { job.plan.config().chosen_segment_len_bytes() } else { 0 },
            concurrency: job.concurrency,
            requests: measured.requests,
            seconds: measured.seconds,
            requests_per_s: measured.requests as f64 / measured.seconds.max(1e-9),
            cpu_us_per_request: measured.cpu_seconds * 1e6 / (measured.requests.max(1) as f64),
            gets: measured.gets,
            sets: measured.sets,
            deletes: measured.deletes,
            object_hit_ratio: ratio(measured.hits, measured.gets),
            byte_hit_ratio: ratio(measured.bytes_hit, measured.bytes_asked),
            get_us: measured.get_us,
            set_us: measured.set_us,
            written_per_admitted: ratio(figures.bytes_written, figures.bytes_admitted),
            index_bytes_per_entry: ratio(figures.index_bytes, figures.entries),
            entries: figures.entries,
            files: figures.files,
            used_bytes: figures.used_bytes,
            refused: measured.refused,
            wrong_bytes: measured.wrong_bytes,
            wrong_examples: measured.wrong_examples,
            reopen,
            notes,
            stats: figures.stats,
            against: None,
        }
    }

    /// Wrong hits before and after the kill, the baseline's included.
    pub fn all_wrong_bytes(&self) -> u64 {
        let against = self.against.as_ref().map_or(0, |report| report.all_wrong_bytes());
        self.wrong_bytes + self.reopen.wrong_bytes + against
    }

    /// The report for people.
    pub fn render(&self) -> String {
        let mut out = format!(
            "\n{}: {} requests, {} objects of {}; capacity {}, segments of {}, {} tasks, backend {}\n",
            self.trace,
            self.summary.requests,
            self.summary.objects,
            human_bytes(self.summary.unique_bytes as f64),
            human_bytes(self.capacity_bytes as f64),
            human_bytes(self.segment_len_bytes as f64),
            self.concurrency,
            self.backend,
        );
        for note in &self.notes {
            out += &format!("note: {note}\n");
        }
        out.push('\n');
        let columns: Vec<&Report> = std::iter::once(self).chain(self.against.as_deref()).collect();
        let mut table = Table::new(["", "esker", "file per key"].into_iter().take(1 + columns.len()));
        for (title, cell) in rows() {
            table.row(std::iter::once(title.to_owned()).chain(columns.iter().map(|report| cell(report))));
        }
        out += &table.render();
        for report in &columns {
            for line in report.wrong_examples.iter().chain(&report.reopen.wrong_examples) {
                out += &format!("WRONG: {line}\n");
            }
        }
        out
    }
}

type Cell = fn(&Report) -> String;

/// The rows of the table: what is shown, and how it is found in a report.
fn rows() -> Vec<(&'static str, Cell)> {
    vec![
        ("requests/s", |r| number(r.requests_per_s)),
        ("CPU, us a request", |r| number(r.cpu_us_per_request)),
        ("object hit ratio", |r| percent(r.object_hit_ratio)),
        ("byte hit ratio", |r| percent(r.byte_hit_ratio)),
        ("get, us: p50 / p95 / p99 / p999", |r| quantiles(&r.get_us)),
        ("set, us: p50 / p95 / p99 / p999", |r| quantiles(&r.set_us)),
        ("written per byte admitted", |r| number(r.written_per_admitted)),
        ("entries", |r| r.entries.to_string()),
        ("index, bytes an entry", |r| number(r.index_bytes_per_entry)),
        ("files used", |r| r.files.to_string()),
        ("disk used", |r| human_bytes(r.used_bytes as f64)),
        ("sets refused", refused),
        ("wrong bytes", |r| r.wrong_bytes.to_string()),
        ("after a kill: ms to open", |r| number(r.reopen.ms)),
        ("after a kill: entries kept", |r| r.reopen.entries_kept.to_string()),
        ("after a kill: keys read / hits", |r| format!("{} / {}", r.reopen.keys_read, r.reopen.hits)),
        ("after a kill: wrong bytes", |r| r.reopen.wrong_bytes.to_string()),
    ]
}

fn refused(report: &Report) -> String {
    if report.refused.is_empty() {
        return "0".to_owned();
    }
    let parts: Vec<String> = report.refused.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.join(", ")
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn quantiles(q: &Quantiles) -> String {
    format!("{} / {} / {} / {}", number(q.p50), number(q.p95), number(q.p99), number(q.p999))
}
