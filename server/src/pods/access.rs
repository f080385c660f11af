//! Who may do what with pods: members of a pod's team use it; only its owner and the team's owners delete it.

use super::{
    event_store, quota, store,
    store::{Cursor, NewRow, PodRow, WishRow},
    streams, wishes,
};
use crate::{
    account::may_change,
    activity::{self, Home},
    control::ControlPlane,
    db::fault,
    hosts::HostTarget,
    news::{self, Change},
    paging,
};
use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures::stream::BoxStream;
use pinacle_app::{
    AppError, AppResult, ErrorCode, FieldErrors,
    backend::{ByteConnection, Caller, FileContent, Pods, ProcessStart, TerminalConnection, TerminalSize},
    ids::{HostId, PodId, TeamId},
    pods::{
        BranchName, Desired, ExecRequest, ExecResult, MonthUse, NewPod, Page, Pod, PodEvent, PodLive, PodName, PodNews, PodPatch, PodQuery, PodStart,
        PodStatus, RepositoryAddress, SetupState, Terminal, Tier, Wish, timeline::UsualTime,
    },
    teams::{TeamRole, activity::Action},
};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

const DEFAULT_PAGE: u32 = 50;
const MAX_PAGE: u32 = 100;
const MAX_EVENTS: u32 = 1000;
/// Events that a page begins with.
const EVENTS_AT_START: i64 = 2000;
const MAX_SEARCH: usize = 100;
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// A form or body after it was parsed.
struct Wanted {
    name: PodName,
    tier: Tier,
    repository: Option<String>,
    branch: Option<BranchName>,
}

fn parse(new: &NewPod) -> AppResult<Wanted> {
    let mut errors = FieldErrors::default();
    let name = errors.take("name", PodName::parse(&new.name));
    let tier = errors.take("tier", Tier::parse(&new.tier).ok_or("Choose dev.small, dev.medium, dev.large or dev.xlarge."));
    let given = |text: &Option<String>| text.as_deref().map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned);
    let repository = given(&new.repository).and_then(|text| errors.take("repository", RepositoryAddress::parse(&text)));
    let branch = given(&new.branch).and_then(|text| errors.take("branch", BranchName::parse(&text)));
    if branch.is_some() && given(&new.repository).is_none() {
        errors.add("branch", "A branch needs a repository.");
    }
    match (name, tier) {
        (Some(name), Some(tier)) if errors.is_empty() => Ok(Wanted { name, tier, repository: repository.map(|r| r.to_string()), branch }),
        _ => Err(errors.into_error()),
    }
}

fn taken(name: &PodName) -> AppError {
    let mut error = AppError::field("name", format!("You have a pod called {name} already."));
    error.code = ErrorCode::Taken;
    error
}

fn cursor_text(row: &PodRow) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{} {}", row.created_at.unix_timestamp_nanos(), row.id))
}

fn parse_cursor(text: &str) -> AppResult<Cursor> {
    let parsed = || {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (at, id) = text.split_once(' ')?;
        // Postgres knows fewer moments than this type does; no pod is older than their count.
        let at = at.parse::<i128>().ok().filter(|at| *at >= 0)?;
        Some(Cursor { created_at: OffsetDateTime::from_unix_timestamp_nanos(at).ok()?, id: id.parse::<Uuid>().ok()? })
    };
    parsed().ok_or_else(|| AppError::field("cursor", "This cursor is not one of ours: use next_cursor of the page before."))
}

/// The statuses that a filter's word stands for.
fn statuses(filter: Option<&str>) -> AppResult<Vec<&'static str>> {
    let chosen: fn(PodStatus) -> bool = match filter.filter(|f| !f.is_empty()) {
        None => return Ok(Vec::new()),
        Some("running") => |s| s == PodStatus::Running,
        Some("moving") => PodStatus::is_moving,
        Some("stopped") => |s| s == PodStatus::Stopped,
        Some("failed") => |s| s == PodStatus::Failed,
        Some(_) => return Err(AppError::field("status", "One of running, moving, stopped, failed.")),
    };
    Ok(PodStatus::ALL.into_iter().filter(|s| chosen(*s)).map(PodStatus::as_str).collect())
}

