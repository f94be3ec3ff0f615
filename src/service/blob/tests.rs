//! The life of a blob on a real store (BL-1..BL-9), and uploads that go wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use atproto::{
    data::{BlobRef, cid},
    syntax::{Did, RepoPath, Tid},
};
use bytes::Bytes;
use futures::stream;

use super::*;
use crate::{
    store::{
        StoreOptions,
        account::{self, InsertError, NewAccount},
        blob::ClaimError,
        repo,
    },
    time::SECOND,
};

const HOUR: i64 = 3600 * SECOND;
const BYTES_MAX: u64 = 1000;

/// An account with a repo, and blobs of at most [`BYTES_MAX`].
struct Bench {
    store: Store,
    blobs: Blobs,
    now: Arc<AtomicI64>,
    account_id: i64,
    repo_id: i64,
    dir: tempfile::TempDir,
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
enum SetupError {
    Store(#[from] StoreError),
    Insert(#[from] InsertError),
}

impl Bench {
    async fn new() -> Bench {
        Bench::with_limit(BYTES_MAX).await
    }

    async fn with_limit(bytes_max: u64) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let now = Arc::new(AtomicI64::new(1_700_000_000 * SECOND));
        let time = now.clone();
        let clock = Clock::from_fn(move || time.load(Ordering::Relaxed));
        let store = Store::open(StoreOptions::at(dir.path()), clock.clone()).await.unwrap();
        let new = NewAccount {
            did: Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap(),
            handle: None,
            email: None,
            password_hash: None,
            deactivated_at: None,
        };
        let (account_id, repo_id) = store
            .write::<_, SetupError, _>(move |tx| {
                let account_id = account::insert(tx, &new, tx.now())?;
                let repo_id = repo::insert(tx, account_id, tx.now())?;
                account::set_repo(tx, account_id, repo_id)?;
                Ok((account_id, repo_id))
            })
            .await
            .unwrap();
        let blobs = Blobs::new(store.clone(), clock, bytes_max);
        Bench { store, blobs, now, account_id, repo_id, dir }
    }

    async fn upload(&self, bytes: &'static [u8]) -> Blob {
        let body = stream::iter([Ok::<_, io::Error>(Bytes::from_static(bytes))]);
        self.blobs.upload(self.account_id, Some("text/plain"), None, body).await.unwrap()
    }

    async fn refused(&self, length: Option<u64>, body: Vec<io::Result<Bytes>>) -> UploadError {
        let upload = self.blobs.upload(self.account_id, Some("text/plain"), length, stream::iter(body));
        let error = upload.await.unwrap_err();
        assert_eq!(self.files("tmp"), [] as [PathBuf; 0], "{error}");
        assert_eq!(self.files("blobs"), [] as [PathBuf; 0], "{error}");
        error
    }

    /// A commit whose record at `path` refers to `blobs` (none: it deletes the record).
    async fn commit(&self, rev: u64, path: &str, blobs: &[&Blob]) -> Result<(), ClaimError> {
        let (account_id, repo_id) = (self.account_id, self.repo_id);
        let (path, rev) = (RepoPath::parse(path).unwrap(), Tid::from_parts(rev, 0));
        let refs: Vec<BlobRef> = blobs.iter().map(|blob| reference(blob)).collect();
        self.store
            .write(move |tx| {
                for blob in &refs {
                    blob::check_claim(tx, account_id, blob)?;
                    blob::claim(tx, account_id, repo_id, &path, rev, &blob.cid)?;
                }
                Ok(blob::release(tx, account_id, repo_id, &path, rev)?)
            })
            .await
    }

    async fn state(&self, blob: &Blob) -> &'static str {
        let (account_id, cid) = (self.account_id, blob.cid);
        let row = self.store.read(move |db| blob::get(db, account_id, &cid)).await;
        let served = self.blobs.open(account_id, cid).await.unwrap().is_some();
        match row.unwrap_or_else(|error: StoreError| panic!("{error}")) {
            None => "gone",
            Some(row) if row.temporary && !served => "temporary",
            Some(row) if !row.temporary && served => "permanent",
            Some(row) => panic!("{row:?}, served: {served}"),
        }
    }

