-- Teams that people make: names in addresses, invitations, pods whose owners have left.
ALTER TABLE teams
  -- A server of the former release makes personal teams without one.
  ADD COLUMN slug text NOT NULL DEFAULT gen_random_uuid()::text CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?$'),
  ADD COLUMN deleted_at timestamptz;
UPDATE teams SET slug = u.handle FROM users u WHERE u.id = teams.personal_of;
CREATE UNIQUE INDEX teams_slug ON teams (slug) WHERE deleted_at IS NULL;

-- Verified at GitHub when the user signed in last; lower-case.
ALTER TABLE users ADD COLUMN emails text[] NOT NULL DEFAULT '{}';
UPDATE users SET emails = ARRAY[lower(email)];

CREATE TABLE invitations (
  id uuid PRIMARY KEY,
  team_id uuid NOT NULL REFERENCES teams ON DELETE CASCADE,
  -- The one or the other: GitHub's number with the login it had then, or an address in lower case.
  github_id bigint,
  github_login text,
  email text CHECK (char_length(email) <= 254),
  role text NOT NULL CHECK (role IN ('owner', 'member')),
  code_hash bytea NOT NULL,
  invited_by uuid NOT NULL REFERENCES users,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  accepted_at timestamptz,
  accepted_by uuid REFERENCES users,
  revoked_at timestamptz,
  CHECK ((github_id IS NULL) <> (email IS NULL)),
  CHECK ((github_id IS NULL) = (github_login IS NULL)),
  CHECK (accepted_at IS NULL OR revoked_at IS NULL));
CREATE UNIQUE INDEX invitations_github ON invitations (team_id, github_id) WHERE accepted_at IS NULL AND revoked_at IS NULL;
CREATE UNIQUE INDEX invitations_email ON invitations (team_id, email) WHERE accepted_at IS NULL AND revoked_at IS NULL;
CREATE INDEX invitations_team ON invitations (team_id, created_at DESC);
CREATE INDEX invitations_inviter ON invitations (invited_by) WHERE accepted_at IS NULL AND revoked_at IS NULL;
-- Every code that an invitation has had: an old one says that it is old.
CREATE TABLE invitation_codes (
  code_hash bytea PRIMARY KEY,
  invitation_id uuid NOT NULL REFERENCES invitations ON DELETE CASCADE,
  made_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX invitation_codes_of ON invitation_codes (invitation_id);

-- Since when the pod's owner is in its team no more. Such a pod keeps its owner for the record, not the owner's names: whoever has
-- left may call another pod the same.
ALTER TABLE pods ADD COLUMN owner_left_at timestamptz;
CREATE UNIQUE INDEX pods_name_owned ON pods (owner_id, name) WHERE status <> 'deleted' AND owner_left_at IS NULL;
DROP INDEX pods_name;
ALTER INDEX pods_name_owned RENAME TO pods_name;
CREATE INDEX pods_left ON pods (team_id) WHERE status <> 'deleted' AND owner_left_at IS NOT NULL;
