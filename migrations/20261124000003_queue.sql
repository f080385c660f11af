-- The queue: pgmq's names, with leases, keys, priorities and dead letters. See server/src/queue.
CREATE SCHEMA queue;
-- Never reuse a number: it is the lease of a job and the fence on the host at once.
CREATE SEQUENCE queue.fence;
CREATE TABLE queue.message (
  msg_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  queue text NOT NULL,
  key text,
  priority smallint NOT NULL DEFAULT 0,
  read_ct int NOT NULL DEFAULT 0,
  max_reads int NOT NULL DEFAULT 5,
  enqueued_at timestamptz NOT NULL DEFAULT now(),
  vt timestamptz NOT NULL DEFAULT now(),
  lease bigint,
  worker text,
  message jsonb NOT NULL,
  headers jsonb)
  WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX message_readable ON queue.message (queue, priority DESC, vt, msg_id);
CREATE UNIQUE INDEX message_one_running ON queue.message (key) WHERE lease IS NOT NULL;
CREATE UNIQUE INDEX message_one_waiting ON queue.message (queue, key) WHERE lease IS NULL;
CREATE TABLE queue.archive (
  msg_id bigint NOT NULL,
  queue text NOT NULL,
  key text,
  priority smallint NOT NULL,
  read_ct int NOT NULL,
  max_reads int NOT NULL,
  enqueued_at timestamptz NOT NULL,
  vt timestamptz NOT NULL,
  lease bigint,
  worker text,
  message jsonb NOT NULL,
  headers jsonb,
  archived_at timestamptz NOT NULL DEFAULT now(),
  outcome text NOT NULL CHECK (outcome IN ('done', 'dead')),
  error text) PARTITION BY RANGE (archived_at);
CREATE TABLE queue.archive_default PARTITION OF queue.archive DEFAULT;
CREATE INDEX archive_dead ON queue.archive (queue, archived_at DESC) WHERE outcome = 'dead';
