//! How the writer tells those who wait: one wake-up of the async runtime for all answers to a group.
//!
//! A thread that wakes a task of the runtime from outside makes it start one worker, and that one another, to look for
//! more work that there is not: some 3 % of what a commit on a quiet server costs. A byte in a pipe is an event like those
//! of sockets. The worker that waits for these takes it, and finds all answers of the group at once.
//!
//! Not for: what is answered, and when ([`super::writer`]).

use std::{
    io::{self, PipeWriter, Write as _},
    os::fd::OwnedFd,
    sync::mpsc,
};

use tokio::{io::AsyncReadExt as _, net::unix::pipe};

use crate::task;

/// All answers to one group.
type Batch = Box<dyn FnOnce() + Send>;

/// Wake-ups that are taken out of the pipe at once.
const WAKES_MAX: usize = 64;

/// The writer's end. Dropping it ends the task at the other one, after it has given the last answers.
pub(super) struct Answers {
    batches: mpsc::Sender<Batch>,
    wake: PipeWriter,
}

impl Answers {
    /// Starts the task that gives answers, on the runtime that this is called in.
    pub fn start() -> io::Result<Answers> {
        let (wakes, wake) = io::pipe()?;
        let wakes = pipe::Receiver::from_owned_fd(OwnedFd::from(wakes))?;
        let (batches, waiting) = mpsc::channel();
        task::spawn(give(wakes, waiting));
        Ok(Answers { batches, wake })
    }

    /// Has `batch` run on the runtime; or here and now, when that has ended. There are never more batches under way than
    /// the writer has taken groups off its queue.
    pub fn send(&mut self, batch: Batch) {
        if let Err(mpsc::SendError(batch)) = self.batches.send(batch) {
            return batch();
        }
        // Fails when nobody reads any more: then nobody waits, either.
        let _ = self.wake.write_all(&[0]);
    }
}

/// Runs each batch that comes, until there is no writer any more.
async fn give(mut wakes: pipe::Receiver, batches: mpsc::Receiver<Batch>) {
    let mut taken = [0; WAKES_MAX];
    loop {
        let has_ended = !matches!(wakes.read(&mut taken).await, Ok(1..));
        // Each batch is there before its wake-up, and may be taken with an earlier one.
        while let Ok(batch) = batches.try_recv() {
            batch();
        }
        if has_ended {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use tokio::sync::oneshot;

    use super::*;

    fn reply(value: u32) -> (Batch, oneshot::Receiver<u32>) {
        let (reply, answer) = oneshot::channel();
        (Box::new(move || reply.send(value).unwrap()), answer)
    }

    #[tokio::test]
    async fn every_batch_is_run_also_the_last_ones_before_the_end() {
        let mut answers = Answers::start().unwrap();
        let (first, first_answer) = reply(0);
        answers.send(first);
        assert_eq!(first_answer.await.unwrap(), 0);
        let mut waiting = Vec::new();
        for n in 1..=1000 {
            let (batch, answer) = reply(n);
            answers.send(batch);
            waiting.push(answer);
        }
        drop(answers);
        let answers = futures::future::try_join_all(waiting).await.unwrap();
        assert_eq!(answers, (1..=1000).collect::<Vec<_>>());
    }

    #[test]
    fn when_the_runtime_has_ended_the_writer_answers_by_itself() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ended = runtime();
        let mut answers = ended.block_on(async { Answers::start().unwrap() });
        drop(ended);
        let (batch, answer) = reply(7);
        answers.send(batch);
        assert_eq!(runtime().block_on(answer).unwrap(), 7);
    }
}
