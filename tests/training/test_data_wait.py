import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from contracts.cases import CASES

from tfdgm.training import DataWait


def share(seconds_per_batch, **compile_options):
    case = CASES["maf"]
    model = case.make()
    model.compile(keras.optimizers.SGD(0.0), **compile_options)

    def slow(i):
        time.sleep(seconds_per_batch)
        return np.float32(i)

    def batch(i):
        number = tf.ensure_shape(tf.numpy_function(slow, [i], tf.float32), ())
        return tf.constant(case.x[:16], tf.float32) + number / 1000  # No values that repeat, of which there is a warning.

    waiting = DataWait()
    model.fit(tf.data.Dataset.range(12).map(batch), verbose=0, callbacks=waiting)
    return waiting.share


class TestDataWait:
    @pytest.mark.slow
    def test_slow_data(self):
        assert 0.5 < share(0.1) <= 1.0

    def test_quick_data(self):
        assert 0.0 < share(0.0) < 0.9

    def test_none_where_steps_are_compiled_together(self):
        assert share(0.0, steps_per_execution=4) is None
