//! Pods: what one is, what may be asked of it, and its pages.

pub mod api;
mod approve;
mod axis;
mod delete;
mod facts;
mod failed;
mod feed;
mod files;
mod filter;
mod form;
mod git_access;
mod happened;
mod head;
mod lines;
mod list;
mod log;
mod names;
mod new;
mod open_in;
mod page;
mod plan;
mod processes;
mod rename;
mod repository;
mod repository_field;
mod row;
mod summary;
mod terminal;
mod tier;
mod tier_field;
pub mod timeline;
mod timeline_strip;
mod timeline_table;
mod timeline_view;
mod wishes;

pub use git_access::{GitAccess, GitWay, GitWhy};
pub use list::PodsPage;
pub use names::{NameError, PodName};
pub use new::NewPodPage;
pub use page::PodPage;
pub use plan::{Plan, PlannedProcess, Setup, SetupState};
pub use repository::{Branch, BranchName, Repository, RepositoryAddress, RepositoryError};
pub use tier::Tier;
pub use timeline_view::TimelineExample;

use crate::ids::{PodId, TeamId, UserId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// What was last seen of a pod's machine. Written by jobs only; requests write `Desired`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PodStatus {
    /// Written when the pod is created; no job has begun, or there is no room yet. Next: provisioning, starting, stopped, stopping, deleting, failed.
    Queued,
    /// The job reserves a host and makes layer, network and sandbox for the first time. Next: running, starting, queued, failed, stopping, deleting.
    Provisioning,
    /// The job boots a sandbox over the layer that is there. Next: running, failed, stopping, deleting.
    Starting,
    /// The sandbox runs and its terminal is open. Next: stopping, starting (restart, or it ended by itself), deleting, failed.
    Running,
    /// The job ends the sandbox. Next: stopped, starting, queued, failed, deleting.
    Stopping,
    /// No sandbox; the layer is kept. Next: starting, queued, stopping, failed, deleting.
    Stopped,
    /// A machine step failed for good; `failure` says which. Next: whatever is wished: provisioning, starting, stopping, deleting.
    Failed,
    /// The job removes everything from the host. Next: deleted, failed.
    Deleting,
    /// Nothing is left; the row stays for the record.
    Deleted,
}

impl PodStatus {
    /// The word a person reads.
    pub fn label(self) -> &'static str {
        match self {
            PodStatus::Queued => "Queued",
            PodStatus::Provisioning => "Provisioning",
            PodStatus::Starting => "Starting",
            PodStatus::Running => "Running",
            PodStatus::Stopping => "Stopping",
            PodStatus::Stopped => "Stopped",
            PodStatus::Failed => "Failed",
            PodStatus::Deleting => "Deleting",
            PodStatus::Deleted => "Deleted",
        }
    }

    /// As it stands in the database, the API and class names.
    pub fn as_str(self) -> &'static str {
        match self {
            PodStatus::Queued => "queued",
            PodStatus::Provisioning => "provisioning",
            PodStatus::Starting => "starting",
            PodStatus::Running => "running",
            PodStatus::Stopping => "stopping",
            PodStatus::Stopped => "stopped",
            PodStatus::Failed => "failed",
            PodStatus::Deleting => "deleting",
            PodStatus::Deleted => "deleted",
        }
    }

    pub const ALL: [PodStatus; 9] = [
        PodStatus::Queued,
        PodStatus::Provisioning,
        PodStatus::Starting,
        PodStatus::Running,
        PodStatus::Stopping,
        PodStatus::Stopped,
        PodStatus::Failed,
        PodStatus::Deleting,
        PodStatus::Deleted,
    ];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// A job is at work, or is about to be.
    pub fn is_moving(self) -> bool {
        matches!(self, PodStatus::Queued | PodStatus::Provisioning | PodStatus::Starting | PodStatus::Stopping | PodStatus::Deleting)
    }
}

/// What its user asked for. Written by requests only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Desired {
    Running,
    Stopped,
    Deleted,
}

impl Desired {
    pub fn as_str(self) -> &'static str {
        match self {
            Desired::Running => "running",
            Desired::Stopped => "stopped",
            Desired::Deleted => "deleted",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Desired::Running, Desired::Stopped, Desired::Deleted].into_iter().find(|d| d.as_str() == text)
    }
}

/// What may be asked of a pod in every state; the newest wish wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    Start,
    Stop,
    /// A sandbox that runs is stopped first.
    Restart,
    /// Try again what failed: the machine, or nothing when it runs.
    Retry,
    Delete,
}

/// A pod as every door shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Pod {
    pub id: PodId,
    pub name: String,
    /// Handle of the owner.
    pub owner: String,
    pub owner_id: UserId,
    pub team_id: TeamId,
    /// The team's slug: it stands in addresses.
    pub team: String,
    pub tier: Tier,
    pub status: PodStatus,
    pub desired: Desired,
    /// False while its host has not been heard for 30 s.
    pub reachable: bool,
    /// It runs with secrets that were changed since it was booted: a restart brings the latest.
    #[serde(default)]
    pub secrets_outdated: bool,
    /// A wish that no job has answered yet.
    pub behind: bool,
    pub setup: Setup,
    /// `owner/name` at GitHub, or an https address; None for an empty pod.
    pub repository: Option<String>,
    pub branch: Option<String>,
    /// Full hash of what was cloned.
    pub commit: Option<String>,
    pub host: Option<String>,
    pub host_ip: Option<String>,
    pub internal_ip: Option<String>,
    /// Why this host and not another.
    pub placement: Option<String>,
    pub failure: Option<Failure>,
    /// Why it is still queued, such as no room on any host.
    pub waiting_for: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_used_at: Option<OffsetDateTime>,
    /// When the sandbox that runs now was booted.
    #[serde(with = "time::serde::rfc3339::option")]
    pub running_since: Option<OffsetDateTime>,
    /// How its git reaches GitHub; None before that was settled, and where its repository is elsewhere.
    #[serde(default)]
    pub git_access: Option<GitAccess>,
}

