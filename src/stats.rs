//! What is counted, lock-free, and the snapshots that users get.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::types::BackendKind;

/// A counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// One more.
    pub fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub fn sub_one(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The live counters of one cache.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
            /// Files that are open now.
            pub open_files: Gauge,
        }

        /// The counts of one cache at a moment, since it was opened.
        #[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
        pub struct Counts { $($(#[$doc])* pub $name: u64),* }

        impl Counters {
            /// The counts now.
            pub fn snapshot(&self) -> Counts {
                Counts { $($name: self.$name.get()),* }
            }
        }
    };
}

counters! {
    /// Gets answered from the hot tier.
    hits_memory,
    /// Gets answered from records that were not written yet.
    hits_buffer,
    /// Gets answered from a segment file.
    hits_disk,
    /// Of all hits, those whose value a `Typed` view could not decode: it took them for misses.
    hits_undecoded,
    /// Gets answered from entries that wait in memory for a second use.
    hits_held,
    /// Gets of keys that the index does not know (or knows deleted): no disk was touched.
    misses_unknown,
    /// Gets while the index was being rebuilt in the background.
    misses_indexing,
    /// Gets of entries that had expired.
    misses_expired,
    /// Gets of entries that were purged.
    misses_purged,
    /// Gets that met another key with the same digest.
    misses_collision,
    /// Gets that met a damaged record.
    misses_damaged,
    /// Gets that the disk failed to answer.
    misses_io,
    /// Gets of entries that were evicted while they were read, or of which a part was evicted or lost.
    misses_evicted,
    /// Fetches that `get_or_fetch` and `get_or_refresh` began.
    fetches,
    /// Of these, fetches in the background, of entries that were about to expire.
    fetches_in_background,
    /// Calls that were answered with what another call fetched.
    fetches_shared,
    /// Calls that were answered with the failure of an earlier fetch (`FetchOptions::negative_ttl`).
    fetches_spared,
    /// Fetches that failed.
    fetches_failed,
    /// Fetches that were given up, or panicked, before they were done: whoever waited for one fetches instead.
    fetches_abandoned,
    /// Fetched values that were not stored, since their key was written, deleted or cleared after the fetch began.
    fetches_outdated,
    /// Fetched values that were not stored, since the cache refused or lost them, or was closed.
    fetches_unstored,
    /// Values that the origin of an `OriginCache` took.
    origin_stores,
    /// Keys that it removed.
    origin_removes,
    /// Writes at which it failed.
    origin_failures,
    /// Values that it never got, since the disk lost them before (write-back).
    origin_lost,
    /// Writes accepted.
    sets,
    /// Writes refused because the value, with key and metadata, does not fit.
    refused_too_large,
    /// Writes refused by the admission policy.
    refused_not_admitted,
    /// Entries that were held in memory, to be written once they are used a second time.
    entries_held,
    /// Of these, entries that were dropped unused.
    entries_unused,
    /// `try_set`s refused because the pipeline was full.
    refused_busy,
    /// Writes refused because the disk is full.
    refused_disk_full,
    /// Writes refused because the disk fails.
    refused_disk_failed,
    /// Writes refused because a part was evicted, or the cache cleared, before all was written.
    refused_evicted,
    /// Writers that were dropped before they were finished.
    writers_aborted,
    /// Deletes that found an entry.
    deletes,
    /// Calls of `clear`.
    clears,
    /// Calls of `purge_prefix`, `purge_tag` and `purge_older_than`.
    purges,
    /// Times that a write waited for eviction to make room.
    room_waits,
    /// Segments that eviction began to empty, each attempt counted.
    evictions_tried,
    /// Of these attempts, those that did not free the segment, since the disk failed; they are made again.
    evictions_failed,
    /// Segments evicted.
    segments_evicted,
    /// Of these, segments in which every entry had expired.
    segments_expired,
    /// Of these, segments in which nothing was served any more.
    segments_dead,
    /// Of these, segments that held something, and went because the policy says so.
    segments_by_policy,
    /// Entries that eviction dropped.
    entries_evicted,
    /// Entries that eviction rewrote.
    entries_reinserted,
    /// Bytes of entries that eviction rewrote.
    bytes_reinserted,
    /// Of the entries that eviction dropped, those that were pinned: there was no room to rewrite them.
    pins_dropped,
    /// Entries dropped since their record was damaged.
    entries_damaged,
    /// Entries dropped since the disk failed before they were written.
    entries_lost,
    /// Delete markers written or carried on by eviction.
    markers_written,
    /// Bytes of keys, metadata and values accepted by `set`.
    bytes_admitted,
    /// Bytes written to segment files: records, headers, footers and padding.
    bytes_written,
    /// Of these, padding.
    bytes_padded,
    /// Writes given to the backend.
    writes,
    /// `fdatasync` calls.
    syncs,
    /// Operations that failed to open or create a file.
    failures_open,
    /// Reads that failed.
    failures_read,
    /// Writes that failed.
    failures_write,
    /// Syncs that failed.
    failures_sync,
    /// Allocations of disk space that failed.
    failures_allocate,
    /// Renames that failed.
    failures_rename,
    /// Removals that failed.
    failures_remove,
    /// Of all these, operations that took longer than `io_timeout_ms`.
    failures_timed_out,
}

/// Statistics of a namespace that is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NamespaceStats {
    /// Its name.
    pub name: String,
    /// Gets that were answered with a value, since the cache was opened. One of a value in chunks counts once its head is found.
    pub hits: u64,
    /// Gets that were not.
    pub misses: u64,
    /// Writes accepted.
    pub sets: u64,
    /// Bytes that its segments take, everything counted; `None` if it has none of its own, as without share and quota.
    pub used_bytes: Option<u64>,
    /// Of these, bytes of records that are served.
    pub live_bytes: Option<u64>,
    /// Disk space that is kept for it, in bytes.
    pub share_bytes: u64,
    /// Disk space that it may take, in bytes.
    pub quota_bytes: Option<u64>,
}

