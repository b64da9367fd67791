"""Time one image model of ours, TFP's PixelCNN, or a training step in PyTorch, and print one line of JSON.

Images of 28 x 28 x 1, 16 at a time, models of about 0.6 M weights, float32, on the CPU. What is measured:

- `log_prob_ms`, `sample_ms`: 16 images scored, 16 drawn; `sample_1_ms`: one drawn; `first_sample_s`: the first call of `sample`;
- `exported_log_prob_ms`, `exported_sample_ms`: the same by the exported SavedModel, which holds no XLA;
- `first_step_ms`, `last_step_ms`: one call of the network's `step` for 16 images, for the first and the last hundred pixels;
- with `--train`: `images_per_s`, Adam on batches of 64, for 8-bit images with one parameter a level left out: binary ones.

All but the first are medians over at least three calls and `--seconds` seconds, after a warm-up; each call waits for its result.
TFP's PixelCNN has 8-bit images, as it knows no others, and is measured in a `tf.function`, with XLA where XLA takes it.

    python tools/benchmark_images.py GatedPixelCNN
    python tools/benchmark_images.py GatedPixelCNN --size 64
    python tools/benchmark_images.py torch --train
"""

import argparse
import json
import math
import os
import statistics
import tempfile
import time

import numpy as np

IMAGES, TRAIN_IMAGES, LEARNING_RATE = 16, 64, 1e-3
#: Class and arguments, which give each model about 0.6 M weights.
MODELS = {
    "PixelCNN": ("PixelCNN", {"filters": 192, "num_layers": 7, "head_filters": 128}),
    "GatedPixelCNN": ("GatedPixelCNN", {"filters": 56, "num_layers": 10, "head_filters": 96}),
    "PixelCNNPlusPlus": ("PixelCNNPlusPlus", {"levels": 2, "num_components": None, "filters": 32, "num_resnets": 1}),
    "PixelSNAIL": ("PixelSNAIL", {"filters": 72, "num_blocks": 2}),
    "ImageTransformer": ("ImageTransformer", {"hidden_size": 128, "num_layers": 4}),
    "PixelRNN-row": ("PixelRNN", {"kind": "row", "filters": 56, "num_layers": 6}),
    "PixelRNN-diagonal": ("PixelRNN", {"kind": "diagonal", "filters": 48, "num_layers": 7}),
    "MultiscalePixelCNN": ("MultiscalePixelCNN", {"num_scales": 2, "filters": 44}),
}
#: Models of convolutions alone, whose cost a pixel does not depend on how many are done.
CONVOLUTIONS = ("PixelCNN", "GatedPixelCNN", "PixelCNNPlusPlus")


def median_ms(call, seconds, repeats=3):
    call(), call()
    times, began = [], time.perf_counter()
    while len(times) < repeats or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return round(1000 * statistics.median(times), 2)


def timed(call):
    start = time.perf_counter()
    result = np.asarray(call())
    return result, time.perf_counter() - start


def binary(count, size):
    return np.random.default_rng(0).integers(0, 2, (count, size, size)).astype(np.int32)


def ours(args):
    import keras
    import tensorflow as tf

    import tfdgm

    cls, arguments = MODELS[args.model]
    model = getattr(tfdgm.models, cls)((args.size, args.size), **arguments)
    row = {"model": args.model, "weights": count(model.trainable_weights), "size": args.size}
    if args.train:
        model.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), jit_compile=args.xla)
        model.optimizer.build(model.trainable_weights)
        x = tf.constant(binary(TRAIN_IMAGES, args.size))
        step = tf.function(model.train_step, jit_compile=args.xla)
        ms = median_ms(lambda: step(x)["loss"].numpy(), args.seconds)
        return {**row, "images_per_s": round(1000 * TRAIN_IMAGES / ms, 1)}
    x, seeds = binary(IMAGES, args.size), iter(range(10**9))
    first, seconds = timed(lambda: model.sample(IMAGES, seed=next(seeds)))
    check(first, x.shape)
    row |= {
        "first_sample_s": round(seconds, 2),
        "log_prob_ms": median_ms(lambda: model.log_prob(x).numpy(), args.seconds),
        "sample_ms": median_ms(lambda: model.sample(IMAGES, seed=next(seeds)).numpy(), args.seconds),
    }
    if args.size != 28:
        return row
    row["sample_1_ms"] = median_ms(lambda: model.sample(1, seed=next(seeds)).numpy(), args.seconds)
    with tempfile.TemporaryDirectory() as folder:
        model.export(f"{folder}/1")
        signatures = tf.saved_model.load(f"{folder}/1").signatures
    given, numbers = tf.constant(x), np.arange(IMAGES)

    def seed():
        return tf.constant(np.stack([np.full(IMAGES, next(seeds)), numbers], axis=1), tf.int32)

    row["exported_log_prob_ms"] = median_ms(lambda: signatures["log_prob"](x=given)["log_prob"].numpy(), args.seconds)
    row["exported_sample_ms"] = median_ms(lambda: signatures["sample"](seed=seed())["x"].numpy(), args.seconds)
    if args.model not in CONVOLUTIONS:
        return row
    network = model.distribution.network

    def step_and_see(t, state):
        params, state = network.step(t, state)
        return params, network.see(t, tf.zeros(IMAGES), state)

    step = tf.function(step_and_see, autograph=False)  # XLA would compile it anew for each t.
    state, times = network.initial_state(IMAGES), []
    step(tf.constant(0), state)
    for t in range(network.event_size):
        start = time.perf_counter()
        params, state = step(tf.constant(t), state)
        params.numpy()
        times.append(time.perf_counter() - start)
    row["first_step_ms"], row["last_step_ms"] = (round(1000 * statistics.median(t), 3) for t in (times[:100], times[-100:]))
    return row