/// Tells in the pod's team what was done to it.
async fn record(tx: &mut sqlx::PgConnection, caller: &Caller, row: &PodRow, action: Action, detail: &str) -> AppResult<()> {
    activity::record_by(tx, caller, Home::Team(TeamId(row.team_id)), action, row.id, &row.name, detail).await
}

fn check_owned(row: &PodRow) -> AppResult<()> {
    if row.owner_left_at.is_some() {
        let message = format!("The owner of {} has left the team. An owner of the team takes it over first.", row.name);
        return Err(AppError::new(ErrorCode::WrongState, message));
    }
    Ok(())
}

impl ControlPlane {
    /// The pod, for a member of its team; deleted ones included.
    pub(super) async fn pod_row(&self, caller: &Caller, id: PodId) -> AppResult<PodRow> {
        store::get_for(&self.db, id, caller.user).await.map_err(fault)?.ok_or_else(AppError::not_found)
    }

    /// As `pod_row`; a deleted pod is not there any more.
    async fn live_row(&self, caller: &Caller, id: PodId) -> AppResult<PodRow> {
        let row = self.pod_row(caller, id).await?;
        if row.status() == PodStatus::Deleted { Err(AppError::not_found()) } else { Ok(row) }
    }

    /// A pod whose sandbox runs, and its host.
    pub(super) async fn running(&self, caller: &Caller, id: PodId) -> AppResult<HostTarget> {
        let row = self.live_row(caller, id).await?;
        if row.status() != PodStatus::Running {
            let message = format!("This needs a running pod; {} is {}.", row.name, row.status().label().to_lowercase());
            return Err(AppError::new(ErrorCode::WrongState, message));
        }
        let host = row.host_id.ok_or_else(AppError::internal)?;
        crate::hosts::store::target(&self.db, HostId(host)).await.map_err(fault)?.ok_or_else(AppError::internal)
    }

    async fn role(&self, caller: &Caller, team: TeamId) -> AppResult<TeamRole> {
        crate::teams::store::role(&self.db, team, caller.user).await.map_err(fault)?.ok_or_else(AppError::not_found)
    }

    /// Where a new pod goes, after the team, the name and the quota were checked within the transaction. All on its one
    /// connection: who waits for a second one while holding a first can wait for itself.
    async fn admit(&self, caller: &Caller, new: &NewPod, wanted: &Wanted, tx: &mut sqlx::PgConnection) -> AppResult<TeamId> {
        let team = match new.team_id {
            Some(team) => match crate::teams::store::role_held(tx, team, caller.user).await.map_err(fault)? {
                Some(_) => team,
                None => return Err(AppError::field("team_id", "You are in no team with this id.")),
            },
            None => crate::teams::store::personal(&mut *tx, caller.user).await.map_err(fault)?.ok_or_else(AppError::internal)?,
        };
        store::lock_owner(tx, caller.user).await.map_err(fault)?;
        if store::names_of(&mut *tx, caller.user).await.map_err(fault)?.iter().any(|name| name == wanted.name.as_str()) {
            return Err(taken(&wanted.name));
        }
        let used = quota::of(tx, &self.config.quota, caller.user).await.map_err(fault)?;
        quota::check(&used, quota::Addition::new_pod(wanted.tier))?;
        Ok(team)
    }

    /// Writes a wish and answers with the pod as it is then.
    async fn write_wish(&self, caller: &Caller, row: &PodRow, wish: WishRow<'_>, job: &'static str, action: Action) -> AppResult<Pod> {
        let mut tx = self.db.begin().await.map_err(fault)?;
        self.finish_wish(caller, row, wish, job, action, &mut tx).await?;
        tx.commit().await.map_err(fault)?;
        self.wished(caller, row.id()).await
    }

    /// Writes a wish and what is told of it, in the transaction that it is given.
    async fn finish_wish(
        &self,
        caller: &Caller,
        row: &PodRow,
        wish: WishRow<'_>,
        job: &'static str,
        action: Action,
        tx: &mut sqlx::PgConnection,
    ) -> AppResult<()> {
        if !wishes::write(tx, row.id(), wish, job).await.map_err(fault)? {
            return Err(self.is_going(caller, row.id()).await);
        }
        record(tx, caller, row, action, "").await
    }

    /// The pod after a wish, which may be fulfilled by now: what is deleted is no unknown pod to the one who has asked for that.
    async fn wished(&self, caller: &Caller, id: PodId) -> AppResult<Pod> {
        Ok(self.pod_row(caller, id).await?.into())
    }

