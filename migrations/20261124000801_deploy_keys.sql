-- A key pair a pod: the private half sealed and gone with the pod; the row stays until GitHub has forgotten the public one.
CREATE TABLE ssh_keys (
  id uuid PRIMARY KEY,
  pod_id uuid NOT NULL UNIQUE REFERENCES pods ON DELETE CASCADE,
  -- Whose right at GitHub registered it, and is to remove it.
  user_id uuid NOT NULL REFERENCES users,
  repository text NOT NULL,
  public_key text NOT NULL,
  private_key_encrypted bytea,
  github_key_id bigint,
  removing_since timestamptz,
  removal_tries int NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ssh_keys_removing ON ssh_keys (removing_since) WHERE removing_since IS NOT NULL;

-- How git in the pod reaches GitHub, and why so; until when what it was given holds; when that was last looked at.
ALTER TABLE pods
  ADD COLUMN git_access jsonb,
  ADD COLUMN git_expires_at timestamptz,
  ADD COLUMN git_tried_at timestamptz;
CREATE INDEX pods_git_expires ON pods (git_expires_at) WHERE git_expires_at IS NOT NULL AND status = 'running';
