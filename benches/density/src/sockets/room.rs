//! How many more streams this machine has room for, and what it is that ends them.
//!
//! Ports are no limit, because each stream comes from an address of its own, and neither is the
//! listen queue, because few connections are opened at a time.

use std::{
    fmt::{self, Display},
    fs,
};

use serde_json::{Value, json};
use starwheel_load::proc::KernelMemory;

use crate::{Result, machine};

/// What the machine has and what of it is taken, at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// What is free, and pages of files, which can be. Not `MemAvailable`: that takes the inodes of
    /// open sockets for something that can be freed, too.
    pub(crate) memory_left_bytes: u64,
    memory_total_bytes: u64,
    files: Share,
    /// Connections that the firewall remembers, where there is one. If it leaves loopback alone, this
    /// does not grow.
    tracked: Option<Share>,
    /// What the kernel lets all TCP buffers have together.
    tcp_buffer_bytes: Option<Share>,
}

#[derive(Debug, Clone, Copy)]
struct Share {
    taken: u64,
    max: u64,
}

/// Why no more streams were opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Limit {
    Memory {
        reserve_bytes: u64,
    },
    Files,
    Tracking,
    TcpBuffers,
    /// `--pairs`.
    Asked,
    /// Something that was not foreseen, in its own words.
    Failure(String),
}

impl Room {
    pub(crate) fn read() -> Result<Self> {
        let memory_bytes = |name| {
            let kib = machine::field_kb("/proc/meminfo", name);
            kib.map(|kib| kib * 1024).ok_or_else(|| format!("meminfo has no {name}"))
        };
        let files = numbers("/proc/sys/fs/file-nr");
        let &[taken, free, max] = &files[..] else { return Err("file-nr has other fields".into()) };
        let tcp_pages_max = numbers("/proc/sys/net/ipv4/tcp_mem").get(2).copied();
        let page_bytes = rustix::param::page_size() as u64;
        Ok(Self {
            memory_left_bytes: (memory_bytes("MemFree:")? + memory_bytes("Cached:")?)
                .saturating_sub(memory_bytes("Shmem:")?),
            memory_total_bytes: memory_bytes("MemTotal:")?,
            files: Share { taken: taken.saturating_sub(free), max },
            tracked: tracked(),
            tcp_buffer_bytes: tcp_pages_max
                .zip(KernelMemory::read())
                .map(|(max, now)| Share { taken: now.tcp_buffers, max: max * page_bytes }),
        })
    }

    /// How many of `wanted` streams there is room for when each takes this much memory in total; a
    /// limit when there are too few to start processes for.
    pub(crate) fn streams(&self, wanted: usize, bytes_each: u64) -> Result<usize, Limit> {
        let reserve_bytes = self.memory_reserve_bytes();
        let memory_bytes = self.memory_left_bytes.saturating_sub(reserve_bytes);
        let mut bounds = vec![
            (memory_bytes / bytes_each.max(1), Limit::Memory { reserve_bytes }),
            (self.files.left() / FILES_PER_STREAM, Limit::Files),
        ];
        bounds.extend(self.tracked.map(|tracked| (tracked.left(), Limit::Tracking)));
        // Silent streams take none of it: what is taken is no measure of what another one will take.
        if self.tcp_buffer_bytes.is_some_and(|buffers| buffers.left() == 0) {
            bounds.push((0, Limit::TcpBuffers));
        }
        let (room, limit) =
            bounds.into_iter().min_by_key(|&(streams, _)| streams).unwrap_or((0, Limit::Asked));
        match wanted.min(usize::try_from(room).unwrap_or(usize::MAX)) {
            streams if streams >= STREAMS_MIN => Ok(streams),
            _ => Err(limit),
        }
    }

    /// What is left for everybody else: 4 GiB, or a quarter of a small machine.
    fn memory_reserve_bytes(&self) -> u64 {
        RESERVE_BYTES_MAX.min(self.memory_total_bytes / 4)
    }

    /// The machine's limits, for the results.
    pub(crate) fn limits(&self) -> Value {
        json!({
            "memory_left_bytes": self.memory_left_bytes,
            "memory_reserve_bytes": self.memory_reserve_bytes(),
            "file_max": self.files.max,
            "nr_open": numbers("/proc/sys/fs/nr_open").first(),
            "tracked_connections_max": self.tracked.map(|tracked| tracked.max),
            "tcp_buffer_bytes_max": self.tcp_buffer_bytes.map(|buffers| buffers.max),
            "somaxconn": numbers("/proc/sys/net/core/somaxconn").first(),
        })
    }
}

