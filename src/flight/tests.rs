use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use super::failures::{MAX_KEY_BYTES, MOST};
use super::*;
use crate::entry::Source;
use crate::types::Sequence;

const NOW: Millis = Millis(1_000);

fn flights() -> Arc<Flights> {
    Arc::new(Flights::new(Arc::default()))
}

fn seat(flights: &Arc<Flights>, key: &str) -> Seat {
    match flights.join(Digest(key.len() as u64), key.as_bytes(), NOW) {
        Joined::Seat(seat) => seat,
        Joined::Failed(error) => panic!("{error}"),
    }
}

fn failure(flights: &Arc<Flights>, key: &str, now: u64) -> Option<SharedError> {
    match flights.join(Digest(key.len() as u64), key.as_bytes(), Millis(now)) {
        Joined::Seat(_) => None,
        Joined::Failed(error) => Some(error),
    }
}

fn hit(expires: Option<u64>) -> Hit {
    Hit {
        value: Bytes::from_static(b"value"),
        metadata: Bytes::new(),
        created: NOW,
        expires: expires.map(Millis),
        now: NOW,
        source: Source::Fetched,
        len_bytes: 5,
        sequence: Sequence(0),
    }
}

fn len(flights: &Flights) -> usize {
    flights.shards.iter().map(|shard| shard.len.load(Ordering::SeqCst)).sum()
}

async fn now(seat: &mut Seat) -> Option<Turn> {
    tokio::time::timeout(Duration::from_millis(1), seat.turn()).await.ok()
}

async fn waits(turn: Pin<&mut impl Future<Output = Turn>>) -> bool {
    tokio::time::timeout(Duration::from_millis(1), turn).await.is_err()
}

#[tokio::test]
async fn the_first_leads_and_the_others_get_what_it_lands() {
    let flights = flights();
    let (mut first, mut second) = (seat(&flights, "k"), seat(&flights, "k"));
    assert!(first.leads() && !second.leads());
    assert!(matches!(now(&mut first).await, Some(Turn::Lead)) && now(&mut second).await.is_none());
    first.land(Ok(hit(None)));
    assert!(matches!(now(&mut second).await, Some(Turn::Landed(Ok(_)))));
    let mut third = seat(&flights, "k");
    assert!(matches!(now(&mut third).await, Some(Turn::Landed(Ok(_)))), "while it is stored");
    drop(first);
    assert_eq!(len(&flights), 0);
    assert!(seat(&flights, "k").leads(), "it is stored: who comes now looks for itself");
    drop((second, third));
    assert_eq!(len(&flights), 0);
}

/// Of several who wait exactly one takes over; also when the one that was told goes away before it hears of it.
#[tokio::test]
async fn a_vacant_seat_passes_to_one() {
    let flights = flights();
    let (first, mut second, mut third) = (seat(&flights, "k"), seat(&flights, "k"), seat(&flights, "k"));
    let (mut of_second, mut of_third) = (Box::pin(second.turn()), Box::pin(third.turn()));
    assert!(waits(of_second.as_mut()).await && waits(of_third.as_mut()).await);
    drop(first);
    // It was told, since it waited first, and never polled again.
    drop(of_second);
    drop(second);
    let turn = tokio::time::timeout(Duration::from_secs(10), of_third).await;
    assert!(matches!(turn, Ok(Turn::Lead)));
    let mut late = seat(&flights, "k");
    assert!(now(&mut late).await.is_none());
    drop(third);
    assert!(matches!(now(&mut late).await, Some(Turn::Lead)));
    drop(late);
    assert_eq!(len(&flights), 0);
}

#[tokio::test]
async fn an_outdated_flight_takes_nobody_in_and_sends_away_who_waits() {
    let flights = flights();
    let (first, mut second, mut third) = (seat(&flights, "k"), seat(&flights, "k"), seat(&flights, "k"));
    flights.outdate(Digest(2));
    assert!(!first.flight().is_outdated());
    flights.outdate(Digest(1));
    assert!(first.flight().is_outdated() && len(&flights) == 0);
    let late = seat(&flights, "k");
    assert!(late.leads() && !late.flight().is_outdated());
    assert!(now(&mut second).await.is_none(), "its leader may still land");
    drop(first);
    assert!(matches!(now(&mut second).await, Some(Turn::Again)));
    assert!(matches!(now(&mut third).await, Some(Turn::Again)));
    drop((second, third));
    assert_eq!(len(&flights), 1, "the new flight is another one");
}

