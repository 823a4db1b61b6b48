//! Prometheus' text format: every count under its own name.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Counts, which only grow.
pub fn counters(text: &mut String, prefix: &str, counts: &Map<String, Value>) {
    for (name, value) in counts {
        if let Some(value) = value.as_u64() {
            // Writing to a String does not fail.
            let _ = writeln!(text, "# TYPE {prefix}_{name}_total counter\n{prefix}_{name}_total {value}");
        }
    }
}

/// What goes up and down.
pub fn gauges(text: &mut String, prefix: &str, gauges: &Map<String, Value>) {
    for (name, value) in gauges {
        if let Some(value) = value.as_f64() {
            let _ = writeln!(text, "# TYPE {prefix}_{name} gauge\n{prefix}_{name} {value}");
        }
    }
}

/// As an object of JSON.
pub fn object(value: impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}
