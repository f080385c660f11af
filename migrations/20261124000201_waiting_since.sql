-- Since when a pod waits for what waiting_for says: its patience is counted from here, not from when it was wished.
ALTER TABLE pods ADD COLUMN waiting_since timestamptz;
