-- A message without a key has no twin: it needs no place in the index that keeps running twins apart. The one of those that
-- wait stays as it is, for servers of the former release name its condition in their ON CONFLICT.
CREATE UNIQUE INDEX message_running_key ON queue.message (key) WHERE lease IS NOT NULL AND key IS NOT NULL;
DROP INDEX queue.message_one_running;
ALTER INDEX queue.message_running_key RENAME TO message_one_running;
