//! The namespaces that are configured: whose segments their entries go to, how long these live, and what is counted.

use std::collections::HashMap;

use crate::config::{Config, NamespaceConfig};
use crate::format::namespace;
use crate::format::segment_header::group_of;
use crate::stats::{Counter, NamespaceStats};
use crate::types::Group;

/// What a group of append streams may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allotment {
    /// In the headers of its segments.
    pub tag: u64,
    /// Segments that are kept for it; for the common group what the others leave.
    pub share: u64,
    /// Most segments of it, if there is a limit of its own.
    pub quota: Option<u64>,
}

impl Allotment {
    /// Segments that it takes as a rule.
    pub fn usual(&self) -> u64 {
        if self.share > 0 { self.share } else { self.quota.unwrap_or(0) }
    }
}

/// A namespace that is configured.
pub struct Configured {
    config: NamespaceConfig,
    group: Group,
    hits: Counter,
    misses: Counter,
    sets: Counter,
}

impl Configured {
    /// What was counted; the segments of its group take `used` bytes, of which `live` are served.
    pub fn stats(&self, used_and_live: impl FnOnce(Group) -> (u64, u64)) -> NamespaceStats {
        let (used, live) = match self.group {
            Group::COMMON => (None, None),
            group => Some(used_and_live(group)).unzip(),
        };
        NamespaceStats {
            name: self.config.name.clone(),
            hits: self.hits.get(),
            misses: self.misses.get(),
            sets: self.sets.get(),
            used_bytes: used,
            live_bytes: live,
            share_bytes: self.config.share_bytes,
            quota_bytes: self.config.quota_bytes,
        }
    }
}

/// See the module's documentation.
pub struct Namespaces {
    by_name: HashMap<String, Configured>,
    /// In the order of the settings.
    names: Vec<String>,
    /// By group.
    allotments: Vec<Allotment>,
}

impl Namespaces {
    /// Those of the settings, in a directory with this seed and segments of this length.
    pub fn new(config: &Config, seed: &[u8; 16], segment_len_bytes: u64) -> Self {
        let common = Allotment { tag: 0, share: config.common_segments(segment_len_bytes), quota: None };
        let (mut by_name, mut allotments) = (HashMap::new(), vec![common]);
        for one in &config.namespaces {
            let mut group = Group::COMMON;
            if one.has_group() {
                group = Group(allotments.len() as u8);
                allotments.push(Allotment {
                    tag: group_of(seed, &one.name),
                    share: one.share_bytes / segment_len_bytes,
                    quota: one.quota_bytes.map(|bytes| bytes / segment_len_bytes),
                });
            }
            let (hits, misses, sets) = Default::default();
            by_name.insert(one.name.clone(), Configured { config: one.clone(), group, hits, misses, sets });
        }
        let names = config.namespaces.iter().map(|one| one.name.clone()).collect();
        Self { by_name, names, allotments }
    }

    /// The one that a key is in, if it is configured.
    fn of_key(&self, key: &[u8]) -> Option<&Configured> {
        // A plain key costs this comparison alone.
        if !namespace::is_reserved(key) {
            return None;
        }
        self.get(namespace::split(key)?.name)
    }

    /// The one of this name, if it is configured.
    pub fn get(&self, name: &str) -> Option<&Configured> {
        self.by_name.get(name)
    }

    /// All that are configured, in the order of the settings.
    pub fn all(&self) -> impl Iterator<Item = &Configured> {
        self.names.iter().filter_map(|name| self.get(name))
    }

    /// Whose segments an entry of this key goes to.
    pub fn group_of_key(&self, key: &[u8]) -> Group {
        self.of_key(key).map_or(Group::COMMON, |one| one.group)
    }

    /// The group that has this tag in the headers of its segments; the common one, if it is not configured any more.
    pub fn group_tagged(&self, tag: u64) -> Group {
        Group(self.allotments.iter().position(|one| one.tag == tag).unwrap_or(0) as u8)
    }

    /// By group; the common one first.
    pub fn allotments(&self) -> &[Allotment] {
        &self.allotments
    }

    /// The groups; the common one first.
    pub fn groups(&self) -> impl Iterator<Item = Group> + use<> {
        (0..self.allotments.len() as u8).map(Group)
    }

    /// The tag in the headers of a group's segments.
    pub fn tag(&self, group: Group) -> u64 {
        self.allotments.get(usize::from(group.0)).map_or(0, |one| one.tag)
    }

    /// Time to live that an entry of this key has if nothing else is said, in milliseconds, where its namespace has one.
    pub fn default_ttl_ms(&self, key: &[u8]) -> Option<u64> {
        self.of_key(key)?.config.default_ttl_ms
    }

    /// Counts a get of a key.
    pub fn count_get(&self, key: &[u8], is_hit: bool) {
        if let Some(one) = self.of_key(key) {
            if is_hit { &one.hits } else { &one.misses }.add_one();
        }
    }

    /// Counts a write of a key that was accepted.
    pub fn count_set(&self, key: &[u8]) {
        if let Some(one) = self.of_key(key) {
            one.sets.add_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::namespace::prefix;

    const LEN: u64 = 1 << 20;

    fn config() -> Config {
        let one = |name: &str, share_bytes, quota_bytes, default_ttl_ms| NamespaceConfig {
            name: name.into(),
            default_ttl_ms,
            share_bytes,
            quota_bytes,
        };
        let namespaces = vec![
            one("shared", 20 * LEN + 5, None, Some(7)),
            one("plain", 0, None, None),
            one("limited", 0, Some(10 * LEN), None),
        ];
        Config { capacity_bytes: 101 * LEN, namespaces, ..Config::default() }
    }

    #[test]
    fn each_with_a_share_or_a_quota_has_a_group() {
        let all = Namespaces::new(&config(), &[3; 16], LEN);
        let key = |name: &str| [&prefix(name).unwrap()[..], b"key"].concat();
        let groups = ["shared", "plain", "limited", "unknown"].map(|name| all.group_of_key(&key(name)).0);
        assert_eq!((groups, all.group_of_key(b"key")), ([1, 0, 2, 0], Group::COMMON));
        let rooms: Vec<_> = all.allotments().iter().map(|a| (a.share, a.quota)).collect();
        assert_eq!(rooms, [(80, None), (20, None), (0, Some(10))]);
        for group in all.groups() {
            assert_eq!(all.group_tagged(all.tag(group)), group);
        }
        assert_eq!(all.group_tagged(12_345), Group::COMMON, "of earlier settings");
        assert_eq!((all.default_ttl_ms(&key("shared")), all.default_ttl_ms(&key("limited"))), (Some(7), None));
    }

    #[test]
    fn what_is_counted_is_counted_apart() {
        let all = Namespaces::new(&config(), &[3; 16], LEN);
        let key = [&prefix("limited").unwrap()[..], b"key"].concat();
        all.count_get(&key, true);
        all.count_get(&key, false);
        all.count_get(b"key", false);
        all.count_set(&key);
        let stats: Vec<_> = all.all().map(|one| one.stats(|group| (u64::from(group.0), 1))).collect();
        let counted: Vec<_> = stats.iter().map(|s| (&s.name[..], s.hits, s.misses, s.sets, s.used_bytes)).collect();
        assert_eq!(counted, [("shared", 0, 0, 0, Some(1)), ("plain", 0, 0, 0, None), ("limited", 1, 1, 1, Some(2))]);
    }
}
