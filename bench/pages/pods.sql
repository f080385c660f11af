-- 100 pods for each of the teams :first to :last, each with 30 events. Half of them run, as far as Postgres knows: there is no host.
-- No pod is behind its wish, so that no worker takes one up.
INSERT INTO pods (id, team_id, owner_id, name, tier, repository, branch, "commit", desired, generation, seen_generation, status, setup, setup_detail,
  failure, waiting_for, booted, status_at, created_at, secrets_seen)
SELECT gen_random_uuid(), m.team_id, m.user_id, 'pod' || t || 'x' || i,
  (ARRAY['dev.small', 'dev.medium', 'dev.large', 'dev.xlarge'])[1 + i % 4], 'bench/repo-' || 1 + i % 20, 'main', repeat('ab', 20),
  CASE WHEN k IN (5, 6) THEN 'stopped' ELSE 'running' END, 1, 1,
  (ARRAY['running', 'running', 'running', 'running', 'running', 'stopped', 'stopped', 'failed', 'queued', 'provisioning'])[1 + k],
  (ARRAY['done', 'done', 'done', 'failed', 'awaiting_approval', 'done', 'done', 'none', 'none', 'none'])[1 + k],
  CASE k WHEN 3 THEN '{"step": "install", "code": "install_failed", "message": "npm ci ended with exit code 1.", "output": "npm error"}'
    WHEN 4 THEN '{"plan_digest": "ab", "plan": {"commit": "ab", "source": "pinacle.yaml", "guessed": false, "install": "npm ci", "yaml": "install: npm ci"}}'
    ELSE '{}' END::jsonb,
  CASE k WHEN 7 THEN '{"step": "sandbox", "code": "failed", "message": "The sandbox did not start.", "tried": "5 tries over 2 min"}'::jsonb END,
  CASE k WHEN 8 THEN 'no host has 4 GB of memory left' END, k < 7, now() - make_interval(mins => i), now() - make_interval(hours => i),
  -- Two pods of a hundred run with older secrets.
  greatest(0, (SELECT seq FROM secret_heads WHERE team_id = m.team_id) - CASE WHEN i % 50 = 1 THEN 10 ELSE 0 END)
FROM generate_series(:first, :last) t
JOIN LATERAL (
  SELECT m.team_id, m.user_id, row_number() OVER (ORDER BY m.user_id)::int AS i, row_number() OVER (ORDER BY m.user_id)::int % 10 AS k
  FROM team_members m JOIN teams ON teams.id = m.team_id WHERE teams.slug = 'team-' || t AND m.role = 'member') m ON m.i <= 100;

CREATE TEMPORARY TABLE made AS SELECT p.* FROM pods p WHERE NOT EXISTS (SELECT FROM pod_event_head h WHERE h.pod_id = p.id);
INSERT INTO pod_event_head (pod_id, seq) SELECT id, 30 FROM made;
-- Every step begins and ends, the status changes, and an install says something.
INSERT INTO pod_event (pod_id, seq, at, generation, step, kind, stream, text, data)
SELECT p.id, row_number() OVER (PARTITION BY p.id ORDER BY e.place), p.created_at + e.place * interval '300 milliseconds', 1, e.step, e.kind, e.stream,
  e.text, e.data
FROM made p, (
  SELECT 10 * n AS place, step, 'begin' AS kind, NULL AS stream, 'bench' AS text, NULL::jsonb AS data
  FROM unnest(ARRAY['reserve', 'address', 'layer', 'sandbox', 'keys', 'clone', 'install', 'processes', 'health']) WITH ORDINALITY s (step, n)
  UNION ALL
  SELECT 10 * n + 9, step, 'end', NULL, '', jsonb_build_object('outcome', 'ok', 'ms', 100 * n)
  FROM unnest(ARRAY['reserve', 'address', 'layer', 'sandbox', 'keys', 'clone', 'install', 'processes', 'health']) WITH ORDINALITY s (step, n)
  UNION ALL
  SELECT 71 + n % 8, 'install', 'output', 'stdout', 'added ' || 10 * n || ' packages in ' || n || ' s' || E'\n', NULL FROM generate_series(1, 10) n
  UNION ALL
  SELECT place, 'status', 'status', NULL, status, NULL FROM (VALUES (1, 'provisioning'), (60, 'running')) s (place, status)) e;
INSERT INTO pod_span (pod_id, team_id, tier, status, began_at) SELECT id, team_id, tier, status, created_at FROM made;
VACUUM ANALYZE;
