//! What a process cost: CPU time, peak memory, wall time. Linux only.

use std::io;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// CPU time of this process so far, all its threads, user and system.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    // seconds and nanoseconds of this clock are never negative
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Most bytes of memory that this process ever held.
pub fn peak_memory() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("no VmHWM in /proc/self/status"))
}

/// What a child process cost, its own children included once it has waited for them.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// How it ended.
    pub status: ExitStatus,
    /// From start to end.
    pub wall: Duration,
    /// User and system time.
    pub cpu: Duration,
    /// Most bytes of memory. Not less than this process holds when it starts the child.
    pub peak: u64,
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> io::Result<Cost> {
    let began = Instant::now();
    let child = command.spawn()?;
    let (status, usage) = wait(child.id())?;
    let seconds = |time: libc::timeval| {
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_usec.unsigned_abs() as u32 * 1000)
    };
    Ok(Cost {
        status,
        wall: began.elapsed(),
        cpu: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        peak: usage.ru_maxrss.unsigned_abs() * 1024,
    })
}

#[allow(unsafe_code, reason = "no safe wait tells what one child cost")]
fn wait(pid: u32) -> io::Result<(ExitStatus, libc::rusage)> {
    use std::os::unix::process::ExitStatusExt as _;
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: rusage is plain numbers, for which all bits 0 are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to values that outlive the call; nobody else waits for `pid`,
        // since its `Child` is only dropped.
        let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
        if waited == pid {
            return Ok((ExitStatus::from_raw(status), usage));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
