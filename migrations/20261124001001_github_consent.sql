-- What a user allowed at GitHub, and since when GitHub no longer accepts it. Whoever signed in before was asked for `repo`.
ALTER TABLE users
  ADD COLUMN github_scopes text[] NOT NULL DEFAULT '{repo,read:user,user:email}',
  ADD COLUMN github_refused_at timestamptz;
ALTER TABLE users ALTER COLUMN github_scopes SET DEFAULT '{}';
