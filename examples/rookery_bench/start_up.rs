//! How long a server takes from being started to its first answer.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    http::{Body, Connection},
    measure::{Measured, Meter, Samples},
    process::Process,
};

/// A server that does not answer within so many seconds does not start.
const START_SECS_MAX: u64 = 120;
/// Between two attempts.
const POLL: Duration = Duration::from_micros(500);

/// A process that ends with us.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Ends as an operator would end it, so that the next start finds what it expects.
    fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.0.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .context("no such process")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.0.wait()?;
        Ok(())
    }
}

/// Starts `server`, which answers at `url`, `times` times.
pub async fn measure(url: &str, times: u32, server: &[String]) -> Result<Measured> {
    let authority =
        url.strip_prefix("http://").context("only http:// can be measured")?.trim_end_matches('/');
    let (program, arguments) = server.split_first().context("which server?")?;
    let mut samples = Samples::new()?;
    let meter = Meter::start(Process(None));
    let mut resident_kib = 0;
    for _ in 0..times {
        ensure!(Connection::open(authority).await.is_err(), "something answers at {url} already");
        let started = Instant::now();
        let child =
            Command::new(program).args(arguments).stdout(Stdio::null()).stdin(Stdio::null()).spawn()?;
        let mut running = Running(child);
        while !answers(authority).await {
            ensure!(running.0.try_wait()?.is_none(), "{program} ended instead of answering");
            ensure!(started.elapsed().as_secs() < START_SECS_MAX, "no answer within {START_SECS_MAX} s");
            tokio::time::sleep(POLL).await;
        }
        samples.add(started.elapsed(), 1);
        resident_kib = Process(Some(running.0.id())).usage().map_or(0, |usage| usage.resident_kib);
        running.stop()?;
    }
    let mut measured = meter.end("start-up", "starts", &samples);
    measured.resident_kib = Some(resident_kib);
    Ok(measured)
}

async fn answers(authority: &str) -> bool {
    let Ok(mut connection) = Connection::open(authority).await else { return false };
    let answer = connection.call("/xrpc/_health", None, Body::None).await;
    answer.is_ok_and(|answer| answer.status == 200)
}
