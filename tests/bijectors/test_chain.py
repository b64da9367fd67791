import keras
import numpy as np
import pytest
import tensorflow as tf
from contracts.bijector import BijectorContract
from contracts.checks import passes
from contracts.weights import randomize
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

import tfdgm
from tfdgm.bijectors import (
    ActNorm,
    Chain,
    Coupling,
    Invert,
    MaskedAutoregressive,
    Permute,
    ScaledSigmoid,
)
from tfdgm.elementwise import Affine
from tfdgm.networks import MADE, DenseNetwork
from tfdgm.tasks import bijector_checks


class TestChain(BijectorContract):
    noise_values = (0.0, 1e-6, -1e-6, 1.0, 3.0, -3.0)

    def make(self, dtype):
        policy = {"activation": "tanh", "dtype": dtype}
        made = {"params_size": 2, "hidden_units": (8,), **policy}
        bijectors = [
            ActNorm(4, dtype=dtype),
            MaskedAutoregressive(MADE((4,), input_order="right-to-left", **made)),
            Permute([1, 3, 0, 2]),
            Coupling(DenseNetwork(2, 4, hidden_units=(8,), **policy), Affine(), np.arange(4) < 2),
            tfb.Shift(tf.constant([1.0, 2.0, 3.0, 4.0], dtype)),  # A stock one among ours.
        ]
        return randomize(Chain(bijectors, dtype=tf.as_dtype(dtype)), scale=0.7)

    def test_each_network_runs_once(self):
        calls = []

        class Counting(keras.layers.Layer):
            def call(self, x):
                calls.append(1)
                return tf.concat([x, x], axis=-1)

        chain = Chain([Coupling(Counting(), Affine(), np.arange(4) < 2), Permute([3, 2, 1, 0])])
        chain.inverse_and_log_det(tf.zeros((2, 4)))
        chain.forward_and_log_det(tf.zeros((2, 4)))
        assert len(calls) == 2

    def test_order_is_that_of_tfp(self):
        ours = Chain([ActNorm(4), Permute([1, 2, 3, 0])])
        ours.bijectors[0].shift_and_log_scale.b.assign([1.0, 2, 3, 4])
        x = tf.constant([[10.0, 20, 30, 40]])
        np.testing.assert_array_equal(ours.forward(x), tfb.Chain(ours.bijectors).forward(x))
        np.testing.assert_array_equal(ours.forward(x), [[21.0, 32, 43, 14]])

    def test_of_nothing_is_the_identity(self):
        x = tf.constant(self.ordinary_x("float64"))
        for method in (Chain([]).inverse_and_log_det, Chain([]).forward_and_log_det):
            value, log_det = method(x)
            np.testing.assert_array_equal(value, x)
            np.testing.assert_array_equal(log_det, np.zeros(len(x)))

    def test_adapt_goes_through_the_chain_from_the_data(self):
        x = np.random.default_rng(0).normal(size=(200, 4)) * 7 + 3
        chain = Chain([ActNorm(4, dtype="float64"), self.make("float64").bijectors[1], ActNorm(4, dtype="float64")])
        chain.adapt(tf.constant(x))
        z = chain.inverse(tf.constant(x)).numpy()
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-9)

    def test_parts_over_fewer_axes_count_along_the_others(self):
        # Images [height, width, channels]: ActNorm over channels at every pixel, a permutation of them, an elementwise map.
        event, random = (2, 3, 4), np.random.default_rng(0)
        chain = Chain(
            [
                ScaledSigmoid(17, dtype=tf.float64),
                randomize(ActNorm(4, dtype="float64")),
                Permute([2, 0, 3, 1]),
                Invert(randomize(ActNorm(4, dtype="float64"), seed=1)),
                tfb.Scale(tf.constant(0.7, tf.float64)),
                self.make("float64"),
            ],
            event_ndims=3,
        )
        assert chain.forward_min_event_ndims == 3 and chain.dtype == tf.float64
        x, z = random.uniform(1, 16, (3, *event)), random.normal(size=(3, *event))
        for name, rows, method in (("x", x, chain.inverse_and_log_det), ("z", z, chain.forward_and_log_det)):

            def flat(rows, method=method):
                value, log_det = method(tf.reshape(rows, (-1, *event)))
                return tf.reshape(value, (-1, 24)), log_det

            passes(bijector_checks.log_det_against_autodiff(name, flat, rows.reshape(3, 24), 1e-8))

        flow = tfdgm.distributions.Flow(chain, event, dtype=tf.float64)
        z, log_det = chain.inverse_and_log_det(tf.constant(x))
        assert log_det.shape == (3,)
        expected = tfd.Sample(tfd.Normal(tf.zeros([], tf.float64), 1), event).log_prob(z) + log_det
        np.testing.assert_allclose(flow.log_prob(x), expected, rtol=1e-12)
        flow.adapt_to_rows(tf.constant(x))
        np.testing.assert_allclose(chain.bijectors[1].inverse(chain.bijectors[0].inverse(x)).numpy().std((0, 1, 2)), 1)

    def test_event_ndims_are_those_of_the_part_that_needs_most(self):
        image = Chain([ActNorm(2)], event_ndims=3)
        for chain, expected in (
            (Chain([tfb.Exp()]), 1),
            (Chain([ActNorm(2), image]), 3),
            (Chain([Invert(image), tfb.Exp()]), 3),
            (Chain([Permute([1, 0]), tfb.ScaleMatvecTriL(tf.eye(2))], event_ndims=2), 2),
        ):
            assert chain.forward_min_event_ndims == chain.inverse_min_event_ndims == expected
            _, log_det = chain.forward_and_log_det(tf.ones((5, 4, 3, 2)))
            assert log_det.shape == (5, 4, 3)[: 4 - expected]
        with pytest.raises(ValueError, match=r"at least 3 for these bijectors. Received: event_ndims=1"):
            Chain([image], event_ndims=1)

    def test_dtype_is_that_of_the_parts(self):
        assert Chain([Permute([0]), ActNorm(1, dtype="float64"), tfb.Scale(tf.constant(2.0, tf.float64))]).dtype == tf.float64
        assert Chain([Permute([0])]).dtype is None
        with pytest.raises(ValueError, match=r"share one dtype. Received: float32 of act_norm and float64 of scale"):
            Chain([ActNorm(1), tfb.Scale(tf.constant(2.0, tf.float64))])

    def test_chain_of_stock_bijectors_sums_elementwise_log_dets(self):
        chain = Chain([tfb.Scale(tf.constant(2.0, tf.float64)), tfb.Softplus()])
        flow = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(3, tf.float64)), tfb.Chain(chain.bijectors))
        x = tf.constant([[0.5, 1.0, 7.0]], tf.float64)
        z, log_det = chain.inverse_and_log_det(x)
        base = tfd.MultivariateNormalDiag(tf.zeros(3, tf.float64))
        np.testing.assert_allclose(base.log_prob(z) + log_det, flow.log_prob(x), rtol=1e-12)
