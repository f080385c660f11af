//! Many secrets at once, from a `.env` file that the browser has read.

use super::{
    access::{project, scope},
    limits, sealed_row, store,
};
use crate::{
    activity::{self, Home},
    control::ControlPlane,
    db::fault,
    news::{self, Change},
    teams,
};
use pinacle_app::{
    AppError, AppResult,
    backend::Caller,
    ids::SecretId,
    secrets::{Import, ImportEntry, Imported, SecretName, Verdict},
    teams::activity::Action,
};
use std::collections::{HashMap, HashSet};
use subtle::ConstantTimeEq;
use uuid::Uuid;

const MOST_ENTRIES: usize = 250;

/// What an import would do; the caller's right to it was looked at.
pub async fn check(control: &ControlPlane, import: &Import) -> AppResult<Vec<Verdict>> {
    let project = project(import.project_ref.as_deref())?;
    let entries = parsed(import)?;
    let names: Vec<String> = entries.iter().filter_map(|entry| entry.as_ref().ok()).map(|(name, _)| name.to_string()).collect();
    let lying = store::named(&control.db, import.team_id, project.as_deref(), &names).await.map_err(fault)?;
    let lying: HashMap<&str, &store::Lying> = lying.iter().map(|lying| (lying.name.as_str(), lying)).collect();
    let of_team: HashSet<String> = match &project {
        Some(_) => store::named(&control.db, import.team_id, None, &names).await.map_err(fault)?.into_iter().map(|lying| lying.name).collect(),
        None => HashSet::new(),
    };
    let running: HashMap<String, i64> =
        store::running_with(&control.db, import.team_id, project.as_deref(), &names).await.map_err(fault)?.into_iter().collect();
    let verdict = |entry: Result<(SecretName, &ImportEntry), String>| match entry {
        Err(why) => Verdict::Refused { why },
        Ok((name, entry)) => match lying.get(name.as_str()) {
            None => Verdict::Created { wins: of_team.contains(name.as_str()) },
            Some(lying) if is_same(control, import, lying, entry) => Verdict::Same,
            Some(_) => Verdict::Changed { pods: running.get(name.as_str()).and_then(|pods| u32::try_from(*pods).ok()).unwrap_or(0) },
        },
    };
    Ok(entries.into_iter().map(verdict).collect())
}

/// All of it or nothing.
pub async fn write(control: &ControlPlane, caller: &Caller, import: &Import) -> AppResult<Imported> {
    let project = project(import.project_ref.as_deref())?;
    let mut entries = Vec::new();
    for entry in parsed(import)? {
        entries.push(entry.map_err(|why| AppError::field("entries", why))?);
    }
    let team = import.team_id;
    let names: Vec<String> = entries.iter().map(|(name, _)| name.to_string()).collect();
    let mut imported = Imported::default();
    let mut tx = control.db.begin().await.map_err(fault)?;
    teams::hold_as_owner(&mut tx, caller, team).await?;
    let seq = store::next_seq(&mut tx, team).await.map_err(fault)?;
    let lying = store::named(&mut *tx, team, project.as_deref(), &names).await.map_err(fault)?;
    for (name, entry) in entries {
        let carried = limits::carried(name.as_str(), &entry.value);
        let before = lying.iter().find(|lying| lying.name == name.as_str());
        if before.is_some_and(|lying| is_same(control, import, lying, entry)) {
            continue;
        }
        let id = before.map_or_else(|| SecretId(Uuid::now_v7()), |lying| SecretId(lying.id));
        let sealed = control.sealer.seal(&sealed_row(id, team, name.as_str()), entry.value.expose().as_bytes());
        let action = match before {
            Some(_) => {
                store::change(&mut tx, id, name.as_str(), &sealed, carried, caller.user).await.map_err(fault)?;
                imported.changed += 1;
                Action::SecretReplace
            }
            None => {
                let new = store::NewRow { id, team, name: name.as_str(), project: project.as_deref(), sealed: &sealed, carried, by: caller.user };
                store::insert(&mut tx, new).await.map_err(fault)?;
                imported.created += 1;
                Action::SecretCreate
            }
        };
        store::note_change(&mut tx, team, name.as_str(), project.as_deref(), seq).await.map_err(fault)?;
        let detail = format!("{}, from a file", scope(project.as_deref()));
        activity::record_by(&mut tx, caller, Home::Team(team), action, id.0, name.as_str(), &detail).await?;
    }
    limits::check(store::scope(&mut tx, team, project.as_deref()).await.map_err(fault)?)?;
    news::notify(&mut tx, Change::Secrets(team)).await.map_err(fault)?;
    tx.commit().await.map_err(fault)?;
    Ok(imported)
}

/// Each entry with its name parsed, or why it can't be one.
fn parsed(import: &Import) -> AppResult<Vec<Result<(SecretName, &ImportEntry), String>>> {
    if import.entries.is_empty() || import.entries.len() > MOST_ENTRIES {
        return Err(AppError::field("entries", format!("From 1 to {MOST_ENTRIES} secrets at once.")));
    }
    let mut seen = HashSet::new();
    let entry = |entry| {
        let entry: &ImportEntry = entry;
        let name = SecretName::parse(&entry.name).map_err(|error| error.to_string())?;
        entry.value.check().map_err(|error| error.to_string())?;
        if seen.insert(name.clone()) { Ok((name, entry)) } else { Err("The name stands there twice.".to_owned()) }
    };
    Ok(import.entries.iter().map(entry).collect())
}

/// Whether the value is what it was. One that does not open is another.
fn is_same(control: &ControlPlane, import: &Import, lying: &store::Lying, entry: &ImportEntry) -> bool {
    let row = sealed_row(SecretId(lying.id), import.team_id, &lying.name);
    control.sealer.open(&row, &lying.sealed).is_ok_and(|before| before.as_slice().ct_eq(entry.value.expose().as_bytes()).into())
}