    /// Temporary names go without being waited for, and at the latest with a sweep.
    async fn sweep_until_tmp_is_empty(&self) -> Swept {
        let swept = self.blobs.sweep().await.unwrap();
        let began = std::time::Instant::now();
        while !self.files("tmp").is_empty() {
            assert!(began.elapsed().as_secs() < 10, "{:?} stays", self.files("tmp"));
            tokio::task::yield_now().await;
        }
        swept
    }

    fn files(&self, below: &str) -> Vec<PathBuf> {
        let mut dirs = vec![self.dir.path().join(below)];
        let mut files = Vec::new();
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { dirs.push(path) } else { files.push(path) }
            }
        }
        files
    }
}

fn reference(blob: &Blob) -> BlobRef {
    BlobRef { cid: blob.cid, mime_type: blob.mime_type.clone(), size: blob.size }
}

const POST: &str = "com.example.post/a";
const OTHER: &str = "com.example.post/b";

#[tokio::test]
async fn an_upload_is_temporary_until_a_record_refers_to_it_bl_4_bl_5() {
    let bench = Bench::new().await;
    let blob = bench.upload(b"hello").await;
    assert_eq!(blob.cid, cid::for_raw(b"hello"));
    assert_eq!(bench.state(&blob).await, "temporary");
    bench.commit(1, POST, &[&blob]).await.unwrap();
    assert_eq!(bench.state(&blob).await, "permanent");
    let (_, mut file) = bench.blobs.open(bench.account_id, blob.cid).await.unwrap().unwrap();
    let mut bytes = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut file, &mut bytes).await.unwrap();
    assert_eq!(bytes, b"hello");
}

#[tokio::test]
async fn a_reference_to_a_blob_that_is_not_here_is_refused_bl_5() {
    let bench = Bench::new().await;
    let mut blob = bench.upload(b"hello").await;
    blob.cid = cid::for_raw(b"other");
    assert!(matches!(bench.commit(1, POST, &[&blob]).await, Err(ClaimError::NotFound(_))));
}

#[tokio::test]
async fn a_reference_must_tell_type_and_size_as_uploaded_bl_6() {
    let bench = Bench::new().await;
    let blob = bench.upload(b"hello").await;
    let other_type = Blob { mime_type: "image/png".into(), ..blob.clone() };
    assert!(matches!(bench.commit(1, POST, &[&other_type]).await, Err(ClaimError::MimeType(_))));
    let other_size = Blob { size: 6, ..blob.clone() };
    assert!(matches!(bench.commit(1, POST, &[&other_size]).await, Err(ClaimError::Size(_))));
    // A refused write leaves the blob as it was (trap 26).
    assert_eq!(bench.state(&blob).await, "temporary");
}

#[tokio::test]
async fn a_blob_goes_with_the_last_record_that_refers_to_it_bl_7() {
    let bench = Bench::new().await;
    let blob = bench.upload(b"hello").await;
    bench.commit(1, POST, &[&blob]).await.unwrap();
    bench.commit(2, OTHER, &[&blob]).await.unwrap();
    bench.commit(3, POST, &[]).await.unwrap();
    assert_eq!(bench.state(&blob).await, "permanent");
    bench.commit(4, OTHER, &[]).await.unwrap();
    assert_eq!(bench.state(&blob).await, "gone");
    assert_eq!(bench.files("blobs").len(), 1, "files go after the commit (trap 28)");
    assert_eq!(bench.blobs.sweep().await.unwrap(), Swept { collected: 0, removed: 1 });
    assert_eq!(bench.files("blobs"), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn an_update_keeps_the_blobs_it_still_refers_to_bl_7() {
    let bench = Bench::new().await;
    let (kept, dropped, added) =
        (bench.upload(b"kept").await, bench.upload(b"dropped").await, bench.upload(b"added").await);
    bench.commit(1, POST, &[&kept, &dropped]).await.unwrap();
    bench.commit(2, POST, &[&kept, &added]).await.unwrap();
    assert_eq!(bench.state(&kept).await, "permanent");
    assert_eq!(bench.state(&dropped).await, "gone");
    assert_eq!(bench.state(&added).await, "permanent");
}

#[tokio::test]
async fn uploading_a_held_blob_again_changes_nothing_bl_8() {
    let bench = Bench::new().await;
    let blob = bench.upload(b"hello").await;
    bench.commit(1, POST, &[&blob]).await.unwrap();
    assert_eq!(bench.upload(b"hello").await, Blob { temporary: false, ..blob.clone() });
    assert_eq!(bench.state(&blob).await, "permanent");
}

#[tokio::test]
async fn an_upload_that_a_record_waits_for_is_permanent_at_once_mg_5() {
    let bench = Bench::new().await;
    let (repo_id, cid) = (bench.repo_id, cid::for_raw(b"hello"));
    let path = RepoPath::parse(POST).unwrap();
    let link = bench.store.write(move |tx| blob::link(tx, repo_id, &path, Tid::from_parts(1, 0), &cid));
    link.await.unwrap_or_else(|error: StoreError| panic!("{error}"));
    let blob = bench.upload(b"hello").await;
    assert_eq!(bench.state(&blob).await, "permanent");
}

#[tokio::test]
async fn a_blob_that_was_taken_down_is_not_served_claimed_or_taken_again_bl_12() {
    let bench = Bench::new().await;
    let blob = bench.upload(b"hello").await;
    bench.commit(1, POST, &[&blob]).await.unwrap();
    let takedown = bench.store.write(|tx| {
        tx.execute("UPDATE blob SET takedown_ref = 'x'", ())?;
        Ok(())
    });
    takedown.await.unwrap_or_else(|error: StoreError| panic!("{error}"));
    assert!(bench.blobs.open(bench.account_id, blob.cid).await.unwrap().is_none());
    assert!(matches!(bench.commit(2, OTHER, &[&blob]).await, Err(ClaimError::NotFound(_))));
    let body = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"hello"))]);
    let again = bench.blobs.upload(bench.account_id, None, None, body).await;
    assert!(matches!(again, Err(UploadError::Takendown)));
}

