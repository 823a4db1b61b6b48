//! Target `config`: text that should be settings, in JSON; of what passes, every figure that is derived.

use std::time::Duration;

use esker::Config;
use esker::config::{DIRECTORY_OVERHEAD_BYTES, MAX_SEGMENTS, MIN_SEGMENTS};

/// The target.
pub fn body(data: &[u8]) {
    let Ok(config) = serde_json::from_slice::<Config>(data) else { return };
    let text = serde_json::to_string(&config).expect("settings are text");
    assert_eq!(serde_json::from_str::<Config>(&text).expect("what was written is read"), config);
    match config.validate() {
        Err(error) => {
            let text = error.to_string();
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
        Ok(()) => {
            let len = config.chosen_segment_len_bytes();
            let segments = config.max_segments(len);
            assert!((MIN_SEGMENTS..=MAX_SEGMENTS).contains(&segments), "{segments} segments");
            assert!(segments * len + DIRECTORY_OVERHEAD_BYTES <= config.capacity_bytes, "{config:?}");
            assert!(config.flush_interval() > Duration::ZERO, "{config:?}");
        }
    }
}

/// What to begin with: the defaults, and each setting at some limit.
pub fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        serde_json::to_string(&Config::default()).unwrap_or_default(),
        r#"{"capacity_bytes":18446744073709551615,"segment_len_bytes":67108864}"#.into(),
        r#"{"capacity_bytes":344064,"segment_len_bytes":65536,"backend":"tokio_fs","index_shards":1024}"#.into(),
        r#"{"segment_len_bytes":0,"max_value_bytes":1,"default_ttl_ms":null,"short_ttl_ms":0}"#.into(),
        r#"{"flush_interval_ms":0,"io_timeout_ms":0,"rewrite_share_percent":255}"#.into(),
    ];
    texts.map(String::into_bytes).to_vec()
}
