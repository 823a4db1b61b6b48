//! What an operator is told of an object in each of the states it can be in.

use std::time::Duration;

use esker::SetOptions;
use esker::inspect::{EntryState, RecordInfo, Verdict};

use super::{CHUNK, Place, read, segment_files, value, write};

/// Two objects of ten chunks and an entry in one record, closed.
async fn place() -> Place {
    let mut place = Place::new(1, 16);
    let cache = place.open().await;
    assert!(write(&cache, "one", &value(1, 10 * CHUNK), SetOptions::new().metadata("meta")).await);
    assert!(write(&cache, "two", &value(2, 10 * CHUNK - 9), SetOptions::new()).await);
    assert!(write(&cache, "small", b"small", SetOptions::new()).await);
    cache.close().await.unwrap();
    place.kill();
    place
}

/// Every record, and the file that it stands in.
async fn records(place: &Place) -> Vec<(std::path::PathBuf, RecordInfo)> {
    let mut all = Vec::new();
    for path in segment_files(&place.sim) {
        let mut look = |record| all.push((path.clone(), record));
        esker::inspect::Inspector::records(&place.sim, &path, &mut look).await.unwrap();
    }
    all
}

/// Where the chunk of an object stands, and the object's id.
async fn chunk(place: &Place, key: &str, index: u64) -> (std::path::PathBuf, RecordInfo) {
    let all = records(place).await;
    let head = all.iter().find(|(_, r)| r.kind == "head" && r.key.as_deref() == Some(key)).unwrap();
    let id = head.1.object_id;
    all.iter().find(|(_, r)| r.object_id == id && r.chunk_index == Some(index)).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_objects_are_one_thing_each() {
    let place = place().await;
    let summary = place.assert_agrees("whole").await;
    assert_eq!((summary.entries, summary.objects, summary.objects_not_whole), (3, 2, 0));
    assert_eq!((summary.chunks_live, summary.chunks_dead), (20, 0));
    let inspector = place.inspector();
    let one = inspector.get(b"one").await.unwrap();
    assert_eq!((one.verdict, one.len_bytes(), &one.metadata[..]), (Verdict::Served, 10 * CHUNK as u64, &b"meta"[..]));
    assert!(read(&inspector, &one).await == (value(1, 10 * CHUNK), None));
    assert!(read(&inspector, &inspector.get(b"two").await.unwrap()).await == (value(2, 10 * CHUNK - 9), None));
    assert!(read(&inspector, &inspector.get(b"small").await.unwrap()).await == (b"small".to_vec(), None));

    let mut entries = Vec::new();
    inspector.entries(&mut |entry| entries.push(entry)).await.unwrap();
    let shown = |key: &str| entries.iter().find(|entry| entry.key.as_deref() == Some(key)).unwrap();
    assert_eq!(entries.len(), 3, "chunks are no entries");
    assert_eq!(shown("two").value_len, 10 * CHUNK as u64 - 9);
    assert_eq!(shown("two").object.as_ref().map(|object| (object.chunks, object.missing)), Some((10, 0)));
    assert!(shown("small").object.is_none() && entries.iter().all(|entry| entry.state == EntryState::Served));

    let records = records(&place).await;
    let head = &records.iter().find(|(_, r)| r.key.as_deref() == Some("two")).unwrap().1;
    assert_eq!((head.kind, head.object_len, head.object_chunks), ("head", Some(10 * CHUNK as u64 - 9), Some(10)));
    let own = records.iter().filter(|(_, r)| r.kind == "chunk" && r.object_id == head.object_id);
    assert_eq!(own.filter_map(|(_, r)| r.chunk_index).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    let report = inspector.verify(&mut |_| {}).await.unwrap();
    assert!(report.is_clean && report.notes.iter().all(|note| !note.text.contains("chunk")), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_written_leaves_dead_chunks_and_what_was_there() {
    let mut place = Place::new(1, 16);
    let cache = place.open().await;
    cache.set("key", "old").await.unwrap();
    let mut writer = cache.writer("key", SetOptions::new()).await.unwrap();
    writer.write_bytes(value(1, 10 * CHUNK).into()).await.unwrap();
    cache.sync().await.unwrap();
    place.kill();
    drop(writer);
    let summary = place.assert_agrees("half-written").await;
    assert_eq!((summary.entries, summary.objects, summary.objects_not_whole), (1, 0, 0));
    assert!(summary.chunks_dead >= 9 && summary.chunks_live == 0 && summary.live_bytes < 100, "{summary:?}");
    let finding = place.inspector().get(b"key").await.unwrap();
    assert_eq!((finding.verdict, &finding.value[..]), (Verdict::Served, &b"old"[..]));
    let report = place.inspector().verify(&mut |_| {}).await.unwrap();
    assert!(
        report.is_clean && report.notes.iter().any(|note| note.text.contains("chunks belong to no")),
        "{report:#?}"
    );
}

/// A damaged chunk does not make the object less whole to recovery: who reads it meets the damage.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_is_damage_and_is_named() {
    let place = place().await;
    let (path, record) = chunk(&place, "one", 4).await;
    place.sim.flip_bit(&path, record.offset + 1000).unwrap();
    let summary = place.assert_agrees("damaged").await;
    assert_eq!((summary.objects, summary.entries), (2, 3));
    let inspector = place.inspector();
    let one = inspector.get(b"one").await.unwrap();
    let (bytes, fault) = read(&inspector, &one).await;
    assert!(bytes == value(1, 10 * CHUNK)[..4 * CHUNK], "what comes before is right");
    let fault = fault.unwrap();
    assert_eq!((fault.index, fault.offset), (4, record.offset));
    assert!(path.ends_with(&fault.file) && fault.what.contains("checksum"), "{fault:?}");

    let explained = inspector.explain(b"one").await.unwrap();
    assert_eq!((explained.finding.verdict, explained.versions.len()), (Verdict::Damaged, 1));
    let version = &explained.versions[0];
    assert!(version.is_newest && version.is_this_key && version.damaged_chunks == 1);
    assert_eq!(version.faults, [fault]);
    assert_eq!(inspector.explain(b"two").await.unwrap().finding.verdict, Verdict::Served);

    let report = inspector.verify(&mut |_| {}).await.unwrap();
    let [damage] = &report.damage[..] else { panic!("{report:#?}") };
    assert!(damage.offset == record.offset && damage.what.contains("chunk 4 of object"), "{damage:?}");
    // A cache agrees.
    assert!(place.open_copy().await.get("one").await.unwrap().is_none());
}

/// Twenty chunks that take two segments; the first is evicted.
async fn evicted() -> Place {
    let mut place = Place::new(1, 16);
    let cache = place.open().await;
    assert!(write(&cache, "key", &value(1, 20 * CHUNK), SetOptions::new()).await);
    cache.close().await.unwrap();
    place.kill();
    let first = segment_files(&place.sim)[0].clone();
    place.sim.write_file(&first, vec![0; super::SEGMENT_LEN_BYTES as usize]).unwrap();
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evicted_chunk_makes_it_not_whole_and_that_is_no_damage() {
    let place = evicted().await;
    let summary = place.assert_agrees("evicted").await;
    assert_eq!((summary.entries, summary.objects, summary.objects_not_whole, summary.live_bytes), (0, 0, 1, 0));
    let inspector = place.inspector();
    let finding = inspector.get(b"key").await.unwrap();
    let object = finding.object.clone().unwrap();
    assert_eq!((finding.verdict, object.chunks), (Verdict::NotWhole, 20));
    assert_eq!(object.missing_runs, [(0, object.missing - 1)], "the first ones are gone");
    assert!(object.missing > 5 && object.missing + summary.chunks_dead == 20, "{object:?}");
    assert!(read(&inspector, &finding).await == (Vec::new(), None));
    let version = &inspector.explain(b"key").await.unwrap().versions[0];
    assert_eq!((version.object.as_ref().unwrap(), version.damaged_chunks), (&object, 0));
    let report = inspector.verify(&mut |_| {}).await.unwrap();
    let is_noted = report.notes.iter().any(|note| note.text.contains("`key` lacks") && note.text.contains("of 20"));
    assert!(report.is_clean && is_noted, "{report:#?}");
}

/// Recovery keeps the head where it must keep something older dead: it counts, and no get is answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_not_whole_stays_as_long_as_something_older_is_there() {
    let mut place = Place::new(1, 16);
    let cache = place.open().await;
    cache.set("key", "old").await.unwrap();
    cache.set("other", value(9, CHUNK)).await.unwrap();
    assert!(write(&cache, "key", &value(1, 40 * CHUNK), SetOptions::new()).await);
    cache.close().await.unwrap();
    place.kill();
    // The second segment: the old value is in the first, the head in the last.
    let second = segment_files(&place.sim)[1].clone();
    place.sim.write_file(&second, vec![0; super::SEGMENT_LEN_BYTES as usize]).unwrap();
    let summary = place.assert_agrees("with something older").await;
    assert_eq!((summary.entries, summary.objects, summary.objects_not_whole), (2, 0, 1));
    let mut states = Vec::new();
    place.inspector().entries(&mut |entry| states.push((entry.key.unwrap(), entry.state))).await.unwrap();
    states.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(states, [("key".into(), EntryState::NotWhole), ("other".into(), EntryState::Served)]);
    let explained = place.inspector().explain(b"key").await.unwrap();
    assert_eq!(explained.finding.verdict, Verdict::NotWhole, "the old value does not come back");
    let versions: Vec<_> = explained.versions.iter().map(|v| (v.kind, v.is_newest, v.value_len)).collect();
    assert_eq!(versions, [("head", true, 40 * CHUNK as u64), ("put", false, 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_deleted_and_expired_objects_have_dead_chunks() {
    let mut place = Place::new(1, 24);
    let cache = place.open().await;
    for key in ["replaced", "deleted", "small now"] {
        assert!(write(&cache, key, &value(1, 5 * CHUNK), SetOptions::new()).await);
    }
    let short = SetOptions::new().ttl(Duration::from_secs(100));
    assert!(write(&cache, "expired", &value(2, 5 * CHUNK), short.clone()).await);
    assert!(write(&cache, "lives", &value(3, 5 * CHUNK), SetOptions::new().ttl(Duration::from_secs(10_000))).await);
    assert!(write(&cache, "replaced", &value(4, 6 * CHUNK), SetOptions::new()).await);
    cache.set("small now", "small").await.unwrap();
    cache.delete("deleted").await.unwrap();
    cache.close().await.unwrap();
    place.kill();
    let before = place.assert_agrees("before it expires").await;
    assert_eq!((before.entries, before.objects, before.chunks_live, before.chunks_dead), (4, 3, 16, 15));
    place.clock.advance(200_000);
    let after = place.assert_agrees("after it expired").await;
    assert_eq!((after.entries, after.objects, after.chunks_live, after.chunks_dead), (3, 2, 11, 20));
    assert!(after.live_bytes + 5 * CHUNK as u64 <= before.live_bytes, "{before:?} {after:?}");
    let inspector = place.inspector();
    for (key, verdict) in [("deleted", Verdict::Deleted), ("expired", Verdict::Expired), ("never", Verdict::Unknown)] {
        let finding = inspector.get(key.as_bytes()).await.unwrap();
        assert_eq!(finding.verdict, verdict, "{key}");
        assert!(read(&inspector, &finding).await == (Vec::new(), None), "{key}");
    }
    let replaced = inspector.explain(b"replaced").await.unwrap();
    let versions: Vec<_> = replaced.versions.iter().map(|v| (v.is_newest, v.value_len / CHUNK as u64)).collect();
    assert_eq!(versions, [(true, 6), (false, 5)]);
    assert!(read(&inspector, &replaced.finding).await == (value(4, 6 * CHUNK), None));
}

/// The format's trap: a user's key may be the 16 bytes of a chunk's.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_looks_like_a_chunks_is_an_entry_of_its_own() {
    let mut place = place().await;
    let (_, record) = chunk(&place, "one", 3).await;
    let mut key = record.object_id.unwrap().to_le_bytes().to_vec();
    key.extend_from_slice(&3u64.to_le_bytes());
    let cache = place.open().await;
    cache.set(&key, "mine").await.unwrap();
    cache.close().await.unwrap();
    place.kill();
    let summary = place.assert_agrees("a key like a chunk's").await;
    assert_eq!((summary.entries, summary.objects, summary.chunks_live), (4, 2, 20));
    let inspector = place.inspector();
    assert_eq!(&inspector.get(&key).await.unwrap().value[..], b"mine");
    assert_eq!(inspector.explain(&key).await.unwrap().versions.len(), 1, "the chunk is no version of it");
    let one = inspector.get(b"one").await.unwrap();
    assert!(read(&inspector, &one).await == (value(1, 10 * CHUNK), None));
}

/// What the file was when it was looked at is not what it is when the value is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_goes_while_the_value_is_read_is_not_called_damage() {
    let place = place().await;
    let inspector = place.inspector();
    let finding = inspector.get(b"two").await.unwrap();
    let (path, _) = chunk(&place, "two", 0).await;
    place.sim.heal(&path).unwrap();
    let mut other = place.sim.read_file(&path).unwrap();
    let header = esker::format::segment_header::SegmentHeader::decode(&other).unwrap();
    let begun = esker::format::segment_header::SegmentHeader { id: esker::SegmentId(header.id.0 + 1_000), ..header };
    other[..4096].copy_from_slice(&begun.encode_block());
    other[4096..].fill(0);
    place.sim.write_file(&path, other).unwrap();
    let (_, fault) = read(&inspector, &finding).await;
    assert!(fault.is_some_and(|fault| fault.what.contains("freed or begun anew")));
}