    /// Why nothing more is done with a pod.
    async fn is_going(&self, caller: &Caller, id: PodId) -> AppError {
        match self.live_row(caller, id).await {
            Ok(row) => AppError::new(ErrorCode::WrongState, format!("{} is being deleted.", row.name)),
            Err(error) => error,
        }
    }

    /// As `changeable`, for what takes an owner: its quota, its names, its account at GitHub.
    async fn owned(&self, caller: &Caller, id: PodId) -> AppResult<PodRow> {
        let row = self.changeable(caller, id).await?;
        check_owned(&row)?;
        Ok(row)
    }

    /// How long the pod ran this month, and what that costs.
    async fn month_of(&self, id: PodId) -> AppResult<MonthUse> {
        let now = OffsetDateTime::now_utc();
        let month = now.replace_day(1).unwrap_or(now).replace_time(time::Time::MIDNIGHT);
        let month_seconds = f64::from(now.month().length(now.year())) * 86_400.0;
        let spans = store::running_seconds(&self.db, id, month).await.map_err(fault)?;
        let cents: f64 = spans.iter().map(|(tier, seconds)| f64::from(tier.dollars()) * 100.0 * seconds / month_seconds).sum();
        Ok(MonthUse { running_seconds: spans.iter().map(|(_, s)| *s as u64).sum(), cents: cents.round() as u64 })
    }

    /// The row of a pod that its caller may change, unless it is on its way out.
    async fn changeable(&self, caller: &Caller, id: PodId) -> AppResult<PodRow> {
        may_change(caller)?;
        let row = self.live_row(caller, id).await?;
        if row.desired() == Desired::Deleted {
            return Err(AppError::new(ErrorCode::WrongState, format!("{} is being deleted.", row.name)));
        }
        Ok(row)
    }
}

#[async_trait]
impl Pods for ControlPlane {
    async fn pods(&self, caller: &Caller, query: PodQuery) -> AppResult<Page<Pod>> {
        if query.search.as_ref().is_some_and(|s| s.len() > MAX_SEARCH || s.contains('\0')) {
            return Err(AppError::field("search", format!("At most {MAX_SEARCH} characters.")));
        }
        let query = PodQuery {
            team: query.team.filter(|slug| !slug.is_empty()),
            search: query.search.filter(|s| !s.is_empty()),
            tier: query.tier.filter(|t| !t.is_empty()),
            owner: query.owner.filter(|o| !o.is_empty()),
            ..query
        };
        if query.team.as_ref().is_some_and(|slug| slug.len() > MAX_SEARCH || slug.contains('\0')) {
            return Err(AppError::field("team", "The slug of a team."));
        }
        if query.owner.as_deref().is_some_and(|owner| owner != "me") {
            return Err(AppError::field("owner", "me, or left out for everybody's."));
        }
        if query.tier.as_deref().is_some_and(|t| Tier::parse(t).is_none()) {
            return Err(AppError::field("tier", "One of dev.small, dev.medium, dev.large, dev.xlarge."));
        }
        let limit = query.limit.unwrap_or(DEFAULT_PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(AppError::field("limit", format!("1–{MAX_PAGE}.")));
        }
        let after = query.cursor.as_deref().map(parse_cursor).transpose()?;
        let statuses = statuses(query.status.as_deref())?;
        let rows = store::list_for(&self.db, caller.user, &query, &statuses, after, i64::from(limit) + 1).await.map_err(fault)?;
        let Page { items, next_cursor } = paging::page(rows, limit, cursor_text);
        Ok(Page { items: items.into_iter().map(Pod::from).collect(), next_cursor })
    }

    async fn pod(&self, caller: &Caller, id: PodId) -> AppResult<Pod> {
        Ok(self.live_row(caller, id).await?.into())
    }

    /// Without usual times or a price it is still a page.
    async fn pod_start(&self, caller: &Caller, id: PodId) -> AppResult<PodStart> {
        let pod = Pod::from(self.live_row(caller, id).await?);
        let events = event_store::after(&self.db, id, 0, EVENTS_AT_START).await.map_err(fault)?;
        let usual = event_store::usual(&self.db, id).await.map_err(fault).unwrap_or_default();
        let month = self.month_of(id).await.unwrap_or_default();
        Ok(PodStart { pod, events, usual, month })
    }

