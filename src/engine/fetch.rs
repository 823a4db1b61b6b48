//! The way in for what is not there: it is fetched, once for all who ask, and stored if nothing newer was written meanwhile.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::set::{Put, Times};
use crate::entry::{FetchOptions, Fetched, Hit, SetOutcome, Source};
use crate::error::{BoxError, Error, Result, SharedError};
use crate::flight::{Joined, Seat, Turn};
use crate::stats::Counters;
use crate::sync::task;
use crate::types::{Digest, Millis, Sequence};

/// What is wanted, and how it is fetched.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    digest: Digest,
    key: &'a [u8],
    options: FetchOptions,
    /// How long an entry is served, behind its time to live, while it is fetched anew, in milliseconds.
    stale_ms: u64,
}

impl Wanted<'_> {
    /// Whether an entry is so old that it is to be fetched anew.
    fn is_stale(&self, hit: &Hit, now: Millis) -> bool {
        hit.expires.is_some_and(|at| at.0.saturating_sub(now.0) < self.stale_ms)
    }
}

impl Engine {
    /// What `get_or_fetch`, or `get_or_refresh` with a time for which an entry may be stale, is to do.
    pub fn wanted<'a>(&self, key: &'a [u8], options: FetchOptions, stale_for: Duration) -> Result<Wanted<'a>> {
        let digest = self.check_key(key)?;
        Ok(Wanted { digest, key, options, stale_ms: whole_ms(stale_for) })
    }

    /// The entry, or what is fetched. `read` makes of it what is wanted; an entry of which it cannot counts as a miss.
    pub async fn get_or_fetch<T, F, Fut, E>(
        self: &Arc<Self>,
        wanted: &Wanted<'_>,
        read: impl Fn(&Hit) -> Result<T>,
        fetch: F,
    ) -> Result<T>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Fetched, E>>,
        E: Into<BoxError>,
    {
        if let Some(hit) = self.hit(wanted.digest, wanted.key, true, None).await?
            && let Some(value) = readable(&self.counters, &hit, &read)
        {
            return Ok(value);
        }
        self.fetch_missing(wanted, read, fetch).await
    }

    /// What is fetched, by this call or by the one that fetches already.
    pub async fn fetch_missing<T, F, Fut, E>(
        self: &Arc<Self>,
        wanted: &Wanted<'_>,
        read: impl Fn(&Hit) -> Result<T>,
        fetch: F,
    ) -> Result<T>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Fetched, E>>,
        E: Into<BoxError>,
    {
        loop {
            let mut seat = match self.flights.join(wanted.digest, wanted.key, self.clock.now()) {
                Joined::Seat(seat) => seat,
                Joined::Failed(error) => return Err(Error::Fetch(error)),
            };
            match seat.turn().await {
                Turn::Lead => {}
                Turn::Landed(Ok(hit)) => return read(&Hit { now: self.clock.now(), ..hit }),
                Turn::Landed(Err(error)) => return Err(Error::Fetch(error)),
                Turn::Again => continue,
            }
            // Since the flight is in the table, whatever is written is either found here or outdates it.
            if let Some(hit) = self.hit(wanted.digest, wanted.key, false, None).await?
                && let Ok(value) = read(&hit)
            {
                seat.land(Ok(hit));
                return Ok(value);
            }
            if seat.flight().is_outdated() {
                continue;
            }
            seat.begin();
            let fetched = fetch().await.map_err(shared);
            return read(&self.settle(seat, wanted, fetched).await?);
        }
    }

    /// The entry if there is one, and whether it is to be fetched anew.
    pub async fn get_stale(self: &Arc<Self>, wanted: &Wanted<'_>) -> Result<Option<(Hit, bool)>> {
        let hit = self.hit(wanted.digest, wanted.key, true, None).await?;
        Ok(hit.map(|hit| {
            let is_stale = wanted.is_stale(&hit, self.clock.now());
            (hit, is_stale)
        }))
    }

    /// Fetches an entry anew in the background, unless that is being done, or has failed and is remembered.
    pub fn refresh<F, Fut, E>(self: &Arc<Self>, wanted: &Wanted<'_>, fetch: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Fetched, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let Joined::Seat(mut seat) = self.flights.join(wanted.digest, wanted.key, self.clock.now()) else { return };
        if !seat.leads() {
            return;
        }
        // A fetch may take long: it does not keep alive a cache that nobody holds any more.
        let engine = Arc::downgrade(self);
        let (Wanted { digest, options, stale_ms, .. }, key) = (*wanted, wanted.key.to_vec());
        drop(task::spawn(async move {
            let Some(found) = engine.upgrade() else { return };
            let wanted = Wanted { digest, key: &key, options, stale_ms };
            match found.hit(wanted.digest, wanted.key, false, None).await {
                Ok(Some(hit)) if !wanted.is_stale(&hit, found.clock.now()) => return seat.land(Ok(hit)),
                Ok(_) if !seat.flight().is_outdated() => {}
                // Written meanwhile: who wants it fetched anew asks again.
                Ok(_) | Err(_) => return,
            }
            seat.begin();
            found.counters.fetches_in_background.add_one();
            drop(found);
            let fetched = fetch().await.map_err(shared);
            let Some(engine) = engine.upgrade() else { return };
            if let Err(error) = engine.settle(seat, &wanted, fetched).await {
                tracing::warn!(%error, "an entry could not be fetched anew");
            }
        }));
    }

    /// Gives what was fetched to all who wait, then stores it. The value, whatever became of that.
    async fn settle(
        self: &Arc<Self>,
        seat: Seat,
        wanted: &Wanted<'_>,
        fetched: Result<Fetched, SharedError>,
    ) -> Result<Hit> {
        let timed = fetched.and_then(|fetched| match self.times(wanted.key, &fetched.options, wanted.stale_ms) {
            Ok(times) => Ok((fetched, times)),
            Err(error) => Err(Arc::new(error) as SharedError),
        });
        let (fetched, times) = match timed {
            Ok(timed) => timed,
            Err(error) => {
                self.counters.fetches_failed.add_one();
                let now = self.clock.now();
                let until = wanted.options.negative_ttl.map(|ttl| now.after_ms(whole_ms(ttl)));
                seat.fail(error.clone(), now, until);
                return Err(Error::Fetch(error));
            }
        };
        let hit = hit(&fetched, times);
        // Nobody but its caller waits for room.
        seat.land(Ok(hit.clone()));
        self.store(&seat, wanted, fetched, times).await;
        Ok(hit)
    }

    async fn store(self: &Arc<Self>, seat: &Seat, wanted: &Wanted<'_>, fetched: Fetched, times: Times) {
        let Fetched { value, ref options } = fetched;
        let (digest, key, flight) = (wanted.digest, wanted.key, Some(seat.flight()));
        let tagged = self.tagged(options);
        match self.put(Put { digest, key, value, options, tagged, times, wait: true, flight }).await {
            Ok(SetOutcome::Stored { .. } | SetOutcome::Held) => {}
            _ if seat.flight().is_outdated() => self.counters.fetches_outdated.add_one(),
            Ok(SetOutcome::Refused { .. }) | Err(_) => self.counters.fetches_unstored.add_one(),
        }
    }
}

/// What `read` makes of an entry; none if it cannot, which is counted.
pub fn readable<T>(counters: &Counters, hit: &Hit, read: impl Fn(&Hit) -> Result<T>) -> Option<T> {
    match read(hit) {
        Ok(value) => Some(value),
        Err(error) => {
            counters.hits_undecoded.add_one();
            tracing::debug!(%error, "an entry that cannot be decoded is taken for a miss");
            None
        }
    }
}

fn hit(fetched: &Fetched, times: Times) -> Hit {
    Hit {
        value: fetched.value.clone(),
        metadata: fetched.options.metadata.clone(),
        created: times.created,
        expires: times.expires,
        now: times.created,
        source: Source::Fetched,
        len_bytes: fetched.value.len() as u64,
        sequence: Sequence(0),
    }
}

fn shared<E: Into<BoxError>>(error: E) -> SharedError {
    error.into().into()
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
