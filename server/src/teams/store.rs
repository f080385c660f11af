//! The SQL of teams and of who is in them. Invitations' stands in `store/invitations.rs`.

pub mod invitations;

use crate::db::Db;
use pinacle_app::{
    ids::{InvitationId, TeamId, UserId},
    teams::{Member, Team, TeamRole},
};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use time::OffsetDateTime;
use uuid::Uuid;

/// Teams of one user that are listed.
const MOST_TEAMS: i64 = 500;

/// The user's teams, the personal one first.
pub async fn teams(db: &Db, user: UserId) -> Result<Vec<Team>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT t.id, t.slug, t.name, coalesce(t.personal_of = $1, false) AS personal, m.role
         FROM team_members m JOIN teams t ON t.id = m.team_id
         WHERE m.user_id = $1 ORDER BY personal DESC, lower(t.name), t.id LIMIT $2",
    )
    .bind(user.0)
    .bind(MOST_TEAMS)
    .fetch_all(db)
    .await?;
    rows.iter().map(team_of).collect()
}

/// One of the user's teams; None for one that is not its own, or not there.
pub async fn team(db: impl PgExecutor<'_>, team: TeamId, user: UserId) -> Result<Option<Team>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT t.id, t.slug, t.name, coalesce(t.personal_of = $2, false) AS personal, m.role
         FROM team_members m JOIN teams t ON t.id = m.team_id WHERE m.team_id = $1 AND m.user_id = $2",
    )
    .bind(team.0)
    .bind(user.0)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(team_of).transpose()
}

/// As `team`, by what stands in addresses.
pub async fn by_slug(db: impl PgExecutor<'_>, slug: &str, user: UserId) -> Result<Option<Team>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT t.id, t.slug, t.name, coalesce(t.personal_of = $2, false) AS personal, m.role
         FROM teams t JOIN team_members m ON m.team_id = t.id WHERE t.slug = $1 AND t.deleted_at IS NULL AND m.user_id = $2",
    )
    .bind(slug)
    .bind(user.0)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(team_of).transpose()
}

/// Ids of the user's teams.
pub async fn ids(db: &Db, user: UserId) -> Result<Vec<TeamId>, sqlx::Error> {
    let ids = sqlx::query_scalar("SELECT team_id FROM team_members WHERE user_id = $1 LIMIT $2").bind(user.0).bind(MOST_TEAMS).fetch_all(db).await?;
    Ok(ids.into_iter().map(TeamId).collect())
}

/// What the user is in this team; None for a team that is not its own, or not there.
pub async fn role(db: impl PgExecutor<'_>, team: TeamId, user: UserId) -> Result<Option<TeamRole>, sqlx::Error> {
    let row = sqlx::query("SELECT role FROM team_members WHERE team_id = $1 AND user_id = $2").bind(team.0).bind(user.0).fetch_optional(db).await?;
    row.as_ref().map(role_of).transpose()
}

/// As `role`, and the user stays in the team until the transaction ends.
pub async fn role_held(db: &mut PgConnection, team: TeamId, user: UserId) -> Result<Option<TeamRole>, sqlx::Error> {
    let row = sqlx::query("SELECT role FROM team_members WHERE team_id = $1 AND user_id = $2 FOR SHARE")
        .bind(team.0)
        .bind(user.0)
        .fetch_optional(db)
        .await?;
    row.as_ref().map(role_of).transpose()
}

/// The user's personal team.
pub async fn personal(db: impl PgExecutor<'_>, user: UserId) -> Result<Option<TeamId>, sqlx::Error> {
    sqlx::query_scalar("SELECT id FROM teams WHERE personal_of = $1").bind(user.0).fetch_optional(db).await.map(|id| id.map(TeamId))
}

/// Holds off whoever else changes the team or who is in it, until the transaction ends. False for a team that is gone.
pub async fn lock(db: &mut PgConnection, team: TeamId) -> Result<bool, sqlx::Error> {
    // Pods that are being made only want the row to stay.
    let found = sqlx::query("SELECT FROM teams WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE").bind(team.0).fetch_optional(db).await?;
    Ok(found.is_some())
}

