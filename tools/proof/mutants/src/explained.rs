//! The survivors that are known, each with the reason why it may live.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

/// How many mutants of each name are explained. A name stands at the start of a line, its reason is indented below it.
pub fn read(text: &str) -> Result<BTreeMap<String, usize>> {
    let mut known = BTreeMap::new();
    let mut open: Option<&str> = None;
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        match (line.starts_with(' '), open) {
            (true, _) => open = None,
            (false, None) => {
                *known.entry(line.to_owned()).or_default() += 1;
                open = Some(line);
            }
            (false, Some(name)) => bail!("no reason is given for: {name}"),
        }
    }
    match open {
        Some(name) => bail!("no reason is given for: {name}"),
        None => Ok(known),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_needs_a_reason_and_counts_as_often_as_it_stands_there() {
        let known = read("# why\na: b\n  since\n  it is so\n\na: b\n  likewise\nc\n  too\n").unwrap();
        assert_eq!(known.into_iter().collect::<Vec<_>>(), [("a: b".to_owned(), 2), ("c".to_owned(), 1)]);
        assert!(read("a: b\nc\n  since\n").is_err());
        assert!(read("a: b\n").is_err());
    }
}
