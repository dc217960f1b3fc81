//! How many descriptors the process may have. Every connection is one.

use std::{io, sync::Once};

use super::system::{self, DescriptorLimits};

/// Raises the soft limit of descriptors (`ulimit -n`) to the hard one, for the whole process, and
/// tells what it is then; `u64::MAX` without a limit. Many systems start with a soft limit of 1,024
/// and a hard one hundreds of times higher, for the sake of programs that use `select`.
///
/// The library never does so by itself. Call it before [`Reactor::listen`](crate::Reactor::listen),
/// which warns once of a low limit.
///
/// ```
/// let mut config = starwheel::Config::default();
/// let descriptors = starwheel::raise_descriptor_limit()?;
/// // Some for listeners, files and what else the program opens.
/// config.limits.connections = usize::try_from(descriptors.saturating_sub(500)).ok();
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// When the system refuses, and [`Unsupported`](io::ErrorKind::Unsupported) elsewhere than on Linux.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    system::raise_descriptors()
}

/// For how many connections a reactor makes room that was not told how many will come.
pub(super) fn connections_to_expect() -> Option<usize> {
    let soft = system::descriptor_limits()?.soft;
    Some(usize::try_from(soft).map_or(EXPECTED_MAX, |soft| soft.min(EXPECTED_MAX)))
}

/// Warns, once in the life of the process, if the soft limit is low.
pub(super) fn warn_once_if_few(expected_connections: Option<usize>) {
    static WARNED: Once = Once::new();
    if let Some(limits) = system::descriptor_limits()
        && let Some(advice) = advice(limits, expected_connections.unwrap_or(0))
    {
        WARNED.call_once(|| log::warn!("{advice}"));
    }
}

/// What to do about a soft limit that is low for so many connections; `None` if it is not.
fn advice(limits: DescriptorLimits, expected_connections: usize) -> Option<String> {
    let DescriptorLimits { soft, hard } = limits;
    let wanted = (expected_connections as u64 + RESERVE).max(FEW);
    (soft < wanted).then(|| {
        let how = match hard >= wanted {
            true => "call starwheel::raise_descriptor_limit(), or raise",
            false => "raise",
        };
        format!(
            "only {soft} descriptors are allowed, one for each connection; {how} `ulimit -n` \
             (systemd: LimitNOFILE=) to {wanted} or more (the hard limit is {hard})"
        )
    })
}

/// 10 MB of address space: no matter, even where a system counts all of it as used.
const EXPECTED_MAX: usize = 65_536;
/// Descriptors that are not connections: listeners, the poller, files of the program's own.
const RESERVE: u64 = 100;
/// Below this, a limit is warned of whatever is expected.
const FEW: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_limit_comes_with_advice_that_helps() {
        let advice = |soft, hard, expected| advice(DescriptorLimits { soft, hard }, expected);
        assert_eq!(advice(1_048_576, 1_048_576, 0), None);
        assert_eq!(advice(u64::MAX, u64::MAX, 1_000_000), None);
        assert_eq!(advice(4_096, 4_096, 3_996), None);
        let raisable = advice(1_024, 1_048_576, 0).unwrap();
        assert!(raisable.contains("raise_descriptor_limit()") && raisable.contains("4096"));
        let hard = advice(20_000, 20_000, 20_000).unwrap();
        assert!(!hard.contains("raise_descriptor_limit()") && hard.contains("20100"), "{hard}");
        assert!(hard.contains("`ulimit -n`") && hard.contains("LimitNOFILE="));
    }
}
