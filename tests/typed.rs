//! The typed view: what goes in comes out as the same value; what no longer decodes is a miss, and says so.

mod common;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use common::small;
use esker::backend::sim::Sim;
use esker::{BoxError, Codec, DiskCache, Error, FetchOptions, SetOptions, Typed};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    tags: Vec<String>,
    seen: Option<u64>,
}

/// What a `User` became later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Account {
    id: u64,
    owners: Vec<(String, u8)>,
}

#[derive(Clone)]
struct Json;

impl Codec for Json {
    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, BoxError> {
        Ok(serde_json::to_vec(value)?)
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, BoxError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

async fn open() -> DiskCache {
    open_on(&Sim::new(1)).await
}

async fn open_on(sim: &Sim) -> DiskCache {
    DiskCache::builder("/cache").config(small(16)).backend_with(Arc::new(sim.clone())).open().await.unwrap()
}

fn user(name: &str) -> User {
    User { name: name.into(), tags: vec!["a".into(), String::new()], seen: Some(7) }
}

fn account(id: u64) -> Account {
    Account { id, owners: vec![("somebody".into(), 1)] }
}

fn view<K: Serialize + ?Sized, V>(cache: &DiskCache, name: &str) -> Typed<K, V, Json> {
    Typed::with_codec(cache.clone(), name, Json).unwrap()
}

async fn goes_in_and_comes_out<C: Codec + Clone>(codec: C) {
    let sim = Sim::new(1);
    let cache = open_on(&sim).await;
    let users = Typed::<(u32, String), User, C>::with_codec(cache.clone(), "users", codec.clone()).unwrap();
    let key = |n| (n, format!("key {n}"));
    assert_eq!(users.get(&key(1)).await.unwrap(), None);
    assert!(users.set(&key(1), &user("one")).await.unwrap().is_stored());
    let expired = SetOptions::new().ttl(Duration::ZERO);
    assert!(users.set_with(&key(2), &user("two"), expired).await.unwrap().is_stored());
    assert_eq!(users.get(&key(1)).await.unwrap(), Some(user("one")));
    assert_eq!(users.get(&key(2)).await.unwrap(), None);
    let fetch = || async { Ok::<_, io::Error>((user("three"), SetOptions::new())) };
    assert_eq!(users.get_or_fetch(&key(3), FetchOptions::new(), fetch).await.unwrap(), user("three"));
    assert!(users.delete(&key(1)).await.unwrap() && !users.delete(&key(1)).await.unwrap());
    cache.close().await.unwrap();

    let users = Typed::<(u32, String), User, C>::with_codec(open_on(&sim).await, "users", codec).unwrap();
    assert_eq!(users.get(&key(1)).await.unwrap(), None);
    assert_eq!(users.get(&key(3)).await.unwrap(), Some(user("three")));
    assert_eq!(users.cache().stats().counts.hits_undecoded, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_in_comes_out_with_a_codec_of_ones_own() {
    goes_in_and_comes_out(Json).await;
}

/// Views share a cache, and see neither each other's entries nor those without a view.
#[tokio::test(flavor = "multi_thread")]
async fn views_of_different_names_do_not_meet() {
    let cache = open().await;
    let (a, b, numbers) = (view::<str, User>(&cache, "a"), view::<str, User>(&cache, "ab"), view(&cache, "n"));
    a.set("k", &user("of a")).await.unwrap();
    b.set("k", &user("of b")).await.unwrap();
    numbers.set(&7u64, &"seven".to_owned()).await.unwrap();
    assert_eq!(a.get("k").await.unwrap(), Some(user("of a")));
    assert_eq!(b.clone().get("k").await.unwrap(), Some(user("of b")));
    assert_eq!(numbers.get(&7).await.unwrap().as_deref(), Some("seven"));
    assert!(cache.get("k").await.unwrap().is_none());
    assert!(cache.get(b"a\0\"k\"").await.unwrap().is_some(), "a key is what the documentation says");
    a.delete("k").await.unwrap();
    assert_eq!(b.get("k").await.unwrap(), Some(user("of b")));
    for name in ["", "a\0b"] {
        assert!(matches!(Typed::<str, User, _>::with_codec(cache.clone(), name, Json), Err(Error::InvalidInput(_))));
    }
}

/// An entry of another type is a miss, is counted, and is replaced by the next value.
async fn another_type_is_a_miss<C: Codec + Clone>(codec: C) {
    let cache = open().await;
    let users = Typed::<u64, User, C>::with_codec(cache.clone(), "it", codec.clone()).unwrap();
    let accounts = Typed::<u64, Account, C>::with_codec(cache.clone(), "it", codec).unwrap();
    for n in 0..2 {
        users.set(&n, &user("a user")).await.unwrap();
        assert_eq!(accounts.get(&n).await.unwrap(), None);
    }
    assert_eq!(cache.stats().counts.hits_undecoded, 2);
    accounts.set(&0, &account(5)).await.unwrap();
    assert_eq!(accounts.get(&0).await.unwrap(), Some(account(5)));
    let fetch = || async { Ok::<_, io::Error>((account(6), SetOptions::new())) };
    assert_eq!(accounts.get_or_fetch(&1, FetchOptions::new(), fetch).await.unwrap(), account(6));
    assert_eq!(accounts.get(&1).await.unwrap(), Some(account(6)));
    let counts = cache.stats().counts;
    assert_eq!((counts.hits_undecoded, counts.fetches, counts.fetches_outdated), (3, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_another_type_is_a_miss() {
    another_type_is_a_miss(Json).await;
}

/// One flight a key for all clones of a view; each decodes for itself.
#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_make_one_fetch() {
    let cache = open().await;
    let users = view::<u64, User>(&cache, "users");
    let call = |n: u64| {
        let users = users.clone();
        tokio::spawn(async move {
            let fetch = || async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok::<_, io::Error>((user(&format!("fetched by {n}")), SetOptions::new()))
            };
            users.get_or_fetch(&1, FetchOptions::new(), fetch).await
        })
    };
    let mut found = Vec::new();
    for call in (0..100).map(call).collect::<Vec<_>>() {
        found.push(call.await.unwrap().unwrap());
    }
    assert!(found.iter().all(|user| *user == found[0]), "{found:?}");
    let counts = cache.stats().counts;
    assert_eq!((counts.fetches, counts.sets), (1, 1));
}

/// What cannot be encoded is an error that says so, and leaves the older value; so is a fetch that fails.
#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_to_do() {
    let cache = open().await;
    // JSON knows no keys of maps but strings and numbers.
    let maps = view::<str, BTreeMap<Vec<u8>, u8>>(&cache, "maps");
    let (fine, bad) = (BTreeMap::new(), BTreeMap::from([(vec![1], 1)]));
    maps.set("k", &fine).await.unwrap();
    let error = maps.set("k", &bad).await.unwrap_err();
    assert!(matches!(&error, Error::Codec { op: "encode", .. }) && error.to_string().contains("BTreeMap"), "{error}");
    assert_eq!(maps.get("k").await.unwrap(), Some(fine));
    let by_map = view::<BTreeMap<Vec<u8>, u8>, u8>(&cache, "by map");
    assert!(matches!(by_map.get(&bad).await, Err(Error::Codec { op: "encode", .. })));
    let fetch = || async { Ok::<_, io::Error>((bad.clone(), SetOptions::new())) };
    match maps.get_or_fetch("other", FetchOptions::new(), fetch).await {
        Err(Error::Fetch(error)) => assert!(matches!(error.downcast_ref(), Some(Error::Codec { .. })), "{error}"),
        other => panic!("{other:?}"),
    }
    let fetch = || async { Err(io::Error::other("no such map")) };
    match maps.get_or_fetch("other", FetchOptions::new(), fetch).await {
        Err(Error::Fetch(error)) => assert!(error.downcast_ref::<io::Error>().is_some(), "{error}"),
        other => panic!("{other:?}"),
    }
}

#[cfg(feature = "bincode")]
mod bincode {
    use super::*;
    use esker::Bincode;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_goes_in_comes_out_with_bincode() {
        goes_in_and_comes_out(Bincode).await;
        // The codec of a view that is given none.
        let users: Typed<u64, User> = Typed::new(open().await, "users").unwrap();
        users.set(&1, &user("one")).await.unwrap();
        assert_eq!(users.get(&1).await.unwrap(), Some(user("one")));
        let key = [b"users\0".as_slice(), &[1]].concat();
        assert!(users.cache().contains(key).await.unwrap(), "a key is what the documentation says");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_entry_of_another_type_is_a_miss_with_bincode() {
        another_type_is_a_miss(Bincode).await;
    }

    /// What it just encoded but cannot decode is an error, not a miss for ever.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_type_that_bincode_cannot_decode_is_an_error() {
        let values: Typed<u64, serde_json::Value> = Typed::new(open().await, "values").unwrap();
        let fetch = || async { Ok::<_, io::Error>((serde_json::json!(5), SetOptions::new())) };
        let error = values.get_or_fetch(&1, FetchOptions::new(), fetch).await.unwrap_err();
        assert!(matches!(&error, Error::Codec { op: "decode", .. }), "{error}");
        assert!(error.to_string().contains("codec that can"), "{error}");
    }

    /// A length that another type's bytes pretend asks for no memory.
    #[test]
    fn a_length_that_is_none_takes_no_memory() {
        for value in [u64::MAX, 1 << 62, 1 << 40, 1 << 33] {
            let bytes = Bincode.encode(&(value, "rest")).unwrap();
            Bincode.decode::<String>(&bytes).unwrap_err();
            Bincode.decode::<Vec<u64>>(&bytes).unwrap_err();
            Bincode.decode::<Vec<String>>(&bytes).unwrap_err();
        }
    }

    #[test]
    fn values_of_every_length_decode_and_none_with_bytes_left_over() {
        for len in [0, 1, 1_000, 4_096, 100_000, 1 << 20, 5 << 20] {
            let (numbers, text) = (vec![1u128; len / 8], "x".repeat(len));
            let bytes = Bincode.encode(&(&numbers, &text)).unwrap();
            assert_eq!(Bincode.decode::<(Vec<u128>, String)>(&bytes).unwrap(), (numbers, text), "{len}");
            let longer = [&bytes[..], &[0]].concat();
            Bincode.decode::<(Vec<u128>, String)>(&longer).unwrap_err();
            Bincode.decode::<(Vec<u128>, String)>(&bytes[..bytes.len() - 1]).unwrap_err();
        }
    }
}
