//! How much of what was freed the C library keeps.
//!
//! glibc gives threads arenas of their own, up to eight for each core. An arena keeps what was freed
//! in it, of large buffers too, and no other one can use that: a process with many threads holds
//! several times what it uses.

/// Arenas of all threads: for the main thread, for the tasks, and for what blocks, each of which would
/// else take memory between the pieces of another. Small pieces come from a cache of each thread.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: i32 = 3;
/// Anything this large is given back when it is freed, and so is the free end of an arena.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: i32 = 1024 * 1024;

/// Bounds what glibc keeps; other libraries are left as they are. To be called before the first
/// thread is started. What was set by `MALLOC_ARENA_MAX` and its like is overruled.
#[allow(unsafe_code, reason = "no safe call sets what the allocator keeps")]
pub fn keep_little() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (setting, value) in [
        (libc::M_ARENA_MAX, ARENAS),
        // set at all, they no longer grow with the largest buffer that was ever freed
        (libc::M_MMAP_THRESHOLD, LARGE),
        (libc::M_TRIM_THRESHOLD, LARGE),
    ] {
        // SAFETY: takes two numbers and touches nothing of ours; no other thread runs yet. Refused, it
        // changes nothing, and only more memory is kept.
        let _ = unsafe { libc::mallopt(setting, value) };
    }
}

/// Gives back what glibc keeps of freed memory between pieces in use, which it never does by itself.
/// Takes some milliseconds, and what comes next takes the memory anew: for a time of rest.
#[allow(unsafe_code, reason = "no safe call gives memory back")]
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: takes a number and touches only memory that the allocator holds as free, under its
        // own locks. Whether there was any is no matter.
        let _ = unsafe { libc::malloc_trim(0) };
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn what_is_free_between_pieces_in_use_goes_back() {
        const PIECE: usize = 8 * 1024;
        const ALL: usize = 256 * 1024 * 1024;
        // what of this process is in memory, in bytes
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
            line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
        };
        let mut pieces: Vec<Vec<u8>> = (0..ALL / PIECE).map(|_| vec![1; PIECE]).collect();
        let mut number = 0;
        pieces.retain(|_| {
            number += 1;
            number % 100 == 0
        });
        let kept = resident();
        super::give_back();
        let left = resident();
        assert!(left + ALL / 2 < kept, "{left} of {kept} bytes are left");
        assert!(pieces.iter().all(|piece| piece[0] == 1));
    }
}