    async fn check_pod(&self, caller: &Caller, new: &NewPod) -> AppResult<()> {
        let wanted = parse(new)?;
        let _turn = self.turns.of(caller.user).await;
        let mut tx = self.db.begin().await.map_err(fault)?;
        // Rolled back: nothing was written.
        self.admit(caller, new, &wanted, &mut tx).await.map(|_| ())
    }

    async fn suggest_name(&self, caller: &Caller, repository: Option<&str>) -> AppResult<String> {
        let names = store::names_of(&self.db, caller.user).await.map_err(fault)?;
        Ok(PodName::suggest(repository, &names).as_str().to_owned())
    }

    async fn create_pod(&self, caller: &Caller, new: NewPod, idempotency_key: Option<String>) -> AppResult<Pod> {
        may_change(caller)?;
        if idempotency_key.as_ref().is_some_and(|k| k.is_empty() || k.len() > MAX_IDEMPOTENCY_KEY || k.contains('\0')) {
            return Err(AppError::new(ErrorCode::BadRequest, format!("Idempotency-Key has 1–{MAX_IDEMPOTENCY_KEY} characters.")));
        }
        let wanted = parse(&new)?;
        let body_hash = Sha256::digest(serde_json::to_vec(&new).map_err(|_| AppError::internal())?).to_vec();
        let _turn = self.turns.of(caller.user).await;
        let mut tx = self.db.begin().await.map_err(fault)?;
        store::lock_owner(&mut tx, caller.user).await.map_err(fault)?;
        if let Some(key) = &idempotency_key
            && let Some((id, hash)) = store::by_idempotency_key(&mut tx, caller.user, key).await.map_err(fault)?
        {
            if hash != body_hash {
                return Err(AppError::new(ErrorCode::WrongState, "This Idempotency-Key was used with another body."));
            }
            drop(tx);
            return Ok(self.pod_row(caller, id).await?.into());
        }
        let team = self.admit(caller, &new, &wanted, &mut tx).await?;
        let id = PodId(Uuid::now_v7());
        let row = NewRow {
            id,
            team,
            owner: caller.user,
            name: wanted.name.as_str(),
            tier: wanted.tier,
            repository: wanted.repository.as_deref(),
            branch: wanted.branch.as_ref().map(BranchName::as_str),
        };
        store::insert(&mut tx, row).await.map_err(fault)?;
        if let Some(key) = &idempotency_key {
            store::keep_idempotency_key(&mut tx, caller.user, key, &body_hash, id).await.map_err(fault)?;
        }
        let (name, detail) = (wanted.name.as_str(), wanted.repository.as_deref().map(|repository| format!("of {repository}")).unwrap_or_default());
        activity::record_by(&mut tx, caller, Home::Team(team), Action::PodCreate, id.0, name, &detail).await?;
        wishes::enqueue(&mut tx, id, "provision-pod", wishes::ASKED).await.map_err(fault)?;
        news::notify(&mut tx, Change::Pod { pod: id, team }).await.map_err(fault)?;
        tx.commit().await.map_err(fault)?;
        self.pod(caller, id).await
    }

