//! What a server process costs, read from /proc (Linux): processor time and resident memory, its children included.

use std::{collections::HashSet, fs};

/// Processes that are looked at: a server with its workers.
const PROCESSES_MAX: usize = 256;
/// The unit of processor time in /proc: USER_HZ, which Linux has fixed.
const TICKS_PER_SEC: f64 = 100.0;

/// A process that is watched; without one nothing is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub Option<u32>);

/// What it has cost so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time of all threads, in seconds.
    pub cpu_secs: f64,
    /// Resident memory now, in KiB.
    pub resident_kib: u64,
    /// The most resident memory since [`Process::reset_peak`], in KiB.
    pub peak_kib: u64,
}

impl Process {
    /// The load program itself.
    pub fn own() -> Process {
        Process(Some(std::process::id()))
    }

    /// Of the process and those below it. `None` where there is no /proc or no such process.
    pub fn usage(self) -> Option<Usage> {
        let root = self.0?;
        let mut sum = Usage::default();
        for pid in family(root) {
            let Some(stat) = Stat::read(pid) else { continue };
            // Those that have ended are in the sums of their parents.
            sum.cpu_secs += stat.cpu_secs;
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            sum.resident_kib += field_kib(&status, "VmRSS:");
            sum.peak_kib += field_kib(&status, "VmHWM:");
        }
        (sum.resident_kib > 0).then_some(sum)
    }

    /// Counts the peak from here on, where the system lets us.
    pub fn reset_peak(self) {
        for pid in self.0.map(family).unwrap_or_default() {
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
    }
}

/// A process and its descendants.
fn family(root: u32) -> Vec<u32> {
    let mut parents: Vec<(u32, u32)> = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            && let Some(stat) = Stat::read(pid)
        {
            parents.push((pid, stat.parent));
        }
    }
    let mut seen = HashSet::from([root]);
    let mut family = vec![root];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        next += 1;
        for (pid, _) in parents.iter().filter(|(_, of)| *of == parent) {
            if family.len() < PROCESSES_MAX && seen.insert(*pid) {
                family.push(*pid);
            }
        }
    }
    family
}

struct Stat {
    parent: u32,
    cpu_secs: f64,
}

impl Stat {
    fn read(pid: u32) -> Option<Stat> {
        Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// See proc(5). The name in parentheses may hold blanks and parentheses.
    fn parse(text: &str) -> Option<Stat> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |idx: usize| fields.get(idx).and_then(|field| field.parse::<u64>().ok());
        // utime, stime, and those of children that were waited for.
        let ticks: u64 = (11..15).filter_map(number).sum();
        Some(Stat { parent: fields.get(1)?.parse().ok()?, cpu_secs: ticks as f64 / TICKS_PER_SEC })
    }
}

/// A line such as `VmRSS:     1234 kB`.
fn field_kib(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = Stat::parse("42 (a (b) c) S 7 1 1 0 -1 0 0 0 0 0 100 100 0 100 20 0 1 0 1 1 1");
        assert!(stat.is_some_and(|stat| stat.parent == 7 && (stat.cpu_secs - 3.0).abs() < 1e-9));
    }

    #[test]
    fn a_process_without_a_number_costs_nothing_known() {
        assert!(Process(None).usage().is_none());
    }
}
