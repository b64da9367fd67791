#!/usr/bin/env bash
# The whole of tfdgm on real data, from an empty machine: bash tools/demo.sh [folder for the results, default demo]
# Sets up an environment (again only when needed), samples from a pretrained model, trains a flow, compares, exports, serves.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-demo}
venv=${TFDGM_VENV:-.venv}
bash tools/environment.sh "$venv"
mkdir -p "$out"
tfdgm="$venv/bin/tfdgm"

step() { printf '\n== %s\n' "$1"; }

step "1. Sample from a pretrained model of the zoo: binarized MNIST digits"
"$tfdgm" zoo
"$tfdgm" sample made_binarized_mnist --num 64 --seed 1 --out "$out/pretrained.png"

step "2. Fit a masked autoregressive flow to 8x8 digits (scikit-learn's, embedded)"
"$tfdgm" train --model MAF --data digits --output "$out/maf_digits" --restart \
    --set 'model.hidden_units=[256, 256]' --set data.batch_size=64 --set training.learning_rate=0.0005 \
    --set training.schedule=cosine --set training.ema_momentum=0.99 --set training.clipnorm=5 --epochs 40

step "3. Against the honest baseline: a Gaussian mixture on the same digits"
"$tfdgm" train --model GaussianMixture --data digits --output "$out/gaussian_mixture_digits" --restart \
    --set model.num_components=10 --epochs 1
for model in maf_digits gaussian_mixture_digits; do
    "$tfdgm" evaluate "$out/$model" --data digits --split test
done

step "4. Export for TF Serving"
"$tfdgm" export "$out/maf_digits" "$out/serving"

step "5. Load the SavedModel where tfdgm cannot be imported, score and sample with it"
"$venv/bin/python" - "$out" <<'PYTHON'
import os, pathlib, sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
sys.modules["tfdgm"] = None  # `import tfdgm` now fails.
import sklearn.datasets
import tensorflow as tf

out = pathlib.Path(sys.argv[1])
folder = max((out / "serving/maf_digits").glob("[0-9]*"), key=lambda path: int(path.name))
signatures = tf.saved_model.load(str(folder)).signatures
digits = tf.constant(sklearn.datasets.load_digits().images[:3], tf.int32)
print("log_prob of three digits, nats:", signatures["log_prob"](x=digits)["log_prob"].numpy())
noise = tf.reverse(digits, axis=[1])
print("the same, upside down:         ", signatures["log_prob"](x=noise)["log_prob"].numpy())
print("a sample has shape", signatures["sample"](seed=[[1, 0]])["x"].shape, "and tfdgm was", "tfdgm" in sys.modules and "blocked")
PYTHON

step "Done. Look at"
for file in pretrained.png maf_digits/samples.png maf_digits/curves.png maf_digits/card.json gaussian_mixture_digits/samples.png \
    serving/maf_digits; do
    echo "  $out/$file"
done
