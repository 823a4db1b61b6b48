//! Sizes as a user writes them: `64Mi`, `1.5G`, or a share such as `10%`.

use std::str::FromStr;

/// A size in bytes, written with an optional suffix: `k M G T` are powers of 1,000, `Ki Mi Gi Ti` of 1,024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(split);
        let suffix = suffix.trim();
        let suffix = suffix.strip_suffix('B').or_else(|| suffix.strip_suffix('b')).unwrap_or(suffix);
        let factor: u64 = match suffix {
            "" => 1,
            "k" | "K" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "T" => 1_000_000_000_000,
            "Ki" | "ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            "Ti" => 1 << 40,
            _ => return Err(format!("`{suffix}` is no unit; use k, M, G, T, Ki, Mi, Gi or Ti")),
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(factor).map(ByteSize).ok_or_else(|| format!("{text} is too large"));
        }
        let number: f64 = number.parse().map_err(|_| format!("`{text}` is not a size such as 64Mi or 1.5G"))?;
        Ok(ByteSize((number * factor as f64) as u64))
    }
}

/// A capacity: bytes, or a share of the trace's unique bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Capacity {
    /// So many bytes.
    Bytes(u64),
    /// A share of the trace's unique bytes, 1.0 = all of them.
    Share(f64),
}

impl FromStr for Capacity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(percent) = text.trim().strip_suffix('%') else {
            return ByteSize::from_str(text).map(|size| Self::Bytes(size.0));
        };
        match percent.trim().parse::<f64>() {
            Ok(percent) if percent > 0.0 && percent.is_finite() => Ok(Self::Share(percent / 100.0)),
            _ => Err(format!("`{text}` is not a share such as 10%")),
        }
    }
}

impl std::fmt::Display for Capacity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => f.write_str(&human_bytes(*bytes as f64)),
            Self::Share(share) => write!(f, "{} %", share * 100.0),
        }
    }
}

impl Capacity {
    /// The capacity in bytes, for a trace with so many unique bytes.
    pub fn bytes_of(self, unique_bytes: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Share(share) => (unique_bytes as f64 * share) as u64,
        }
    }
}

/// `bytes` for people: `1.5 GiB`.
pub fn human_bytes(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{value:.0} B") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_and_shares_are_read() {
        for (text, bytes) in
            [("4096", 4096), ("64Mi", 64 << 20), ("1.5G", 1_500_000_000), ("2k", 2_000), ("1GiB", 1 << 30)]
        {
            assert_eq!(text.parse::<ByteSize>(), Ok(ByteSize(bytes)), "{text}");
        }
        assert_eq!("10%".parse::<Capacity>().map(|c| c.bytes_of(5_000)), Ok(500));
        for text in ["", "x", "10 Qi", "-1%", "%", "99999999999T"] {
            assert!(text.parse::<Capacity>().is_err(), "{text}");
        }
    }
}
