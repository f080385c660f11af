//! What one user's pods may take together. The limits come from the configuration, what is used from the pods.

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

/// The caller's quota now. In a transaction that holds the user's row, it still holds when it is acted on.
pub async fn of(db: &mut PgConnection, limits: QuotaConfig, user: UserId) -> Result<Quota, sqlx::Error> {
    let mut quota = Quota {
        pods: Allowance { used: 0, limit: limits.quota_pods.into() },
        cpu_milli: Allowance { used: 0, limit: 1000 * u64::from(limits.quota_cpu) },
        memory_bytes: Allowance { used: 0, limit: GIB * u64::from(limits.quota_memory_gb) },
        disk_bytes: Allowance { used: 0, limit: GIB * u64::from(limits.quota_disk_gb) },
    };
    for count in store::pods_by_tier(db, user).await? {
        quota.pods.used += u64::from(count.all);
        quota.cpu_milli.used += u64::from(count.active) * u64::from(count.tier.cpu_milli());
        quota.memory_bytes.used += u64::from(count.active) * count.tier.memory_bytes();
        quota.disk_bytes.used += u64::from(count.all) * count.tier.disk_bytes();
    }
    Ok(quota)
}

/// Refuses, with the figures, one more pod of this tier.
pub fn check_new_pod(quota: &Quota, tier: Tier) -> AppResult<()> {
    check(quota.pods, 1, |n| format!("{n} pods"))?;
    check(quota.disk_bytes, tier.disk_bytes(), |n| format!("{} GB of storage", n / GIB))?;
    check_start(quota, tier)
}

/// Refuses, with the figures, a pod of this tier to run that does not run yet.
pub fn check_start(quota: &Quota, tier: Tier) -> AppResult<()> {
    check(quota.cpu_milli, tier.cpu_milli().into(), |n| format!("{} CPU", n as f64 / 1000.0))?;
    check(quota.memory_bytes, tier.memory_bytes(), |n| format!("{} GB of memory", n / GIB))
}

fn check(allowance: Allowance, more: u64, shown: impl Fn(u64) -> String) -> AppResult<()> {
    if allowance.used + more <= allowance.limit {
        return Ok(());
    }
    let message = format!(
        "This needs {} more than your quota has left: {} of {} are in use. Stop or delete a pod first.",
        shown(more),
        shown(allowance.used),
        shown(allowance.limit)
    );
    Err(AppError::new(ErrorCode::QuotaExceeded, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_over_the_quota_is_refused_with_the_figures() {
        let full = Allowance { used: 0, limit: u64::MAX };
        let quota = Quota { pods: full, cpu_milli: Allowance { used: 7500, limit: 8000 }, memory_bytes: full, disk_bytes: full };
        assert!(check_new_pod(&quota, Tier::Small).is_ok());
        let refusal = check_new_pod(&quota, Tier::Medium).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::QuotaExceeded);
        assert_eq!(refusal.message, "This needs 1 CPU more than your quota has left: 7.5 CPU of 8 CPU are in use. Stop or delete a pod first.");
    }
}
