#!/usr/bin/env bash
# Builds the API reference, HTML, from the docstrings: bash tools/docs.sh [folder, default build/docs]
# TFDGM_VENV names the environment's folder.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${TFDGM_VENV:-.venv}
out=${1:-build/docs}
bash tools/environment.sh "$venv" docs
TF_CPP_MIN_LOG_LEVEL=3 "$venv/bin/python" -m sphinx -q -b html docs/reference "$out"
echo "$out/index.html"