    async fn update_pod(&self, caller: &Caller, id: PodId, patch: PodPatch) -> AppResult<Pod> {
        let row = self.owned(caller, id).await?;
        let mut errors = FieldErrors::default();
        let name = patch.name.as_deref().and_then(|n| errors.take("name", PodName::parse(n)));
        let tier =
            patch.tier.as_deref().and_then(|t| errors.take("tier", Tier::parse(t).ok_or("Choose dev.small, dev.medium, dev.large or dev.xlarge.")));
        errors.check()?;
        let owner = pinacle_app::ids::UserId(row.owner_id);
        let _turn = self.turns.of(owner).await;
        let mut tx = self.db.begin().await.map_err(fault)?;
        store::lock_owner(&mut tx, owner).await.map_err(fault)?;
        // As it is now that nothing else changes what this owner's pods take.
        let row = store::get(&mut *tx, id).await.map_err(fault)?.ok_or_else(AppError::not_found)?;
        check_owned(&row)?;
        let tier = tier.filter(|t| *t != row.tier());
        if let Some(tier) = tier
            && tier.disk_bytes() < row.tier().disk_bytes()
            && row.booted
        {
            return Err(AppError::field("tier", format!("The disk of {} is larger than {}'s: a disk can't shrink.", row.name, tier.as_str())));
        }
        if let Some(tier) = tier {
            let used = quota::of(&mut tx, &self.config.quota, owner).await.map_err(fault)?;
            let running = row.desired() == Desired::Running;
            let more = |what: fn(Tier) -> u64| what(tier).saturating_sub(what(row.tier()));
            let addition = quota::Addition {
                pods: 0,
                cpu_milli: if running { more(|t| t.cpu_milli().into()) } else { 0 },
                memory_bytes: if running { more(Tier::memory_bytes) } else { 0 },
                disk_bytes: more(Tier::disk_bytes),
            };
            quota::check(&used, addition)?;
        }
        let update = store::update(&mut tx, id, name.as_ref().map(PodName::as_str), tier).await;
        match (update, &name) {
            (Err(error), Some(name)) if crate::db::broken_constraint(&error) == Some("pods_name") => return Err(taken(name)),
            (result, _) => result.map_err(fault)?,
        }
        if let Some(name) = name.filter(|name| name.as_str() != row.name) {
            record(&mut tx, caller, &row, Action::PodRename, &format!("to {}", name.as_str())).await?;
        }
        if let Some(tier) = tier {
            record(&mut tx, caller, &row, Action::PodTier, &format!("from {} to {}", row.tier().as_str(), tier.as_str())).await?;
        }
        // A first boot that is under way has taken what the old tier takes.
        if tier.is_some() && !row.booted && row.desired() == Desired::Running {
            let wish = WishRow { reboot: true, ..WishRow::default() };
            wishes::write(&mut tx, id, wish, wishes::job_name(Desired::Running, false)).await.map_err(fault)?;
        }
        super::tell(&mut tx, id).await.map_err(fault)?;
        tx.commit().await.map_err(fault)?;
        self.pod(caller, id).await
    }

    async fn wish(&self, caller: &Caller, id: PodId, wish: Wish) -> AppResult<Pod> {
        may_change(caller)?;
        let row = self.live_row(caller, id).await?;
        if wish == Wish::Delete {
            if row.owner_id != caller.user.0 && self.role(caller, TeamId(row.team_id)).await? != TeamRole::Owner {
                return Err(AppError::forbidden("Only the pod's owner and the team's owners delete it."));
            }
            let wish = WishRow { desired: Some(Desired::Deleted), ..WishRow::default() };
            return self.write_wish(caller, &row, wish, "cleanup-pod", Action::PodDelete).await;
        }
        if wish == Wish::Retry {
            return self.write_wish(caller, &row, WishRow::default(), wishes::job_name(row.desired(), row.booted), Action::PodRetry).await;
        }
        let row = self.changeable(caller, id).await?;
        if wish == Wish::Stop {
            return self.write_wish(caller, &row, wishes::stop(), "stop-pod", Action::PodStop).await;
        }
        let owner = pinacle_app::ids::UserId(row.owner_id);
        let _turn = self.turns.of(owner).await;
        let mut tx = self.db.begin().await.map_err(fault)?;
        store::lock_owner(&mut tx, owner).await.map_err(fault)?;
        let row = store::get(&mut *tx, id).await.map_err(fault)?.ok_or_else(AppError::not_found)?;
        check_owned(&row)?;
        if row.host_state.as_deref() == Some("draining") {
            let message =
                format!("{}'s host is being emptied by an operator, and its disk is there. Try again when the host takes pods again.", row.name);
            return Err(AppError::new(ErrorCode::WrongState, message));
        }
        if row.desired() != Desired::Running {
            let used = quota::of(&mut tx, &self.config.quota, owner).await.map_err(fault)?;
            quota::check(&used, quota::Addition::start(row.tier()))?;
        }
        let action = if wish == Wish::Restart { Action::PodRestart } else { Action::PodStart };
        let wish = WishRow { desired: Some(Desired::Running), reboot: wish == Wish::Restart, ..WishRow::default() };
        self.finish_wish(caller, &row, wish, wishes::job_name(Desired::Running, row.booted), action, &mut tx).await?;
        tx.commit().await.map_err(fault)?;
        self.wished(caller, id).await
    }

