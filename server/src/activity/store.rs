//! The SQL of activity: rows are added and read. The table refuses everything else.

use super::{Entry, Home};
use crate::db::Db;
use ipnet::IpNet;
use pinacle_app::{
    ids::{TeamId, UserId},
    teams::activity::{Activity, ActivityKind},
};
use sqlx::{PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

/// The team that it was told in.
pub async fn insert(connection: &mut PgConnection, entry: &Entry<'_>, name: &str, detail: &str) -> Result<TeamId, sqlx::Error> {
    let (team, personal_of) = match entry.home {
        Home::Team(team) => (Some(team.0), None),
        Home::Personal(user) => (None, Some(user.0)),
    };
    sqlx::query_scalar(
        "INSERT INTO activity (team_id, actor_id, actor, door, token_id, address, action, object_id, object, detail)
         VALUES (coalesce($1, (SELECT id FROM teams WHERE personal_of = $2)), $3, coalesce((SELECT login FROM users WHERE id = $3), ''),
                 $4, $5, $6, $7, $8, $9, $10)
         RETURNING team_id",
    )
    .bind(team)
    .bind(personal_of)
    .bind(entry.by.user.map(|user| user.0))
    .bind(entry.by.door)
    .bind(entry.by.token.map(|token| token.0))
    .bind(entry.by.address.map(IpNet::from))
    .bind(entry.action.as_str())
    .bind(entry.object)
    .bind(name)
    .bind(detail)
    .fetch_one(connection)
    .await
    .map(TeamId)
}

/// Newest first, before this number.
pub async fn page(
    db: &Db,
    team: TeamId,
    kind: Option<ActivityKind>,
    actor: Option<&str>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Activity>, sqlx::Error> {
    let nouns: Vec<String> = kind.map(|kind| kind.nouns().iter().map(|noun| (*noun).to_owned()).collect()).unwrap_or_default();
    let rows = sqlx::query(
        "SELECT a.seq, a.at, a.actor_id, a.actor, a.action, a.object_id, a.object, a.detail, a.door, t.name AS token, a.address
         FROM activity a LEFT JOIN api_tokens t ON t.id = a.token_id
         WHERE a.team_id = $1 AND (cardinality($2::text[]) = 0 OR split_part(a.action, '.', 1) = ANY($2))
           AND ($3::text IS NULL OR lower(a.actor) = lower($3)) AND ($4::bigint IS NULL OR a.seq < $4)
         ORDER BY a.seq DESC LIMIT $5",
    )
    .bind(team.0)
    .bind(nouns)
    .bind(actor)
    .bind(before)
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.iter().map(activity_of).collect()
}

fn activity_of(row: &PgRow) -> Result<Activity, sqlx::Error> {
    Ok(Activity {
        seq: row.try_get("seq")?,
        at: row.try_get("at")?,
        actor_id: row.try_get::<Option<Uuid>, _>("actor_id")?.map(UserId),
        actor: row.try_get("actor")?,
        action: row.try_get("action")?,
        object_id: row.try_get("object_id")?,
        object: row.try_get("object")?,
        detail: row.try_get("detail")?,
        door: row.try_get("door")?,
        token: row.try_get("token")?,
        address: row.try_get::<Option<IpNet>, _>("address")?.map(|net| net.addr().to_string()),
    })
}
