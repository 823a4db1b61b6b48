//! A body on its way into the cache, as those who follow it see it besides Esker's own reader.
//!
//! In streaming mode the client that caused a fill is served through the cache. Esker ends the readers of a value that it
//! refuses (a full disk, a failing one), which must not end the client's response. So a fill keeps in memory what its slowest
//! reader has not had yet, up to a limit, and a reader whose entry is gone goes on from there. The bytes are those that Esker
//! holds as well until they are written; a reader that keeps up costs nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf, Bytes};
use esker::EntryReader;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// One body on its way.
#[derive(Debug)]
pub(crate) struct Fill {
    /// The id of the entry that it becomes.
    pub(crate) id: u64,
    /// Purged: nobody finds it any more, and it does not stay.
    is_purged: AtomicBool,
    /// For the one who began it: made with the writer, so that no other writer of the key can be taken for it.
    own_reader: Mutex<Option<EntryReader>>,
    window: Mutex<Window>,
    progress: Notify,
}

#[derive(Debug)]
struct Window {
    pieces: VecDeque<Bytes>,
    /// Where the first piece begins.
    start: u64,
    /// Where the last one ends.
    written: u64,
    state: State,
    /// Where each reader is.
    readers: HashMap<u64, u64>,
    next_reader: u64,
    most_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Complete,
    Aborted,
}

/// A reader's place in a fill.
#[derive(Debug)]
pub(crate) struct Place {
    fill: Arc<Fill>,
    reader: u64,
}

impl Fill {
    /// A fill that keeps at most `most_bytes` for readers that lag.
    pub(crate) fn new(id: u64, own_reader: EntryReader, most_bytes: usize) -> Self {
        let window = Window {
            pieces: VecDeque::new(),
            start: 0,
            written: 0,
            state: State::Open,
            readers: HashMap::new(),
            next_reader: 0,
            most_bytes,
        };
        Self {
            id,
            is_purged: AtomicBool::new(false),
            own_reader: Mutex::new(Some(own_reader)),
            window: Mutex::new(window),
            progress: Notify::new(),
        }
    }

    /// The reader that was made with the writer: there is one.
    pub(crate) fn take_own_reader(&self) -> Option<EntryReader> {
        self.own_reader.lock().take()
    }

    pub(crate) fn purge(&self) {
        self.is_purged.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_purged(&self) -> bool {
        self.is_purged.load(Ordering::SeqCst)
    }

    /// Takes a place at the beginning.
    pub(crate) fn follow(self: &Arc<Self>) -> Place {
        let mut window = self.window.lock();
        let reader = window.next_reader;
        window.next_reader += 1;
        window.readers.insert(reader, 0);
        Place { fill: self.clone(), reader }
    }

    /// More of the body.
    pub(crate) fn push(&self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let mut window = self.window.lock();
        window.written += bytes.len() as u64;
        window.pieces.push_back(bytes);
        window.trim();
        drop(window);
        self.progress.notify_waiters();
    }

    /// The body is all there.
    pub(crate) fn complete(&self) {
        self.end(State::Complete);
    }

    /// The body will never be all there.
    pub(crate) fn abort(&self) {
        self.end(State::Aborted);
    }

    fn end(&self, state: State) {
        let mut window = self.window.lock();
        if window.state == State::Open {
            window.state = state;
        }
        drop(window);
        // Its writer is done: who has not asked for it by now does not get it.
        self.own_reader.lock().take();
        self.progress.notify_waiters();
    }
}

impl Window {
    /// Forgets what every reader has had, and more if it is too much.
    fn trim(&mut self) {
        let needed_from = self.readers.values().copied().min().unwrap_or(self.written);
        while let Some(first) = self.pieces.front() {
            let end = self.start + first.len() as u64;
            let is_too_much = self.written - self.start > self.most_bytes as u64;
            if end > needed_from && !is_too_much {
                return;
            }
            self.start = end;
            self.pieces.pop_front();
        }
    }

    /// What is at a position. `None`: it is gone, or never came.
    fn at(&self, at: u64) -> Option<Piece> {
        if at < self.start || self.state == State::Aborted {
            return None;
        }
        let mut skip = at - self.start;
        for piece in &self.pieces {
            let len = piece.len() as u64;
            if skip < len {
                let mut bytes = piece.clone();
                bytes.advance(skip as usize);
                return Some(Piece::Bytes(bytes));
            }
            skip -= len;
        }
        Some(if self.state == State::Complete { Piece::End } else { Piece::Later })
    }
}

enum Piece {
    Bytes(Bytes),
    Later,
    End,
}

impl Place {
    /// The reader has had everything before this, or does not want it.
    pub(crate) fn move_to(&self, at: u64) {
        let mut window = self.fill.window.lock();
        window.readers.insert(self.reader, at);
        window.trim();
    }

    /// The bytes at this position, `Some(None)` at the body's end; `None` if they are not in memory, or the fill was given up.
    /// Waits for what is not written yet. Cancel safe: nothing is taken.
    pub(crate) async fn relay(&self, at: u64) -> Option<Option<Bytes>> {
        loop {
            let progress = self.fill.progress.notified();
            match self.fill.window.lock().at(at)? {
                Piece::Bytes(bytes) => return Some(Some(bytes)),
                Piece::End => return Some(None),
                Piece::Later => {}
            }
            progress.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut window = self.fill.window.lock();
        window.readers.remove(&self.reader);
        window.trim();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(most_bytes: usize) -> Window {
        let (pieces, readers) = (VecDeque::new(), HashMap::new());
        Window { pieces, start: 0, written: 0, state: State::Open, readers, next_reader: 0, most_bytes }
    }

    fn push(window: &mut Window, bytes: &'static [u8]) {
        window.written += bytes.len() as u64;
        window.pieces.push_back(Bytes::from_static(bytes));
        window.trim();
    }

    fn text(window: &Window, at: u64) -> String {
        match window.at(at) {
            Some(Piece::Bytes(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
            Some(Piece::Later) => "later".to_owned(),
            Some(Piece::End) => "end".to_owned(),
            None => "gone".to_owned(),
        }
    }

    #[test]
    fn it_keeps_what_the_slowest_reader_needs_and_no_more_than_the_limit() {
        let mut window = window(8);
        push(&mut window, b"nobody reads");
        assert!(window.pieces.is_empty());
        window.readers.insert(0, 12);
        push(&mut window, b"abcd");
        push(&mut window, b"efgh");
        assert_eq!([12, 14, 16, 20].map(|at| text(&window, at)), ["abcd", "cd", "efgh", "later"]);
        window.readers.insert(1, 18);
        window.readers.insert(0, 17);
        window.trim();
        assert_eq!([12, 17].map(|at| text(&window, at)), ["gone", "fgh"]);
        push(&mut window, b"ijklmn");
        assert_eq!([17, 20].map(|at| text(&window, at)), ["gone", "ijklmn"], "ten bytes are more than eight");
        window.state = State::Complete;
        assert_eq!([22, 26].map(|at| text(&window, at)), ["klmn", "end"]);
        window.state = State::Aborted;
        assert_eq!(text(&window, 22), "gone");
    }
}
