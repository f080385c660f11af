//! The SQL of teams.

use crate::db::Db;
use pinacle_app::{
    ids::{TeamId, UserId},
    teams::{Team, TeamRole},
};
use sqlx::{PgExecutor, Row, postgres::PgRow};

/// Teams of one user that are listed.
const MOST_TEAMS: i64 = 500;

/// The user's teams, the personal one first.
pub async fn teams(db: &Db, user: UserId) -> Result<Vec<Team>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT t.id, t.name, coalesce(t.personal_of = $1, false) AS personal, m.role
         FROM team_members m JOIN teams t ON t.id = m.team_id
         WHERE m.user_id = $1 ORDER BY personal DESC, lower(t.name), t.id LIMIT $2",
    )
    .bind(user.0)
    .bind(MOST_TEAMS)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| Ok(Team { id: TeamId(row.try_get("id")?), name: row.try_get("name")?, personal: row.try_get("personal")?, role: role_of(row)? }))
        .collect()
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

/// The user's personal team.
pub async fn personal(db: impl PgExecutor<'_>, user: UserId) -> Result<Option<TeamId>, sqlx::Error> {
    sqlx::query_scalar("SELECT id FROM teams WHERE personal_of = $1").bind(user.0).fetch_optional(db).await.map(|id| id.map(TeamId))
}

fn role_of(row: &PgRow) -> Result<TeamRole, sqlx::Error> {
    match row.try_get("role")? {
        "owner" => Ok(TeamRole::Owner),
        "member" => Ok(TeamRole::Member),
        other => Err(sqlx::Error::Decode(format!("a team role {other}").into())),
    }
}
