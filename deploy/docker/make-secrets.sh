#!/usr/bin/env bash
# Draw the passwords of the compose stack once: .env for compose, and the key that the members of MongoDB's replica set share.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if [ -e .env ]; then
    echo ".env is there already; remove it (and the volumes) to start anew" >&2
    exit 1
fi
umask 077
mkdir -p build/docker
draw() { head -c 24 /dev/urandom | base64 | tr -d '/+=\n'; }
head -c 384 /dev/urandom | base64 | tr -d '\n' >build/docker/mongodb-member-key
{
    echo "# Passwords of the compose stack; keep this file out of version control and backups of data."
    for user in OPERATOR INTAKE DEDUP PROFILE ANALYTICS PRIVACY; do echo "KEHU_MONGODB_${user}_PASSWORD=$(draw)"; done
    echo "KEHU_GRAFANA_PASSWORD=$(draw)"
    echo "KEHU_KAFKA_CLUSTER_ID=$(head -c 16 /dev/urandom | base64 | tr '/+' '_-' | tr -d '=\n')"
} >.env
echo "wrote .env and build/docker/mongodb-member-key; now: docker compose up --build --wait"
