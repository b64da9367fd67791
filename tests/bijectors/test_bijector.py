import re

import numpy as np
import pytest
import tensorflow as tf
from contracts.as_vector import PerPixel
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
    MaskedAutoregressiveLayers,
    Permute,
    ScaledSigmoid,
    Squeeze,
    forward_and_log_det,
    inverse_and_log_det,
)
from tfdgm.elementwise import Affine
from tfdgm.networks import MADE, DenseNetwork
from tfdgm.tasks import bijector_checks


class TestShapes:
    """Event axes on both sides, and what a chain says of parts that do not fit."""

    def parts(self):
        coupling = Coupling(PerPixel(8, dtype="float64"), Affine(), np.arange(8).reshape(1, 2, 4) % 2 == 0)
        return [ActNorm(1, dtype="float64"), Squeeze(dtype=tf.float64), coupling, ActNorm(4, dtype="float64")]

    @pytest.mark.usefixtures("eagerly")
    def test_a_flow_over_images_that_change_their_shape(self):
        chain = Chain([*self.parts(), Invert(Squeeze(dtype=tf.float64)), Squeeze(dtype=tf.float64)], event_shape=(2, 4, 1))
        randomize(chain)
        assert chain.latent_shape((2, 4, 1)) == (1, 2, 4) and chain.data_shape((1, 2, 4)) == (2, 4, 1)
        flow = tfdgm.distributions.Flow(chain, (2, 4, 1), dtype=tf.float64)
        assert flow.base.event_shape == flow.latent_shape == (1, 2, 4)
        x = np.random.default_rng(0).normal(size=(3, 8))

        def to_z(rows):
            z, log_det = flow.to_base(tf.reshape(rows, (-1, 2, 4, 1)))
            return tf.reshape(z, (-1, 8)), log_det

        def to_x(rows):
            x, log_det = flow.from_base_and_log_det(tf.reshape(rows, (-1, 1, 2, 4)))
            return tf.reshape(x, (-1, 8)), log_det

        passes(bijector_checks.round_trip("x", to_z, to_x, x, 1e-12))
        passes(bijector_checks.round_trip("z", to_x, to_z, x, 1e-12))
        passes(bijector_checks.log_det_against_autodiff("x -> z", to_z, x, 1e-12))
        passes(bijector_checks.log_det_against_autodiff("z -> x", to_x, x, 1e-12))
        # Stock TFP agrees, and sums over the axes that it is asked for.
        z, log_det = to_z(tf.constant(x))
        normal = tfd.Normal(tf.zeros([], tf.float64), 1.0)
        stock = tfd.TransformedDistribution(tfd.Sample(normal, (1, 2, 4)), chain)
        assert stock.event_shape == (2, 4, 1)
        expected = tf.reduce_sum(normal.log_prob(z), axis=1) + log_det
        np.testing.assert_allclose(stock.log_prob(x.reshape(3, 2, 4, 1)), expected, rtol=1e-12)

    @pytest.mark.slow
    def test_flows_with_another_shape_of_z_are_served(self, tmp_path):
        flow = tfdgm.distributions.Flow(randomize(Chain(self.parts())), (2, 4, 1), dtype=tf.float64)
        model = tfdgm.DensityModel.from_distribution(flow)
        x = model.sample(3, seed=0)
        assert x.shape == (3, 2, 4, 1)
        model.export(tmp_path / "1")
        served = tf.saved_model.load(str(tmp_path / "1")).signatures
        encoded = served["encode"](x=x)
        assert encoded["z"].shape == (3, 1, 2, 4)
        np.testing.assert_allclose(served["decode"](z=encoded["z"])["x"], x, rtol=1e-10)
        report = tfdgm.verify(model, x.numpy(), artifact=False)
        assert report.passed and report["log-det z -> x = autodiff"].passed, str(report)

    @pytest.mark.parametrize(
        ("parts", "said"),
        [
            (lambda: [ActNorm(1), Squeeze(), ActNorm(3, name="three")], "three takes events of shape (3,). Received: (1, 2, 4)"),
            (lambda: [Squeeze(), Squeeze(name="again")], "again takes images of even height and width. Received: (1, 2, 4)"),
            (lambda: [Permute([1, 0], name="swap")], "swap takes events of shape (2,). Received: (2, 4, 1)"),
        ],
    )
    def test_parts_that_do_not_fit(self, parts, said):
        for build in (
            lambda: Chain(parts(), event_shape=(2, 4, 1)),
            lambda: tfdgm.distributions.Flow(Chain(parts(), event_ndims=3), (2, 4, 1)),
        ):
            with pytest.raises(ValueError, match=re.escape(said)):
                build()

    def test_a_base_of_another_shape(self):
        base = tfd.MultivariateNormalDiag(tf.zeros(5))
        with pytest.raises(ValueError, match=re.escape("`base` must have event_shape (4,). Received: (5,)")):
            tfdgm.distributions.Flow(ActNorm(4), (4,), base=base)