impl Share {
    /// The last twentieth is for others.
    fn left(self) -> u64 {
        (self.max - self.max / 20).saturating_sub(self.taken)
    }
}

impl Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { reserve_bytes } => {
                let gib = *reserve_bytes as f64 / f64::from(1 << 30);
                write!(f, "memory: all but {gib:.1} GiB is taken")
            }
            Self::Files => f.write_str("fs.file-max: the system's open files"),
            Self::Tracking => f.write_str("nf_conntrack_max: connections the firewall remembers"),
            Self::TcpBuffers => f.write_str("net.ipv4.tcp_mem: memory of all TCP buffers"),
            Self::Asked => f.write_str("no more were asked for"),
            Self::Failure(reason) => f.write_str(reason),
        }
    }
}

fn tracked() -> Option<Share> {
    let one = |name: &str| numbers(&format!("/proc/sys/net/netfilter/{name}")).first().copied();
    Some(Share { taken: one("nf_conntrack_count")?, max: one("nf_conntrack_max")? })
}

/// None at all where the file is missing or says something else.
fn numbers(file: &str) -> Vec<u64> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map_while(|word| word.parse().ok()).collect()
}

/// One descriptor at each end.
const FILES_PER_STREAM: u64 = 2;
/// Fewer are not worth two processes.
pub(super) const STREAMS_MIN: usize = 2 * super::WARM_UP;
const RESERVE_BYTES_MAX: u64 = 4 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const STREAM_BYTES: u64 = 10_000;

    fn wide() -> Room {
        Room {
            memory_left_bytes: 20 * GIB,
            memory_total_bytes: 24 * GIB,
            files: Share { taken: 1000, max: 2_000_000 },
            tracked: None,
            tcp_buffer_bytes: Some(Share { taken: 0, max: 2 * GIB }),
        }
    }

    #[test]
    fn where_there_is_room_for_all_all_are_opened() {
        assert_eq!(wide().streams(19_900, STREAM_BYTES), Ok(19_900));
    }

    #[test]
    fn the_last_processes_get_what_is_left_of_the_memory() {
        let room = Room { memory_left_bytes: 4 * GIB + 50_000_000, ..wide() };
        assert_eq!(room.streams(19_900, STREAM_BYTES), Ok(5000));
        let full = Room { memory_left_bytes: 4 * GIB + 1000, ..wide() };
        let limit = Limit::Memory { reserve_bytes: 4 * GIB };
        assert_eq!(full.streams(19_900, STREAM_BYTES), Err(limit));
    }

    #[test]
    fn a_small_machine_keeps_a_quarter() {
        let room = Room { memory_left_bytes: 3 * GIB / 2, memory_total_bytes: 2 * GIB, ..wide() };
        assert_eq!(room.streams(19_900, STREAM_BYTES), Ok(19_900));
    }

    #[test]
    fn each_limit_of_the_kernel_says_its_name() {
        let files = Room { files: Share { taken: 96_000, max: 100_000 }, ..wide() };
        assert_eq!(files.streams(19_900, STREAM_BYTES), Err(Limit::Files));
        let tracked = Some(Share { taken: 249_000, max: 262_144 });
        assert_eq!(Room { tracked, ..wide() }.streams(19_900, STREAM_BYTES), Err(Limit::Tracking));
        let tcp_buffer_bytes = Some(Share { taken: 2 * GIB, max: 2 * GIB });
        let room = Room { tcp_buffer_bytes, ..wide() };
        assert_eq!(room.streams(19_900, STREAM_BYTES), Err(Limit::TcpBuffers));
    }

    #[test]
    fn two_files_belong_to_a_stream() {
        let room = Room { files: Share { taken: 85_000, max: 100_000 }, ..wide() };
        assert_eq!(room.streams(19_900, STREAM_BYTES), Ok(5000));
    }

    #[test]
    fn this_machine_tells_what_it_has() {
        assert!(Room::read().unwrap().memory_left_bytes > 0);
    }
}