/// Outdated after the seat was vacant, and one was told to lead: the others must not wait for that one.
#[tokio::test]
async fn who_waits_for_a_vacant_flight_that_is_outdated_is_told() {
    let flights = flights();
    let (first, mut second, mut third) = (seat(&flights, "k"), seat(&flights, "k"), seat(&flights, "k"));
    let (mut of_second, mut of_third) = (Box::pin(second.turn()), Box::pin(third.turn()));
    assert!(waits(of_second.as_mut()).await && waits(of_third.as_mut()).await);
    drop(first);
    flights.outdate(Digest(1));
    assert!(matches!(of_second.await, Turn::Again));
    drop(second);
    let turn = tokio::time::timeout(Duration::from_secs(10), of_third).await;
    assert!(matches!(turn, Ok(Turn::Again)));
}

/// Two keys of one digest have a flight each, and a write outdates both.
#[tokio::test]
async fn keys_of_one_digest_do_not_share() {
    let flights = flights();
    let (first, second) = (seat(&flights, "a"), seat(&flights, "b"));
    assert!(first.leads() && second.leads());
    flights.outdate(Digest(1));
    assert!(first.flight().is_outdated() && second.flight().is_outdated() && len(&flights) == 0);
}

/// What landed and expired while it was stored is given to nobody any more, nor stored.
#[tokio::test]
async fn what_expires_while_it_is_stored_is_fetched_again() {
    let flights = flights();
    let first = seat(&flights, "k");
    first.land(Ok(hit(Some(NOW.0 + 1))));
    assert!(!seat(&flights, "k").leads());
    let Joined::Seat(late) = flights.join(Digest(1), b"k", Millis(NOW.0 + 1)) else { panic!("no failure") };
    assert!(late.leads() && first.flight().is_outdated());
}

#[tokio::test]
async fn failures_are_remembered_if_asked_for_and_current() {
    let flights = flights();
    let error = || -> SharedError { Arc::new(io::Error::other("e")) };
    seat(&flights, "k").fail(error(), NOW, None);
    assert!(failure(&flights, "k", NOW.0).is_none() && len(&flights) == 0);
    let outdated = seat(&flights, "k");
    flights.outdate(Digest(1));
    outdated.fail(error(), NOW, Some(Millis(NOW.0 + 10)));
    assert!(failure(&flights, "k", NOW.0).is_none());
    seat(&flights, "k").fail(error(), NOW, Some(Millis(NOW.0 + 10)));
    assert!(failure(&flights, "k", NOW.0 + 9).is_some() && failure(&flights, "j", NOW.0).is_none());
    assert!(failure(&flights, "k", NOW.0 + 10).is_none());
    flights.outdate(Digest(1));
    assert!(failure(&flights, "k", NOW.0).is_none());
    drop(flights.outdate_all());
    assert_eq!(len(&flights), 0);
}

#[test]
fn what_would_end_soonest_goes_first() {
    let mut failures = Failures::default();
    let (error, key): (SharedError, Bytes) = (Arc::new(io::Error::other("e")), Bytes::from_static(b"k"));
    for n in 0..MOST as u64 {
        let gone = failures.add(Digest(n), &key, error.clone(), Millis(10_000 - n), NOW);
        assert!(gone.is_empty() && failures.len() == n as usize + 1);
    }
    assert_eq!(failures.add(Digest(1 << 40), &key, error.clone(), Millis(20_000), NOW).len(), 1);
    assert!(failures.get(Digest(MOST as u64 - 1), &key, NOW).is_none() && failures.get(Digest(0), &key, NOW).is_some());
    assert_eq!(failures.add(Digest(0), &key, error.clone(), Millis(30_000), NOW).len(), 1, "one a digest");
    failures.forget(Digest(0));
    assert!(failures.get(Digest(0), &key, NOW).is_none());
    let long = Bytes::from(vec![0; MAX_KEY_BYTES + 1]);
    assert_eq!(failures.add(Digest(1 << 41), &long, error, Millis(30_000), Millis(15_000)).len(), MOST - 1);
    assert_eq!(failures.len(), 1, "what has ended goes, and a long key is not taken");
}
