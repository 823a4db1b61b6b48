//! What a footer may not say.

use super::*;

#[test]
fn a_footer_points_nowhere_else() {
    let (good, data_end) = rows(3);
    let decode = |rows: &[Row], data_end: u64| {
        let (_, bytes) = footer::encode(rows, SEGMENT, SEGMENT_LEN_BYTES, data_end, Millis(8));
        let trailer = footer::decode_trailer(&bytes, SEGMENT, SEGMENT_LEN_BYTES)?;
        footer::decode_rows(&bytes, &trailer)
    };
    assert_eq!(decode(&good, data_end), Ok(good.clone()));
    assert_eq!(decode(&[], 4096), Ok(vec![]));
    for bad in [0, 4080, data_end + 8, SEGMENT_LEN_BYTES - 4096 + 16, u64::MAX] {
        assert_eq!(decode(&good, bad), Err(FooterDefect::Bounds), "data_end {bad}");
    }
    assert_eq!(decode(&good, data_end - 16), Err(FooterDefect::Bounds), "a record behind the end");
    assert_eq!(decode(&[good[1], good[0]], data_end), Err(FooterDefect::Bounds), "out of order");
    assert_eq!(decode(&[good[0], good[0]], data_end), Err(FooterDefect::Bounds), "twice");
    let early = Row { offset_units: 255, ..good[0] };
    assert_eq!(decode(&[early], data_end), Err(FooterDefect::Bounds), "inside the segment header");

    let (_, bytes) = footer::encode(&good, SEGMENT, SEGMENT_LEN_BYTES, data_end, Millis(8));
    let trailer = |segment, len| footer::decode_trailer(&bytes, segment, len);
    assert_eq!(trailer(SegmentId(10), SEGMENT_LEN_BYTES), Err(FooterDefect::OtherSegment));
    assert_eq!(trailer(SEGMENT, SEGMENT_LEN_BYTES * 2), Err(FooterDefect::Bounds));
    let of = |id| {
        let (_, bytes) = footer::encode(&good, SegmentId(id), SEGMENT_LEN_BYTES, data_end, Millis(8));
        footer::decode_any_trailer(&bytes[bytes.len() - 64..], SEGMENT_LEN_BYTES).map(|trailer| trailer.segment)
    };
    assert_eq!(of((1 << 62) - 1), Ok(SegmentId::MAX));
    assert_eq!(of(1 << 62), Err(FooterDefect::Bounds), "an id that no directory lives to see");
    assert_eq!(footer::decode_trailer(&[0; 64], SEGMENT, SEGMENT_LEN_BYTES), Err(FooterDefect::Magic));
    assert_eq!(footer::decode_trailer(&[0; 63], SEGMENT, SEGMENT_LEN_BYTES), Err(FooterDefect::Truncated));
    let trailer = trailer(SEGMENT, SEGMENT_LEN_BYTES).unwrap();
    assert_eq!(footer::decode_rows(&bytes[..71], &trailer), Err(FooterDefect::Truncated));
    let later = Trailer { min_sequence: Sequence(101), ..trailer };
    assert_eq!(footer::decode_rows(&bytes, &later), Err(FooterDefect::Bounds), "a sequence that the trailer excludes");
}
