"""Time the masked autoregressive flow of one library, ours or another, and print one line of JSON.

The model is the same everywhere: D = 43 dimensions, 5 affine autoregressive layers, each a masked network of
two hidden layers of 512 units with ReLU, a permutation between layers, a standard normal base, float32, on
the CPU. Every peer's networks hold the same number of weights, masked ones included. What is measured:

- `first_sample_s`: seconds of the very first `sample` of 1000 rows, tracing and compilation included;
- `sample_ms`: 1000 rows drawn, of the untrained flow;
- `log_prob_ms`: 1000 rows scored, without gradients;
- `train_step_ms`: loss, gradient and Adam update (learning rate 1e-3) on 256 new rows.

All but the first are medians over at least `--repeats` calls and at least `--seconds` seconds, after a
warm-up, each call waiting for its result; making the rows is not timed. Each library runs the way its own
guide shows and as fast as that way goes: PyTorch eagerly, with `inference_mode` and the fused Adam; JAX under
`eqx.filter_jit`; TFP with `tf.function` (`tfp`) and with XLA (`tfp-xla`); ours as a Keras model (`tfdgm`), and as
its exported SavedModel, which holds no XLA and does not train (`tfdgm-exported`). One process times one library, so
that no two share threads or memory, on at most `--threads` cores.

What differs, because each library is taken as it comes: flowjax permutes at random where the others reverse
and also trains the base's means and scales, and the positive function for the scale is each library's own.

    python tools/benchmark_peers.py zuko
    python tools/benchmark_peers.py tfp-xla --seconds 10
"""

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np

TRAIN_ROWS = 256
ROWS = 1000
LEARNING_RATE = 1e-3
WARM_UP = 3


class Peer(NamedTuple):
    """One library's flow. The three calls return when their result is there."""

    packages: tuple[str, ...]  # the library first, then what it computes with
    parameters: int
    tensor: Callable[[np.ndarray], Any]
    train_step: Callable[[Any], Any] | None
    log_prob: Callable[[Any], Any]
    sample: Callable[[], Any]


def torch_peer(args, package, flow, negative_log_likelihood, log_prob, sample) -> Peer:
    import torch

    torch.set_num_threads(args.threads)
    optimizer = torch.optim.Adam(flow.parameters(), lr=LEARNING_RATE, fused=True)

    def train_step(x):
        optimizer.zero_grad()
        loss = negative_log_likelihood(x)
        loss.backward()
        optimizer.step()
        return loss.item()

    return Peer(
        packages=(package, "torch"),
        parameters=sum(p.numel() for p in flow.parameters() if p.requires_grad),
        tensor=torch.from_numpy,
        train_step=train_step,
        log_prob=torch.inference_mode()(log_prob),
        sample=torch.inference_mode()(sample),
    )


def nflows(args) -> Peer:
    from nflows.flows import MaskedAutoregressiveFlow

    # The first hidden layer of nflows's MADE stands before the blocks: one block makes two hidden layers.
    flow = MaskedAutoregressiveFlow(
        args.dims, args.hidden, num_layers=args.layers, num_blocks_per_layer=1, use_residual_blocks=False
    )
    return torch_peer(
        args,
        "nflows",
        flow,
        negative_log_likelihood=lambda x: -flow.log_prob(x).mean(),
        log_prob=flow.log_prob,
        sample=lambda: flow.sample(ROWS),
    )


def zuko(args) -> Peer:
    from zuko.flows import MAF

    flow = MAF(args.dims, transforms=args.layers, hidden_features=(args.hidden, args.hidden))
    return torch_peer(
        args,
        "zuko",
        flow,
        negative_log_likelihood=lambda x: -flow().log_prob(x).mean(),
        log_prob=lambda x: flow().log_prob(x),
        sample=lambda: flow().sample((ROWS,)),
    )


def flowjax(args) -> Peer:
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax
    import paramax
    from flowjax.distributions import Normal
    from flowjax.flows import masked_autoregressive_flow
    from flowjax.train.losses import MaximumLikelihoodLoss
    from flowjax.train.train_utils import step

    flow = masked_autoregressive_flow(
        jax.random.key(0),
        base_dist=Normal(jnp.zeros(args.dims)),
        flow_layers=args.layers,
        nn_width=args.hidden,
        nn_depth=2,
    )
    params, static = eqx.partition(flow, eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable))
    optimizer = optax.adam(LEARNING_RATE)
    state = [params, optimizer.init(params)]
    keys = iter(jax.random.split(jax.random.key(1), 100_000))
    loss_fn = MaximumLikelihoodLoss()
    log_prob = eqx.filter_jit(lambda flow, x: flow.log_prob(x))
    sample = eqx.filter_jit(lambda flow, key: flow.sample(key, (ROWS,)))

    def train_step(x):
        *state[:], loss = step(state[0], static, x, optimizer=optimizer, opt_state=state[1], loss_fn=loss_fn)
        jax.block_until_ready(state)
        return loss

    return Peer(
        packages=("flowjax", "jax"),
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        tensor=jnp.asarray,
        train_step=train_step,
        log_prob=lambda x: log_prob(flow, x).block_until_ready(),
        sample=lambda: sample(flow, next(keys)).block_until_ready(),
    )


