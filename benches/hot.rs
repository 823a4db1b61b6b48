//! The hot tier beside libraries that could take its place, and a get that it answers:
//! `cargo bench --bench hot [-- --json --quick --keys N --rounds N --only get|hit|bytes|trace TRACE.ctr.zst…]`.
//!
//! `get`: nanoseconds of `DiskCache::get` with 16-byte keys, answered from memory, on one task and on two. `hit`: the same of
//! the tier alone, ours and the libraries'; all map a digest to the same item. `bytes`: memory an entry, counted by the
//! allocator, without what is the user's. `trace`: hits at equal bytes, each tier's own bytes an entry counted.

#[path = "../tests/common/heap.rs"]
#[allow(dead_code, reason = "the peak is not asked for")]
mod heap;

mod common;
#[path = "hot/tiers.rs"]
mod tiers;
#[path = "hot/traces.rs"]
mod traces;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use common::report::{Report, Target, median};
use common::{Args, Outcome, Random, Values};
use esker::DiskCache;
use esker::memory::{Item, Tag};
use esker::{Digest, Millis, SegmentId, Sequence};
use tiers::{Moka, Ours, QuickCache, Tier};

#[global_allocator]
static ALLOCATOR: heap::Counting = heap::Counting;

/// Length of the values.
const VALUE_BYTES: usize = 100;
/// More than all entries take.
const ROOM_BYTES: u64 = 256 << 20;
/// What a get from memory may take, and what two tasks must make of it.
const MOST_NS: f64 = 400.0;
const LEAST_SCALE: f64 = 1.6;

#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    args: Args,
    /// Request traces, packed as `esker replay` reads them.
    traces: Vec<PathBuf>,
}

fn main() -> Outcome<()> {
    let Options { args, traces } = Options::parse();
    let mut report = Report::default();
    let entries = args.entries(20_000);
    if args.wants("get") {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(gets(&args, entries, &mut report))?;
    }
    if args.wants("hit") {
        hits::<Ours>(&args, entries, &mut report);
        hits::<Moka>(&args, entries, &mut report);
        hits::<QuickCache>(&args, entries, &mut report);
    }
    let (ours, moka, quick) = (overhead::<Ours>(entries), overhead::<Moka>(entries), overhead::<QuickCache>(entries));
    if args.wants("bytes") {
        for (name, bytes) in [(Ours::NAME, ours), (Moka::NAME, moka), (QuickCache::NAME, quick)] {
            report.figure(format!("{name}: memory an entry beside its own bytes"), "bytes", vec![bytes], Target::None);
        }
    }
    if args.wants("trace") {
        traces::replay(&traces, [ours, moka, quick].map(|bytes| bytes as u64), &mut report)?;
    }
    report.note(format!(
        "{entries} entries, keys of 16 bytes, values of {VALUE_BYTES}, {} CPUs.",
        std::thread::available_parallelism().map_or(0, usize::from)
    ));
    report.print(args.json, "other")?;
    Ok(())
}