    async fn approve_setup(&self, caller: &Caller, id: PodId, plan_digest: &str) -> AppResult<Pod> {
        let row = self.owned(caller, id).await?;
        let current = row.setup_detail.0.plan_digest.as_deref();
        if current != Some(plan_digest) {
            return Err(AppError::new(ErrorCode::WrongState, "The plan is another one by now. Look at it again before you approve."));
        }
        // Twice is once.
        if row.approved_digest.as_deref() == Some(plan_digest) && row.setup() != SetupState::AwaitingApproval {
            return Ok(row.into());
        }
        let wish = WishRow { approve: Some(plan_digest), set_up_again: true, ..WishRow::default() };
        self.write_wish(caller, &row, wish, "set-up-pod", Action::PodApprove).await
    }

    async fn retry_setup(&self, caller: &Caller, id: PodId) -> AppResult<Pod> {
        let row = self.owned(caller, id).await?;
        if row.repository.is_none() {
            return Err(AppError::new(ErrorCode::WrongState, "An empty pod has nothing to set up."));
        }
        self.write_wish(caller, &row, WishRow { set_up_again: true, ..WishRow::default() }, "set-up-pod", Action::PodSetUp).await
    }

    async fn events(&self, caller: &Caller, id: PodId, after: i64, limit: u32) -> AppResult<Vec<PodEvent>> {
        self.pod_row(caller, id).await?;
        event_store::after(&self.db, id, after, i64::from(limit.clamp(1, MAX_EVENTS))).await.map_err(fault)
    }

    async fn watch_pod(&self, caller: &Caller, id: PodId, after: i64) -> AppResult<BoxStream<'static, PodNews>> {
        self.pod_row(caller, id).await?;
        Ok(streams::watch_pod(self.clone(), caller.clone(), id, after))
    }

    async fn watch_pods(&self, caller: &Caller) -> AppResult<BoxStream<'static, Pod>> {
        Ok(streams::watch_pods(self.clone(), caller.clone()))
    }

    async fn usual_times(&self, caller: &Caller, id: PodId) -> AppResult<Vec<UsualTime>> {
        self.pod_row(caller, id).await?;
        event_store::usual(&self.db, id).await.map_err(fault)
    }

    async fn month_use(&self, caller: &Caller, id: PodId) -> AppResult<MonthUse> {
        self.pod_row(caller, id).await?;
        self.month_of(id).await
    }

    async fn live(&self, caller: &Caller, id: PodId) -> AppResult<PodLive> {
        let host = self.running(caller, id).await?;
        streams::live(self, &host, id).await
    }

    async fn restart_process(&self, caller: &Caller, id: PodId, name: &str) -> AppResult<()> {
        may_change(caller)?;
        let host = self.running(caller, id).await?;
        super::inside::restart_process(self, &host, id, name).await
    }

    async fn process_log(&self, caller: &Caller, id: PodId, name: &str) -> AppResult<BoxStream<'static, AppResult<Bytes>>> {
        let host = self.running(caller, id).await?;
        super::inside::process_log(self, &host, id, name).await
    }

    async fn exec(&self, caller: &Caller, id: PodId, request: ExecRequest) -> AppResult<ExecResult> {
        may_change(caller)?;
        let host = self.running(caller, id).await?;
        self.mark_used(id).await;
        super::inside::exec(self, &host, id, request).await
    }

    /// What lies in a pod may be a credential: a token that may only read does not get at it.
    async fn read_file(&self, caller: &Caller, id: PodId, path: &str) -> AppResult<FileContent> {
        may_change(caller)?;
        let host = self.running(caller, id).await?;
        super::inside::read_file(self, &host, id, path).await
    }

    async fn write_file(&self, caller: &Caller, id: PodId, path: &str, content: FileContent) -> AppResult<()> {
        may_change(caller)?;
        let host = self.running(caller, id).await?;
        self.mark_used(id).await;
        super::inside::write_file(self, &host, id, path, content).await
    }

    async fn terminals(&self, caller: &Caller, id: PodId) -> AppResult<Vec<Terminal>> {
        let host = self.running(caller, id).await?;
        super::terminal::list(self, &host, id).await
    }

    async fn open_terminal(&self, caller: &Caller, id: PodId, name: &str, size: TerminalSize, client: Option<Uuid>) -> AppResult<TerminalConnection> {
        may_change(caller)?;
        let host = self.running(caller, id).await?;
        self.mark_used(id).await;
        super::terminal::open(self, &host, id, name, size, client).await
    }

    async fn end_terminal(&self, caller: &Caller, id: PodId, name: &str) -> AppResult<()> {
        may_change(caller)?;
        let host = self.running(caller, id).await?;
        super::terminal::end(self, &host, id, name).await
    }

    async fn pod_at(&self, caller: &Caller, name: &str, handle: &str) -> AppResult<Pod> {
        let mut named = store::named_for(&self.db, name, handle, caller.user).await.map_err(fault)?.into_iter();
        match (named.next(), named.next()) {
            (Some(row), None) => Ok(row.into()),
            (None, _) => Err(AppError::not_found()),
            // Whoever has left a team may call another pod the same, and what was meant for one must not reach the other.
            (Some(_), Some(_)) => {
                let message = format!(
                    "There are two pods {name} of {handle}, who has left the team of one. \
                     An owner of that team takes it over first, or the other gets another name."
                );
                Err(AppError::new(ErrorCode::WrongState, message))
            }
        }
    }

    async fn open_process(&self, caller: &Caller, id: PodId, start: ProcessStart) -> AppResult<ByteConnection> {
        may_change(caller)?;
        let host = self.running(caller, id).await?;
        self.mark_used(id).await;
        super::process::open(self, &host, id, start).await
    }

    async fn connect_port(&self, caller: &Caller, id: PodId, port: u16) -> AppResult<ByteConnection> {
        may_change(caller)?;
        let host = self.running(caller, id).await?;
        self.mark_used(id).await;
        super::process::connect(self, &host, id, port).await
    }
}

