//! What kind of lives the model test leads.

/// What a cache must not forget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keeps {
    /// Anything may be evicted at any time.
    #[default]
    Nothing,
    /// There is room for all, and the disk fails: what was synced.
    Synced,
    /// There is room for all, and no failure: everything, and nothing is refused.
    All,
}

/// What kind of lives.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Of the cache.
    pub capacity_bytes: u64,
    /// What must be there.
    pub keeps: Keeps,
    /// How many keys there are.
    pub keys: u32,
    /// Most values are shorter.
    pub max_value_bytes: u64,
    /// How many follow each other on one disk.
    pub lives: u32,
    /// Most steps of a life.
    pub steps: u64,
    /// Each birth has a hot tier.
    pub is_warm: bool,
    /// On average, one copy of the disk is crashed and judged in so many steps.
    pub steps_a_look: u64,
    /// How many copies of the disk die at the end of each life, each in its own way.
    pub copies: u64,
    /// The canary: syncs do nothing.
    pub lie_about_sync: bool,
    /// A canary: the cache knows nothing of the retention that it should have.
    pub forgets_retention: bool,
    /// The disk fails, fills and stalls now and then.
    pub has_weather: bool,
}

/// The kinds that the row leads in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing is ever evicted.
    Roomy,
    /// Eviction is always at work.
    Tight,
    /// The same, with a hot tier.
    Warm,
    /// The same as tight, on a disk that fails, fills and stalls.
    Stormy,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Roomy, Self::Tight, Self::Warm, Self::Stormy];

    /// As a case names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Roomy => "roomy",
            Self::Tight => "tight",
            Self::Warm => "warm",
            Self::Stormy => "stormy",
        }
    }

    /// What such lives are like.
    pub fn plan(self) -> Plan {
        match self {
            Self::Roomy => Plan::roomy(),
            Self::Tight => Plan::tight(),
            Self::Warm => Plan { is_warm: true, ..Plan::tight() },
            Self::Stormy => Plan { has_weather: true, ..Plan::tight() },
        }
    }
}

impl Plan {
    /// Small enough that eviction is always at work.
    pub fn tight() -> Self {
        Self {
            capacity_bytes: 1 << 20,
            keeps: Keeps::Nothing,
            keys: 24,
            max_value_bytes: 12_000,
            lives: 5,
            steps: 120,
            steps_a_look: 4,
            copies: 6,
            is_warm: false,
            lie_about_sync: false,
            forgets_retention: false,
            has_weather: false,
        }
    }

    /// Large enough that nothing is ever evicted.
    pub fn roomy() -> Self {
        Self { capacity_bytes: 16 << 20, keeps: Keeps::All, steps: 60, max_value_bytes: 6_000, ..Self::tight() }
    }
}
