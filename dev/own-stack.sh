#!/usr/bin/env bash
# A stack of a run's own, for `make test` and `make chaos`: the first number that nobody holds. Ends with the run, also when that
# is interrupted; what a killed run left is swept by the next. Sourced, after lib.sh.
# Leaves file descriptor 6 locked: children get it closed (6>&-).

own_stack() {
  local number mine=
  mkdir -p "$DATA_HOME"
  for number in $(seq 1 90); do
    [ -z "$mine" ] || [ -e "$DATA_HOME/test-$number.lock" ] || continue
    exec 7>"$DATA_HOME/test-$number.lock"
    if flock -n 7; then
      # Nobody runs under this number: what is there is left of a killed run.
      STACK="test-$number" STACK_NUMBER="$number" "$ROOT/dev/stack.sh" wipe 6>&- 7>&- || say "test-$number could not be swept"
      # The same lock under another number of this process; children never get it.
      [ -n "$mine" ] || { mine="$number"; exec 6>&7; }
    fi
    exec 7>&-
  done
  [ -n "$mine" ] || die "ninety test stacks are running already"
  STACK="test-$mine" STACK_NUMBER="$mine"
  export STACK STACK_NUMBER
  unset DATABASE_URL "${!PINACLE_GITHUB@}" SERVER_PORT GITHUB_PORT
  . "$ROOT/dev/lib.sh"
  trap end_own_stack EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
}

end_own_stack() {
  trap '' INT TERM
  trap - EXIT
  "$ROOT/dev/stack.sh" wipe 6>&-
  [ -z "${results:-}" ] || rm -rf "$results"
}
