//! The tiers: one table for the form, the price, placement and the host.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum Tier {
    #[serde(rename = "dev.small")]
    Small,
    #[serde(rename = "dev.medium")]
    Medium,
    #[serde(rename = "dev.large")]
    Large,
    #[serde(rename = "dev.xlarge")]
    XLarge,
}

const GIB: u64 = 1 << 30;

impl Tier {
    pub const ALL: [Tier; 4] = [Tier::Small, Tier::Medium, Tier::Large, Tier::XLarge];

    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Small => "dev.small",
            Tier::Medium => "dev.medium",
            Tier::Large => "dev.large",
            Tier::XLarge => "dev.xlarge",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == text)
    }

    /// Thousandths of a core.
    pub fn cpu_milli(self) -> u32 {
        match self {
            Tier::Small => 500,
            Tier::Medium => 1000,
            Tier::Large => 2000,
            Tier::XLarge => 4000,
        }
    }

    pub fn memory_bytes(self) -> u64 {
        GIB * match self {
            Tier::Small => 1,
            Tier::Medium => 2,
            Tier::Large => 4,
            Tier::XLarge => 8,
        }
    }

    pub fn disk_bytes(self) -> u64 {
        10 * self.memory_bytes()
    }

    /// US dollars a month.
    pub fn dollars(self) -> u32 {
        match self {
            Tier::Small => 6,
            Tier::Medium => 12,
            Tier::Large => 24,
            Tier::XLarge => 48,
        }
    }

    /// Such as `0.5` or `2`.
    pub fn cores(self) -> String {
        let milli = self.cpu_milli();
        if milli.is_multiple_of(1000) { (milli / 1000).to_string() } else { format!("{}", f64::from(milli) / 1000.0) }
    }

    pub fn memory_gb(self) -> u64 {
        self.memory_bytes() / GIB
    }

    pub fn disk_gb(self) -> u64 {
        self.disk_bytes() / GIB
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_published_one() {
        let rows: Vec<_> = Tier::ALL.iter().map(|t| (t.as_str(), t.cores(), t.memory_gb(), t.disk_gb(), t.dollars())).collect();
        assert_eq!(
            rows,
            [
                ("dev.small", "0.5".to_owned(), 1, 10, 6),
                ("dev.medium", "1".to_owned(), 2, 20, 12),
                ("dev.large", "2".to_owned(), 4, 40, 24),
                ("dev.xlarge", "4".to_owned(), 8, 80, 48),
            ]
        );
    }
}