/// Gets that the hot tier answers, through all of the cache.
async fn gets(args: &Args, entries: u64, report: &mut Report) -> Outcome<()> {
    let dir = args.temp_dir()?;
    let cache = DiskCache::builder(dir.path()).capacity_bytes(1 << 30).memory_bytes(ROOM_BYTES).open().await?;
    common::sets(&cache, (0..entries).collect(), &Values::new(VALUE_BYTES), VALUE_BYTES, 2, false).await?;
    cache.sync().await?;
    for _ in 0..2 {
        common::gets(&cache, (0..entries).collect(), VALUE_BYTES, 1, false).await?;
    }
    let before = cache.stats().counts;
    let ops = args.sized(2_000_000, 20_000);
    let (mut one, mut two, mut cpu) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
    for round in 0..args.rounds(7) as u64 {
        for (tasks, times) in [(1, &mut one), (2, &mut two)] {
            let mut random = Random::new(round);
            let keys = (0..ops).map(|_| random.below(entries)).collect();
            let run = common::gets(&cache, keys, VALUE_BYTES, tasks, false).await?;
            times.push(1e9 / run.rate());
            cpu[tasks - 1].push(run.cpu_us() * 1e3);
        }
    }
    let after = cache.stats().counts;
    if after.hits_disk + after.hits_buffer > before.hits_disk + before.hits_buffer {
        return Err("the hot tier did not answer all".into());
    }
    let scale = median(&one) / median(&two);
    report.figure("get from the hot tier, 1 task", "ns", one, Target::AtMost(MOST_NS));
    report.figure("get from the hot tier, 2 tasks", "ns", two, Target::None);
    report.figure("two tasks against one", "times", vec![scale], Target::AtLeast(LEAST_SCALE));
    // Where others use the machine too, this tells what waits for what: two tasks that do not disturb each other make 2.
    let [cpu_one, cpu_two] = cpu;
    let scale = 2.0 * median(&cpu_one) / median(&cpu_two);
    report.figure("get from the hot tier, 1 task: CPU", "ns", cpu_one, Target::None);
    report.figure("get from the hot tier, 2 tasks: CPU", "ns", cpu_two, Target::None);
    report.figure("two tasks against one, by CPU", "times", vec![scale], Target::None);
    cache.close().await?;
    Ok(())
}

fn digest(n: u64) -> Digest {
    Digest(Random::new(n).next())
}

fn tag(n: u64) -> Tag {
    Tag { segment: SegmentId(1 + n / 1_000), offset_units: (n % 1_000) as u32 }
}

fn item(n: u64, values: &Values) -> Item {
    Item::copy(&common::key(n), &[], &values.of(n, VALUE_BYTES), Millis(1), None).at(Sequence(n))
}

/// Hits of one tier alone, on one thread and on two.
fn hits<T: Tier>(args: &Args, entries: u64, report: &mut Report) {
    let values = Values::new(VALUE_BYTES);
    let tier = T::new(ROOM_BYTES);
    (0..entries).for_each(|n| tier.put(digest(n), tag(n), item(n, &values)));
    let ops = args.sized(2_000_000, 20_000);
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for round in 0..args.rounds(7) as u64 {
        for (threads, times) in [(1u64, &mut one), (2, &mut two)] {
            let began = Instant::now();
            let found: u64 = std::thread::scope(|scope| {
                let work = |thread| {
                    let tier = &tier;
                    move || {
                        let mut random = Random::new(round << 8 | thread);
                        let ns = (0..ops / threads).map(|_| random.below(entries));
                        ns.filter(|&n| tier.get(digest(n), tag(n), &common::key(n)).is_some()).count() as u64
                    }
                };
                let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(work(thread))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
            });
            let took: Duration = began.elapsed();
            assert!(found * 1_000 >= ops * 999, "{}: {found} of {ops} were found", T::NAME);
            times.push(took.as_secs_f64() * 1e9 / ops as f64);
        }
    }
    report.figure(format!("{}: hit, 1 thread", T::NAME), "ns", one, Target::None);
    report.figure(format!("{}: hit, 2 threads", T::NAME), "ns", two, Target::None);
}

/// Memory an entry takes besides its key and value.
fn overhead<T: Tier>(entries: u64) -> f64 {
    let values = Values::new(VALUE_BYTES);
    let before = heap::live_bytes();
    let tier = T::new(ROOM_BYTES);
    (0..entries).for_each(|n| tier.put(digest(n), tag(n), item(n, &values)));
    // What a hit makes belongs to the entry: the first one shares the buffer.
    (0..entries).for_each(|n| drop(tier.get(digest(n), tag(n), &common::key(n))));
    tier.settle();
    let bytes = (heap::live_bytes() - before) as f64 / entries as f64;
    bytes - (size_of::<[u8; 16]>() + VALUE_BYTES) as f64
}
