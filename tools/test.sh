#!/usr/bin/env bash
# Sets up what the tests need (once), then runs them: bash tools/test.sh [--all] [pytest arguments]
# Without --all those marked slow are left out: kills and resumptions, several replicas and workers, XLA, other backends, servers.
# TFDGM_DATA_DIR may name a folder of data sets; tests that need one skip without it. TFDGM_VENV names the environment's folder.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${TFDGM_VENV:-.venv}
bash tools/environment.sh "$venv" test
# Three processes, since many tests wait for processes of their own; the tests of one file share what they build. Files stay in the
# order of tests/conftest.py.
"$venv/bin/python" -m pytest -n 3 --dist loadfile --no-loadscope-reorder "$@"
