//! The process's limit of descriptors. Every connection uses one.

use std::{io, sync::Once};

use super::system::{self, DescriptorLimits};

/// Raises the soft limit of descriptors (`ulimit -n`) to the hard limit, for the complete process,
/// and returns the result; `u64::MAX` without a limit. Many systems have a soft limit of 1,024 and
/// a hard one hundreds of times higher, for programs that use `select`.
///
/// The library does not do this on its own. Call it before
/// [`Reactor::listen`](crate::Reactor::listen), which warns once about a low limit.
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

/// Number of connections to reserve room for when none is configured.
pub(super) fn connections_to_expect() -> Option<usize> {
    let soft = system::descriptor_limits()?.soft;
    Some(usize::try_from(soft).map_or(EXPECTED_MAX, |soft| soft.min(EXPECTED_MAX)))
}

/// Warns if the soft limit is low, once per process.
pub(super) fn warn_once_if_few(expected_connections: Option<usize>) {
    static WARNED: Once = Once::new();
    if let Some(limits) = system::descriptor_limits()
        && let Some(advice) = advice(limits, expected_connections.unwrap_or(0))
    {
        WARNED.call_once(|| log::warn!("{advice}"));
    }
}

/// Advice for a soft limit that is low for this many connections; `None` if it is high enough.
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

/// 10 MB of address space: negligible, even on systems that count all of it as used.
const EXPECTED_MAX: usize = 65_536;
/// Descriptors that are not connections: listeners, the poller, the program's own files.
const RESERVE: u64 = 100;
/// Lower limits always cause a warning.
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