pub async fn is_personal(db: &mut PgConnection, team: TeamId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM teams WHERE id = $1 AND personal_of IS NOT NULL)").bind(team.0).fetch_one(db).await
}

pub async fn name(db: &mut PgConnection, team: TeamId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT name FROM teams WHERE id = $1").bind(team.0).fetch_optional(db).await
}

/// Numbers of members and pods, and when the team was made.
pub async fn figures(db: &mut PgConnection, team: TeamId) -> Result<(u32, u32, OffsetDateTime), sqlx::Error> {
    let (members, pods, created_at): (i64, i64, OffsetDateTime) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM team_members WHERE team_id = t.id), (SELECT count(*) FROM pods WHERE team_id = t.id AND status <> 'deleted'), created_at
         FROM teams t WHERE id = $1",
    )
    .bind(team.0)
    .fetch_one(db)
    .await?;
    let figure = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    Ok((figure(members), figure(pods), created_at))
}

/// False when the slug is another team's.
pub async fn insert(db: &mut PgConnection, id: TeamId, slug: &str, name: &str, personal_of: Option<UserId>) -> Result<bool, sqlx::Error> {
    let made =
        sqlx::query("INSERT INTO teams (id, slug, name, personal_of) VALUES ($1, $2, $3, $4) ON CONFLICT (slug) WHERE deleted_at IS NULL DO NOTHING")
            .bind(id.0)
            .bind(slug)
            .bind(name)
            .bind(personal_of.map(|user| user.0))
            .execute(db)
            .await?;
    Ok(made.rows_affected() == 1)
}

pub async fn rename(db: &mut PgConnection, team: TeamId, name: &str) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE teams SET name = $2 WHERE id = $1").bind(team.0).bind(name).execute(db).await.map(|_| ())
}

/// The team is gone; its row stays for what was its own.
pub async fn end(db: &mut PgConnection, team: TeamId) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE invitations SET revoked_at = now() WHERE team_id = $1 AND accepted_at IS NULL AND revoked_at IS NULL")
        .bind(team.0)
        .execute(&mut *db)
        .await?;
    sqlx::query("UPDATE teams SET deleted_at = now() WHERE id = $1").bind(team.0).execute(db).await.map(|_| ())
}

// Members

/// Teams that the user owns, its personal one too.
pub async fn count_owned(db: &mut PgConnection, user: UserId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM team_members WHERE user_id = $1 AND role = 'owner'").bind(user.0).fetch_one(db).await
}

pub async fn count_owners(db: &mut PgConnection, team: TeamId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM team_members WHERE team_id = $1 AND role = 'owner'").bind(team.0).fetch_one(db).await
}

pub async fn count_members(db: &mut PgConnection, team: TeamId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM team_members WHERE team_id = $1").bind(team.0).fetch_one(db).await
}

pub async fn add_member(db: &mut PgConnection, team: TeamId, user: UserId, role: TeamRole) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO team_members (team_id, user_id, role) VALUES ($1, $2, $3)")
        .bind(team.0)
        .bind(user.0)
        .bind(role.as_str())
        .execute(db)
        .await
        .map(|_| ())
}

pub async fn set_role(db: &mut PgConnection, team: TeamId, user: UserId, role: TeamRole) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE team_members SET role = $3 WHERE team_id = $1 AND user_id = $2")
        .bind(team.0)
        .bind(user.0)
        .bind(role.as_str())
        .execute(db)
        .await
        .map(|_| ())
}

pub async fn remove_member(db: &mut PgConnection, team: TeamId, user: UserId) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM team_members WHERE team_id = $1 AND user_id = $2").bind(team.0).bind(user.0).execute(db).await.map(|_| ())
}