#[tokio::test]
async fn uploads_without_a_record_go_after_hours_not_before_bl_9() {
    let bench = Bench::new().await;
    let (waiting, used) = (bench.upload(b"waiting").await, bench.upload(b"used").await);
    bench.commit(1, POST, &[&used]).await.unwrap();
    bench.now.fetch_add(TEMPORARY_HOURS_MIN * HOUR, Ordering::Relaxed);
    assert_eq!(bench.blobs.sweep().await.unwrap(), Swept::default());
    bench.now.fetch_add(1, Ordering::Relaxed);
    assert_eq!(bench.blobs.sweep().await.unwrap(), Swept { collected: 1, removed: 1 });
    assert_eq!(bench.state(&waiting).await, "gone");
    assert_eq!(bench.state(&used).await, "permanent");
    assert_eq!(bench.files("blobs").len(), 1);
    // Gone is not forbidden: it can come again.
    assert_eq!(bench.upload(b"waiting").await.cid, waiting.cid);
    assert_eq!(bench.blobs.sweep().await.unwrap(), Swept::default());
    assert_eq!(bench.state(&waiting).await, "temporary");
}

#[tokio::test]
async fn a_note_about_a_file_that_has_its_row_removes_nothing() {
    let bench = Bench::new().await;
    let blob = bench.upload(b"hello").await;
    let (account_id, cid) = (bench.account_id, blob.cid.to_string());
    let note = bench.store.write(move |tx| blob::note_garbage(tx, account_id, &cid));
    note.await.unwrap_or_else(|error: StoreError| panic!("{error}"));
    assert_eq!(bench.blobs.sweep().await.unwrap().removed, 0);
    bench.commit(1, POST, &[&blob]).await.unwrap();
    assert_eq!(bench.state(&blob).await, "permanent");
}

#[tokio::test]
async fn an_upload_that_goes_wrong_leaves_nothing_bl_3() {
    let bench = Bench::new().await;
    let chunk = |len: usize| Ok(Bytes::from(vec![b'a'; len]));
    let gone = || Err(io::Error::other("gone"));
    let announced = bench.refused(Some(BYTES_MAX + 1), vec![]).await;
    assert!(matches!(announced, UploadError::TooLarge { max: BYTES_MAX }));
    let streamed = bench.refused(None, vec![chunk(600), chunk(401)]).await;
    assert!(matches!(streamed, UploadError::TooLarge { .. }));
    let short = bench.refused(Some(7), vec![chunk(6)]).await;
    assert!(matches!(short, UploadError::Length { declared: 7, received: 6 }));
    let broken = bench.refused(Some(7), vec![chunk(6), gone()]).await;
    assert!(matches!(broken, UploadError::Interrupted(_)));
}

