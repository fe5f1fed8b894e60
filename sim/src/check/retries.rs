//! The waits between attempts at a required peer: those of the series, within its jitter.

use std::time::Duration;

use headwater_core::supervisor::{BackoffConfig, BackoffKind};

use crate::host::{Violation, ensure};

/// The wait after so many failures in a row, before jitter.
fn series(config: &BackoffConfig, failures: u32) -> Duration {
    let (mut wait, mut next) = (config.first, 2 * config.first);
    for _ in 1..failures {
        (wait, next) = match config.kind {
            BackoffKind::Fibonacci => (next, wait + next),
            BackoffKind::Exponential => (next, 2 * next),
            BackoffKind::Constant => (wait, wait),
        };
        if wait >= config.ceiling || config.kind == BackoffKind::Constant {
            break;
        }
    }
    wait.min(config.ceiling)
}

/// Checks that a wait is the one that is due after so many failures.
pub(crate) fn check(
    config: &BackoffConfig,
    failures: u32,
    wait: Duration,
) -> Result<(), Violation> {
    ensure!(failures > 0, "a wait of {wait:?} after no failure");
    let due = series(config, failures);
    let slack = due.mul_f64(f64::from(config.jitter) / 100.0) + Duration::from_millis(1);
    let good = wait + slack >= due && wait <= due + slack;
    ensure!(good, "a wait of {wait:?} after {failures} failures, where {due:?} is due");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_series_pass_and_others_are_seen() {
        let config = BackoffConfig::default();
        let seconds = [1, 2, 3, 5, 8, 13, 21, 34, 55, 60, 60, 60];
        for (at, seconds) in seconds.into_iter().enumerate() {
            let (failures, due) = (at as u32 + 1, Duration::from_secs(seconds));
            assert_eq!(check(&config, failures, due), Ok(()));
            assert_eq!(check(&config, failures, due.mul_f64(1.09)), Ok(()));
            assert!(check(&config, failures, due.mul_f64(1.12)).is_err());
            assert!(check(&config, failures, due.mul_f64(0.88)).is_err());
        }
        assert!(check(&config, 0, Duration::from_secs(1)).is_err());
        let exponential = BackoffConfig { kind: BackoffKind::Exponential, ..config };
        let waits: Vec<u64> = (1..9).map(|n| series(&exponential, n).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        let constant = BackoffConfig { kind: BackoffKind::Constant, ..config };
        assert_eq!(series(&constant, 7), config.first);
    }
}
