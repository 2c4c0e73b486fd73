//! CPU time of processes, from Linux' /proc.

use std::{fs, time::Duration};

use anyhow::Context;

/// Length of a clock tick in /proc, whatever the kernel's own (USER_HZ, 100 a second on every architecture of Linux that matters here).
const TICK: Duration = Duration::from_millis(10);

/// Place of `utime` and `stime` among the fields after the command's name (proc(5), /proc/PID/stat, fields 14 and 15).
const USER_TIME_FIELD: usize = 11;

/// CPU time that each of these processes has used so far, in user and kernel.
fn times_of(processes: &[u32]) -> anyhow::Result<Vec<Duration>> {
    processes.iter().map(|process| read(&process.to_string())).collect()
}

/// CPU time that this process has used so far.
fn own_time() -> anyhow::Result<Duration> {
    read("self")
}

/// What is used from one moment to another.
pub(crate) struct Used {
    own: Duration,
    processes: Vec<Duration>,
}

impl Used {
    /// From now on.
    pub(crate) fn begin(processes: &[u32]) -> anyhow::Result<Self> {
        Ok(Self { own: own_time()?, processes: times_of(processes)? })
    }

    /// Until now: by this process, and by each of those.
    pub(crate) fn end(self, processes: &[u32]) -> anyhow::Result<(Duration, Vec<(u32, Duration)>)> {
        let own = own_time()?.saturating_sub(self.own);
        let after = times_of(processes)?;
        let used = after.iter().zip(self.processes).map(|(after, before)| after.saturating_sub(before));
        Ok((own, processes.iter().copied().zip(used).collect()))
    }
}

fn read(process: &str) -> anyhow::Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`: is the process running?"))?;
    parse(&text).with_context(|| format!("`{path}` is not as expected"))
}

/// The command's name may hold spaces and brackets: the fields begin after the last bracket.
fn parse(text: &str) -> Option<Duration> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(USER_TIME_FIELD);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * user + TICK * system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_spaces_and_brackets_in_its_name_is_read() {
        let text = "12 (a) b) R 1 1 1 0 -1 4194304 1 0 0 0 150 25 0 0 20 0 5 0 100 1 1";
        assert_eq!(parse(text), Some(Duration::from_millis(1_750)));
    }

    #[test]
    fn this_process_can_be_read() {
        assert!(own_time().is_ok());
        assert_eq!(times_of(&[std::process::id()]).unwrap().len(), 1);
    }
}
