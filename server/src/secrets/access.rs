//! Who may do what with secrets: owners of a team manage them, its members see their names.

use super::{import, limits, sealed_row, store};
use crate::{
    account::may_change,
    activity::{self, Home},
    control::ControlPlane,
    db::{self, fault},
    news::{self, Change},
    paging, teams,
};
use async_trait::async_trait;
use pinacle_app::{
    AppError, AppResult, ErrorCode, FieldErrors,
    backend::{Caller, Pods, Secrets},
    ids::{PodId, SecretId, TeamId},
    pods::{Page, RepositoryAddress, Wish},
    secrets::{
        Import, Imported, NewSecret, OutdatedPod, PodSecrets, Reach, Reaching, RefusedPod, Restarted, Secret, SecretName, SecretPatch, SecretsView,
        Verdict,
    },
    teams::{Team, activity::Action},
};
use uuid::Uuid;

/// Repositories that a page offers.
const MOST_PROJECTS: i64 = 200;
/// Pods with older values that are read, and named, at once.
const MOST_OUTDATED: usize = 100;

/// A repository as it was typed; empty is none.
pub fn project(text: Option<&str>) -> AppResult<Option<String>> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    RepositoryAddress::parse(text).map(|address| Some(address.to_string())).map_err(|error| AppError::field("project_ref", error.to_string()))
}

/// Whose pods get it, as the activity says it.
pub fn scope(project: Option<&str>) -> String {
    format!("for {}", project.unwrap_or("the whole team"))
}

fn taken(name: &SecretName, project: Option<&str>) -> AppError {
    let message = match project {
        Some(project) => format!("There is a {name} for {project} already. Replace its value."),
        None => format!("There is a {name} for the team already. Replace its value."),
    };
    AppError { code: ErrorCode::Taken, ..AppError::field("name", message) }
}

impl ControlPlane {
    /// The caller's team of this slug; the personal one without.
    async fn team_of(&self, caller: &Caller, slug: Option<&str>) -> AppResult<Team> {
        let all = teams::store::teams(&self.db, caller.user).await.map_err(fault)?;
        let found = all.into_iter().find(|one| slug.map_or(one.personal, |slug| slug == one.slug));
        found.ok_or_else(AppError::not_found)
    }

    async fn team_for_new(&self, caller: &Caller, team: Option<TeamId>) -> AppResult<TeamId> {
        let Some(team) = team else {
            return teams::store::personal(&self.db, caller.user).await.map_err(fault)?.ok_or_else(AppError::internal);
        };
        let role = teams::store::role(&self.db, team, caller.user).await.map_err(fault)?;
        role.map(|_| team).ok_or_else(|| AppError::field("team_id", "You are in no team with this id."))
    }

    /// A page of the team's pods with older values.
    async fn outdated(&self, team: TeamId, after: Option<&OutdatedPod>) -> AppResult<Vec<OutdatedPod>> {
        store::outdated(&self.db, team, None, after, MOST_OUTDATED as i64).await.map_err(fault)
    }
}

#[async_trait]
impl Secrets for ControlPlane {
    async fn secrets(&self, caller: &Caller, team: Option<TeamId>, cursor: Option<String>, limit: Option<u32>) -> AppResult<Page<Secret>> {
        let limit = paging::limit(limit, paging::DEFAULT, paging::MOST)?;
        if let Some(team) = team {
            teams::store::role(&self.db, team, caller.user).await.map_err(fault)?.ok_or_else(AppError::not_found)?;
        }
        let after = cursor.map(|cursor| cursor.parse::<SecretId>().map_err(|_| paging::bad_cursor())).transpose()?;
        if let Some(after) = after {
            store::get_for(&self.db, after, caller.user).await.map_err(fault)?.ok_or_else(paging::bad_cursor)?;
        }
        let items = store::list_for(&self.db, caller.user, team, after, i64::from(limit) + 1).await.map_err(fault)?;
        Ok(paging::page(items, limit, |last| last.id.to_string()))
    }

    async fn secret(&self, caller: &Caller, id: SecretId) -> AppResult<Secret> {
        store::get_for(&self.db, id, caller.user).await.map_err(fault)?.ok_or_else(AppError::not_found)
    }

