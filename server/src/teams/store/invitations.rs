//! The SQL of invitations.

use super::role_of;
use crate::db::Db;
use pinacle_app::{
    ids::{InvitationId, TeamId, UserId},
    teams::{Invitation, InvitationState, TeamRole},
};
use sqlx::{PgConnection, Row, postgres::PgRow};
use time::OffsetDateTime;
use uuid::Uuid;

/// Invitations of one team that are listed; as many as may be open.
const MOST_LISTED: i64 = 200;

/// Who is invited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invitee {
    /// Known by its number; the login is what it was called then.
    GitHub { id: i64, login: String },
    /// In lower case.
    Email(String),
}

impl Invitee {
    pub fn text(&self) -> &str {
        match self {
            Invitee::GitHub { login, .. } => login,
            Invitee::Email(email) => email,
        }
    }

    fn columns(&self) -> (Option<i64>, Option<&str>, Option<&str>) {
        match self {
            Invitee::GitHub { id, login } => (Some(*id), Some(login), None),
            Invitee::Email(email) => (None, None, Some(email)),
        }
    }
}

/// Whether whom this names is in the team, as far as we know who that is.
pub async fn is_member(db: &mut PgConnection, team: TeamId, invitee: &Invitee) -> Result<bool, sqlx::Error> {
    let (github_id, _, email) = invitee.columns();
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM team_members m JOIN users u ON u.id = m.user_id
                        WHERE m.team_id = $1 AND (u.github_id = $2 OR $3 = ANY(u.emails)))",
    )
    .bind(team.0)
    .bind(github_id)
    .bind(email)
    .fetch_one(db)
    .await
}

/// Neither accepted nor revoked.
pub async fn count_open(db: &mut PgConnection, team: TeamId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM invitations WHERE team_id = $1 AND accepted_at IS NULL AND revoked_at IS NULL")
        .bind(team.0)
        .fetch_one(db)
        .await
}

/// False when whom it names is invited already.
#[expect(clippy::too_many_arguments, reason = "each is a column")]
pub async fn insert(
    db: &mut PgConnection,
    id: InvitationId,
    team: TeamId,
    invitee: &Invitee,
    role: TeamRole,
    by: UserId,
    code_hash: &[u8],
    expires_at: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let (github_id, login, email) = invitee.columns();
    let made = sqlx::query(
        "INSERT INTO invitations (id, team_id, github_id, github_login, email, role, code_hash, invited_by, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
    )
    .bind(id.0)
    .bind(team.0)
    .bind(github_id)
    .bind(login)
    .bind(email)
    .bind(role.as_str())
    .bind(code_hash)
    .bind(by.0)
    .bind(expires_at)
    .execute(&mut *db)
    .await?;
    if made.rows_affected() == 0 {
        return Ok(false);
    }
    keep_code(db, id, code_hash).await?;
    Ok(true)
}

async fn keep_code(db: &mut PgConnection, id: InvitationId, code_hash: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO invitation_codes (code_hash, invitation_id) VALUES ($1, $2)").bind(code_hash).bind(id.0).execute(db).await.map(|_| ())
}

pub async fn count_codes(db: &mut PgConnection, id: InvitationId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM invitation_codes WHERE invitation_id = $1").bind(id.0).fetch_one(db).await
}

/// Another code in the place of the one before.
pub async fn renew(db: &mut PgConnection, id: InvitationId, code_hash: &[u8], expires_at: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE invitations SET code_hash = $2, expires_at = $3 WHERE id = $1")
        .bind(id.0)
        .bind(code_hash)
        .bind(expires_at)
        .execute(&mut *db)
        .await?;
    keep_code(db, id, code_hash).await
}

pub async fn revoke(db: &mut PgConnection, id: InvitationId) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE invitations SET revoked_at = now() WHERE id = $1").bind(id.0).execute(db).await.map(|_| ())
}

pub async fn accepted(db: &mut PgConnection, id: InvitationId, by: UserId) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE invitations SET accepted_at = now(), accepted_by = $2 WHERE id = $1").bind(id.0).bind(by.0).execute(db).await.map(|_| ())
}