impl NamespaceStats {
    /// Hits of all gets, 0 to 1; 0 if there was none.
    pub fn hit_ratio(&self) -> f64 {
        ratio(self.hits, self.misses)
    }
}

fn ratio(hits: u64, misses: u64) -> f64 {
    if hits + misses > 0 { hits as f64 / (hits + misses) as f64 } else { 0.0 }
}

/// Statistics of a cache: the counts since it was opened, and what it holds now.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Stats {
    /// The counts since the cache was opened.
    #[serde(flatten)]
    pub counts: Counts,
    /// Which backend runs; `None` for a memory cache.
    pub backend: Option<BackendKind>,
    /// Entries that the index knows. What the cache keeps for itself over a clean close is not counted.
    pub entries: u64,
    /// Of these, entries in more than one record.
    pub objects: u64,
    /// Bytes of records that are served.
    pub live_bytes: u64,
    /// Bytes of segment files that hold nothing served: replaced and deleted records, headers, padding, footers.
    pub dead_bytes: u64,
    /// Bytes that the directory takes, everything counted.
    pub used_bytes: u64,
    /// Bytes that the directory may take.
    pub capacity_bytes: u64,
    /// Files that are open. One that is written to takes two descriptors.
    pub open_files: u64,
    /// Segment files.
    pub segments: u64,
    /// Of these, free ones.
    pub segments_free: u64,
    /// Memory that the index takes, in bytes.
    pub index_bytes: u64,
    /// Memory that the places of chunks take, about, in bytes.
    pub objects_bytes: u64,
    /// Memory that the hot tier takes, in bytes.
    pub memory_bytes: u64,
    /// Memory for the fingerprints of what eviction dropped, in bytes.
    pub ghost_bytes: u64,
    /// Where there are two logs: what the one of new entries may take before its segments go first, in bytes.
    pub new_log_bytes: Option<u64>,
    /// Memory for what waits for a second use, in bytes: the entries, and fingerprints of what was dropped.
    pub held_bytes: u64,
    /// Purge marks: what they cover may still take room.
    pub purge_marks: u64,
    /// Of each namespace that is configured, in the order of the settings.
    pub namespaces: Vec<NamespaceStats>,
    /// Entries that are pinned.
    pub pinned_entries: u64,
    /// What they take on disk, in bytes.
    pub pinned_bytes: u64,
    /// Bytes accepted that are not written yet.
    pub dirty_bytes: u64,
    /// Entries that the origin does not have yet (write-back).
    pub origin_dirty_entries: u64,
    /// What they take on disk.
    pub origin_dirty_bytes: u64,
    /// Buffers for writing that were made.
    pub buffers_made: u64,
    /// Buffers for writing that were used again instead.
    pub buffers_reused: u64,
    /// Memory of the buffers that wait to be used again, in bytes.
    pub buffers_idle_bytes: u64,
}

