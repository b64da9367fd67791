"""Verifies sound models of every kind, with other weights and another seed in every run: none may fail.

python tools/verify_sound_models.py --runs 200
"""

import argparse
import itertools
import math
import sys
import time

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

import tfdgm
from tfdgm import models

SMALL = {"hidden_units": (8, 8)}
FLOW = {**SMALL, "num_layers": 2, "activation": "tanh"}
IMAGE = {"filters": 8, "num_layers": 1, "first_kernel_size": 3, "head_filters": 8}
CONDITION = {"condition_shape": (2,)}


def stock(size, random):
    """Distributions of TFP alone, in turn."""
    mean = tf.Variable(random.normal(size=size).astype("float32"))
    normal = tfd.MultivariateNormalDiag(mean, tf.fill((size,), 0.5))
    return random.choice(
        [
            normal,
            tfd.TransformedDistribution(normal, tfb.Chain([tfb.Scale(3.0), tfb.Softplus()])),
            tfd.MixtureSameFamily(
                tfd.Categorical(probs=[0.3, 0.7]),
                tfd.MultivariateNormalDiag(random.normal(size=(2, size)).astype("float32") * 2, tf.ones((2, size))),
            ),
            tfd.Sample(tfd.Gamma(3.0, 2.0), size),
            tfd.Independent(tfd.Bernoulli(probs=tf.linspace(0.2, 0.8, size)), 1),
            tfd.MultivariateStudentTLinearOperator(6.0, mean, tf.linalg.LinearOperatorDiag(tf.ones(size))),
        ]
    )


KINDS = {
    "MADE, binary": lambda size, random: models.MADE((size,), **SMALL),
    "MADE, integers": lambda size, random: models.MADE((size,), levels=4, **SMALL),
    "MADE, reals": lambda size, random: models.MADE((size,), levels=None, num_components=3, **SMALL),
    "MADE, integers, condition": lambda size, random: models.MADE((size,), levels=3, **SMALL, **CONDITION),
    "MADE, reals, condition": lambda size, random: models.MADE((size,), levels=None, **SMALL, **CONDITION),
    "MAF": lambda size, random: models.MAF((size,), act_norm=True, **FLOW),
    "MAF, condition": lambda size, random: models.MAF((size,), **FLOW, **CONDITION),
    "MAF, integers": lambda size, random: models.MAF((size,), levels=4, **FLOW),
    "IAF": lambda size, random: models.IAF((size,), **FLOW),
    "RealNVP": lambda size, random: models.RealNVP((size,), **FLOW),
    "RealNVP, condition": lambda size, random: models.RealNVP((size,), **FLOW, **CONDITION),
    "RealNVP, integers": lambda size, random: models.RealNVP((size,), levels=5, **FLOW),
    "GaussianMixture": lambda size, random: models.GaussianMixture((size,), num_components=3),
    "GaussianMixture, integers": lambda size, random: models.GaussianMixture((size,), num_components=3, levels=4),
    "PixelCNN": lambda size, random: models.PixelCNN((2, size // 2), **IMAGE),
    "PixelCNN, condition": lambda size, random: models.PixelCNN((2, size // 2), levels=3, **IMAGE, **CONDITION),
    "PixelCNN++": lambda size, random: models.PixelCNNPlusPlus(
        (2, 2, size // 2), levels=8, num_components=2, filters=4, num_downsamplings=1, dropout=0.0
    ),
    "TFP": lambda size, random: tfdgm.DensityModel.from_distribution(stock(size, random)),
}


def make(kind, size, seed):
    """(a model of random weights, adapted to random rows; the rows; their conditions)."""
    random = np.random.default_rng(seed)
    model = KINDS[kind](size, random)
    model.use_xla = False
    shape = (64, *model.event_shape)
    x = (
        random.integers(0, model.levels, shape)
        if model.levels
        else random.normal(size=shape) @ random.normal(size=(shape[-1],) * 2)
    )
    condition = None if model.condition_shape is None else random.normal(size=(64, *model.condition_shape))
    if kind == "TFP":
        return model, None, None
    if not kind.startswith("GaussianMixture"):
        for weight in model.trainable_weights:
            scale = 0.7 / math.sqrt(weight.shape[0]) if len(weight.shape) == 2 else 0.2
            weight.assign(random.normal(size=weight.shape) * scale)
    model.adapt(x, condition)
    return model, x, condition


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="how many reports")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--kind", choices=[*KINDS], help="of one kind alone")
    arguments = parser.parse_args()
    tf.config.run_functions_eagerly(True)
    kinds, failed, highest, start = [arguments.kind] if arguments.kind else [*KINDS], 0, 0.0, time.time()
    for seed, kind in zip(range(arguments.first, arguments.first + arguments.runs), itertools.cycle(kinds), strict=False):
        size = 2 if seed // len(kinds) % 2 else 6
        model, x, condition = make(kind, size, seed)
        report = tfdgm.verify(model, x, condition=condition, seed=seed, artifact=False)
        highest = max([highest, *(check.value for check in report.checks if check.tolerance == tfdgm.tasks.evidence.LEVEL)])
        if not report.passed:
            failed += 1
            print(f"seed {seed}, {kind}, {size} dimensions\n{report}", flush=True)
    print(f"{arguments.runs - failed} of {arguments.runs} passed; highest -log10 p {highest:.2f}; {time.time() - start:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
