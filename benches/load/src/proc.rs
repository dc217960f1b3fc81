//! What the kernel tells about a process: CPU time and memory. Linux only.

use std::fs;

use crate::Result;

/// Time on a CPU, user and system together, summed over the threads that live now.
pub fn cpu_ns(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the reading.
        if let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) {
            let on_cpu = text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok());
            sum += on_cpu.ok_or("schedstat has no CPU time")?;
        }
    }
    Ok(sum)
}

/// How many descriptors the process has open.
pub(crate) fn descriptors(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Bytes of a process's memory, from `smaps_rollup`.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub rss: u64,
    pub pss: u64,
    pub private_dirty: u64,
    pub anonymous: u64,
}

impl Memory {
    pub fn of(pid: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let field =
            |name| field_bytes(&text, name).ok_or_else(|| format!("smaps_rollup has no {name}"));
        Ok(Self {
            rss: field("Rss:")?,
            pss: field("Pss:")?,
            private_dirty: field("Private_Dirty:")?,
            anonymous: field("Anonymous:")?,
        })
    }
}

/// Bytes that the kernel holds for everybody: slab objects, and buffers of TCP sockets.
#[derive(Debug, Clone, Copy)]
pub struct KernelMemory {
    pub slab: u64,
    pub tcp_buffers: u64,
}

impl KernelMemory {
    /// `None` where the kernel does not tell.
    pub fn read() -> Option<Self> {
        let slab = field_bytes(&fs::read_to_string("/proc/meminfo").ok()?, "Slab:")?;
        let sockets = fs::read_to_string("/proc/net/sockstat").ok()?;
        let tcp = sockets.lines().find(|line| line.starts_with("TCP:"))?;
        let pages: u64 =
            tcp.split_whitespace().skip_while(|&word| word != "mem").nth(1)?.parse().ok()?;
        Some(Self { slab, tcp_buffers: pages * rustix::param::page_size() as u64 })
    }
}

/// The value of a line like `Rss:   1700 kB`, in bytes.
fn field_bytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = value.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_bytes() {
        let text = "Rss:  12 kB\nPss_Dirty:  3 kB\nPss:   4 kB\n";
        assert_eq!(field_bytes(text, "Pss:"), Some(4096));
        assert_eq!(field_bytes(text, "Swap:"), None);
    }

    #[test]
    fn this_process_uses_memory_and_time() {
        let pid = std::process::id();
        assert!(Memory::of(pid).unwrap().rss > 0);
        cpu_ns(pid).unwrap();
    }
}
