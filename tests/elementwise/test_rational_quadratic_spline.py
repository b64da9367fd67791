import numpy as np
import pytest
import tensorflow as tf
from contracts.elementwise import ElementwiseContract
from tensorflow_probability import bijectors as tfb

from tfdgm.elementwise import RationalQuadraticSpline


class TestRationalQuadraticSpline(ElementwiseContract):
    f = RationalQuadraticSpline(num_bins=5)

    def test_equals_tfp(self):
        f = RationalQuadraticSpline(num_bins=6, bound=2.5)
        random = np.random.default_rng(0)
        params, z = tf.constant(random.normal(size=(200, 17)) * 2), tf.constant(random.uniform(-3, 3, 200))

        def sizes(raw):
            return 5 * (1e-3 + (1 - 6e-3) * tf.nn.softmax(raw))

        slopes = 1e-3 + tf.nn.softplus(params[:, 12:] + np.log(np.expm1(1 - 1e-3)))
        stock = tfb.RationalQuadraticSpline(sizes(params[:, :6]), sizes(params[:, 6:12]), slopes, range_min=-2.5)
        x, log_det = f.forward(params, z)
        np.testing.assert_allclose(x, stock.forward(tf.identity(z)), rtol=1e-10)
        np.testing.assert_allclose(log_det, stock.forward_log_det_jacobian(tf.identity(z), event_ndims=0), rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(f.inverse(params, x)[0], z, rtol=1e-9, atol=1e-12)

    def test_parameters_of_any_size(self):
        # Bins of a thousandth of the interval beside one that holds all the rest.
        f = RationalQuadraticSpline()
        for dtype, tolerance in (("float64", 1e-6), ("float32", 0.05)):
            params = tf.constant(np.random.default_rng(0).normal(size=(500, 23)) * 300, dtype)
            z = tf.constant(np.random.default_rng(1).uniform(-3, 3, 500), dtype)
            x, log_det = f.forward(params, z)
            assert np.isfinite(x).all() and np.isfinite(log_det).all()
            back, _ = f.inverse(params, x)
            assert np.isfinite(back).all()
            np.testing.assert_allclose(f.forward(params, back)[0], x, atol=tolerance * 1e-3)

    @pytest.mark.parametrize(("given", "said"), [({"num_bins": 0}, "`num_bins`"), ({"bound": -1.0}, "`bound` must be above 0")])
    def test_arguments(self, given, said):
        with pytest.raises(ValueError, match=said):
            RationalQuadraticSpline(**given)
