-- When a join token was first used: the same machine may repeat it until it was heard, no other may.
ALTER TABLE hosts ADD COLUMN join_used_at timestamptz;
