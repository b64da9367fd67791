"""Trains models on one replica and on two, 20 steps with the same global batches, and prints as JSON how far they end apart:
python replicas.py CASE [CASE ...]. A process of its own, for the number of devices must be set before TensorFlow computes.

In float64: Adam divides small gradients by small numbers, which makes much of what float32 rounds.
"""

import functools
import gc
import json
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from contracts.cases import CASES  # noqa: E402
from tensorflow_probability import bijectors as tfb  # noqa: E402
from tensorflow_probability import distributions as tfd  # noqa: E402

import tfdgm  # noqa: E402

gc.freeze()  # As in conftest.py.
gc.set_threshold(50_000, 20, 100)


class Spoil(keras.callbacks.Callback):
    """Makes one weight infinite for the step after the first."""

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 1:
            self.kept = np.array(self.model.trainable_weights[0])
            self.model.trainable_weights[0].assign(self.kept * np.inf)

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            self.model.trainable_weights[0].assign(self.kept)


def stock():
    network = tfdgm.networks.MADE((3,), params_size=2, hidden_units=(8,), dtype="float64")
    base = tfd.MultivariateNormalDiag(tf.zeros(3, tf.float64))
    return tfdgm.DensityModel.from_distribution(tfd.TransformedDistribution(base, tfb.MaskedAutoregressiveFlow(network)))


def train(strategy, make, case, callbacks=(), optimizer=keras.optimizers.Adam, rate=1e-2, **options):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = make()
        model.compile(optimizer(rate, **options))
    data = (case.x,) if case.condition is None else (case.x, case.condition)
    start = []  # After what is set from data, and without counters of steps.
    begin = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: start.extend(map(np.array, model.trainable_weights)))
    callbacks = [begin, *callbacks]
    batches = tf.data.Dataset.from_tensor_slices(data if len(data) > 1 else data[0]).batch(20).repeat(7)
    history = model.fit(batches, steps_per_epoch=20, validation_data=batches.take(3), verbose=0, callbacks=callbacks)
    return model, _farthest(start, [np.array(weight) for weight in model.trainable_weights]), history.history


def _farthest(weights, others):
    return max(float(np.max(np.abs(a - b), initial=0.0)) for a, b in zip(weights, others, strict=True))


def compare(make, case, *args, **options):
    one, moved, history = train(tf.distribute.get_strategy(), make, case, *args, **options)
    two, _, other = train(tfdgm.training.make_strategy("mirrored"), make, case, *args, **options)
    return {
        "weights": _farthest(one.get_weights(), two.get_weights()),
        "loss": max(abs(a - b) for key in history for a, b in zip(history[key], other[key], strict=True)),
        "moved": moved,
        "skipped": [int(model.skipped_steps.numpy()) for model in (one, two)],
    }


def make(name, **changes):
    return functools.partial(CASES[name].make, dtype="float64", **changes)


real = CASES["maf"]
# What takes longest to trace: parts alike, and Adam's steps of image networks.
fewer_parts = {"iaf": {"num_layers": 1}, "pixelcnn_plus_plus": {"num_downsamplings": 0}}
plain = {"optimizer": keras.optimizers.SGD, "rate": 0.02}
results = {}
for name in sys.argv[1:]:
    options = plain if len(CASES[name].config["event_shape"]) > 1 else {}
    results[name] = compare(make(name, **fewer_parts.get(name, {})), CASES[name], **options)
averaging = {"use_ema": True, "ema_momentum": 0.9, "clipnorm": 0.1}
case = CASES["maf_condition"]
results["condition, clipped_and_averaged"] = compare(make(case.name), case, [keras.callbacks.SwapEMAWeights()], **averaging)
results["stock_tfp"] = compare(stock, type("InFloat64", (real,), {"x": real.x.astype("float64")}))
weights = np.random.default_rng(1).exponential(size=len(real.x))
results["weights"] = compare(make("maf"), type("Weighted", (real,), {"x": {"x": real.x, "weight": weights}}))
results["dropout"] = compare(make("made_binary", dropout=0.5), CASES["made_binary"])
results["spoiled"] = compare(make("maf"), real, [Spoil()])
print(json.dumps(results))
