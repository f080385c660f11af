//! The SQL of secrets, and of which changes a running pod has not seen.

use super::sealed_row;
use crate::{
    crypto::{RewrappedRow, SealedRow},
    db::Db,
};
use pinacle_app::{
    ids::{PodId, SecretId, TeamId, UserId},
    secrets::{LastUse, OutdatedPod, PodSecret, Secret},
};
use sqlx::{PgConnection, PgExecutor, Row};
use time::OffsetDateTime;
use uuid::Uuid;

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct SecretRow {
    pub id: Uuid,
    pub team_id: Uuid,
    pub name: String,
    pub project_ref: Option<String>,
    pub created_at: OffsetDateTime,
    pub changed_at: OffsetDateTime,
    pub changed_by: Option<String>,
    pub last_used_at: Option<OffsetDateTime>,
    pub last_pod_id: Option<Uuid>,
    pub last_pod: Option<String>,
    pub last_pod_is_there: Option<bool>,
}

macro_rules! secrets {
    ($tail:literal) => {
        concat!(
            "SELECT s.id, s.team_id, s.name, s.project_ref, s.created_at, s.changed_at, u.login AS changed_by, s.last_used_at, s.last_pod_id,
                    p.name AS last_pod, p.status <> 'deleted' AS last_pod_is_there
             FROM secrets s LEFT JOIN users u ON u.id = s.changed_by LEFT JOIN pods p ON p.id = s.last_pod_id ",
            $tail
        )
    };
}

impl From<SecretRow> for Secret {
    fn from(row: SecretRow) -> Self {
        let last_used = match (row.last_pod_id, row.last_pod, row.last_used_at) {
            (Some(id), Some(pod), Some(at)) => Some(LastUse { pod_id: PodId(id), pod, is_there: row.last_pod_is_there.unwrap_or(false), at }),
            _ => None,
        };
        Self {
            id: SecretId(row.id),
            team_id: TeamId(row.team_id),
            name: row.name,
            project_ref: row.project_ref,
            created_at: row.created_at,
            changed_at: row.changed_at,
            changed_by: row.changed_by,
            last_used,
        }
    }
}

/// The secret, if this user is in its team.
pub async fn get_for(db: impl PgExecutor<'_>, id: SecretId, user: UserId) -> Result<Option<Secret>, sqlx::Error> {
    let row: Option<SecretRow> = sqlx::query_as(secrets!("JOIN team_members m ON m.team_id = s.team_id AND m.user_id = $2 WHERE s.id = $1"))
        .bind(id.0)
        .bind(user.0)
        .fetch_optional(db)
        .await?;
    Ok(row.map(Secret::from))
}

/// By team, name and id, behind this one; only of teams that the user is in.
pub async fn list_for(
    db: impl PgExecutor<'_>,
    user: UserId,
    team: Option<TeamId>,
    after: Option<SecretId>,
    limit: i64,
) -> Result<Vec<Secret>, sqlx::Error> {
    let rows: Vec<SecretRow> = sqlx::query_as(secrets!(
        "JOIN team_members m ON m.team_id = s.team_id AND m.user_id = $1
         WHERE ($2::uuid IS NULL OR s.team_id = $2)
           AND ($3::uuid IS NULL OR (s.team_id, s.name, s.id) > (SELECT a.team_id, a.name, a.id FROM secrets a WHERE a.id = $3))
         ORDER BY s.team_id, s.name, s.id LIMIT $4"
    ))
    .bind(user.0)
    .bind(team.map(|team| team.0))
    .bind(after.map(|after| after.0))
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Secret::from).collect())
}

/// What a team has for pods of this repository, or of none: by name, the repository's before the team's.
pub async fn reaching(db: impl PgExecutor<'_>, team: TeamId, project: Option<&str>, limit: i64) -> Result<Vec<Secret>, sqlx::Error> {
    let rows: Vec<SecretRow> = sqlx::query_as(secrets!(
        "WHERE s.team_id = $1 AND (s.project_key IS NULL OR s.project_key = (SELECT project_key($2)))
         ORDER BY s.name, s.project_key NULLS LAST LIMIT $3"
    ))
    .bind(team.0)
    .bind(project)
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Secret::from).collect())
}