def coupling(condition_shape=None, name="coupling"):
    network = DenseNetwork(1, 2, hidden_units=(4,), condition_shape=condition_shape)
    return randomize(Coupling(network, Affine(), np.array([True, False]), condition_shape=condition_shape, name=name), scale=2.0)


def made_layers(cls, **changes):
    network = MADE((2,), params_size=2, hidden_units=(4,), **changes)
    return cls([network]) if cls is MaskedAutoregressiveLayers else cls(network)


class TestConditions:
    TAKE_NONE = {
        "ActNorm": lambda: ActNorm(2),
        "Permute": lambda: Permute([1, 0]),
        "ScaledSigmoid": lambda: ScaledSigmoid(3),
        "Coupling": coupling,
        "MaskedAutoregressive": lambda: made_layers(MaskedAutoregressive),
        "MaskedAutoregressiveLayers": lambda: made_layers(MaskedAutoregressiveLayers),
        "Chain": lambda: Chain([ActNorm(2), coupling(), tfb.Exp()]),
        "Invert": lambda: Invert(ActNorm(2)),
        "Invert of a stock one": lambda: Invert(tfb.Exp()),
        "Invert of a Chain": lambda: Invert(Chain([ActNorm(2)])),
    }

    @pytest.mark.usefixtures("eagerly")
    @pytest.mark.parametrize("make", TAKE_NONE.values(), ids=TAKE_NONE)
    def test_one_that_nobody_takes_is_an_error(self, make):
        bijector, x, c = make(), tf.fill([3, 2], 0.5), tf.zeros((3, 1))
        for name in ("forward", "inverse", "forward_log_det_jacobian", "inverse_log_det_jacobian"):
            with pytest.raises(ValueError, match=r"takes no `condition` \(condition_shape=None\). Received one."):
                getattr(bijector, name)(x, condition=c)
        for method in (bijector.forward_and_log_det, bijector.inverse_and_log_det):
            with pytest.raises(ValueError, match=r"takes no `condition` \(condition_shape=None\). Received one."):
                method(x, c)
        # What a flow passes to its bijector and its base, whichever takes it.
        np.testing.assert_array_equal(inverse_and_log_det(bijector, x, c)[0], bijector.inverse(x))
        np.testing.assert_array_equal(forward_and_log_det(bijector, x, c)[0], bijector.forward(x))

    @pytest.mark.parametrize("wrap", [lambda b: b, Invert, lambda b: Chain([tfb.Exp(), Invert(b)]), lambda b: Invert(Invert(b))])
    def test_a_chain_gives_it_to_the_parts_that_take_one(self, wrap):
        chain = Chain([ActNorm(2), coupling((3,)), tfb.Scale(2.0), Permute([1, 0])])
        bijector, z = wrap(chain), tf.fill([4, 2], 0.3)
        assert bijector.condition_shape == (3,)
        outcomes = [bijector.forward_and_log_det(z, tf.fill([3], value)) for value in (0.0, 1.0)]
        assert (outcomes[0][0].numpy() != outcomes[1][0].numpy()).any()
        c = tf.fill([3], 1.0)
        x, log_det = outcomes[1]
        back, log_det_back = bijector.inverse_and_log_det(x, c)
        np.testing.assert_allclose(back, z, rtol=1e-4)
        np.testing.assert_allclose(log_det_back, -log_det, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(bijector.forward(z, condition=c), x)
        bijector.adapt(tf.random.stateless_uniform((20, 2), (0, 0), 1, 2), tf.fill([3], 1.0))
        with pytest.raises(ValueError, match=r"needs a `condition`"):
            bijector.forward(z)

    def test_a_chain_takes_one_shape(self):
        with pytest.raises(ValueError, match=r"share one condition_shape. Received: \(3,\) of first and \(2,\) of second"):
            Chain([coupling((3,), name="first"), ActNorm(2), coupling((2,), name="second")])
        with pytest.raises(ValueError, match=r"share one condition_shape. Received: \(3,\) of coupling and \(2,\) of"):
            Chain([coupling((3,)), Chain([coupling((2,))])])


def test_the_contracts_checks_do_see_a_wrong_log_det():
    # A bijector whose log-det is off must not pass.
    class Wrong(ActNorm):
        def inverse_and_log_det(self, x, condition=None):
            z, log_det = super().inverse_and_log_det(x)
            return z, log_det + 1e-4

    bijector = randomize(Wrong(3, dtype="float64"))
    x = np.random.default_rng(0).normal(size=(4, 3))
    check = bijector_checks.log_det_against_autodiff("wrong", bijector.inverse_and_log_det, x, 1e-8)
    assert check.passed is False
    check = bijector_checks.log_dets_opposite("wrong", bijector.inverse_and_log_det, bijector.forward_and_log_det, x, 1e-8)
    assert check.passed is False
    passes(bijector_checks.round_trip("fine", bijector.inverse_and_log_det, bijector.forward_and_log_det, x, 1e-10))
