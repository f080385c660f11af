-- Which account a login of PINACLE_OPERATORS was taken by first: a recycled login never makes somebody else an operator.
CREATE TABLE operator_logins (
  login text PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  claimed_at timestamptz NOT NULL DEFAULT now());
