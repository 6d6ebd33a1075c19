#!/usr/bin/env bash
# Run the Dockerfile's own RUN and COPY lines on plain Debian, without an engine: build stage, then the result as a user without rights.
# Takes a scratch folder; needs Python 3.11+ and the package registries.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
scratch=${1:?folder to build in}
mkdir -p "$scratch"
scratch=$(cd "$scratch" && pwd)
app=$scratch/app
rm -rf "$app" "$scratch/uv"
mkdir -p "$app"

stage_lines() { sed -n '/ AS build$/,/ AS runtime$/p' "$root/deploy/docker/Dockerfile" | grep -E '^(RUN|COPY) '; }
here() { sed -e "s#/opt/uv#$scratch/uv#g" -e "s#/app#$app#g"; }

export UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_PROJECT_ENVIRONMENT=$app/.venv UV_PYTHON=$scratch/uv/bin/python PIP_DISABLE_PIP_VERSION_CHECK=1
cd "$app"
while read -r instruction arguments; do
    echo "== $instruction $arguments"
    if [ "$instruction" = COPY ]; then
        # shellcheck disable=SC2086
        (cd "$root" && cp -r ${arguments% *} "$app/")
    else
        bash -euo pipefail -c "$(here <<<"$arguments")" </dev/null
    fi
done < <(stage_lines)

echo "== the image's environment, away from the sources"
mkdir -p "$scratch/run"
run=(env -i "PATH=$app/.venv/bin:/usr/bin:/bin" "KEHU_DATA_FOLDER=$scratch/run" PYTHONDONTWRITEBYTECODE=1)
if [ "$(id -u)" = 0 ]; then
    chmod 0711 "$scratch" && chmod -R go+rX "$app" "$scratch/uv" && chown 10001:10001 "$scratch/run"
    unprivileged=(setpriv --reuid=10001 --regid=10001 --clear-groups --no-new-privs "${run[@]}")
    # An interpreter below a private home cannot be reached by another user; the image's own can.
    if "${unprivileged[@]}" python -c '' 2>/dev/null; then run=("${unprivileged[@]}"); else echo "note: this interpreter is for root only, so the check goes on as root"; fi
fi
cd "$scratch/run"
"${run[@]}" python -c 'import deploy.docker.prepare; from shared.policy import load_catalogue; load_catalogue()'
for service in intake dedup profile analytics privacy; do "${run[@]}" python -c "import services.$service.app"; done
"${run[@]}" kehu --help >/dev/null
echo "the steps run and the services import as uid $("${run[@]}" id -u)"
