//! Row 17 of the scoreboard: every mutant that cargo-mutants lists for some files, in one build.
//!
//! cargo-mutants compiles and runs the tests anew for each mutant, which takes hours. Here they are all compiled at once,
//! each as a switch that the environment turns on; and each meets only the tests that reach it, in processes of their own.
//! What cannot be a switch (constants, `impl Trait`) is compiled by itself.
//!
//! ```text
//! mutants PLAIN SWITCHED LIST SURVIVORS [-- ARGUMENTS OF CARGO TEST]
//! ```
//!
//! `PLAIN` is a copy of the project, `SWITCHED` another that is changed, `LIST` what `cargo mutants --list --json` printed.
//! The environment is that of a script row: `PROOF_CASE` (a part of a mutant's name), `PROOF_CANARY`, `PROOF_THREADS`.

mod crew;
mod explained;
mod hunt;
mod list;
mod suite;
mod switch;
mod tree;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use hunt::Fate;
use list::Mutant;
use suite::Test;
use tree::Tree;

/// The profile that the copy is built with: quick to compile, and not too slow to run.
const PROFILE: [&str; 8] = [
    "--config",
    "profile.mutants.inherits='dev'",
    "--config",
    "profile.mutants.debug=false",
    "--config",
    "profile.mutants.opt-level=1",
    "--profile",
    "mutants",
];

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (places, tests) = match arguments.iter().position(|a| a == "--") {
        Some(at) => (&arguments[..at], &arguments[at + 1..]),
        None => (&arguments[..], &[][..]),
    };
    let [plain, switched, list, survivors] = places else { anyhow::bail!("PLAIN SWITCHED LIST SURVIVORS") };
    let known = explained::read(&std::fs::read_to_string(survivors).context("the explained survivors")?)?;
    let tree = Tree {
        plain: PathBuf::from(plain).canonicalize()?,
        switched: PathBuf::from(switched).canonicalize()?,
        arguments: PROFILE.map(str::to_owned).to_vec(),
    };
    let case = env("PROOF_CASE");
    let all = list::read(list.as_ref())?;
    let mutants: Vec<Mutant> = all.into_iter().filter(|m| m.case().contains(&case)).collect();
    ensure!(!mutants.is_empty(), "there is no mutant {case:?}");
    let mut named: BTreeMap<String, usize> = BTreeMap::new();
    mutants.iter().for_each(|m| *named.entry(m.plain_name()).or_default() += 1);
    // Those whose reason is known need not be tried.
    let is_known = |m: &&Mutant| known.get(&m.plain_name()) >= named.get(&m.plain_name());
    let tried: Vec<Mutant> = mutants.iter().filter(|m| !is_known(m)).cloned().collect();
    let fates = fates(&tree, &tried, tests)?;
    say(&mutants, &fates, &known);
    Ok(())
}

fn fates(tree: &Tree, mutants: &[Mutant], tests: &[String]) -> Result<BTreeMap<u32, Fate>> {
    let threads = env("PROOF_THREADS").parse().unwrap_or(2);
    let (planted, refused) = tree.plant(mutants)?;
    eprintln!("{} mutants: {} switches, {} that do not compile", mutants.len(), planted.len(), refused.len());
    let programs = tree.programs(tests)?.context("the tests do not compile with the switches")?;
    // The planted fault: the tests of what is changed are left out.
    let begin = if env("PROOF_CANARY") == "1" { "memory::" } else { "" };
    let traced = suite::trace(&programs, begin, &tree.switched, threads)?;
    eprintln!("{} tests", traced.len());
    let mut fates: BTreeMap<u32, Fate> = refused.iter().map(|id| (*id, Fate::Unviable)).collect();
    let switches: Vec<Mutant> = mutants.iter().filter(|m| planted.contains(&m.id)).cloned().collect();
    let hunted = hunt::hunt(&switches, &traced, &tree.switched, 2 * threads)?;
    fates.extend(switches.iter().map(|m| m.id).zip(hunted));
    for mutant in mutants {
        if let Entry::Vacant(fate) = fates.entry(mutant.id) {
            fate.insert(alone(tree, mutant, tests, &traced)?);
        }
    }
    Ok(fates)
}

fn alone(tree: &Tree, mutant: &Mutant, tests: &[String], traced: &[Test]) -> Result<Fate> {
    tree.plant_alone(mutant)?;
    // The library's own tests are soon built, and catch most.
    let (own, others): (Vec<Test>, Vec<Test>) = traced.iter().cloned().partition(Test::is_of_the_library);
    let own_tests = ["-p", "esker", "--lib"].map(str::to_owned);
    let mut fate = match tree.programs(&own_tests)? {
        Some(_) => hunt::meet_all(mutant, &own, &tree.switched)?,
        None => Fate::Unviable,
    };
    if matches!(fate, Fate::Survived | Fate::Unreached) {
        fate = match tree.programs(tests)? {
            Some(_) => hunt::meet_all(mutant, &others, &tree.switched)?,
            None => Fate::Unviable,
        };
    }
    eprintln!("{fate:?}: {}", mutant.name);
    tree.restore(&mutant.file)?;
    Ok(fate)
}

/// Prints what became of them, as a row's script does.
fn say(mutants: &[Mutant], fates: &BTreeMap<u32, Fate>, known: &BTreeMap<String, usize>) {
    let mut folders: BTreeMap<&str, BTreeMap<&str, u32>> = BTreeMap::new();
    let mut left = known.clone();
    let (mut explained, mut unexplained) = (0, 0);
    for mutant in mutants {
        let fate = fates.get(&mutant.id).copied().unwrap_or(Fate::Unreached);
        let word = match fate {
            Fate::Caught => "caught",
            Fate::Late => "timeouts",
            Fate::Unviable => "unviable",
            Fate::Survived | Fate::Unreached => "survivors",
        };
        let folder = mutant.file.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default();
        for name in [folder, "all"] {
            *folders.entry(name).or_default().entry(word).or_default() += 1;
            *folders.entry(name).or_default().entry("mutants").or_default() += 1;
        }
        if word == "survivors" {
            match left.get_mut(&mutant.plain_name()).filter(|n| **n > 0) {
                Some(n) => {
                    *n -= 1;
                    explained += 1;
                }
                None => {
                    unexplained += 1;
                    let what = if fate == Fate::Unreached { "no test reaches it" } else { "every test passes" };
                    println!("failure: {}: {what}", mutant.case());
                }
            }
        }
    }
    for (folder, counts) in &folders {
        eprintln!("{folder}: {counts:?}");
    }
    let is_whole = env("PROOF_CASE").is_empty() && env("PROOF_CANARY") != "1";
    for (name, _) in left.iter().filter(|(_, n)| is_whole && **n > 0) {
        println!("failure: {}: it is explained, and there is no such mutant", name.replace(": ", " "));
    }
    let of = |word: &str| folders["all"].get(word).copied().unwrap_or(0);
    for word in ["mutants", "caught", "timeouts", "unviable", "survivors"] {
        println!("count: {word} {}", of(word));
    }
    println!("count: explained {explained}");
    println!("count: unexplained {unexplained}");
    println!(
        "figure: {} mutants: {} caught, {} by time, {} do not compile, {} live: {explained} explained, {unexplained} not",
        of("mutants"),
        of("caught"),
        of("timeouts"),
        of("unviable"),
        of("survivors"),
    );
}
