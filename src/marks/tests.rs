//! What marks cover, and how long they are needed.

use super::*;
use crate::format::record::Flags;
use crate::format::tags;

fn prefix(text: &str) -> Selector {
    Selector::Prefix(Bytes::copy_from_slice(text.as_bytes()))
}

fn mark(sequence: u64) -> Mark {
    Mark { sequence: Sequence(sequence), horizon: SegmentId(1), is_written: true }
}

fn set(marks: &Marks, selector: &Selector, sequence: u64) {
    marks.begin(selector);
    marks.place(selector, SegmentId(1), true, || Sequence(sequence));
}

fn covers(marks: &Marks, key: &str, sequence: u64) -> bool {
    marks.cover(key.as_bytes(), Tags::default(), Sequence(sequence), Millis(sequence))
}

fn tag(n: u64) -> Selector {
    // As a hash spreads them.
    Selector::Tag(Digest(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// By what an entry of the key `key` with these tags is dead.
fn tagged(marks: &Marks, all: &[u64], sequence: u64) -> Option<PurgedBy> {
    let digests = all.iter().map(|n| match tag(*n) {
        Selector::Tag(digest) => digest,
        other => panic!("{other:?} is no tag"),
    });
    let field = tags::encode(digests, b"meta");
    let (tags, _) = tags::split(Flags::TAGGED, &field).expect("it has tags");
    marks.covering(b"key", tags, Sequence(sequence), Millis(sequence))
}

#[test]
fn covers_what_begins_like_it_and_is_older() {
    let marks = Marks::default();
    assert!(!covers(&marks, "a/b", 1));
    set(&marks, &prefix("a/"), 10);
    set(&marks, &prefix("a/b/c"), 20);
    set(&marks, &prefix("ab"), 30);
    let table = [
        ("a/", 9, true),
        ("a/", 10, false),
        ("a/x", 9, true),
        ("a", 9, false),
        ("a/b/c", 19, true),
        ("a/b/cd", 20, false),
        ("a/b/d", 9, true),
        ("a/b/d", 10, false),
        ("ab", 29, true),
        ("aa", 1, false),
        ("b", 1, false),
        ("", 1, false),
    ];
    for (key, sequence, expected) in table {
        assert_eq!(covers(&marks, key, sequence), expected, "{key:?} at {sequence}");
    }
    set(&marks, &prefix("a"), 40);
    assert_eq!(marks.len(), 1, "the shorter one stands for all of them");
    assert!(covers(&marks, "a/b/c", 39) && covers(&marks, "a", 39) && !covers(&marks, "ab", 40));
}

#[test]
fn covers_everything_while_its_record_is_on_its_way() {
    let marks = Marks::default();
    set(&marks, &prefix("k"), 5);
    marks.begin(&prefix("k"));
    assert!(covers(&marks, "key", 1 << 40) && marks.unwritten().is_none());
    marks.place(&prefix("k"), SegmentId(3), false, || Sequence(9));
    assert!(covers(&marks, "key", 8) && !covers(&marks, "key", 9) && marks.owes());
    assert_eq!(marks.unwritten().map(|(_, m)| (m.sequence, m.horizon)), Some((Sequence(9), SegmentId(3))));
    marks.wrote(Sequence(9));
    assert!(marks.unwritten().is_none() && !marks.owes());
    assert!(marks.lost(Sequence(9)) && !marks.lost(Sequence(8)) && marks.owes());
}

#[test]
fn found_in_any_order_the_newest_counts() {
    let all = [("a", 10), ("a/b", 20), ("a/b", 5), ("a/b/c", 15), ("b", 1)];
    for turn in 0..all.len() {
        let marks = Marks::default();
        for n in 0..all.len() {
            let (text, sequence) = all[(n + turn) % all.len()];
            marks.adopt(&prefix(text), mark(sequence));
        }
        assert_eq!(marks.len(), 3, "turn {turn}");
        assert!(covers(&marks, "a/b/c", 19) && !covers(&marks, "a/b/c", 20) && !covers(&marks, "a/x", 10));
    }
}

#[test]
fn an_age_covers_what_was_set_before() {
    let marks = Marks::default();
    set(&marks, &Selector::OlderThan(Millis(100)), 200);
    assert!(covers(&marks, "any", 99) && !covers(&marks, "any", 100));
    set(&marks, &Selector::OlderThan(Millis(50)), 300);
    assert!(covers(&marks, "any", 99), "the later one stands");
    marks.clear(Sequence(250));
    assert!(!covers(&marks, "any", 1) && marks.len() == 0);
}

#[test]
fn a_record_is_carried_on_as_long_as_its_mark_needs_it() {
    let marks = Marks::default();
    set(&marks, &prefix("a/b"), 10);
    assert!(marks.is_needed(&prefix("a/b"), Sequence(10), true));
    marks.begin(&prefix("a"));
    assert!(marks.is_needed(&prefix("a/b"), Sequence(10), true), "the other one is not on disk yet");
    marks.place(&prefix("a"), SegmentId(1), true, || Sequence(20));
    assert!(!marks.is_needed(&prefix("a/b"), Sequence(10), true));
    assert!(!marks.is_needed(&prefix("a"), Sequence(20), false));
    assert!(marks.len() == 0 && !covers(&marks, "a", 1));
}

#[test]
fn too_many_give_up_the_older_half() {
    let marks = Marks::default();
    (0..=MAX_MARKS as u64).for_each(|n| set(&marks, &prefix(&format!("{n}/")), n + 1));
    let half = marks.overflow().expect("there are too many");
    marks.raise_floor(half);
    assert!(marks.overflow().is_none() && marks.len() <= MAX_MARKS as u64 / 2 + 1);
    assert!(covers(&marks, "anything", half.0) && !covers(&marks, "anything", half.0 + 1));
    let last = format!("{MAX_MARKS}/x");
    assert!(covers(&marks, &last, MAX_MARKS as u64));
}

#[test]
fn a_tag_covers_what_has_it_and_is_older() {
    let marks = Marks::default();
    set(&marks, &tag(1), 10);
    assert_eq!((tagged(&marks, &[1], 9), tagged(&marks, &[1], 10)), (Some(PurgedBy::Tag), None));
    assert_eq!((tagged(&marks, &[2, 3, 1], 9), tagged(&marks, &[2, 3], 9)), (Some(PurgedBy::Tag), None));
    assert!(!covers(&marks, "key", 9), "it has no tags");
    set(&marks, &tag(1), 20);
    assert_eq!((marks.len(), tagged(&marks, &[1], 19)), (1, Some(PurgedBy::Tag)));
    set(&marks, &prefix("k"), 15);
    assert_eq!((tagged(&marks, &[2], 14), tagged(&marks, &[2], 15)), (Some(PurgedBy::Prefix), None));
    marks.begin(&tag(2));
    assert_eq!(tagged(&marks, &[2], 1 << 40), Some(PurgedBy::Tag), "its record is on its way");
    marks.place(&tag(2), SegmentId(3), false, || Sequence(30));
    assert_eq!(
        (tagged(&marks, &[2], 30), marks.unwritten().map(|(s, m)| (s, m.sequence))),
        (None, Some((tag(2), Sequence(30))))
    );
    marks.wrote(Sequence(30));
    assert!(marks.are_written() && marks.lost(Sequence(30)) && marks.owes());
    marks.raise_floor(Sequence(20));
    assert_eq!((marks.len(), tagged(&marks, &[3], 20), tagged(&marks, &[1], 21)), (1, Some(PurgedBy::Place), None));
    marks.clear(Sequence(30));
    assert_eq!((marks.len(), tagged(&marks, &[1, 2, 3], 1)), (0, None));
}

#[test]
fn a_record_of_a_tag_is_carried_on_as_long_as_its_mark_needs_it() {
    let marks = Marks::default();
    for sequence in [10, 30, 20] {
        marks.adopt(&tag(1), mark(sequence));
    }
    marks.adopt(&tag(2), mark(5));
    assert_eq!((marks.len(), tagged(&marks, &[1], 29), tagged(&marks, &[1], 30)), (2, Some(PurgedBy::Tag), None));
    assert!(!marks.is_needed(&tag(1), Sequence(20), true), "a newer one stands for it");
    marks.begin(&tag(1));
    assert!(marks.is_needed(&tag(1), Sequence(30), true), "the other one is not on disk yet");
    marks.place(&tag(1), SegmentId(1), true, || Sequence(40));
    assert!(!marks.is_needed(&tag(1), Sequence(30), true) && marks.is_needed(&tag(1), Sequence(40), true));
    let before = marks.given_up();
    assert!(!marks.is_needed(&tag(1), Sequence(40), false));
    assert_eq!((marks.len(), tagged(&marks, &[1], 1), marks.given_up()), (1, None, before + 1));
}

/// P5. Tags count among the marks, and what there is of them says how much memory they may take.
#[test]
fn too_many_tags_give_up_the_older_half_and_give_the_room_back() {
    let marks = Marks::default();
    set(&marks, &prefix("k"), 1);
    let allocated = || marks.inner.read().tags.allocation_size();
    (1..=MAX_MARKS as u64).for_each(|n| set(&marks, &tag(n), n + 1));
    assert!(allocated() < 10 << 20, "{} bytes for {MAX_MARKS} tags", allocated());
    let half = marks.overflow().expect("there are too many");
    marks.raise_floor(half);
    assert!(marks.overflow().is_none() && marks.len() <= MAX_MARKS as u64 / 2 + 1);
    let last = MAX_MARKS as u64;
    assert_eq!((tagged(&marks, &[last], last), tagged(&marks, &[1], half.0 + 1)), (Some(PurgedBy::Tag), None));
    assert_eq!(tagged(&marks, &[1], half.0), Some(PurgedBy::Place));
    for n in 1..=last {
        marks.is_needed(&tag(n), Sequence(n + 1), false);
    }
    assert!(marks.len() == 0 && allocated() < 200 << 10, "{} bytes for no tag", allocated());
}
