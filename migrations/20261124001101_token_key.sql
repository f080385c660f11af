-- What API tokens are signed with, sealed: it outlives the master key. A server that finds none keeps the one that tokens are signed with already.
ALTER TABLE installation ADD COLUMN token_key bytea;
