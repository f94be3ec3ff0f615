//! Each statement of a write cut short, the first, the second, and so on: SQLite gives up the transaction then, as it does
//! when the disk is full.

use std::sync::atomic::Ordering;

use super::*;
use crate::store::repo_seq;

/// More chances than any write here has.
const CHANCES_MAX: i64 = 5_000;
const NOTE: &str = "com.example.note";

async fn last_seq(bench: &Bench) -> i64 {
    bench.store.read::<_, StoreError, _>(repo_seq::last_seq).await.unwrap()
}

#[tokio::test]
async fn a_write_that_is_cut_short_anywhere_leaves_nothing_and_takes_no_number_rp_16() {
    let bench = Bench::new().await;
    let account = bench.account(DID, true).await;
    bench.write(&account, create(NOTE, "kept", note("a"))).await;
    let many = |n: i64| (0..20).map(|at| create(NOTE, &format!("m{n}-{at}"), note("x"))).collect::<Vec<_>>();
    let writes: [&dyn Fn(i64) -> Vec<Write>; 4] = [
        &|n| vec![create(NOTE, &format!("c{n}"), note("b"))],
        &|n| vec![update(NOTE, "kept", note(&format!("v{n}")))],
        &many,
        &|n| vec![create(NOTE, &format!("d{n}"), note("c")), delete(NOTE, &format!("d{n}"), true)],
    ];
    let left = bench.store.cut_short().await.unwrap();
    let mut n_cut = 0;
    for writes in writes {
        for chance in 1..CHANCES_MAX {
            let (head, seq) = (bench.head(&account).await, last_seq(&bench).await);
            let records = bench.count("record").await;
            left.store(chance, Ordering::Relaxed);
            let outcome = bench.apply(&account, writes(chance)).await;
            let was_cut = left.swap(i64::MAX, Ordering::Relaxed) <= 0;
            let Err(error) = outcome else {
                // After its last statement there is nothing left to be cut short.
                assert_eq!(last_seq(&bench).await, seq + 1);
                if !was_cut {
                    break;
                }
                continue;
            };
            assert!(was_cut, "{error}");
            n_cut += 1;
            assert_eq!(bench.head(&account).await, head, "chance {chance}: {error}");
            assert_eq!(bench.count("record").await, records, "chance {chance}: {error}");
            assert_eq!(last_seq(&bench).await, seq, "chance {chance}: {error}");
        }
    }
    assert!(n_cut > 100, "only {n_cut} writes were cut short");
    println!("{n_cut} writes were cut short");
    let after = bench.write(&account, create(NOTE, "after", note("d"))).await;
    assert_eq!(bench.head(&account).await.commit, after.cid);
    let numbers = bench.store.ring().after(0, usize::MAX, usize::MAX).unwrap();
    assert!(numbers.iter().map(|(seq, _)| *seq).eq(1..=last_seq(&bench).await), "no number is left out");
}
