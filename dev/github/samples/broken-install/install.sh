#!/usr/bin/env bash
# Fails the way installs do: after some work, with the reason near the end.
echo "Collecting packages"
for package in alpha beta gamma; do
  echo "Installing $package"
done
echo "error: gamma needs libgamma >= 3, which is not there" >&2
exit 1
