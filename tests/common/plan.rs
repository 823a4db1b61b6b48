//! What kind of lives the model test leads.

/// What kind of lives.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub capacity_bytes: u64,
    /// No eviction comes: what is durable must be there (and nothing is refused).
    pub is_roomy: bool,
    pub keys: u32,
    pub max_value_bytes: u64,
    pub lives: u32,
    pub steps: u64,
    pub memory_bytes: u64,
    /// The canary: syncs do nothing.
    pub lie_about_sync: bool,
    /// The disk fails, fills and stalls now and then.
    pub has_weather: bool,
}

impl Plan {
    /// Small enough that eviction is always at work.
    pub fn tight() -> Self {
        Self {
            capacity_bytes: 1 << 20,
            is_roomy: false,
            keys: 24,
            max_value_bytes: 12_000,
            lives: 5,
            steps: 160,
            memory_bytes: 0,
            lie_about_sync: false,
            has_weather: false,
        }
    }

    /// Large enough that nothing is ever evicted.
    pub fn roomy() -> Self {
        Self { capacity_bytes: 16 << 20, is_roomy: true, steps: 80, max_value_bytes: 6_000, ..Self::tight() }
    }
}
