-- 1,000 people in ten teams. Those who have signed in own all ten; the first team has 500 members and 2,000 secrets.
INSERT INTO users (id, github_id, login, handle, name, email, emails)
SELECT gen_random_uuid(), 900000000 + n, 'user' || n, 'user' || n, 'User ' || n, 'user' || n || '@example.test', ARRAY['user' || n || '@example.test']
FROM generate_series(1, 1000 - (SELECT count(*)::int FROM users)) n;
INSERT INTO handles (handle, user_id) SELECT handle, id FROM users WHERE login LIKE 'user%';
INSERT INTO teams (id, slug, name, personal_of) SELECT gen_random_uuid(), handle, handle, id FROM users WHERE login LIKE 'user%';
INSERT INTO team_members (team_id, user_id, role) SELECT id, personal_of, 'owner' FROM teams WHERE slug LIKE 'user%';

INSERT INTO teams (id, slug, name) SELECT gen_random_uuid(), 'team-' || n, 'Team ' || n FROM generate_series(1, 10) n;
INSERT INTO team_members (team_id, user_id, role)
SELECT t.id, u.id, 'owner' FROM teams t, users u WHERE t.slug LIKE 'team-%' AND u.login LIKE 'reader%';
-- Everybody is in one of the first five, and in one of the others.
INSERT INTO team_members (team_id, user_id, role)
SELECT t.id, u.id, 'member'
FROM (SELECT id, substr(login, 5)::int AS n FROM users WHERE login LIKE 'user%') u
JOIN teams t ON t.slug IN ('team-' || 1 + u.n % 5, 'team-' || 6 + u.n % 5);
INSERT INTO team_members (team_id, user_id, role)
SELECT t.id, u.id, 'member' FROM teams t, users u
WHERE t.slug = 'team-1' AND u.login LIKE 'user%' AND NOT EXISTS (SELECT FROM team_members WHERE team_id = t.id AND user_id = u.id)
ORDER BY u.login LIMIT 500 - (SELECT count(*) FROM team_members m JOIN teams t ON t.id = m.team_id WHERE t.slug = 'team-1');

-- 250 for the team, and 250 for each of seven repositories; half of a repository's names are the team's, too.
INSERT INTO secrets (id, team_id, name, project_ref, sealed, carried, changed_by)
SELECT gen_random_uuid(), t.id, 'KEY_' || n + CASE WHEN r = 0 THEN 0 ELSE 125 END, CASE WHEN r > 0 THEN 'bench/repo-' || r END,
  decode(repeat('00', 120), 'hex'), 60, (SELECT id FROM users WHERE login = 'reader01')
FROM teams t, generate_series(0, 7) r, generate_series(1, 250) n WHERE t.slug = 'team-1';
INSERT INTO secret_changes (team_id, name, project_key, seq)
SELECT team_id, name, project_key, row_number() OVER (ORDER BY project_key, name) FROM secrets;
INSERT INTO secret_heads (team_id, seq) SELECT team_id, max(seq) FROM secret_changes GROUP BY team_id;

INSERT INTO activity (team_id, actor_id, actor, door, action, object, at)
SELECT t.id, u.id, u.login, 'browser', 'pod.start', 'p' || n, now() - make_interval(mins => 2000 - n)
FROM teams t, users u, generate_series(1, 2000) n WHERE t.slug = 'team-1' AND u.login = 'reader01';
