//! Tasks and blocking work. For each type of future or closure that it is given, tokio is compiled once more, and for a
//! future twice, once for each of its schedulers: some 5 KiB of machine code, for a hundred types. So they go behind a
//! pointer first, and their results through a channel.
//!
//! Not for: what is started many times for one request, where an allocation would count.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{sync::oneshot, task::JoinHandle};

/// A future that has nothing to answer, behind a pointer.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The task panicked, or the runtime has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was cut off")]
pub struct Lost;

/// The result of work that was started: an answer, or [`Lost`]. Dropping it does not stop the work.
#[derive(Debug)]
#[must_use = "nobody waits for the work, nor hears of its failure"]
pub struct Outcome<T>(oneshot::Receiver<T>);

impl<T> Future for Outcome<T> {
    type Output = Result<T, Lost>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Lost>> {
        Poll::Ready(ready!(Pin::new(&mut self.0).poll(context)).map_err(|_| Lost))
    }
}

/// `future` behind a pointer, for a task tracker or another runtime's `spawn`.
pub fn boxed(future: impl Future<Output = ()> + Send + 'static) -> Task {
    Box::pin(future)
}

/// Starts `future` as a task of its own.
pub fn spawn(future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(boxed(future))
}

/// Starts `future` as a task of its own, which runs to its end also when its caller has gone, and answers what it does.
pub fn spawn_to_the_end<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Outcome<T> {
    let (answer, outcome) = oneshot::channel();
    spawn(async move {
        // The caller may have gone.
        let _ = answer.send(future.await);
    });
    Outcome(outcome)
}

/// Starts `work`, which may wait for the disk or take long, on a thread for such work.
pub fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Outcome<T> {
    let (answer, outcome) = oneshot::channel();
    let work: Box<dyn FnOnce() + Send> = Box::new(move || {
        // The caller may have gone.
        let _ = answer.send(work());
    });
    tokio::task::spawn_blocking(work);
    Outcome(outcome)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[tokio::test]
    async fn work_answers_and_a_panic_in_it_is_told() {
        assert_eq!(spawn_blocking(|| 7).await, Ok(7));
        assert_eq!(spawn_to_the_end(async { 7 }).await, Ok(7));
        assert_eq!(spawn_blocking(|| -> u8 { panic!("on purpose") }).await, Err(Lost));
        assert_eq!(spawn_to_the_end(async { panic!("on purpose") }).await, Err::<u8, _>(Lost));
    }

    #[tokio::test]
    async fn work_goes_on_when_nobody_waits_for_it() {
        let (go_on, gate) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel();
        drop(spawn_to_the_end(async move {
            gate.await.unwrap();
            done.send(()).unwrap();
        }));
        go_on.send(()).unwrap();
        is_done.await.unwrap();
    }
}