impl ControlPlane {
    /// A failure to note it is no reason to refuse the use itself.
    async fn mark_used(&self, id: PodId) {
        if let Err(error) = store::used(&self.db, id).await {
            tracing::warn!(%error, %id, "when the pod was last used could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_field_that_breaks_its_rule_is_named() {
        let new = NewPod {
            name: "My Pod".into(),
            tier: "dev.huge".into(),
            repository: Some("file:///etc".into()),
            branch: Some("--x".into()),
            team_id: None,
        };
        let error = parse(&new).err().unwrap();
        assert_eq!(error.fields.keys().collect::<Vec<_>>(), ["branch", "name", "repository", "tier"]);
    }

    #[test]
    fn an_empty_repository_field_is_an_empty_pod() {
        let new = NewPod { name: "a".into(), tier: "dev.small".into(), repository: Some(" ".into()), ..NewPod::default() };
        assert_eq!(parse(&new).ok().unwrap().repository, None);
        let with_branch = NewPod { branch: Some("main".into()), ..new };
        assert!(parse(&with_branch).err().unwrap().of("branch").is_some());
    }

    proptest! {
        #[test]
        fn any_cursor_is_one_of_ours_or_refused_at_its_field(text in prop_oneof![
            ".{0,60}",
            "[A-Za-z0-9_=-]{0,80}",
            "-?[0-9]{0,40} [0-9a-f-]{0,40}".prop_map(|text| BASE64_URL_SAFE_NO_PAD.encode(text)),
            any::<(i64, u128)>().prop_map(|(at, id)| BASE64_URL_SAFE_NO_PAD.encode(format!("{at} {}", Uuid::from_u128(id)))),
        ]) {
            match parse_cursor(&text) {
                Ok(cursor) => {
                    prop_assert!(cursor.created_at >= OffsetDateTime::UNIX_EPOCH);
                    let said = BASE64_URL_SAFE_NO_PAD.encode(format!("{} {}", cursor.created_at.unix_timestamp_nanos(), cursor.id));
                    prop_assert_eq!(parse_cursor(&said), Ok(cursor), "as `cursor_text` says it");
                }
                Err(error) => prop_assert!(error.of("cursor").is_some()),
            }
        }
    }

    #[test]
    fn a_cursor_that_is_not_ours_is_refused() {
        for text in ["", "x", "AAAA", "MTIz"] {
            assert_eq!(parse_cursor(text).unwrap_err().fields.keys().next().unwrap(), "cursor");
        }
    }
}
