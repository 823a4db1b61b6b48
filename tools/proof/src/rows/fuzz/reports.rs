//! What `segdump` says of a directory, as text.

use std::path::Path;
use std::sync::Arc;

use esker::backend::Backend;
use esker::inspect::{Finding, Inspector, Listing, Piece, RecordInfo, Summary, Verdict, VerifyReport};
use esker::{Error, Millis};
use segdump::{key, words};

/// The directory, on every disk.
pub const DIR: &str = "/cache";

/// An inspector of the directory.
pub fn inspector(disk: &Arc<dyn Backend>, now: Millis) -> Inspector {
    Inspector::new(disk.clone(), DIR, now)
}

/// `segdump summary` and `segdump segments`.
pub async fn summary(inspector: &Inspector) -> Result<Summary, Error> {
    let summary = inspector.summary().await?;
    assert_harmless(|out| words::summary(out, Path::new(DIR), &summary));
    assert_harmless(|out| words::segments(out, &summary.segments));
    assert_json(&summary);
    Ok(summary)
}

/// `segdump verify`.
pub async fn verify(inspector: &Inspector) -> Result<VerifyReport, Error> {
    let mut last = (0, 0);
    let mut progress = |p: esker::inspect::Progress| last = (p.done, p.total);
    let report = inspector.verify(&mut progress).await?;
    assert_eq!(last.0, last.1, "the bar stops before the end");
    assert_eq!(report.is_clean, report.damage.is_empty());
    assert_harmless(|out| words::verify(out, &report));
    assert_json(&report);
    Ok(report)
}

/// `segdump records`.
pub async fn records(disk: &dyn Backend, path: &Path) -> Result<(Vec<RecordInfo>, Listing), Error> {
    let mut listed = Vec::new();
    let listing = Inspector::records(disk, path, &mut |record| listed.push(record)).await?;
    assert_eq!(listing.records, listed.len() as u64);
    assert_harmless(|out| {
        words::records_head(out)?;
        listed.iter().try_for_each(|record| words::record(out, record))?;
        words::listing(out, path, &listing)
    });
    assert_json(&listing);
    listed.iter().for_each(assert_json);
    Ok((listed, listing))
}

/// `segdump entries`: how many.
pub async fn entries(inspector: &Inspector) -> u64 {
    let mut listed = Vec::new();
    let count = inspector.entries(&mut |entry| listed.push(entry)).await.expect("the summary was made");
    assert_eq!(count, listed.len() as u64);
    assert_harmless(|out| {
        key::entries_head(out)?;
        listed.iter().try_for_each(|entry| key::entry(out, entry))
    });
    listed.iter().for_each(assert_json);
    count
}

/// The value of `segdump get`; none if it is cut short.
pub async fn value(inspector: &Inspector, finding: &Finding) -> Option<Vec<u8>> {
    let (mut all, mut value) = (Vec::new(), inspector.value(finding));
    while let Some(piece) = value.next().await.expect("nothing but damage") {
        match piece {
            Piece::Bytes(bytes) => all.extend_from_slice(&bytes),
            Piece::Fault(_) => return None,
        }
    }
    assert_eq!(all.len() as u64, finding.len_bytes());
    Some(all)
}

/// `segdump explain`: it says what `segdump get` did, or that a chunk is damaged.
pub async fn explain(inspector: &Inspector, key: &[u8], finding: &Finding) {
    let explanation = inspector.explain(key).await.expect("nothing but damage");
    let verdict = explanation.finding.verdict;
    assert!(verdict == finding.verdict || verdict == Verdict::Damaged, "{verdict:?}, {finding:?}");
    assert_harmless(|out| key::explanation(out, key, &explanation));
    assert_json(&explanation);
}

/// What goes to a terminal holds lines of readable text.
fn assert_harmless(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) {
    let mut out = Vec::new();
    write(&mut out).expect("memory takes everything");
    let text = String::from_utf8(out).expect("words are text");
    let steers = |c: char| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
    assert!(!text.contains(steers), "{text:?}");
}

fn assert_json(value: &impl serde::Serialize) {
    let text = serde_json::to_string(value).expect("a report is JSON");
    assert!(!text.contains(char::is_control), "{text:?}");
}
