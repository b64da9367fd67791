#!/usr/bin/env bash
# The whole of tfdgm on real data, from an empty machine: bash tools/demo.sh [folder for the results, default demo]
# Sets up an environment (again only when needed), samples and completes with pretrained models, verifies one, trains a flow against a
# baseline, scores files, exports, serves. TFDGM_MODEL_SERVER names a tensorflow_model_server that is not on the path.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-demo}
venv=${TFDGM_VENV:-.venv}
bash tools/environment.sh "$venv"
mkdir -p "$out"
out=$(realpath "$out")
tfdgm="$venv/bin/tfdgm" python="$venv/bin/python"

step() { printf '\n== %s\n' "$1"; }

step "1. What is pretrained; digits of the best of them, halves of test digits completed, and a class of clothes"
"$tfdgm" zoo
"$tfdgm" sample gated_pixelcnn_binarized_mnist --num 64 --seed 1 --out "$out/samples.png"
"$tfdgm" complete gated_pixelcnn_binarized_mnist --rows 14 --num 12 --samples 3 --out "$out/completed.png"
"$tfdgm" sample pixelcnn_pp_fashion_mnist --condition 9 --num 16 --seed 1 --out "$out/ankle_boots.png"

step "2. Is a pretrained flow a density? Its scores, log-determinants, noise, samples and SavedModel, checked"
"$tfdgm" verify maf_digits --rows 16

step "3. Fit a masked autoregressive flow to 8x8 digits (scikit-learn's, embedded), and the baseline: a Gaussian mixture"
"$tfdgm" train --model MAF --data digits --output "$out/maf_digits" --restart \
    --set 'model.hidden_units=[256, 256]' --set data.batch_size=64 --set training.learning_rate=0.0005 \
    --set training.schedule=cosine --set training.ema_momentum=0.99 --set training.clipnorm=5 --epochs 40
"$tfdgm" train --model GaussianMixture --data digits --output "$out/mixture_digits" --restart \
    --set model.num_components=10 --set data.batch_size=64 --epochs 20
"$python" - "$out" <<'PYTHON'
import sys

from tfdgm.zoo.cards import Card

best, other = sorted((Card.of(f"{sys.argv[1]}/{run}") for run in ("maf_digits", "mixture_digits")), key=lambda card: card.test.nll)
gain = other.test.nll - best.test.nll
print(f"{best.name} wins by {gain:.1f} nats a test digit: {best.nll_of(best.test)} against {other.nll_of(other.test)}.")
PYTHON

step "4. Score files: the test digits, and the same upside down"
"$python" - "$out" <<'PYTHON'
import sys

import numpy as np

from tfdgm import data

part = data.load_arrays("digits").parts["test"]
x = part.x[part.rows]
np.save(f"{sys.argv[1]}/upright.npy", x)
np.save(f"{sys.argv[1]}/upside_down.npy", x[:, ::-1])
PYTHON
for name in upright upside_down; do
    "$tfdgm" score "$out/maf_digits" "$out/$name.npy" --out "$out/$name.csv" --overwrite
done
"$python" - "$out" <<'PYTHON'
import sys

import numpy as np

upright, upside_down = (np.loadtxt(f"{sys.argv[1]}/{name}.csv", skiprows=1) for name in ("upright", "upside_down"))
print(f"{np.mean(upright > upside_down):.0%} of {len(upright)} digits score higher upright, by {np.median(upright - upside_down):.0f} nats (median).")
PYTHON

step "5. Export for TF Serving, and ask for a score"
"$tfdgm" export "$out/maf_digits" "$out/served" --server_dir "$out/served"
"$python" - "$out" "${TFDGM_MODEL_SERVER:-$(command -v tensorflow_model_server || true)}" <<'PYTHON'
import json, os, pathlib, socket, subprocess, sys, time, urllib.request

import numpy as np

out, server = pathlib.Path(sys.argv[1]), sys.argv[2]
digit = np.load(out / "upright.npy")[:1].tolist()
scored = float(np.loadtxt(out / "upright.csv", skiprows=1)[0])
request = {"signature_name": "log_prob", "instances": digit}
if server:
    with socket.socket() as grpc, socket.socket() as rest:
        grpc.bind(("127.0.0.1", 0)), rest.bind(("127.0.0.1", 0))
        ports = grpc.getsockname()[1], rest.getsockname()[1]
    command = [server, f"--port={ports[0]}", f"--rest_api_port={ports[1]}", f"--model_config_file={out}/served/models.config"]
    command.append("--allow_version_labels_for_unavailable_models=true")
    url = f"http://127.0.0.1:{ports[1]}/v1/models/maf_digits:predict"
    with open(out / "server.log", "w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            for _ in range(120):
                try:
                    reply = urllib.request.urlopen(url, json.dumps(request).encode(), timeout=10).read().decode()
                    break
                except OSError:  # It does not listen yet.
                    time.sleep(0.5)
            else:
                sys.exit(f"{server} does not answer: see {out / 'server.log'}")
        finally:
            process.terminate()
    print(f"POST {url}\n{json.dumps(request)[:80]}...\n{reply.strip()}")
else:
    print("No tensorflow_model_server is here, so no request is sent. With Docker:\n")
    print(f'  docker run --rm -p 8501:8501 -v "{out}/served:{out}/served:ro" tensorflow/serving \\')
    print(f"      --model_config_file={out}/served/models.config --allow_version_labels_for_unavailable_models=true")
    print(f"  curl -d '{json.dumps(request)}' \\\n      http://localhost:8501/v1/models/maf_digits:predict\n")
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.modules["tfdgm"] = None  # `import tfdgm` now fails.
    import tensorflow as tf

    newest = max((out / "served/maf_digits").glob("[0-9]*"), key=lambda path: int(path.name))
    signature = tf.saved_model.load(str(newest)).signatures["log_prob"]
    print("Its signature, called where tfdgm cannot be imported:", signature(x=tf.constant(digit))["log_prob"].numpy())
print(f"`tfdgm score` gave {scored:.4f} nats.")
PYTHON

step "Done. Look at"
for file in samples.png completed.png ankle_boots.png maf_digits/samples.png maf_digits/curves.png maf_digits/card.json \
    mixture_digits/samples.png upright.csv served; do
    echo "  $out/$file"
done