/// Why a machine step failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// One of [`timeline::STEPS`], or `stop`, `delete`.
    pub step: String,
    /// Stable, such as `no_capacity`, `host_unreachable`, `stale_fence`.
    pub code: String,
    pub message: String,
    /// Its last output, at most 8 KiB.
    #[serde(default)]
    pub output: String,
    /// What was tried, such as `5 tries over 2 min`.
    #[serde(default)]
    pub tried: String,
    /// What is likely to help.
    #[serde(default)]
    pub remedy: String,
}

/// Body of POST /pods. Strings as typed: parsed and refused with a message by field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPod {
    /// `[a-z0-9]{1,20}`, unique for its owner.
    pub name: String,
    /// `dev.small`, `dev.medium`, `dev.large` or `dev.xlarge`.
    pub tier: String,
    /// The personal team if left out.
    #[serde(default)]
    pub team_id: Option<TeamId>,
    /// `owner/name` at GitHub, or an https address; an empty pod if left out.
    #[serde(default)]
    pub repository: Option<String>,
    /// The default branch if left out.
    #[serde(default)]
    pub branch: Option<String>,
}

impl Pod {
    /// Where its page is.
    pub fn address(&self) -> String {
        format!("/teams/{}/pods/{}", self.team, self.id)
    }
}

/// Body of PATCH /pods/{id}.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PodPatch {
    #[serde(default)]
    pub name: Option<String>,
    /// Takes effect at the next start.
    #[serde(default)]
    pub tier: Option<String>,
}

/// What a list of pods is narrowed to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodQuery {
    /// The slug of a team.
    #[serde(default)]
    pub team: Option<String>,
    #[serde(default)]
    pub team_id: Option<TeamId>,
    /// Part of name, repository or owner.
    #[serde(default)]
    pub search: Option<String>,
    /// `running`, `moving` (under way), `stopped`, `failed`.
    #[serde(default)]
    pub status: Option<String>,
    #[serde(default)]
    pub tier: Option<String>,
    /// `me`: the caller's own alone.
    #[serde(default)]
    pub owner: Option<String>,
    #[serde(default)]
    pub cursor: Option<String>,
    /// 1–100; 50 if left out.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Hand it in again as `cursor`; None on the last page.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// With the page behind it.
    pub fn append(&mut self, behind: Page<T>) {
        self.items.extend(behind.items);
        self.next_cursor = behind.next_cursor;
    }
}

/// One line of a pod's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PodEvent {
    /// Rises by one; "after N" never skips one.
    pub seq: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub generation: i64,
    /// One of [`timeline::STEPS`], or `stop`, `delete`.
    pub step: String,
    pub kind: EventKind,
    pub stream: Option<EventStream>,
    /// At most 16 KiB; may hold several lines.
    pub text: String,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub data: Option<serde_json::Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A step began; `text` says what with.
    Begin,
    Output,
    /// A step ended; `data.outcome` says how: `ok`, `wait`, `later` or `failed`.
    End,
    /// The pod's status changed; `text` is the new one.
    Status,
}

impl EventKind {
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Begin => "begin",
            EventKind::Output => "output",
            EventKind::End => "end",
            EventKind::Status => "status",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [EventKind::Begin, EventKind::Output, EventKind::End, EventKind::Status].into_iter().find(|k| k.as_str() == text)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventStream {
    Stdout,
    Stderr,
}

/// What a stream of a pod's events carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum PodNews {
    /// The pod as it is now; sent first and after every change.
    Pod {
        pod: Box<Pod>,
    },
    Event {
        event: PodEvent,
    },
    /// Processes, ports and meters; while the pod runs.
    Live {
        live: Box<PodLive>,
    },
}

/// What runs in a pod now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PodLive {
    /// Thousandths of a core.
    pub cpu_milli: u32,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    pub processes: Vec<Process>,
    pub ports: Vec<ListeningPort>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Process {
    pub name: String,
    pub command: String,
    pub port: Option<u16>,
    /// `starting`, `running` or `backing_off`.
    pub state: String,
    /// Seconds until it is started again.
    pub restart_in: Option<u32>,
    pub up_seconds: Option<u64>,
    pub restarts: u32,
    pub exit_code: Option<i32>,
    /// What the health check last said, such as `200`.
    pub health: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListeningPort {
    pub port: u16,
    pub process: Option<String>,
}

/// A named terminal of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Terminal {
    pub name: String,
    pub viewers: u32,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// Body of POST /pods/{id}/exec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecRequest {
    /// 1–256 strings, together at most 128 KiB; the first names the program.
    pub argv: Vec<String>,
    #[serde(default)]
    pub stdin: Option<String>,
    #[serde(default)]
    pub env: std::collections::BTreeMap<String, String>,
    /// 1–3600; 60 if left out.
    #[serde(default)]
    pub timeout_seconds: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExecResult {
    /// None when it timed out or was ended by a signal.
    pub exit_code: Option<i32>,
    /// At most 1 MiB; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    pub stderr: String,
    pub truncated: bool,
    pub timed_out: bool,
}

/// This month so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MonthUse {
    pub running_seconds: u64,
    /// US cents: the tier's monthly price by the share of the month that it ran.
    pub cents: u64,
}

/// What a pod's page begins with. The stream brings the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PodStart {
    pub pod: Pod,
    /// The first of its log.
    pub events: Vec<PodEvent>,
    pub usual: Vec<timeline::UsualTime>,
    pub month: MonthUse,
}
