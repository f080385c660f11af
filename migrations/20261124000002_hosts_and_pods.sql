-- Hosts, pods, what a pod has reserved, its log and what it cost.
CREATE TABLE hosts (
  id uuid PRIMARY KEY,
  name text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9-]{1,40}$'),
  transport text NOT NULL CHECK (transport IN ('ssh', 'https')),
  address text NOT NULL,
  port int NOT NULL CHECK (port BETWEEN 1 AND 65535),
  pod_cidr cidr NOT NULL UNIQUE,
  state text NOT NULL CHECK (state IN ('joining', 'active', 'cordoned', 'draining', 'lost')),
  join_token_hash bytea,
  join_expires_at timestamptz,
  cpu_milli int NOT NULL DEFAULT 0,
  memory_bytes bigint NOT NULL DEFAULT 0,
  disk_bytes bigint NOT NULL DEFAULT 0,
  cpu_ratio real NOT NULL DEFAULT 8,
  memory_ratio real NOT NULL DEFAULT 1,
  disk_ratio real NOT NULL DEFAULT 2,
  inventory jsonb NOT NULL DEFAULT '{}',
  boot_id uuid,
  last_seen_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now());

CREATE TABLE host_keys (
  host_id uuid NOT NULL REFERENCES hosts ON DELETE CASCADE,
  algorithm text NOT NULL,
  public_key bytea NOT NULL,
  state text NOT NULL CHECK (state IN ('offered', 'trusted', 'retired')),
  confirmed_by uuid REFERENCES users,
  first_seen_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (host_id, public_key));

CREATE TABLE pods (
  id uuid PRIMARY KEY,
  team_id uuid NOT NULL REFERENCES teams,
  owner_id uuid NOT NULL REFERENCES users,
  name text NOT NULL CHECK (name ~ '^[a-z0-9]{1,20}$'),
  tier text NOT NULL,
  repository text,
  branch text,
  "commit" text,
  config jsonb NOT NULL DEFAULT '{}',
  desired text NOT NULL DEFAULT 'running' CHECK (desired IN ('running', 'stopped', 'deleted')),
  generation bigint NOT NULL DEFAULT 1,
  boot_after bigint NOT NULL DEFAULT 0,
  status text NOT NULL DEFAULT 'queued'
    CHECK (status IN ('queued', 'provisioning', 'starting', 'running', 'stopping', 'stopped', 'failed', 'deleting', 'deleted')),
  seen_generation bigint NOT NULL DEFAULT 0,
  setup text NOT NULL DEFAULT 'none' CHECK (setup IN ('none', 'awaiting_approval', 'running', 'done', 'failed')),
  setup_detail jsonb NOT NULL DEFAULT '{}',
  approved_digest text,
  failure jsonb,
  fence bigint NOT NULL DEFAULT 0,
  status_at timestamptz NOT NULL DEFAULT now(),
  last_used_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now());
CREATE UNIQUE INDEX pods_name ON pods (owner_id, name) WHERE status <> 'deleted';
CREATE INDEX pods_team ON pods (team_id, created_at DESC, id) WHERE status <> 'deleted';
CREATE INDEX pods_behind ON pods (status_at) WHERE seen_generation < generation;

CREATE TABLE reservations (
  pod_id uuid PRIMARY KEY REFERENCES pods,
  host_id uuid NOT NULL REFERENCES hosts,
  address inet NOT NULL UNIQUE,
  disk_bytes bigint NOT NULL,
  cpu_milli int NOT NULL,
  memory_bytes bigint NOT NULL,
  reason jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX reservations_host ON reservations (host_id) INCLUDE (cpu_milli, memory_bytes, disk_bytes);

CREATE TABLE pod_event_head (
  pod_id uuid PRIMARY KEY REFERENCES pods ON DELETE CASCADE,
  seq bigint NOT NULL DEFAULT 0) WITH (fillfactor = 50);
CREATE TABLE pod_event (
  pod_id uuid NOT NULL REFERENCES pods ON DELETE CASCADE,
  seq bigint NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  generation bigint NOT NULL,
  step text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('begin', 'output', 'end', 'status')),
  stream text CHECK (stream IN ('stdout', 'stderr')),
  text text NOT NULL CHECK (octet_length(text) <= 16384),
  data jsonb,
  PRIMARY KEY (pod_id, seq));

CREATE TABLE pod_span (
  pod_id uuid NOT NULL,
  team_id uuid NOT NULL,
  tier text NOT NULL,
  status text NOT NULL,
  began_at timestamptz NOT NULL,
  ended_at timestamptz,
  PRIMARY KEY (pod_id, began_at));