impl Stats {
    /// Gets that were answered with a value.
    pub fn hits(&self) -> u64 {
        self.counts.hits_memory + self.counts.hits_held + self.counts.hits_buffer + self.counts.hits_disk
    }

    /// Gets that were not.
    pub fn misses(&self) -> u64 {
        let c = &self.counts;
        c.misses_unknown
            + c.misses_indexing
            + c.misses_expired
            + c.misses_purged
            + c.misses_collision
            + c.misses_damaged
            + c.misses_io
            + c.misses_evicted
    }

    /// Hits of all gets, 0 to 1; 0 if there was none.
    pub fn hit_ratio(&self) -> f64 {
        ratio(self.hits(), self.misses())
    }
}

/// How far recovery is, counted while it goes on.
#[derive(Debug, Default)]
pub struct Progress {
    /// Segment files that were looked at.
    pub done: AtomicU64,
    /// Segment files.
    pub total: AtomicU64,
}

impl Progress {
    /// The counts now.
    pub fn read(&self, is_done: bool) -> RecoveryProgress {
        RecoveryProgress {
            is_done,
            segments_done: self.done.load(Ordering::Relaxed),
            segments_total: self.total.load(Ordering::Relaxed),
        }
    }
}

/// How far a recovery in the background is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RecoveryProgress {
    /// Whether every entry that was kept can be served.
    pub is_done: bool,
    /// Segment files that were read, or whose footer was.
    pub segments_done: u64,
    /// Segment files; 0 until the directory was listed.
    pub segments_total: u64,
}

/// What recovery found, kept and dropped, and why.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RecoveryReport {
    /// Whether the directory was new.
    pub created: bool,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// Segments whose footer was read.
    pub segments_by_footer: u64,
    /// Segments that were scanned, since they had no (valid) footer.
    pub segments_scanned: u64,
    /// Segments that were free or held nothing.
    pub segments_free: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Records seen.
    pub records: u64,
    /// Entries that the cache serves.
    pub entries_kept: u64,
    /// Of these, entries in more than one record.
    pub objects_kept: u64,
    /// Records dropped because a newer one of the key exists (or deletes it).
    pub dropped_replaced: u64,
    /// Records dropped because they had expired.
    pub dropped_expired: u64,
    /// Records dropped because a `clear` came after them.
    pub dropped_cleared: u64,
    /// Records dropped because they are damaged.
    pub dropped_damaged: u64,
    /// Entries forgotten because a damaged place may have held a newer version of them (P2).
    pub dropped_doubtful: u64,
    /// Entries in more than one record that are not whole: a part was evicted, lost or damaged.
    pub dropped_objects: u64,
    /// Chunks of objects that are not whole, or not served any more.
    pub dropped_chunks: u64,
    /// Bytes behind the last whole record of segments that were being written.
    pub torn_bytes: u64,
    /// One line for each thing an operator should know, at most 100.
    pub notes: Vec<String>,
}

impl RecoveryReport {
    /// Adds a line for the operator, up to the limit.
    pub(crate) fn note(&mut self, line: String) {
        if self.notes.len() < 100 {
            self.notes.push(line);
        }
    }
}
