-- How a pod's repository is compared with those of secrets: worked out when it is written, and not for each pair of a pod and a secret.
ALTER TABLE pods ADD COLUMN project_key text GENERATED ALWAYS AS (project_key(repository)) STORED;
