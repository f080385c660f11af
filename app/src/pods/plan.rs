//! The set-up of a pod: what of its repository will run, and how far that is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SetupState {
    /// Nothing to set up, or not begun.
    #[default]
    None,
    /// Cloned; nothing of it runs until its plan is approved.
    AwaitingApproval,
    Running,
    Done,
    /// A set-up step failed; the pod runs all the same.
    Failed,
}

impl SetupState {
    pub const ALL: [SetupState; 5] = [SetupState::None, SetupState::AwaitingApproval, SetupState::Running, SetupState::Done, SetupState::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            SetupState::None => "none",
            SetupState::AwaitingApproval => "awaiting_approval",
            SetupState::Running => "running",
            SetupState::Done => "done",
            SetupState::Failed => "failed",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Setup {
    #[serde(default)]
    pub state: SetupState,
    /// The step under way, or the one that failed: `clone`, `install`, `processes`, `health`.
    #[serde(default)]
    pub step: Option<String>,
    /// Stable, such as `repository_not_found`, `branch_not_found`, `install_failed`, `invalid_config`.
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub message: Option<String>,
    /// Last output of the step that failed, at most 8 KiB.
    #[serde(default)]
    pub output: Option<String>,
    #[serde(default)]
    pub remedy: Option<String>,
    #[serde(default)]
    pub plan: Option<Plan>,
    /// SHA-256 of the plan, in hex: what an approval names.
    #[serde(default)]
    pub plan_digest: Option<String>,
}

/// What will run, and from which commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    pub commit: String,
    /// The file it was read or guessed from, such as `pinacle.yaml` or `package.json`.
    pub source: String,
    /// Guessed from what lies in the repository, not read from a `pinacle.yaml`.
    pub guessed: bool,
    /// Run by `bash -lc` in the repository's folder.
    #[serde(default)]
    pub install: Option<String>,
    #[serde(default)]
    pub processes: Vec<PlannedProcess>,
    /// The plan as a `pinacle.yaml` that can be committed.
    pub yaml: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedProcess {
    pub name: String,
    pub start_command: String,
    #[serde(default)]
    pub port: Option<u16>,
    /// A path such as `/healthz`.
    #[serde(default)]
    pub health_check: Option<String>,
}