/// How many secrets each repository has of its own, by its name.
pub async fn projects(db: impl PgExecutor<'_>, team: TeamId, limit: i64) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT min(project_ref), count(*) FROM secrets WHERE team_id = $1 AND project_key IS NOT NULL GROUP BY project_key ORDER BY 1 LIMIT $2",
    )
    .bind(team.0)
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Repositories of the team's pods, that of the newest pod first.
pub async fn pod_projects(db: impl PgExecutor<'_>, team: TeamId, limit: i64) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT min(repository) FROM pods WHERE team_id = $1 AND repository IS NOT NULL AND status <> 'deleted'
         GROUP BY project_key ORDER BY max(created_at) DESC LIMIT $2",
    )
    .bind(team.0)
    .bind(limit)
    .fetch_all(db)
    .await
}

pub async fn count(db: impl PgExecutor<'_>, team: TeamId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM secrets WHERE team_id = $1").bind(team.0).fetch_one(db).await
}

/// A number for the team's next change. Other changes of the same team wait until this one has been committed.
pub async fn next_seq(connection: &mut PgConnection, team: TeamId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "INSERT INTO secret_heads (team_id, seq) VALUES ($1, 1) ON CONFLICT (team_id) DO UPDATE SET seq = secret_heads.seq + 1 RETURNING seq",
    )
    .bind(team.0)
    .fetch_one(connection)
    .await
}

/// Says that what pods get under this name is another thing from this change on.
pub async fn note_change(connection: &mut PgConnection, team: TeamId, name: &str, project: Option<&str>, seq: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO secret_changes (team_id, name, project_key, seq) VALUES ($1, $2, project_key($3), $4)
         ON CONFLICT (team_id, name, project_key) DO UPDATE SET seq = excluded.seq, at = now()",
    )
    .bind(team.0)
    .bind(name)
    .bind(project)
    .bind(seq)
    .execute(connection)
    .await?;
    Ok(())
}

/// Changes that every pod of their team has seen say nothing any more.
pub async fn forget_changes(db: impl PgExecutor<'_>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM secret_changes c WHERE NOT EXISTS (
           SELECT FROM pods p WHERE p.team_id = c.team_id AND p.status <> 'deleted' AND p.secrets_seen < c.seq)
           AND c.at < now() - interval '1 day'",
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A team that ends keeps none.
pub async fn forget_team(connection: &mut PgConnection, team: TeamId) -> Result<(), sqlx::Error> {
    for table in ["secrets", "secret_changes", "secret_heads"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table} WHERE team_id = $1"))).bind(team.0).execute(&mut *connection).await?;
    }
    Ok(())
}

/// What a scope has: see `limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Scope {
    pub of_team: i64,
    pub secrets: i64,
    pub carried: i64,
}

pub async fn scope(connection: &mut PgConnection, team: TeamId, project: Option<&str>) -> Result<Scope, sqlx::Error> {
    sqlx::query_as(
        "SELECT count(*) AS of_team, count(*) FILTER (WHERE project_key IS NOT DISTINCT FROM (SELECT project_key($2))) AS secrets,
                coalesce(sum(carried) FILTER (WHERE project_key IS NOT DISTINCT FROM (SELECT project_key($2))), 0)::bigint AS carried
         FROM secrets WHERE team_id = $1",
    )
    .bind(team.0)
    .bind(project)
    .fetch_one(connection)
    .await
}

pub struct NewRow<'a> {
    pub id: SecretId,
    pub team: TeamId,
    pub name: &'a str,
    pub project: Option<&'a str>,
    pub sealed: &'a [u8],
    pub carried: i64,
    pub by: UserId,
}

