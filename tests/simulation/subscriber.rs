//! Subscribers: each gets exactly the log after its cursor, or is told that it does not.

use std::time::Duration;

use atproto::event::Frame;
use bytes::Bytes;
use rookery::{
    service::firehose::{Firehose, SubscribeError, Subscriber},
    time::Micros,
};

use crate::log::{Fate, Log};

/// How long what must come may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long is waited for what must not come.
const A_MOMENT: Duration = Duration::from_millis(1);

/// Whether an `#info` `OutdatedCursor` comes before any event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Info {
    No,
    /// Nothing was missed, but the server cannot know it.
    Perhaps,
    Yes,
}

pub struct Reader {
    subscriber: Subscriber,
    /// The event read last, or what it started after.
    pub cursor: i64,
    info: Info,
}

/// Why there is nothing more to read here.
pub struct Cut;

impl Reader {
    /// Subscribes; `None` when the cursor is refused, as it has to be then.
    pub async fn start(firehose: &Firehose, cursor: Option<i64>, log: &Log, now: Micros) -> Option<Reader> {
        let started = firehose.seat().unwrap().start(cursor).await;
        let last = log.last_seq();
        let Some(wanted) = cursor else {
            return Some(Reader { subscriber: started.unwrap(), cursor: last, info: Info::No });
        };
        if wanted > last {
            assert!(
                matches!(started, Err(SubscribeError::FutureCursor { .. })),
                "cursor {wanted} after {last}"
            );
            return None;
        }
        // Of an account that is being removed, events may be there or not.
        let (may_be_first, first) = log.window_first(now);
        let is_lost = |fate| matches!(fate, Fate::Held | Fate::Pruned);
        let (cursor, info) = if wanted <= 0 {
            (may_be_first - 1, Info::No)
        } else if wanted + 1 >= first {
            (wanted, Info::No)
        } else if log.after(wanted).take_while(|event| event.seq < first).any(|event| is_lost(event.fate)) {
            (may_be_first - 1, Info::Yes)
        } else {
            (wanted, Info::Perhaps)
        };
        Some(Reader { subscriber: started.unwrap(), cursor, info })
    }

    /// Reads what comes next, if there is anything, and compares it with the log.
    pub async fn read(&mut self, log: &Log) -> Result<(), Cut> {
        let must_come = log.after(self.cursor).any(|event| event.fate == Fate::Held);
        let may_come = log.after(self.cursor).any(|event| event.fate != Fate::Purged);
        if self.info == Info::Yes || must_come {
            let next = tokio::time::timeout(PATIENCE, self.subscriber.next()).await;
            return match next.unwrap_or_else(|_| panic!("nothing comes after {}", self.cursor)) {
                Ok(frames) => {
                    self.compare(frames, log);
                    Ok(())
                }
                Err(SubscribeError::ConsumerTooSlow) => {
                    assert!(self.cursor + 1 < log.pruned_below, "cut at {} without a loss", self.cursor);
                    Err(Cut)
                }
                Err(error) => panic!("{error}"),
            };
        }
        if !may_come && self.info == Info::No {
            let next = tokio::time::timeout(A_MOMENT, self.subscriber.next()).await;
            assert!(
                next.is_err(),
                "{:?} came after {}",
                next.map(|next| next.map(|frames| frames.len())),
                self.cursor
            );
        }
        Ok(())
    }

    fn compare(&mut self, frames: Vec<Bytes>, log: &Log) {
        assert!(!frames.is_empty());
        if let Ok(Frame::Info(info)) = Frame::decode(&frames[0]) {
            assert_eq!((info.name.as_str(), frames.len()), ("OutdatedCursor", 1));
            assert_ne!(self.info, Info::No, "cursor {} is not outdated", self.cursor);
            self.info = Info::No;
            return;
        }
        assert_ne!(self.info, Info::Yes, "nobody said that the cursor is outdated");
        self.info = Info::No;
        let mut events = log.after(self.cursor);
        for frame in frames {
            let cursor = self.cursor;
            let event = events
                .find(|event| match event.bytes == frame {
                    true => true,
                    // What stands between two frames has gone with its account.
                    false => {
                        let may_lack = matches!(event.fate, Fate::Doomed | Fate::Purged);
                        assert!(
                            may_lack,
                            "event {} was left out after {cursor}: {:?}",
                            event.seq, event.fate
                        );
                        false
                    }
                })
                .unwrap_or_else(|| panic!("an event that nobody made after {cursor}"));
            assert_ne!(event.fate, Fate::Purged, "event {} had gone with its account", event.seq);
            self.cursor = event.seq;
        }
    }
}