    async fn create_secret(&self, caller: &Caller, new: NewSecret) -> AppResult<Secret> {
        may_change(caller)?;
        let mut errors = FieldErrors::default();
        let name = errors.take("name", SecretName::parse(&new.name));
        errors.take("value", new.value.check());
        let project = match project(new.project_ref.as_deref()) {
            Ok(project) => project,
            Err(error) => {
                errors.add("project_ref", error.message);
                None
            }
        };
        let name = match name {
            Some(name) if errors.is_empty() => name,
            _ => return Err(errors.into_error()),
        };
        let team = self.team_for_new(caller, new.team_id).await?;
        let id = SecretId(Uuid::now_v7());
        let sealed = self.sealer.seal(&sealed_row(id, team, name.as_str()), new.value.expose().as_bytes());
        let carried = limits::carried(name.as_str(), &new.value);
        let mut tx = self.db.begin().await.map_err(fault)?;
        teams::hold_as_owner(&mut tx, caller, team).await?;
        let seq = store::next_seq(&mut tx, team).await.map_err(fault)?;
        let row = store::NewRow { id, team, name: name.as_str(), project: project.as_deref(), sealed: &sealed, carried, by: caller.user };
        match store::insert(&mut tx, row).await {
            Err(error) if db::broken_constraint(&error) == Some("secrets_name") => return Err(taken(&name, project.as_deref())),
            inserted => inserted.map_err(fault)?,
        }
        limits::check(store::scope(&mut tx, team, project.as_deref()).await.map_err(fault)?)?;
        store::note_change(&mut tx, team, name.as_str(), project.as_deref(), seq).await.map_err(fault)?;
        let scope = scope(project.as_deref());
        activity::record_by(&mut tx, caller, Home::Team(team), Action::SecretCreate, id.0, name.as_str(), &scope).await?;
        news::notify(&mut tx, Change::Secrets(team)).await.map_err(fault)?;
        tx.commit().await.map_err(fault)?;
        self.secret(caller, id).await
    }

    async fn change_secret(&self, caller: &Caller, id: SecretId, patch: SecretPatch) -> AppResult<Secret> {
        may_change(caller)?;
        let team = self.secret(caller, id).await?.team_id;
        let mut errors = FieldErrors::default();
        let name = patch.name.as_deref().and_then(|name| errors.take("name", SecretName::parse(name)));
        if let Some(value) = &patch.value {
            errors.take("value", value.check());
        }
        errors.check()?;
        let mut tx = self.db.begin().await.map_err(fault)?;
        teams::hold_as_owner(&mut tx, caller, team).await?;
        let seq = store::next_seq(&mut tx, team).await.map_err(fault)?;
        let before = store::lock(&mut tx, id).await.map_err(fault)?.ok_or_else(AppError::not_found)?;
        let project = before.project_ref.as_deref();
        let renamed = name.as_ref().filter(|name| name.as_str() != before.name);
        let replaced = patch.value.is_some();
        if renamed.is_none() && !replaced {
            drop(tx);
            return self.secret(caller, id).await;
        }
        let value = match patch.value {
            Some(value) => value,
            // Under another name it is sealed anew: it is bound to the one that it has.
            None => super::open(&self.sealer, id, team, &before.name, &before.sealed)
                .ok_or_else(|| AppError::new(ErrorCode::WrongState, "Its value does not open with the server's master key. Replace the value."))?,
        };
        let name = renamed.map_or(before.name.as_str(), SecretName::as_str);
        let sealed = self.sealer.seal(&sealed_row(id, team, name), value.expose().as_bytes());
        match store::change(&mut tx, id, name, &sealed, limits::carried(name, &value), caller.user).await {
            Err(error) if db::broken_constraint(&error) == Some("secrets_name") => {
                return Err(renamed.map_or_else(AppError::internal, |name| taken(name, project)));
            }
            changed => changed.map_err(fault)?,
        }
        limits::check(store::scope(&mut tx, team, project).await.map_err(fault)?)?;
        store::note_change(&mut tx, team, name, project, seq).await.map_err(fault)?;
        let home = Home::Team(team);
        if let Some(name) = renamed {
            store::note_change(&mut tx, team, &before.name, project, seq).await.map_err(fault)?;
            let detail = format!("to {name} {}", scope(project));
            activity::record_by(&mut tx, caller, home, Action::SecretRename, id.0, &before.name, &detail).await?;
        }
        if replaced {
            activity::record_by(&mut tx, caller, home, Action::SecretReplace, id.0, name, &scope(project)).await?;
        }
        news::notify(&mut tx, Change::Secrets(team)).await.map_err(fault)?;
        tx.commit().await.map_err(fault)?;
        self.secret(caller, id).await
    }

    async fn delete_secret(&self, caller: &Caller, id: SecretId) -> AppResult<()> {
        may_change(caller)?;
        let team = self.secret(caller, id).await?.team_id;
        let mut tx = self.db.begin().await.map_err(fault)?;
        teams::hold_as_owner(&mut tx, caller, team).await?;
        let seq = store::next_seq(&mut tx, team).await.map_err(fault)?;
        let before = store::lock(&mut tx, id).await.map_err(fault)?.ok_or_else(AppError::not_found)?;
        store::delete(&mut tx, id).await.map_err(fault)?;
        store::note_change(&mut tx, team, &before.name, before.project_ref.as_deref(), seq).await.map_err(fault)?;
        let scope = scope(before.project_ref.as_deref());
        activity::record_by(&mut tx, caller, Home::Team(team), Action::SecretDelete, id.0, &before.name, &scope).await?;
        news::notify(&mut tx, Change::Secrets(team)).await.map_err(fault)?;
        tx.commit().await.map_err(fault)
    }