pub async fn insert(connection: &mut PgConnection, new: NewRow<'_>) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO secrets (id, team_id, name, project_ref, sealed, carried, changed_by) VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(new.id.0)
        .bind(new.team.0)
        .bind(new.name)
        .bind(new.project)
        .bind(new.sealed)
        .bind(i32::try_from(new.carried).unwrap_or(i32::MAX))
        .bind(new.by.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// A secret as it lies there.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Lying {
    pub id: Uuid,
    pub name: String,
    pub project_ref: Option<String>,
    pub sealed: Vec<u8>,
}

/// The row is locked.
pub async fn lock(connection: &mut PgConnection, id: SecretId) -> Result<Option<Lying>, sqlx::Error> {
    sqlx::query_as("SELECT id, name, project_ref, sealed FROM secrets WHERE id = $1 FOR UPDATE").bind(id.0).fetch_optional(connection).await
}

/// The secrets of a scope that have one of these names.
pub async fn named(db: impl PgExecutor<'_>, team: TeamId, project: Option<&str>, names: &[String]) -> Result<Vec<Lying>, sqlx::Error> {
    sqlx::query_as(
        "SELECT id, name, project_ref, sealed FROM secrets
         WHERE team_id = $1 AND project_key IS NOT DISTINCT FROM (SELECT project_key($2)) AND name = ANY($3)",
    )
    .bind(team.0)
    .bind(project)
    .bind(names)
    .fetch_all(db)
    .await
}

pub async fn change(connection: &mut PgConnection, id: SecretId, name: &str, sealed: &[u8], carried: i64, by: UserId) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE secrets SET name = $2, sealed = $3, carried = $4, changed_by = $5, changed_at = now() WHERE id = $1")
        .bind(id.0)
        .bind(name)
        .bind(sealed)
        .bind(i32::try_from(carried).unwrap_or(i32::MAX))
        .bind(by.0)
        .execute(connection)
        .await?;
    Ok(())
}

pub async fn delete(connection: &mut PgConnection, id: SecretId) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM secrets WHERE id = $1").bind(id.0).execute(connection).await?;
    Ok(())
}

/// One secret on its way to a pod.
pub struct Sealed {
    pub id: Uuid,
    pub name: String,
    pub sealed: Vec<u8>,
}

/// What a pod gets, and the number of the latest change in it: of one moment, for it is one statement.
pub async fn for_pod(db: impl PgExecutor<'_>, team: TeamId, repository: Option<&str>) -> Result<(i64, Vec<Sealed>), sqlx::Error> {
    let rows = sqlx::query(
        "SELECT h.seq, s.id, s.name, s.sealed
         FROM (SELECT coalesce(max(seq), 0) AS seq FROM secret_heads WHERE team_id = $1) h
         LEFT JOIN LATERAL (
           SELECT DISTINCT ON (name) id, name, sealed FROM secrets
           WHERE team_id = $1 AND (project_key IS NULL OR project_key = (SELECT project_key($2))) ORDER BY name, project_key NULLS LAST) s ON true",
    )
    .bind(team.0)
    .bind(repository)
    .fetch_all(db)
    .await?;
    let seq = rows.first().map(|row| row.try_get("seq")).transpose()?.unwrap_or(0);
    let mut secrets = Vec::new();
    for row in &rows {
        if let Some(id) = row.try_get::<Option<Uuid>, _>("id")? {
            secrets.push(Sealed { id, name: row.try_get("name")?, sealed: row.try_get("sealed")? });
        }
    }
    Ok((seq, secrets))
}

/// What a pod gets, by name.
pub async fn names_for_pod(db: impl PgExecutor<'_>, team: TeamId, repository: Option<&str>) -> Result<Vec<PodSecret>, sqlx::Error> {
    let rows: Vec<(String, bool)> = sqlx::query_as(
        "SELECT name, bool_or(project_key IS NOT NULL) FROM secrets
         WHERE team_id = $1 AND (project_key IS NULL OR project_key = (SELECT project_key($2))) GROUP BY name ORDER BY name",
    )
    .bind(team.0)
    .bind(repository)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(name, of_repository)| PodSecret { name, of_repository }).collect())
}

/// A pod's machine has them now. False: the lease is lost.
pub async fn given(connection: &mut PgConnection, pod: PodId, lease: i64, seq: i64, secrets: &[Uuid]) -> Result<bool, sqlx::Error> {
    let taken = sqlx::query("UPDATE pods SET secrets_seen = $3 WHERE id = $1 AND fence <= $2")
        .bind(pod.0)
        .bind(lease)
        .bind(seq)
        .execute(&mut *connection)
        .await?;
    if taken.rows_affected() == 0 {
        return Ok(false);
    }
    // In one order: two pods that start at the same time would else wait for each other's rows.
    sqlx::query(
        "UPDATE secrets s SET last_used_at = now(), last_pod_id = $1
         FROM (SELECT id FROM secrets WHERE id = ANY($2) ORDER BY id FOR NO KEY UPDATE) l WHERE s.id = l.id",
    )
    .bind(pod.0)
    .bind(secrets)
    .execute(connection)
    .await?;
    Ok(true)
}

