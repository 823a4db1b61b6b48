//! Ring: operations whose futures are dropped at any point, while the kernel answers late, short, in any order, or not
//! well; and the ring is let go with operations in flight. File and buffer stay until the kernel has answered, and go
//! then; every answer that is waited for comes; the ring's thread ends (P8).

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Weak};
use std::task::Poll;

use esker::backend::os::OsFile;
use esker::backend::uring::{Uring, kernel};
use esker::backend::{BufferPool, DiskFile, IoFuture, WriteBuf};
use esker::sync::task::{self, JoinHandle};
use shuttle::rand::RngCore;

use crate::values::Dice;
use crate::world::join;

const CLIENTS: u64 = 3;
const OPERATIONS: u64 = 3;
const LEN: usize = 4096;
/// What nobody writes to the file: a buffer that is used again while a write of it is in flight would show it.
const SCRIBBLE: u8 = 0xff;

thread_local! {
    /// The file of this thread's schedules; it has no name.
    static FILE: File = unnamed().expect("a file for the ring");
}

fn unnamed() -> io::Result<File> {
    let name = format!("esker-schedules-{}-{:?}", std::process::id(), std::thread::current().id());
    let path = std::env::temp_dir().join(name);
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// Runs it once.
pub async fn run(is_planted: bool) {
    kernel::lose_the_bell(is_planted);
    let seed = shuttle::rand::thread_rng().next_u64();
    let mut dice = Dice::new(seed);
    let clone = || FILE.with(|file| file.try_clone().expect("clone"));
    let os_file = Arc::new(OsFile { read: clone(), write: Some(clone()) });
    let watched = Arc::downgrade(&os_file);
    let uring = Uring::with_threads(1 + dice.below(2) as usize).expect("a ring");
    let file = uring.adopt(os_file);
    drop(uring);
    let pool = BufferPool::new(usize::MAX);
    let clients: Vec<_> = (0..CLIENTS).map(|n| client(n, seed, file.clone(), pool.clone())).collect();
    drop(file);
    if dice.one_in(3) {
        let victim = &clients[dice.below(CLIENTS) as usize];
        task::yield_now().await;
        victim.abort();
    }
    join(clients).await;
    wait_for_the_end(&watched, &pool).await;
}

/// Until the file is closed and every buffer is back. Ends by the bound on steps if that does not come.
async fn wait_for_the_end(file: &Weak<OsFile>, pool: &BufferPool) {
    loop {
        let (made, back) = (pool.made_and_reused().0 * LEN as u64, pool.idle_bytes() as u64);
        assert!(back <= made, "a buffer came back twice");
        if file.strong_count() == 0 && back == made {
            return;
        }
        task::yield_now().await;
    }
}

fn client(number: u64, seed: u64, file: Arc<dyn DiskFile>, pool: BufferPool) -> JoinHandle<()> {
    task::spawn(async move {
        let mut dice = Dice::new(seed ^ (number << 8));
        for n in 0..OPERATIONS {
            // A place of its own: a write that was given up may land later than the next one.
            let offset = (number * OPERATIONS + n) * LEN as u64;
            let byte = (dice.below(250) + 1) as u8;
            let mut buf = pool.take(LEN).expect("memory");
            buf.fill(byte);
            let write = file.write_at(offset, WriteBuf::new(Arc::new(buf), LEN));
            let written = until_bored(write, &mut dice).await;
            let mut other = pool.take(LEN).expect("memory");
            other.fill(SCRIBBLE);
            match written {
                Some(Ok(len)) => check(&*file, offset, len, byte, &mut dice).await,
                Some(Err(e)) => assert_eq!(e.raw_os_error(), Some(5), "{e}"),
                None => check(&*file, offset, 0, byte, &mut dice).await,
            }
            if n == 0
                && let Some(Err(e)) = until_bored(file.sync_data(), &mut dice).await
            {
                assert_eq!(e.raw_os_error(), Some(5), "{e}");
            }
        }
    })
}

/// The first `len` bytes there are this one, and none is what nobody wrote.
async fn check(file: &dyn DiskFile, offset: u64, len: usize, byte: u8, dice: &mut Dice) {
    match until_bored(file.read_at(offset, LEN), dice).await {
        Some(Ok(bytes)) => {
            let whole = bytes.iter().take(len).all(|&b| b == byte) && !bytes.contains(&SCRIBBLE);
            assert!(whole, "{len} bytes of {byte} were written, {:?} are there", &bytes[..bytes.len().min(16)]);
        }
        Some(Err(e)) => assert_eq!(e.raw_os_error(), Some(5), "{e}"),
        None => {}
    }
}

/// Waits for an operation, or drops it after a few looks.
async fn until_bored<T>(mut operation: IoFuture<T>, dice: &mut Dice) -> Option<io::Result<T>> {
    let mut patience = if dice.one_in(3) { dice.below(4) } else { u64::MAX };
    poll_fn(|cx| {
        if patience == 0 {
            return Poll::Ready(None);
        }
        patience -= 1;
        match operation.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => {
                if patience < 8 {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    })
    .await
}
