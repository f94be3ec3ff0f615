//! A future that is polled again at once when it has woken itself.
//!
//! A connection wakes itself for each request with a body: the part that reads and the part that answers are one task,
//! and tell each other by its waker. The runtime takes that for new work and starts another worker to look for it, which
//! finds nothing: for a write that is a twentieth of what it costs.
//!
//! Not for: futures that yield to let others run. They would only get their turn later.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures::task::AtomicWaker;

/// How often a future is polled before others get their turn.
const ROUNDS_MAX: usize = 8;

/// Nobody polls: a wake-up goes to the task.
const IDLE: u8 = 0;
/// Somebody does, and nothing has happened since they began.
const POLLING: u8 = 1;
/// Something has happened: whoever polls does it again, and the task need not be told.
const WOKEN: u8 = 2;

struct OwnWaker {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for OwnWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == IDLE {
            self.task.wake();
        }
    }
}

/// Runs `future`; when it wakes itself while it is polled, it is polled again without the runtime in between.
pub(super) async fn again<F: Future>(future: F) -> F::Output {
    let own = Arc::new(OwnWaker { state: AtomicU8::new(IDLE), task: AtomicWaker::new() });
    let waker = Waker::from(own.clone());
    let mut future = pin!(future);
    poll_fn(|context| {
        own.task.register(context.waker());
        for _ in 0..ROUNDS_MAX {
            own.state.swap(POLLING, Ordering::AcqRel);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(output);
            }
            if own.state.compare_exchange(POLLING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return Poll::Pending;
            }
        }
        own.state.swap(IDLE, Ordering::AcqRel);
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Polls until it is ready; returns how often, and how often the task was woken meanwhile.
    fn run(future: impl Future<Output = ()>) -> (usize, usize) {
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut future = pin!(future);
        let mut polls = 1;
        while future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            assert_eq!(count.0.load(Ordering::SeqCst), polls, "whoever is pending here has woken its task");
            polls += 1;
        }
        (polls, count.0.load(Ordering::SeqCst))
    }

    /// Wakes itself `times` before it is ready.
    async fn wakes_itself(mut times: usize) {
        poll_fn(move |context| {
            if times == 0 {
                return Poll::Ready(());
            }
            times -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[test]
    fn a_future_that_wakes_itself_does_not_wake_its_task() {
        for times in 0..ROUNDS_MAX {
            assert_eq!(run(again(wakes_itself(times))), (1, 0), "{times}");
        }
    }

    #[test]
    fn a_future_that_goes_on_waking_itself_gives_way() {
        assert_eq!(run(again(wakes_itself(ROUNDS_MAX))), (2, 1));
        assert_eq!(run(again(wakes_itself(10 * ROUNDS_MAX))), (11, 10));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_up_of_another_thread_is_lost() {
        let (ping, mut pings) = tokio::sync::mpsc::channel::<u32>(1);
        let (pong, mut pongs) = tokio::sync::mpsc::channel::<u32>(1);
        tokio::spawn(again(async move {
            while let Some(n) = pings.recv().await {
                wakes_itself(n as usize % 3).await;
                pong.send(n).await.unwrap();
            }
        }));
        let caller = std::thread::spawn(move || {
            for n in 0..20_000 {
                ping.blocking_send(n).unwrap();
                assert_eq!(pongs.blocking_recv(), Some(n));
            }
        });
        tokio::task::spawn_blocking(|| caller.join().unwrap()).await.unwrap();
    }
}
