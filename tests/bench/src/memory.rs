//! Resident memory of processes, from Linux' /proc.

use std::fs;

use anyhow::{Context as _, Result};

/// Bytes in a kB of /proc.
const KIB_BYTES: f64 = 1_024.0;
const MEGABYTE_BYTES: f64 = 1e6;

/// Which figure of proc(5), /proc/PID/status.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Figure {
    /// What it has now.
    Now,
    /// The most it ever had.
    Most,
}

/// Of these processes together, in megabytes. Pages that they share are counted in each.
pub(crate) fn of(processes: &[u32], figure: Figure) -> Result<f64> {
    let mut kib = 0.0;
    for process in processes {
        let path = format!("/proc/{process}/status");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`: is the process running?"))?;
        kib += parse(&text, figure).with_context(|| format!("`{path}` is not as expected"))?;
    }
    Ok(kib * KIB_BYTES / MEGABYTE_BYTES)
}

fn parse(text: &str, figure: Figure) -> Option<f64> {
    let name = match figure {
        Figure::Now => "VmRSS:",
        Figure::Most => "VmHWM:",
    };
    text.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_figures_are_read() {
        let text = "Name:\ta\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\n";
        assert_eq!(parse(text, Figure::Now), Some(10_240.0));
        assert_eq!(parse(text, Figure::Most), Some(20_480.0));
        assert!(of(&[std::process::id()], Figure::Most).unwrap() > 0.0);
    }
}
