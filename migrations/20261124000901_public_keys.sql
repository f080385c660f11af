-- Public keys of people, as their GitHub accounts have them: what the SSH gateway knows them by.
CREATE TABLE public_keys (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  -- Type and data, as in authorized_keys.
  public_key text NOT NULL,
  first_seen_at timestamptz NOT NULL DEFAULT now(),
  last_used_at timestamptz,
  UNIQUE (user_id, public_key));
CREATE INDEX public_keys_key ON public_keys USING hash (public_key);
-- When they were last asked for, and when GitHub last answered.
ALTER TABLE users
  ADD COLUMN public_keys_tried_at timestamptz,
  ADD COLUMN public_keys_at timestamptz;
