-- The role that the server connects as, in an installation whose tables belong to another one (see operating.md). Run as the owner of
-- the tables, after `pinacle-server migrate` was run as that owner.
CREATE ROLE pinacle_server LOGIN;
GRANT USAGE ON SCHEMA public, queue TO pinacle_server;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, queue TO pinacle_server;
GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public, queue TO pinacle_server;
GRANT EXECUTE ON FUNCTION queue.maintain_archive(interval) TO pinacle_server;
-- What was done is told for good, and which migrations were run is the owner's to say.
REVOKE UPDATE, DELETE, TRUNCATE ON activity FROM pinacle_server;
REVOKE INSERT, UPDATE, DELETE ON _sqlx_migrations FROM pinacle_server;
-- Tables that later migrations make.
ALTER DEFAULT PRIVILEGES IN SCHEMA public, queue GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO pinacle_server;
ALTER DEFAULT PRIVILEGES IN SCHEMA public, queue GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO pinacle_server;
