//! Target `directory`: a whole directory, damaged or forged as the input says. `segdump`'s library looks at it; then a
//! cache opens it, and must say the same, serve nothing but records that stand there, and take writes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use esker::backend::Backend;
use esker::backend::sim::Sim;
use esker::clock::ManualClock;
use esker::format::file_name::MANIFEST_TMP;
use esker::format::manifest::Manifest;
use esker::format::segment_header::SegmentHeader;
use esker::inspect::{Finding, Summary, Verdict, VerifyReport};
use esker::{Config, DiskCache, Millis, RecordKind, SetOptions};

use super::forged::Forged;
use super::input::Input;
use super::{golden, reports, truth};

/// An hour after the golden directory was made.
const NOW: Millis = Millis(1_700_000_000_000 + 3_600_000);
const CAPACITY_BYTES: u64 = 1 << 20;

/// The target.
pub fn body(data: &[u8]) {
    let mut directory = Forged::new(golden::files());
    let mut input = Input(data);
    while !input.is_empty() {
        directory.strike(&mut input);
    }
    let sim = Sim::new(1);
    for (name, bytes) in &directory.files {
        sim.write_file(Path::new(reports::DIR).join(name), bytes.clone()).expect("a fresh disk");
    }
    super::block_on(judge(&directory, sim));
}

/// What was found by looking.
struct Looked {
    summary: Option<Summary>,
    report: Option<VerifyReport>,
    /// By key: those of the golden directory, and all that stand anywhere.
    found: BTreeMap<Vec<u8>, Finding>,
    /// Values of those that are served, read piece by piece; none if a chunk is not what its head says.
    values: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

async fn judge(directory: &Forged, sim: Sim) {
    let looked = look(directory, Arc::new(sim.clone())).await;
    assert_unchanged(directory, &sim, "looking");
    let config = Config { capacity_bytes: CAPACITY_BYTES, flush_interval_ms: 20, ..Config::default() };
    let builder = DiskCache::builder(reports::DIR).config(config).clock(Arc::new(ManualClock::new(NOW)));
    let Ok(cache) = builder.backend_with(Arc::new(sim.clone())).open().await else {
        // What cannot be opened may still be looked at: its segments may have another length than this build opens.
        return assert_unchanged(directory, &sim, "an open that was refused");
    };
    let summary = looked.summary.as_ref().expect("what opens can be looked at");
    let report = cache.recovery_report();
    let is_clean = looked.report.as_ref().is_some_and(|report| report.is_clean);
    assert!(report.dropped_damaged == 0 || !is_clean, "{report:?}, but verify says that it is clean");
    if !directory.is_ambiguous() {
        assert!(report.entries_kept <= summary.entries, "{report:?}, {summary:?}");
    }
    for (key, finding) in &looked.found {
        let value = looked.values.get(key).cloned().flatten();
        let hit = cache.get(key).await.expect("damage is a miss");
        if let Some(hit) = &hit {
            let is_true = directory.holds(key, hit.value(), hit.metadata());
            let key = key.escape_ascii();
            assert!(is_true, "{key} was never stored with {}", hit.value().escape_ascii());
        }
        if directory.is_ambiguous() {
            continue;
        }
        let key = key.escape_ascii();
        match (&hit, finding.verdict) {
            (Some(hit), Verdict::Served) => {
                let value = value.as_deref().expect("what is served is read");
                assert_eq!((&hit.value()[..], hit.metadata()), (value, &finding.metadata))
            }
            (Some(_), verdict) => panic!("{key} is served, but looked {verdict:?}"),
            // A record from the future takes the clock along; a digest may meet another in the index.
            // A get reads the whole value and meets the damage.
            (None, Verdict::Served) if value.is_none() => {}
            (None, Verdict::Served) => assert!(finding.expires.is_some() || directory.is_forged, "{key} is not served"),
            (None, _) => {}
        }
    }
    live_on(&cache, &sim).await;
}

fn assert_unchanged(directory: &Forged, sim: &Sim, what: &str) {
    // What is left of a manifest that was being written goes when the one that stands is found to be good.
    for (name, bytes) in directory.files.iter().filter(|(name, _)| name != MANIFEST_TMP) {
        let now = sim.read_file(Path::new(reports::DIR).join(name));
        assert!(now.is_ok_and(|now| now == *bytes), "{what} changed {name}");
    }
}

/// Takes a write, and what it wrote outlives it.
async fn live_on(cache: &DiskCache, sim: &Sim) {
    let outcome = cache.set_with("a new key", "a new value", SetOptions::new()).await.expect("the disk is well");
    if outcome.is_stored() {
        let hit = cache.get("a new key").await.expect("the disk is well").expect("it was just set");
        assert_eq!(hit.value()[..], b"a new value"[..]);
    }
    cache.close().await.expect("the disk is well");
    assert!(sim.files_open() == 0, "{} files are open after close", sim.files_open());
}

async fn look(directory: &Forged, disk: Arc<dyn Backend>) -> Looked {
    let inspector = reports::inspector(&disk, NOW);
    let summary = reports::summary(&inspector).await.ok();
    let report = reports::verify(&inspector).await.ok();
    let mut keys: Vec<Vec<u8>> = golden::KEYS.iter().map(|key| key.as_bytes().to_vec()).collect();
    for (name, bytes) in &directory.files {
        let Ok(header) = SegmentHeader::decode(bytes) else { continue };
        let puts = truth::records(bytes, header.id).filter(|(_, record)| record.header.kind == RecordKind::Put);
        keys.extend(puts.map(|(_, record)| record.key.to_vec()));
        let path = Path::new(reports::DIR).join(name);
        reports::records(&*disk, &path).await.expect("nothing but damage");
    }
    let (mut found, mut values) = (BTreeMap::new(), BTreeMap::new());
    for key in keys {
        if let Ok(finding) = inspector.get(&key).await {
            values.insert(key.clone(), reports::value(&inspector, &finding).await);
            reports::explain(&inspector, &key, &finding).await;
            found.insert(key, finding);
        }
    }
    if let Some(summary) = &summary {
        assert_eq!(reports::entries(&inspector).await, summary.entries, "what is listed is what is counted");
    }
    let manifest = directory.files.iter().find(|(name, _)| name == "MANIFEST");
    let is_ours = manifest.is_some_and(|(_, bytes)| Manifest::decode(bytes).is_ok());
    assert_eq!(summary.is_some(), is_ours, "the manifest decides");
    Looked { summary, report, found, values }
}

pub use golden::seeds;
