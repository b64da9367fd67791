import numpy as np
import pytest
import tensorflow as tf
from contracts.bijector import BijectorContract
from contracts.stock import stock_autoregressive_flow
from contracts.weights import randomize

from tfdgm.bijectors import (
    MaskedAutoregressive,
)
from tfdgm.networks import MADE


class TestMaskedAutoregressive(BijectorContract):
    def make(self, dtype):
        return randomize(MaskedAutoregressive(MADE((self.size,), params_size=2, hidden_units=(16, 16), dtype=dtype)))

    def test_formula_by_hand(self):
        # One hidden unit and two dimensions: m_1, r_1 are biases; m_2, r_2 = W relu(w x_1 + b) + bias.
        network = MADE((2,), params_size=2, hidden_units=(1,), dtype="float64")
        hidden, out = network.hidden[0], network.out
        hidden.kernel.assign([[0.5], [9.0]])  # The second input is cut off.
        hidden.bias.assign([0.1])
        out.kernel.assign([[9.0, 9.0, 2.0, -3.0]])
        out.bias.assign([0.3, 0.2, 0.4, 0.6])
        z, log_det = MaskedAutoregressive(network).inverse_and_log_det(tf.constant([[1.0, 2.0]], tf.float64))
        h = 0.5 * 1.0 + 0.1
        a_1, r_2 = 0.2 / (1 + 0.2 / 7), -3 * h + 0.6
        a_2 = r_2 / (1 + abs(r_2) / 7)
        expected = [(1.0 - 0.3) * np.exp(-a_1), (2.0 - (2 * h + 0.4)) * np.exp(-a_2)]
        np.testing.assert_allclose(z[0], expected, rtol=1e-13)
        np.testing.assert_allclose(log_det[0], -a_1 - a_2, rtol=1e-13)

    def test_equals_stock_tfp_run_with_our_network(self):
        bijector = self.make("float64")

        stock = stock_autoregressive_flow(bijector.network)
        x, z = (tf.constant(rows) for rows in (self.ordinary_x("float64"), self.rows_of_z("float64")))
        ours_z, log_det = bijector.inverse_and_log_det(x)
        np.testing.assert_allclose(ours_z, stock.inverse(tf.identity(x)), rtol=1e-12)
        np.testing.assert_allclose(log_det, stock.inverse_log_det_jacobian(tf.identity(x), event_ndims=1), rtol=1e-12)
        ours_x, log_det = bijector.forward_and_log_det(z)
        np.testing.assert_allclose(ours_x, stock.forward(tf.identity(z)), rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(log_det, stock.forward_log_det_jacobian(tf.identity(z), event_ndims=1), rtol=1e-11)

    def test_params_size_is_checked(self):
        with pytest.raises(ValueError, match=r"the 2 parameters of Affine.*Received: network.params_size=3"):
            MaskedAutoregressive(MADE((2,), params_size=3, hidden_units=(4,)))


class TestMaskedAutoregressiveWithCondition(BijectorContract):
    condition_shape = (3,)

    def make(self, dtype):
        network = MADE((self.size,), params_size=2, hidden_units=(16,), condition_shape=(3,), input_order="random", dtype=dtype)
        return randomize(MaskedAutoregressive(network))

    def test_condition_is_used_and_needed(self):
        bijector, x = self.make("float64"), tf.constant(self.ordinary_x("float64"))
        one, _ = bijector.inverse_and_log_det(x, np.zeros(3))
        other, _ = bijector.inverse_and_log_det(x, np.ones(3))
        assert (np.abs(one - other).max(axis=0) > 1e-3).all()
        with pytest.raises(ValueError, match=r"needs a `condition` of shape.*\(3,\).*Received: None"):
            bijector.inverse(x)

    def test_a_condition_for_each_row(self):
        bijector, x = self.make("float64"), self.ordinary_x("float64")
        conditions = np.random.default_rng(0).normal(size=(len(x), 3))
        together, _ = bijector.inverse_and_log_det(tf.constant(x), conditions)
        for row, condition, expected in zip(x, conditions, together, strict=True):
            np.testing.assert_allclose(bijector.inverse(tf.constant(row), condition=condition), expected, rtol=1e-12)


class TestMaskedAutoregressiveOfOneDimension(BijectorContract):
    size = 1

    def make(self, dtype):
        return randomize(MaskedAutoregressive(MADE((1,), params_size=2, hidden_units=(4,), dtype=dtype)))

    # The hidden units see nothing that the one output may see: only the output's bias matters.
    def test_a_changed_weight_changes_the_score_of_the_same_tensor(self):
        bijector, x = self.make("float64"), tf.constant([[0.5]], tf.float64)
        before = bijector.inverse(x)
        bijector.network.out.bias.assign_add([1.0, 0.0])
        assert abs(bijector.inverse(x) - before) > 1e-6