/// Of the running pods of the team `$1`, each with every change of what it gets that it has not seen.
macro_rules! outdated {
    ($head:literal, $tail:literal) => {
        concat!(
            $head,
            " FROM pods p JOIN secret_changes c ON c.team_id = p.team_id AND c.seq > p.secrets_seen
              LEFT JOIN secrets o ON o.team_id = p.team_id AND o.name = c.name AND o.project_key = p.project_key
              WHERE p.team_id = $1 AND p.status = 'running' AND (c.project_key = p.project_key OR (c.project_key IS NULL AND o.id IS NULL)) ",
            $tail
        )
    };
}

/// Running pods of a team that have not seen a change of what they get, by name, with those changes' names; those behind `after`.
pub async fn outdated(
    db: impl PgExecutor<'_>,
    team: TeamId,
    pod: Option<PodId>,
    after: Option<&OutdatedPod>,
    limit: i64,
) -> Result<Vec<OutdatedPod>, sqlx::Error> {
    let rows: Vec<(Uuid, String, Vec<String>, OffsetDateTime)> = sqlx::query_as(outdated!(
        "SELECT p.id, p.name, array_agg(DISTINCT c.name ORDER BY c.name), max(c.at)",
        "AND ($2::uuid IS NULL OR p.id = $2) AND ($4::text IS NULL OR (p.name, p.id) > ($4, $5))
         GROUP BY p.id ORDER BY p.name, p.id LIMIT $3"
    ))
    .bind(team.0)
    .bind(pod.map(|pod| pod.0))
    .bind(limit)
    .bind(after.map(|pod| pod.name.as_str()))
    .bind(after.map(|pod| pod.id.0))
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(id, name, secrets, changed_at)| OutdatedPod { id: PodId(id), name, secrets, changed_at }).collect())
}

/// How many `outdated` names, page by page.
pub async fn outdated_total(db: impl PgExecutor<'_>, team: TeamId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(outdated!("SELECT count(DISTINCT p.id)", "")).bind(team.0).fetch_one(db).await
}

/// Running pods that have been given the team's, or the repository's, secret of this name.
pub async fn running_with(db: impl PgExecutor<'_>, team: TeamId, project: Option<&str>, names: &[String]) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT n.name, count(*) FROM unnest($3::text[]) AS n (name) JOIN pods p ON p.team_id = $1 AND p.status = 'running'
           AND ($2::text IS NULL OR p.project_key = (SELECT project_key($2)))
         WHERE $2::text IS NOT NULL OR NOT EXISTS (
           SELECT FROM secrets o WHERE o.team_id = $1 AND o.name = n.name AND o.project_key = p.project_key)
         GROUP BY n.name",
    )
    .bind(team.0)
    .bind(project)
    .bind(names)
    .fetch_all(db)
    .await
}

/// Sealed values behind `after`, in the order of their ids.
pub async fn sealed_after(db: &Db, after: Uuid, limit: i64) -> Result<Vec<SealedRow>, sqlx::Error> {
    let rows: Vec<(Uuid, Uuid, String, Vec<u8>)> = sqlx::query_as("SELECT id, team_id, name, sealed FROM secrets WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(after)
        .bind(limit)
        .fetch_all(db)
        .await?;
    let row = |(id, team, name, sealed): (Uuid, Uuid, String, Vec<u8>)| {
        let row = sealed_row(SecretId(id), TeamId(team), &name);
        SealedRow { id, row, sealed }
    };
    Ok(rows.into_iter().map(row).collect())
}

/// How many of them were still what they were.
pub async fn rewrap(db: &Db, rows: &[RewrappedRow]) -> Result<u64, sqlx::Error> {
    let (ids, before, after) = RewrappedRow::columns(rows);
    let done = sqlx::query(
        "UPDATE secrets s SET sealed = n.after FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) AS n (id, before, after)
         WHERE s.id = n.id AND s.sealed = n.before AND s.id IN (SELECT id FROM secrets WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE)",
    )
    .bind(ids)
    .bind(before)
    .bind(after)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
