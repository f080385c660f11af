-- Who waits for work (so that a send wakes somebody only when there is somebody), and what is sent by the clock.
CREATE UNLOGGED TABLE queue.idle (
  worker text PRIMARY KEY,
  queue text NOT NULL,
  until timestamptz NOT NULL);

CREATE TABLE queue.cron (
  name text PRIMARY KEY,
  queue text NOT NULL,
  every interval NOT NULL CHECK (every >= interval '1 second'),
  next_at timestamptz NOT NULL DEFAULT now());
INSERT INTO queue.cron (name, queue, every) VALUES
  ('check-hosts', 'fleet', '10 seconds'),
  ('sweep', 'fleet', '10 seconds'),
  ('reconcile', 'fleet', '30 seconds'),
  ('maintain', 'fleet', '1 day');

-- The archive's months: this one and the next are there; those older than `keep` go.
CREATE FUNCTION queue.maintain_archive(keep interval) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  month date;
  part text;
BEGIN
  FOR month IN SELECT generate_series(date_trunc('month', now()), date_trunc('month', now()) + interval '1 month', interval '1 month') LOOP
    EXECUTE format('CREATE TABLE IF NOT EXISTS queue.%I PARTITION OF queue.archive FOR VALUES FROM (%L) TO (%L)',
      'archive_' || to_char(month, 'YYYY_MM'), month, month + interval '1 month');
  END LOOP;
  FOR part IN SELECT relid::regclass::text FROM pg_partition_tree('queue.archive')
    WHERE isleaf AND relid::regclass::text ~ 'archive_\d{4}_\d{2}$'
      AND to_date(right(relid::regclass::text, 7), 'YYYY_MM') < date_trunc('month', now() - keep) LOOP
    EXECUTE 'DROP TABLE ' || part;
  END LOOP;
END $$;
SELECT queue.maintain_archive(interval '3 months');

-- A set-up that ended for an older wish than `setup_after` is done again (retry); `booted` guards the layer.
ALTER TABLE pods
  ADD COLUMN setup_after bigint NOT NULL DEFAULT 0,
  ADD COLUMN setup_generation bigint NOT NULL DEFAULT 0,
  ADD COLUMN booted boolean NOT NULL DEFAULT false,
  ADD COLUMN waiting_for text,
  ADD COLUMN wished_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX pod_event_durations ON pod_event (step, at DESC) WHERE kind = 'end';
CREATE INDEX pod_span_month ON pod_span (pod_id, ended_at);