/// Who was in it.
pub async fn remove_all_members(db: &mut PgConnection, team: TeamId) -> Result<Vec<UserId>, sqlx::Error> {
    let users: Vec<Uuid> = sqlx::query_scalar("DELETE FROM team_members WHERE team_id = $1 RETURNING user_id").bind(team.0).fetch_all(db).await?;
    Ok(users.into_iter().map(UserId).collect())
}

/// Revokes what this user's open invitations are; each with whom it invited.
pub async fn revoke_invitations_of(db: &mut PgConnection, team: TeamId, user: UserId) -> Result<Vec<(InvitationId, String)>, sqlx::Error> {
    let rows: Vec<(Uuid, String)> = sqlx::query_as(
        "UPDATE invitations SET revoked_at = now()
         WHERE team_id = $1 AND invited_by = $2 AND accepted_at IS NULL AND revoked_at IS NULL RETURNING id, coalesce(github_login, email)",
    )
    .bind(team.0)
    .bind(user.0)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(id, invited)| (InvitationId(id), invited)).collect())
}

macro_rules! members {
    ($tail:literal) => {
        concat!(
            "SELECT m.user_id, u.login, u.handle, u.name, m.role, m.joined_at,
                    (SELECT count(*) FROM pods p
                     WHERE p.owner_id = m.user_id AND p.team_id = m.team_id AND p.status <> 'deleted' AND p.owner_left_at IS NULL) AS pods,
                    greatest((SELECT max(s.seen_at) FROM sessions s WHERE s.user_id = m.user_id),
                             (SELECT max(t.last_used_at) FROM api_tokens t WHERE t.user_id = m.user_id)) AS active_at
             FROM team_members m JOIN users u ON u.id = m.user_id WHERE m.team_id = $1 ",
            $tail
        )
    };
}

/// Where a page of members begins: behind this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    pub role: TeamRole,
    pub login: String,
}

/// Owners first, then by login.
pub async fn members(db: &Db, team: TeamId, after: Option<&After>, limit: i64) -> Result<Vec<Member>, sqlx::Error> {
    let rows = sqlx::query(members!(
        "AND ($2::bool IS NULL OR (m.role <> 'owner', lower(u.login)) > ($2, $3)) ORDER BY m.role <> 'owner', lower(u.login) LIMIT $4"
    ))
    .bind(team.0)
    .bind(after.map(|after| after.role != TeamRole::Owner))
    .bind(after.map(|after| after.login.to_lowercase()))
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.iter().map(member_of).collect()
}

pub async fn member(db: &mut PgConnection, team: TeamId, user: UserId) -> Result<Option<Member>, sqlx::Error> {
    let row = sqlx::query(members!("AND m.user_id = $2")).bind(team.0).bind(user.0).fetch_optional(db).await?;
    row.as_ref().map(member_of).transpose()
}

fn member_of(row: &PgRow) -> Result<Member, sqlx::Error> {
    Ok(Member {
        user_id: UserId(row.try_get("user_id")?),
        login: row.try_get("login")?,
        handle: row.try_get("handle")?,
        name: row.try_get("name")?,
        role: role_of(row)?,
        pods: u32::try_from(row.try_get::<i64, _>("pods")?).unwrap_or(u32::MAX),
        joined_at: row.try_get("joined_at")?,
        active_at: row.try_get("active_at")?,
    })
}

fn team_of(row: &PgRow) -> Result<Team, sqlx::Error> {
    Ok(Team {
        id: TeamId(row.try_get("id")?),
        slug: row.try_get("slug")?,
        name: row.try_get("name")?,
        personal: row.try_get("personal")?,
        role: role_of(row)?,
    })
}

fn role_of(row: &PgRow) -> Result<TeamRole, sqlx::Error> {
    match row.try_get("role")? {
        "owner" => Ok(TeamRole::Owner),
        "member" => Ok(TeamRole::Member),
        other => Err(sqlx::Error::Decode(format!("a team role {other}").into())),
    }
}