def tfp(args):
    import tensorflow as tf
    from tensorflow_probability import distributions as tfd

    d = tfd.PixelCNN((args.size, args.size, 1), num_resnet=1, num_hierarchies=2, num_filters=32, num_logistic_mix=5, high=255)
    x = tf.constant(np.random.default_rng(0).integers(0, 256, (IMAGES, args.size, args.size, 1)), tf.float32)
    d.log_prob(x)  # Builds the network.
    log_prob, sample = tf.function(d.log_prob), tf.function(lambda: d.sample(IMAGES))
    first, seconds = timed(sample)
    check(first, x.shape)
    return {
        "model": "tfd.PixelCNN",
        "weights": count(d.trainable_variables),
        "size": args.size,
        "first_sample_s": round(seconds, 2),
        "log_prob_ms": median_ms(lambda: log_prob(x).numpy(), args.seconds),
        "sample_ms": round(1000 * timed(sample)[1], 2),
    }


def torch_gated(args):
    """A Gated PixelCNN of the same shape as ours: kernels padded and shifted rather than masked, as is usual there."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    shape = MODELS["GatedPixelCNN"][1]
    filters, layers, head = shape["filters"], shape["num_layers"], shape["head_filters"]

    def gate(y):
        a, b = y.chunk(2, dim=1)
        return torch.tanh(a) * torch.sigmoid(b)

    class Layer(nn.Module):
        def __init__(self, below, size, first):
            super().__init__()
            self.half, self.first = size // 2, first
            self.vertical = nn.Conv2d(below, 2 * filters, (self.half + (not first), size))
            self.horizontal = nn.Conv2d(below, 2 * filters, (1, self.half + (not first)))
            self.link, self.out = nn.Conv2d(2 * filters, 2 * filters, 1, bias=False), nn.Conv2d(filters, filters, 1)

        def forward(self, v, h):
            k = self.half
            if self.first:
                v_y = self.vertical(F.pad(v[:, :, :-1], (k, k, k, 0)))
                y = self.horizontal(F.pad(h[:, :, :, :-1], (k, 0, 0, 0)))
            else:
                v_y, y = self.vertical(F.pad(v, (k, k, k, 0))), self.horizontal(F.pad(h, (k, 0, 0, 0)))
            y = self.out(gate(y + self.link(v_y)))
            return gate(v_y), y if self.first else h + y

    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([Layer(1, 7, True), *(Layer(filters, 3, False) for _ in range(layers - 1))])
            self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(filters, head, 1), nn.ReLU(), nn.Conv2d(head, 1, 1))

        def forward(self, x):
            v = h = x
            for layer in self.layers:
                v, h = layer(v, h)
            return self.head(h)

    model = Gated()
    if args.channels_last:
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    x = torch.from_numpy(binary(TRAIN_IMAGES, args.size)).float()[:, None]

    def step():
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(model(x), x, reduction="sum") / TRAIN_IMAGES
        loss.backward()
        optimizer.step()
        return loss.item()

    weights = sum(p.numel() for p in model.parameters())
    ms = median_ms(step, args.seconds)
    return {"model": "PyTorch", "weights": weights, "size": args.size, "images_per_s": round(1000 * TRAIN_IMAGES / ms, 1)}


def count(weights):
    return sum(math.prod(w.shape) for w in weights)


def check(x, shape):
    """A call that returns the wrong thing quickly is not fast."""
    if x.shape != shape or not np.isfinite(x).all() or (x != np.round(x)).any():
        raise SystemExit(
            f"Expected images of integers of shape {shape}. Received: shape {x.shape}, values {x.min()} to {x.max()}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=[*MODELS, "tfp", "torch"])
    parser.add_argument("--size", type=int, default=28, help="height and width of the images")
    parser.add_argument("--train", action="store_true", help="measure training, nothing else")
    parser.add_argument("--xla", action="store_true", help="train with XLA")
    parser.add_argument("--channels_last", action="store_true", help="torch: this memory format")
    parser.add_argument("--seconds", type=float, default=3.0, help="time each figure for at least this long")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    # Before any library loads: each then sees this many cores, and no accelerator.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))[: args.threads]
        os.sched_setaffinity(0, cores)
        args.threads = len(cores)
    print(json.dumps({"tfp": tfp, "torch": torch_gated}.get(args.model, ours)(args)))


if __name__ == "__main__":
    main()
