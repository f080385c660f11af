-- Secrets of teams. A value lies sealed for its row, its team and its name, and a pod's machine gets it in its memory alone.

-- How repositories are compared: GitHub takes no notice of capitals, other servers may.
CREATE FUNCTION project_key(reference text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN CASE WHEN position(':' IN reference) > 0 THEN reference ELSE lower(reference) END;

CREATE TABLE secrets (
  id uuid PRIMARY KEY,
  team_id uuid NOT NULL REFERENCES teams ON DELETE CASCADE,
  name text NOT NULL CHECK (name ~ '^[A-Z_][A-Z0-9_]{0,127}$'),
  project_ref text CHECK (char_length(project_ref) BETWEEN 1 AND 500),
  project_key text GENERATED ALWAYS AS (project_key(project_ref)) STORED,
  sealed bytea NOT NULL,
  -- Bytes that it takes of the message that brings a pod its secrets.
  carried int NOT NULL CHECK (carried > 0),
  created_at timestamptz NOT NULL DEFAULT now(),
  changed_at timestamptz NOT NULL DEFAULT now(),
  changed_by uuid REFERENCES users,
  last_used_at timestamptz,
  last_pod_id uuid REFERENCES pods ON DELETE SET NULL);
-- One a name for the team, and one a name for each repository.
CREATE UNIQUE INDEX secrets_name ON secrets (team_id, name, project_key) NULLS NOT DISTINCT;

-- Changes of a team's secrets are numbered from one row, which each of them locks: their order is the order of their commits.
CREATE TABLE secret_heads (
  team_id uuid PRIMARY KEY REFERENCES teams ON DELETE CASCADE,
  seq bigint NOT NULL) WITH (fillfactor = 50);
-- The latest change of each name, those included that are gone: a running pod whose number is lower runs with what was before.
CREATE TABLE secret_changes (
  team_id uuid NOT NULL REFERENCES teams ON DELETE CASCADE,
  name text NOT NULL,
  project_key text,
  seq bigint NOT NULL,
  at timestamptz NOT NULL DEFAULT now());
CREATE UNIQUE INDEX secret_changes_name ON secret_changes (team_id, name, project_key) NULLS NOT DISTINCT;
CREATE INDEX secret_changes_seq ON secret_changes (team_id, seq);

-- Up to which change the pod's machine was given its team's secrets.
ALTER TABLE pods ADD COLUMN secrets_seen bigint NOT NULL DEFAULT 0;
