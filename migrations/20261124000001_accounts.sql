-- Accounts: people, their teams, signed-in browsers and API tokens.
CREATE TABLE installation (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  id uuid NOT NULL,
  epoch int NOT NULL DEFAULT 1);
INSERT INTO installation (id) VALUES (gen_random_uuid());

CREATE TABLE users (
  id uuid PRIMARY KEY,
  github_id bigint NOT NULL UNIQUE,
  login text NOT NULL,
  handle text NOT NULL UNIQUE CHECK (handle ~ '^[a-z0-9]([a-z0-9-]{0,37}[a-z0-9])?$'),
  name text NOT NULL,
  email text NOT NULL,
  operator boolean NOT NULL DEFAULT false,
  github_token bytea,
  created_at timestamptz NOT NULL DEFAULT now());
-- A handle is never given to somebody else, also after its user has taken another one.
CREATE TABLE handles (handle text PRIMARY KEY, user_id uuid NOT NULL REFERENCES users);

CREATE TABLE teams (
  id uuid PRIMARY KEY,
  name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 60),
  personal_of uuid UNIQUE REFERENCES users,
  created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE team_members (
  team_id uuid NOT NULL REFERENCES teams ON DELETE CASCADE,
  user_id uuid NOT NULL REFERENCES users,
  role text NOT NULL CHECK (role IN ('owner', 'member')),
  joined_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (team_id, user_id));
CREATE INDEX team_members_user ON team_members (user_id);

CREATE TABLE sessions (
  id uuid PRIMARY KEY,
  id_hash bytea NOT NULL UNIQUE,
  user_id uuid REFERENCES users ON DELETE CASCADE,
  data jsonb NOT NULL,
  agent text NOT NULL DEFAULT '',
  address text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT now(),
  seen_at timestamptz NOT NULL DEFAULT now(),
  idle_expires_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expiry ON sessions (idle_expires_at);

CREATE TABLE api_tokens (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 60),
  scope text NOT NULL CHECK (scope IN ('read', 'write')),
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  last_used_at timestamptz,
  revoked_at timestamptz);
CREATE INDEX api_tokens_user ON api_tokens (user_id, created_at DESC);

CREATE TABLE idempotency_keys (
  user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  key text NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 255),
  body_hash bytea NOT NULL,
  pod_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, key));
