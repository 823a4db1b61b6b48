//! Several at once.

use crate::subject::{all, body, key, label, meta, read};

/// Each client of a fill gets that fill's body, whoever else fills the key.
#[tokio::test(flavor = "multi_thread")]
async fn fills_of_one_key_do_not_mix() {
    for subject in all().await {
        let key = key("key");
        let mut fills = Vec::new();
        for n in 0..8_u8 {
            let miss = subject.begin(&key, &meta(&n.to_string(), None)).await;
            let own = subject.own_reader(&key, &miss).await;
            fills.push((n, miss, own));
        }
        let tasks: Vec<_> = fills
            .into_iter()
            .map(|(n, mut miss, mut own)| {
                let writing = tokio::spawn(async move {
                    let body = body(n, 150_000 + usize::from(n));
                    for piece in body.chunks(5_000) {
                        miss.write_body(body.slice_ref(piece), false).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                    miss.finish().await.unwrap();
                });
                let reading = tokio::spawn(async move { read(&mut own).await.unwrap() });
                (n, writing, reading)
            })
            .collect();
        for (n, writing, reading) in tasks {
            writing.await.unwrap();
            assert!(reading.await.unwrap() == body(n, 150_000 + usize::from(n)), "fill {n}, {}", subject.name);
        }
        let (found, mut hit) = subject.lookup(&key).await.unwrap();
        let n: u8 = label(&found).parse().unwrap();
        assert!(read(&mut hit).await.unwrap() == body(n, 150_000 + usize::from(n)), "meta and body of one fill");
    }
}

/// Meta and body always belong together, while both are replaced and purged all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_hit_is_always_of_one_piece() {
    for subject in all().await.into_iter().filter(|subject| subject.traits.purges_fills) {
        let subject = std::sync::Arc::new(subject);
        let mut tasks = Vec::new();
        for worker in 0..4_u8 {
            let subject = subject.clone();
            tasks.push(tokio::spawn(async move {
                let mut hits = 0;
                for round in 0..60_u8 {
                    let n = worker * 60 + round;
                    match round % 6 {
                        0 | 3 => subject.fill("key", &n.to_string(), &body(n, 20_000 + usize::from(n) * 10)).await,
                        5 if worker == 0 => drop(subject.purge_active("key").await),
                        _ => {
                            let Some((found, mut hit)) = subject.find("key").await else { continue };
                            let n: u8 = label(&found).parse().unwrap();
                            assert!(read(&mut hit).await.unwrap() == body(n, 20_000 + usize::from(n) * 10), "{n}");
                            hits += 1;
                        }
                    }
                }
                hits
            }));
        }
        let mut hits = 0;
        for task in tasks {
            hits += task.await.unwrap();
        }
        assert!(hits > 20, "{hits} hits show little");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_follow_one_fill() {
    for subject in all().await {
        let (key, body) = (key("key"), body(9, 800_000));
        let mut miss = subject.begin(&key, &meta("filling", None)).await;
        let mut readers = Vec::new();
        for (n, piece) in body.chunks(20_000).enumerate() {
            if n < 20 {
                let (_, mut hit) = subject.lookup(&key).await.unwrap();
                readers.push(tokio::spawn(async move { read(&mut hit).await.unwrap() }));
            }
            miss.write_body(body.slice_ref(piece), false).await.unwrap();
        }
        miss.finish().await.unwrap();
        for reader in readers {
            assert!(reader.await.unwrap() == body, "{}", subject.name);
        }
    }
}