    async fn secrets_view(&self, caller: &Caller, team: Option<String>, asked: Option<String>) -> AppResult<SecretsView> {
        let team = self.team_of(caller, team.as_deref()).await?;
        let with_secrets = store::projects(&self.db, team.id, MOST_PROJECTS).await.map_err(fault)?;
        let with_pods = store::pod_projects(&self.db, team.id, MOST_PROJECTS).await.map_err(fault)?;
        let project = match asked {
            Some(asked) => project(Some(&asked))?,
            None => with_pods.first().cloned().or_else(|| with_secrets.first().map(|(project, _)| project.clone())),
        };
        let of_two_scopes = 2 * limits::MOST_IN_SCOPE;
        let all = store::reaching(&self.db, team.id, project.as_deref(), of_two_scopes).await.map_err(fault)?;
        let is_shown = |other: &str| project.as_deref().is_some_and(|shown| same_project(shown, other));
        let elsewhere = with_secrets.iter().filter(|(other, _)| !is_shown(other));
        let elsewhere = elsewhere.map(|(other, count)| (other.clone(), u32::try_from(*count).unwrap_or(u32::MAX))).collect();
        let mut projects: Vec<String> = Vec::new();
        for one in project.iter().chain(&with_pods).chain(with_secrets.iter().map(|(project, _)| project)) {
            if !projects.iter().any(|known| same_project(known, one)) {
                projects.push(one.clone());
            }
        }
        projects.sort_unstable_by_key(|project| project.to_lowercase());
        let outdated = self.outdated(team.id, None).await?;
        let outdated_total = match outdated.len() {
            MOST_OUTDATED => store::outdated_total(&self.db, team.id).await.map_err(fault)?,
            all => all as i64,
        };
        Ok(SecretsView {
            total: u32::try_from(store::count(&self.db, team.id).await.map_err(fault)?).unwrap_or(u32::MAX),
            secrets: reaches(all),
            outdated,
            outdated_total: u32::try_from(outdated_total).unwrap_or(u32::MAX),
            team,
            projects,
            project,
            elsewhere,
        })
    }

    async fn pod_secrets(&self, caller: &Caller, pod: PodId) -> AppResult<PodSecrets> {
        let pod = self.pod(caller, pod).await?;
        let secrets = store::names_for_pod(&self.db, pod.team_id, pod.repository.as_deref()).await.map_err(fault)?;
        let outdated = store::outdated(&self.db, pod.team_id, Some(pod.id), None, 1).await.map_err(fault)?;
        Ok(PodSecrets { secrets, outdated: outdated.into_iter().flat_map(|pod| pod.secrets).collect() })
    }

    async fn check_import(&self, caller: &Caller, import: Import) -> AppResult<Vec<Verdict>> {
        may_change(caller)?;
        let role = teams::store::role(&self.db, import.team_id, caller.user).await.map_err(fault)?;
        teams::owner_alone(role.ok_or_else(AppError::not_found)?)?;
        import::check(self, &import).await
    }

    async fn import_secrets(&self, caller: &Caller, import: Import) -> AppResult<Imported> {
        may_change(caller)?;
        import::write(self, caller, &import).await
    }

    async fn restart_outdated(&self, caller: &Caller, team: TeamId) -> AppResult<Restarted> {
        may_change(caller)?;
        teams::store::role(&self.db, team, caller.user).await.map_err(fault)?.ok_or_else(AppError::not_found)?;
        // All of them before the first is restarted: what is marked changes meanwhile.
        let mut pods = self.outdated(team, None).await?;
        let mut read = pods.len();
        while read == MOST_OUTDATED {
            let page = self.outdated(team, pods.last()).await?;
            read = page.len();
            pods.extend(page);
        }
        let mut done = Restarted::default();
        let mut first = None;
        for pod in pods {
            match self.wish(caller, pod.id, Wish::Restart).await {
                Ok(_) => done.restarted.push(pod),
                Err(error) => {
                    done.refused.push(RefusedPod { id: pod.id, name: pod.name, why: error.message.clone() });
                    first.get_or_insert(error);
                }
            }
        }
        match first {
            Some(error) if done.restarted.is_empty() => Err(AppError { message: done.words(), ..error }),
            _ => Ok(done),
        }
    }
}

fn same_project(one: &str, other: &str) -> bool {
    if one.contains(':') { one == other } else { one.eq_ignore_ascii_case(other) }
}

/// They come by name, the repository's first.
fn reaches(all: Vec<Secret>) -> Vec<Reaching> {
    let mut reaching: Vec<Reaching> = Vec::new();
    for secret in all {
        let reach = match reaching.last_mut() {
            Some(before) if before.secret.name == secret.name => {
                before.reach = Reach::Wins;
                Reach::Beaten
            }
            _ => Reach::Only,
        };
        reaching.push(Reaching { secret, reach });
    }
    reaching
}
