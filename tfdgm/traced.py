"""TensorFlow functions whose traces are counted for their owner alone.

TensorFlow (2.21) counts the traces of all functions of one code together, and so warns of retracing from the fifth model of a
process on, where each was traced once.
"""

import functools
import logging

import tensorflow as tf


def traced(function, **options):
    """`tf.function` of a function that others of the same code may stand beside; it still warns where it is traced too often."""
    return tf.function(functools.partial(function), autograph=False, **options)


class TracedOnce:
    """Of a Keras model: what `fit`, `evaluate`, `predict` and their kin run. Keras makes these functions of one code for all
    models, and lets shapes of theirs grow general after two traces: no warning of them tells anything."""

    def make_train_function(self, force=False):
        if force or self.train_function is None:
            super().make_train_function(force)
            self.train_function = _quiet(self.train_function)

    def make_test_function(self, force=False):
        if force or self.test_function is None:
            super().make_test_function(force)
            self.test_function = _quiet(self.test_function)

    def make_predict_function(self, force=False):
        if force or self.predict_function is None:
            super().make_predict_function(force)
            self.predict_function = _quiet(self.predict_function)


def _quiet(function):
    def run(*args):
        no_retracing = _NoRetracing()  # One a call, so that calls in other threads keep theirs.
        tf.get_logger().addFilter(no_retracing)
        try:
            return function(*args)
        finally:
            tf.get_logger().removeFilter(no_retracing)

    return run


class _NoRetracing(logging.Filter):
    def filter(self, record):
        return "triggered tf.function retracing" not in record.getMessage()