macro_rules! listed {
    ($tail:literal) => {
        concat!(
            "SELECT i.id, i.github_login, i.email, i.role, u.login AS invited_by, i.expires_at <= now() AS expired, i.created_at, i.expires_at
             FROM invitations i JOIN users u ON u.id = i.invited_by
             WHERE i.team_id = $1 AND i.accepted_at IS NULL AND i.revoked_at IS NULL ",
            $tail
        )
    };
}

/// Those that are neither accepted nor revoked, newest first.
pub async fn list(db: &Db, team: TeamId) -> Result<Vec<Invitation>, sqlx::Error> {
    let rows = sqlx::query(listed!("ORDER BY i.created_at DESC, i.id DESC LIMIT $2")).bind(team.0).bind(MOST_LISTED).fetch_all(db).await?;
    rows.iter().map(invitation_of).collect()
}

pub async fn get(db: &mut PgConnection, team: TeamId, id: InvitationId) -> Result<Option<Invitation>, sqlx::Error> {
    let row = sqlx::query(listed!("AND i.id = $2")).bind(team.0).bind(id.0).fetch_optional(db).await?;
    row.as_ref().map(invitation_of).transpose()
}

fn invitation_of(row: &PgRow) -> Result<Invitation, sqlx::Error> {
    Ok(Invitation {
        id: InvitationId(row.try_get("id")?),
        github_login: row.try_get("github_login")?,
        email: row.try_get("email")?,
        role: role_of(row)?,
        invited_by: row.try_get("invited_by")?,
        state: state_of(row)?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
    })
}

fn state_of(row: &PgRow) -> Result<InvitationState, sqlx::Error> {
    Ok(if row.try_get("expired")? { InvitationState::Expired } else { InvitationState::Open })
}

/// An invitation as a holder of one of its codes finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub id: InvitationId,
    pub team: TeamId,
    pub team_name: String,
    pub team_slug: String,
    pub team_gone: bool,
    pub invitee: Invitee,
    pub role: TeamRole,
    pub invited_by: String,
    pub state: InvitationState,
    pub expires_at: OffsetDateTime,
    pub accepted_by: Option<UserId>,
    pub is_revoked: bool,
    /// It was not sent again since.
    pub is_newest_code: bool,
}

pub async fn by_code(db: &mut PgConnection, code_hash: &[u8]) -> Result<Option<Found>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT i.id, i.team_id, t.name, t.slug, t.deleted_at IS NOT NULL AS team_gone, i.github_id, i.github_login, i.email, i.role, u.login AS invited_by,
                i.expires_at <= now() AS expired, i.expires_at, i.accepted_by, i.revoked_at IS NOT NULL AS revoked, i.code_hash = c.code_hash AS newest
         FROM invitation_codes c JOIN invitations i ON i.id = c.invitation_id JOIN teams t ON t.id = i.team_id JOIN users u ON u.id = i.invited_by
         WHERE c.code_hash = $1",
    )
    .bind(code_hash)
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        let invitee = match row.try_get::<Option<i64>, _>("github_id")? {
            Some(id) => Invitee::GitHub { id, login: row.try_get("github_login")? },
            None => Invitee::Email(row.try_get("email")?),
        };
        Ok(Found {
            id: InvitationId(row.try_get("id")?),
            team: TeamId(row.try_get("team_id")?),
            team_name: row.try_get("name")?,
            team_slug: row.try_get("slug")?,
            team_gone: row.try_get("team_gone")?,
            invitee,
            role: role_of(&row)?,
            invited_by: row.try_get("invited_by")?,
            state: state_of(&row)?,
            expires_at: row.try_get("expires_at")?,
            accepted_by: row.try_get::<Option<Uuid>, _>("accepted_by")?.map(UserId),
            is_revoked: row.try_get("revoked")?,
            is_newest_code: row.try_get("newest")?,
        })
    })
    .transpose()
}
