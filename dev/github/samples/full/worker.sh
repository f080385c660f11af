#!/usr/bin/env bash
# Says something every five seconds.
while true; do
  echo "worked at $(date -u +%T)"
  sleep 5
done
