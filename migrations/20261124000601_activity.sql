-- Who did what to what, when and from where. Rows are added and read, never changed or removed: not by a statement of ours that is
-- wrong, and not by who has taken the server's connection. No foreign keys: a row outlives what it tells of.
CREATE TABLE activity (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  team_id uuid NOT NULL,
  -- NULL: the command line.
  actor_id uuid,
  actor text NOT NULL CHECK (char_length(actor) <= 100),
  door text NOT NULL CHECK (char_length(door) <= 20),
  token_id uuid,
  address inet,
  action text NOT NULL CHECK (action ~ '^[a-z_]+\.[a-z_]+$'),
  object_id uuid,
  object text NOT NULL CHECK (char_length(object) <= 300),
  detail text NOT NULL DEFAULT '' CHECK (char_length(detail) <= 1000));
CREATE INDEX activity_team ON activity (team_id, seq DESC);
CREATE INDEX activity_kind ON activity (team_id, split_part(action, '.', 1), seq DESC);

-- The owner of a table has every right to it, so that REVOKE alone binds only servers with a role of their own
-- (docs/operating.md); this binds the owner and superusers too, until they remove it.
CREATE FUNCTION activity_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'activity is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER activity_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON activity
  FOR EACH STATEMENT EXECUTE FUNCTION activity_is_append_only();
REVOKE ALL ON activity FROM PUBLIC;
DO $$ BEGIN
  EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON activity FROM %I', current_user);
END $$;

-- Partitions are made and dropped by their owner, whichever role the server has.
ALTER FUNCTION queue.maintain_archive(interval) SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE EXECUTE ON FUNCTION queue.maintain_archive(interval) FROM PUBLIC;
