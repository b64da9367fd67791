#!/usr/bin/env bash
# Makes the virtual environment $1 with this package and its extra $2 (if any), unless it is up to date.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1 extra=${2:-}
stamp="$venv/.tfdgm-${extra:-plain}-$(sha256sum setup.py | cut -c1-16)"
[ -e "$stamp" ] && exit 0
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
    { echo "tfdgm needs Python 3.11 to 3.13; found $("$python" --version). Set PYTHON to another one." >&2; exit 1; }
[ -x "$venv/bin/pip" ] || "$python" -m venv "$venv"
echo "Installing into $venv (a few minutes the first time) ..."
"$venv/bin/pip" install --quiet --disable-pip-version-check -e ".${extra:+[$extra]}"
touch "$stamp"
