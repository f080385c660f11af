//! Pods and who has left their team: such a pod is the team's, until an owner takes it over.

use pinacle_app::ids::{PodId, TeamId, UserId};
use sqlx::PgConnection;
use uuid::Uuid;

/// Notes that this user's pods in the team have lost their owner; which those are.
pub async fn owner_left(connection: &mut PgConnection, team: TeamId, owner: UserId) -> Result<Vec<PodId>, sqlx::Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "UPDATE pods SET owner_left_at = now() WHERE team_id = $1 AND owner_id = $2 AND status <> 'deleted' AND owner_left_at IS NULL RETURNING id",
    )
    .bind(team.0)
    .bind(owner.0)
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(PodId).collect())
}

/// A pod whose owner has left its team.
pub struct Left {
    pub id: PodId,
    pub name: String,
    pub owner_id: UserId,
    /// The owner's login.
    pub owner: String,
}

/// Such pods of a team, by name; those on their way out are not offered.
pub async fn left_in(connection: &mut PgConnection, team: TeamId) -> Result<Vec<Left>, sqlx::Error> {
    let rows: Vec<(Uuid, String, Uuid, String)> = sqlx::query_as(
        "SELECT p.id, p.name, p.owner_id, u.login FROM pods p JOIN users u ON u.id = p.owner_id
         WHERE p.team_id = $1 AND p.owner_left_at IS NOT NULL AND p.status <> 'deleted' AND p.desired <> 'deleted' ORDER BY p.name, p.id",
    )
    .bind(team.0)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(id, name, owner_id, owner)| Left { id: PodId(id), name, owner_id: UserId(owner_id), owner }).collect())
}

/// Gives it an owner, under this name.
pub async fn take_over(connection: &mut PgConnection, id: PodId, owner: UserId, name: &str) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE pods SET owner_id = $2, name = $3, owner_left_at = NULL, wished_at = now() WHERE id = $1 AND owner_left_at IS NOT NULL")
        .bind(id.0)
        .bind(owner.0)
        .bind(name)
        .execute(connection)
        .await
        .map(|_| ())
}

/// Pods of a team that are neither deleted nor on their way to it, with their names.
pub async fn alive_in(connection: &mut PgConnection, team: TeamId) -> Result<Vec<(PodId, String)>, sqlx::Error> {
    let rows: Vec<(Uuid, String)> =
        sqlx::query_as("SELECT id, name FROM pods WHERE team_id = $1 AND status <> 'deleted' AND desired <> 'deleted' ORDER BY name, id")
            .bind(team.0)
            .fetch_all(connection)
            .await?;
    Ok(rows.into_iter().map(|(id, name)| (PodId(id), name)).collect())
}