#[tokio::test]
async fn what_a_crash_left_in_tmp_is_removed_at_the_start() {
    let bench = Bench::new().await;
    std::fs::write(bench.dir.path().join("tmp/upload-abc"), b"half").unwrap();
    assert_eq!(bench.blobs.clear_tmp().await.unwrap(), 1);
    assert_eq!(bench.files("tmp"), [] as [PathBuf; 0]);
}

/// The name in `tmp/` that the only file there has, after a copy of the blob's bytes got both names of an upload.
fn leave_cut_short(bench: &Bench, account_id: i64, bytes: &[u8], has_place: bool) {
    let tmp = bench.dir.path().join(format!("tmp/upload-{account_id}-abc"));
    std::fs::write(&tmp, bytes).unwrap();
    if has_place {
        let dir = bench.dir.path().join(format!("blobs/{account_id}"));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::hard_link(&tmp, dir.join(cid::for_raw(bytes).to_string())).unwrap();
    }
}

#[tokio::test]
async fn a_crash_between_place_and_row_leaves_no_file_that_nobody_knows_of() {
    let bench = Bench::new().await;
    let kept = bench.upload(b"hello").await;
    for (has_place, removed) in [(false, 1), (true, 0)] {
        leave_cut_short(&bench, bench.account_id, b"cut short", has_place);
        assert_eq!(bench.blobs.clear_tmp().await.unwrap(), removed);
        assert_eq!(bench.sweep_until_tmp_is_empty().await.removed, usize::from(has_place));
        assert_eq!(bench.files("blobs").len(), 1);
    }
    assert_eq!(bench.state(&kept).await, "temporary");
}

#[tokio::test]
async fn a_crash_after_the_row_removes_nothing_but_the_temporary_name() {
    let bench = Bench::new().await;
    let blob = bench.upload(b"hello").await;
    bench.sweep_until_tmp_is_empty().await;
    let place = bench.files("blobs").pop().unwrap();
    let tmp = bench.dir.path().join(format!("tmp/upload-{}-abc", bench.account_id));
    std::fs::hard_link(&place, &tmp).unwrap();
    assert_eq!(bench.blobs.clear_tmp().await.unwrap(), 0);
    assert_eq!(bench.sweep_until_tmp_is_empty().await.removed, 0);
    assert_eq!(bench.files("blobs"), [place]);
    assert_eq!(bench.state(&blob).await, "temporary");
}

#[tokio::test]
async fn an_upload_for_an_account_that_has_gone_leaves_no_file() {
    let bench = Bench::new().await;
    let body = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"hello"))]);
    let nobody = bench.blobs.upload(bench.account_id + 1, None, None, body).await;
    assert!(matches!(nobody, Err(UploadError::NoAccount)));
    assert_eq!(bench.sweep_until_tmp_is_empty().await, Swept { collected: 0, removed: 1 });
    assert_eq!(bench.files("blobs"), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn a_file_of_another_length_in_the_place_is_replaced() {
    let bench = Bench::new().await;
    leave_cut_short(&bench, bench.account_id, b"hello", true);
    let place = bench.files("blobs").pop().unwrap();
    std::fs::write(&place, b"hel").unwrap();
    bench.upload(b"hello").await;
    assert_eq!(std::fs::read(&place).unwrap(), b"hello");
    let notes = bench.store.read(|db| blob::list_garbage(db, &(0, String::new()), 10));
    assert_eq!(notes.await.unwrap(), [], "the note that was made for it is taken back");
}

/// Decision 16. Where the file system keeps its files in memory, there is nothing to see.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_was_uploaded_does_not_stay_in_memory() {
    use rustix::{fs, io};
    let is_in_memory = |path: &std::path::Path| {
        let file = std::fs::File::open(path).unwrap();
        let mut byte = [0];
        let read =
            io::preadv2(&file, &mut [std::io::IoSliceMut::new(&mut byte)], 0, io::ReadWriteFlags::NOWAIT);
        read != Err(io::Errno::AGAIN)
    };
    let bench = Bench::new().await;
    let other = bench.dir.path().join("other");
    std::fs::write(&other, b"hello").unwrap();
    assert!(is_in_memory(&other));
    let file = std::fs::File::open(&other).unwrap();
    file.sync_all().unwrap();
    fs::fadvise(&file, 0, None, fs::Advice::DontNeed).unwrap();
    if is_in_memory(&other) {
        println!("skipped: this file system keeps its files in memory");
        return;
    }
    bench.upload(b"hello").await;
    assert!(!is_in_memory(&bench.files("blobs")[0]));
}

