#!/usr/bin/env bash
# bootstrap.sh FOLDER UV_VERSION: a virtual environment that holds uv, made by the first Python >= 3.11 found.
set -euo pipefail
folder=$1 version=$2

find_python() {
    local candidate
    for candidate in ${KEHU_PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    echo "Python 3.11 or later is needed and was not found (KEHU_PYTHON names another one). 需要 Python 3.11 或更高版本。" >&2
    return 1
}

python=$(find_python)
rm -rf "$folder"
if ! "$python" -m venv "$folder"; then
    echo "$python cannot make a virtual environment; on Debian and Ubuntu install python3-venv." >&2
    exit 1
fi
"$folder/bin/python" -m pip install --quiet "uv==$version" </dev/null