def tfp(args, xla=False) -> Peer:
    import tensorflow as tf
    import tensorflow_probability as tfp
    import tf_keras

    tfb, tfd = tfp.bijectors, tfp.distributions
    networks = [
        tfb.AutoregressiveNetwork(2, event_shape=[args.dims], hidden_units=[args.hidden, args.hidden], activation="relu")
        for _ in range(args.layers)
    ]
    bijectors = []
    for network in networks:
        bijectors += [
            tfb.MaskedAutoregressiveFlow(network),
            tfb.Permute(list(reversed(range(args.dims)))),
        ]
    flow = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), [args.dims]), tfb.Chain(bijectors[:-1]))
    flow.log_prob(tf.zeros([1, args.dims]))  # builds the networks
    variables = [variable for network in networks for variable in network.trainable_variables]
    optimizer = tf_keras.optimizers.Adam(LEARNING_RATE, jit_compile=xla)
    optimizer.build(variables)

    @tf.function(jit_compile=xla)
    def train_step(x):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(flow.log_prob(x))
        # Also masks the kernels again, through their constraints.
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    log_prob = tf.function(flow.log_prob, jit_compile=xla)
    sample = tf.function(lambda seed: flow.sample(ROWS, seed=seed), jit_compile=xla)
    rng = np.random.default_rng(1)
    return Peer(
        packages=("tensorflow-probability", "tensorflow", "tf-keras"),
        parameters=sum(math.prod(variable.shape) for variable in variables),
        tensor=tf.constant,
        train_step=lambda x: train_step(x).numpy(),
        log_prob=lambda x: log_prob(x).numpy(),
        sample=lambda: sample(tf.constant(rng.integers(2**31, size=2), tf.int32)).numpy(),
    )


def tfdgm(args, exported=False) -> Peer:
    import tempfile

    import tensorflow as tf

    from tfdgm.models import MAF

    model = MAF((args.dims,), num_layers=args.layers, hidden_units=(args.hidden, args.hidden), standardize=False)
    model.compile("adam")
    model.optimizer.build(model.trainable_weights)
    step = tf.function(model.train_step, jit_compile=True)
    seeds = iter(range(1_000_000))
    log_prob, sample = model.log_prob, lambda: model.sample(ROWS, seed=next(seeds))
    if exported:
        with tempfile.TemporaryDirectory() as folder:
            model.export(f"{folder}/1")
            signatures = tf.saved_model.load(f"{folder}/1").signatures
        rows = np.arange(ROWS)

        def log_prob(x):
            return signatures["log_prob"](x=x)["log_prob"]

        def sample():
            seed = tf.constant(np.stack([np.full(ROWS, next(seeds)), rows], axis=1), tf.int32)
            return signatures["sample"](seed=seed)["x"]

    return Peer(
        packages=("tfdgm", "tensorflow", "keras"),
        parameters=model.count_params() - sum(math.prod(w.shape) for w in model.non_trainable_weights),
        tensor=tf.constant,
        train_step=None if exported else lambda x: step(x)["loss"].numpy(),
        log_prob=lambda x: log_prob(x).numpy(),
        sample=lambda: sample().numpy(),
    )


LIBRARIES = {
    "tfdgm": tfdgm,
    "tfdgm-exported": lambda args: tfdgm(args, exported=True),
    "nflows": nflows,
    "zuko": zuko,
    "flowjax": flowjax,
    "tfp": tfp,
    "tfp-xla": lambda args: tfp(args, xla=True),
}


def check(name: str, result, shape: tuple[int, ...]) -> None:
    """A call that returns the wrong thing quickly is not fast."""
    result = np.asarray(result)
    if result.shape != shape or not np.isfinite(result).all():
        raise SystemExit(f"{name} must return finite values of shape {shape}. Received: {result}")


def median_ms(call: Callable, argument: Callable[[], tuple], args) -> float:
    """The median time of `call(*argument())`, with only the call timed."""
    times = []
    for _ in range(WARM_UP):
        call(*argument())
    began = time.perf_counter()
    while len(times) < args.repeats or time.perf_counter() - began < args.seconds:
        values = argument()
        start = time.perf_counter()
        call(*values)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def measure(args) -> dict:
    peer = LIBRARIES[args.library](args)
    rng = np.random.default_rng(0)

    def rows(count):
        return lambda: (peer.tensor(rng.standard_normal((count, args.dims), dtype=np.float32)),)

    start = time.perf_counter()
    samples = peer.sample()
    first_sample_s = time.perf_counter() - start
    check("sample", samples, (ROWS, args.dims))
    check("log_prob", peer.log_prob(*rows(ROWS)()), (ROWS,))
    sample_ms = median_ms(peer.sample, tuple, args)
    log_prob_ms = median_ms(peer.log_prob, rows(ROWS), args)
    train_step_ms = None
    if peer.train_step is not None:
        train_step_ms = round(median_ms(peer.train_step, rows(TRAIN_ROWS), args), 2)
        check("train_step", peer.train_step(*rows(TRAIN_ROWS)()), ())
    library, *backends = peer.packages
    return {
        "library": args.library,
        "version": version(library),
        "backend": ", ".join(f"{name} {version(name)}" for name in backends),
        "parameters": peer.parameters,
        "train_step_ms": train_step_ms,
        "log_prob_ms": round(log_prob_ms, 2),
        "sample_ms": round(sample_ms, 2),
        "first_sample_s": round(first_sample_s, 2),
        "threads": args.threads,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library", choices=LIBRARIES)
    parser.add_argument("--dims", type=int, default=43)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--hidden", type=int, default=512, help="units in each of the two hidden layers")
    parser.add_argument("--seconds", type=float, default=5.0, help="time each figure for at least this long")
    parser.add_argument("--repeats", type=int, default=20, help="and for at least this many calls")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    # Before any library loads: each then sees this many cores, and no accelerator.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))[: args.threads]
        os.sched_setaffinity(0, cores)
        args.threads = len(cores)

    print(json.dumps(measure(args)))


if __name__ == "__main__":
    main()