#[tokio::test]
async fn uploads_of_the_same_bytes_at_once_all_succeed() {
    let bench = Bench::new().await;
    let uploads = (0..6).map(|_| bench.upload(b"hello"));
    let blobs = futures::future::join_all(uploads).await;
    assert!(blobs.iter().all(|blob| *blob == blobs[0]));
    assert_eq!(bench.sweep_until_tmp_is_empty().await, Swept::default());
    assert_eq!(bench.files("blobs").len(), 1);
    assert_eq!(bench.state(&blobs[0]).await, "temporary");
}

#[tokio::test]
async fn an_upload_whose_caller_has_gone_keeps_its_file_from_the_sweep_until_its_row_is_there() {
    let bench = Bench::new().await;
    let (account_id, cid) = (bench.account_id, cid::for_raw(b"hello").to_string());
    // From an earlier life of the blob.
    let noted = cid.clone();
    let note = bench.store.write(move |tx| blob::note_garbage(tx, account_id, &noted));
    note.await.unwrap_or_else(|error: StoreError| panic!("{error}"));
    // The row has to wait for its turn.
    let (go_on, gate) = std::sync::mpsc::channel::<()>();
    let (store, (started, has_started)) = (bench.store.clone(), tokio::sync::oneshot::channel());
    let holding = tokio::spawn(async move {
        let hold = store.write(move |_| {
            let _ = started.send(());
            let _ = gate.recv();
            Ok::<_, StoreError>(())
        });
        hold.await
    });
    has_started.await.unwrap();
    let mut upload = Box::pin(bench.upload(b"hello"));
    while bench.store.n_waiting() == 0 {
        assert!(futures::poll!(&mut upload).is_pending());
        tokio::task::yield_now().await;
    }
    drop(upload);
    assert!(bench.blobs.inner.placing.try_write().is_err(), "the sweep may remove the file of a row to come");
    let removing = bench.blobs.remove_files(vec![(account_id, cid)]);
    go_on.send(()).unwrap();
    let removed = removing.await;
    holding.await.unwrap().unwrap();
    assert_eq!(removed.unwrap(), 0);
    assert_eq!(bench.sweep_until_tmp_is_empty().await.removed, 0);
    assert_eq!(bench.blobs.inner.store.read(|db| blob::count_held(db, 1)).await.unwrap(), 1);
    assert_eq!(bench.files("blobs").len(), 1, "a row without its file");
}

#[tokio::test]
async fn a_large_blob_goes_through_in_chunks() {
    const CHUNKS: usize = 1024;
    let bench = Bench::with_limit(64 << 20).await;
    let chunk = Bytes::from(vec![7; 64 * 1024]);
    let body = stream::iter((0..CHUNKS).map(|_| Ok::<_, io::Error>(chunk.clone())));
    let blob = bench.blobs.upload(bench.account_id, None, None, body).await.unwrap();
    assert_eq!(blob.size, 64 << 20);
    assert_eq!(blob.cid, cid::for_raw(&vec![7; 64 << 20]));
    let files = bench.files("blobs");
    assert_eq!(std::fs::metadata(&files[0]).unwrap().len(), blob.size);
}

#[tokio::test]
async fn pieces_of_any_length_add_up_to_the_same_bytes() {
    let bench = Bench::with_limit(4 << 20).await;
    let bytes: Vec<u8> = (0..1_200_000_u32).map(|n| (n % 251) as u8).collect();
    for piece in [997, 100_000, 256 * 1024, 700_001, bytes.len()] {
        let body =
            stream::iter(bytes.chunks(piece).map(|piece| Ok::<_, io::Error>(Bytes::copy_from_slice(piece))));
        let blob = bench.blobs.upload(bench.account_id, None, None, body).await.unwrap();
        assert_eq!((blob.size, blob.cid), (1_200_000, cid::for_raw(&bytes)), "in pieces of {piece}");
    }
    let files = bench.files("blobs");
    assert!(std::fs::read(&files[0]).unwrap() == bytes);
}
