//! What one owner's pods may take together.

use super::store;
use crate::config::QuotaConfig;
use pinacle_app::{
    AppError, AppResult, ErrorCode,
    account::{Allowance, Quota},
    ids::UserId,
    pods::Tier,
};
use sqlx::PgConnection;

const GIB: u64 = 1 << 30;

pub async fn of(connection: &mut PgConnection, limits: &QuotaConfig, owner: UserId) -> Result<Quota, sqlx::Error> {
    let rows = store::usage_of(connection, owner).await?;
    let sum = |what: fn(Tier) -> u64, running_only: bool| -> u64 {
        rows.iter()
            .filter(|(_, running, _)| *running || !running_only)
            .filter_map(|(tier, _, count)| Some(what(Tier::parse(tier)?) * u64::try_from(*count).unwrap_or(0)))
            .sum()
    };
    Ok(Quota {
        pods: Allowance { used: sum(|_| 1, false), limit: limits.quota_pods.into() },
        cpu_milli: Allowance { used: sum(|t| t.cpu_milli().into(), true), limit: u64::from(limits.quota_cpu) * 1000 },
        memory_bytes: Allowance { used: sum(Tier::memory_bytes, true), limit: u64::from(limits.quota_memory_gb) * GIB },
        disk_bytes: Allowance { used: sum(Tier::disk_bytes, false), limit: u64::from(limits.quota_disk_gb) * GIB },
    })
}

/// What a change adds to what is used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Addition {
    pub pods: u64,
    pub cpu_milli: u64,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
}

impl Addition {
    pub fn new_pod(tier: Tier) -> Self {
        Self { pods: 1, disk_bytes: tier.disk_bytes(), ..Self::start(tier) }
    }

    pub fn start(tier: Tier) -> Self {
        Self { cpu_milli: tier.cpu_milli().into(), memory_bytes: tier.memory_bytes(), ..Self::default() }
    }
}

/// Refuses what goes over, with the figures.
pub fn check(quota: &Quota, add: Addition) -> AppResult<()> {
    let cores = |milli: u64| format!("{}", milli as f64 / 1000.0);
    let gb = |bytes: u64| (bytes / GIB).to_string();
    refuse("pods", quota.pods, add.pods, |n| n.to_string())?;
    refuse("CPU", quota.cpu_milli, add.cpu_milli, cores)?;
    refuse("GB of memory", quota.memory_bytes, add.memory_bytes, gb)?;
    refuse("GB of storage", quota.disk_bytes, add.disk_bytes, gb)
}

/// Refuses `more` where it does not fit, unless nothing is added.
fn refuse(what: &str, allowance: Allowance, more: u64, show: impl Fn(u64) -> String) -> AppResult<()> {
    if more == 0 || allowance.used + more <= allowance.limit {
        return Ok(());
    }
    let message = format!(
        "Your quota is {} {what}; {} are in use and this needs {}. Stop or delete a pod first.",
        show(allowance.limit),
        show(allowance.used),
        show(more)
    );
    Err(AppError::new(ErrorCode::QuotaExceeded, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_over_is_refused_with_the_figures() {
        let room = |used, limit| Allowance { used, limit };
        let quota = Quota { pods: room(2, 10), cpu_milli: room(7500, 8000), memory_bytes: room(GIB, 16 * GIB), disk_bytes: room(0, 200 * GIB) };
        assert!(check(&quota, Addition::new_pod(Tier::Small)).is_ok());
        let error = check(&quota, Addition::new_pod(Tier::Medium)).unwrap_err();
        assert_eq!(error.code, ErrorCode::QuotaExceeded);
        assert_eq!(error.message, "Your quota is 8 CPU; 7.5 are in use and this needs 1. Stop or delete a pod first.");
    }
}
