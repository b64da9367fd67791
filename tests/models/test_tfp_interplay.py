"""Our networks under stock TFP bijectors, stock distributions as our models, and our flows inside TFP."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from contracts.checks import passes
from contracts.weights import randomize
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

import tfdgm
from tfdgm.bijectors import ShiftAndLogScale
from tfdgm.networks import MADE, DenseNetwork
from tfdgm.tasks import artifact_checks

X = (np.random.default_rng(0).normal(size=(64, 3)) @ np.random.default_rng(1).normal(size=(3, 3)) + 1).astype("float32")


def stock_flow(kind):
    if kind == "maf":
        bijector = tfb.MaskedAutoregressiveFlow(MADE((3,), params_size=2, hidden_units=(8,), activation="tanh"))
    else:
        bijector = tfb.RealNVP(
            1, shift_and_log_scale_fn=ShiftAndLogScale(DenseNetwork(1, 4, hidden_units=(8,), activation="tanh"))
        )
    return tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(3)), bijector)


@pytest.mark.parametrize("kind", ["maf", "realnvp"])
class TestStockBijectors:
    @pytest.mark.slow
    def test_trains_and_exports(self, kind, tmp_path):
        model = tfdgm.DensityModel.from_distribution(stock_flow(kind))
        assert len(model.trainable_weights) == 4
        model.compile(keras.optimizers.Adam(3e-2), jit_compile=False)
        losses = model.fit(X, epochs=6, batch_size=16, verbose=0).history["loss"]
        assert losses[-1] < losses[0] - 0.1
        model.export(tmp_path / "1")
        for check in artifact_checks.saved_model(model, X[:8], None, tmp_path / "1", 1e-5):
            if not check.skipped:
                passes(check)
        # The artifact holds no distribution; one built again takes its weights.
        with pytest.raises(tfdgm.serving.ArtifactError, match="from_distribution"):
            tfdgm.serving.load(tmp_path)
        again = tfdgm.DensityModel.from_distribution(stock_flow(kind))
        again.restore(tmp_path)
        np.testing.assert_array_equal(again.log_prob(X), model.log_prob(X))

    def test_gives_what_ours_gives(self, kind):
        # Ours bounds the log-scale: undone by handing our bijector the raw value that the bound maps to the stock one's.
        stock = randomize(stock_flow(kind), scale=0.5)
        z = stock.bijector.inverse(tf.constant(X))
        model = tfdgm.DensityModel.from_distribution(stock)
        base = tfd.MultivariateNormalDiag(tf.zeros(3))
        expected = base.log_prob(z) + stock.bijector.inverse_log_det_jacobian(tf.constant(X), event_ndims=1)
        np.testing.assert_allclose(model.log_prob(X), expected, rtol=1e-5)


class TestFromDistribution:
    def test_variables_of_a_stock_distribution_train(self):
        loc, scale = tf.Variable([0.0, 0.0, 0.0]), tf.Variable([1.0, 1.0, 1.0])
        model = tfdgm.DensityModel.from_distribution(tfd.MultivariateNormalDiag(loc, scale))
        model.compile(keras.optimizers.Adam(0.1), jit_compile=False)
        model.fit(X, epochs=60, batch_size=64, verbose=0)
        np.testing.assert_allclose(loc, X.mean(axis=0), atol=0.1)
        np.testing.assert_allclose(np.abs(scale), X.std(axis=0), atol=0.1)

    @pytest.mark.slow
    @pytest.mark.parametrize("built", [False, True])
    def test_tfps_own_network(self, built):
        network = tfb.AutoregressiveNetwork(params=2, hidden_units=[8], activation="tanh")
        base = tfd.Sample(tfd.Normal(0.0, 1.0), sample_shape=[3])
        distribution = tfd.TransformedDistribution(base, tfb.MaskedAutoregressiveFlow(network))
        if built:
            distribution.log_prob(X[:1])
        model = tfdgm.DensityModel.from_distribution(distribution)
        assert len(model.trainable_weights) == len(network.trainable_variables) == 4
        before = [w.numpy() for w in network.trainable_variables]
        model.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
        losses = model.fit(X, epochs=3, batch_size=64, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
        assert all((w.numpy() != old).any() for w, old in zip(network.trainable_variables, before, strict=True))
        np.testing.assert_allclose(model.log_prob(X), distribution.log_prob(X), rtol=1e-5)

    def test_of_our_own_distribution(self):
        network = randomize(MADE((4,), hidden_units=(8,)))
        distribution = tfdgm.distributions.Autoregressive(network, tfdgm.families.Bernoulli())
        model = tfdgm.DensityModel.from_distribution(distribution)
        x = np.random.default_rng(0).integers(0, 2, (6, 4))
        np.testing.assert_allclose(model.log_prob(x), distribution.log_prob(x), rtol=1e-5)
        assert model.distribution is distribution and model.levels == 2


@pytest.fixture(scope="module")
def flow():
    keras.utils.set_random_seed(1)
    model = tfdgm.models.MAF((3,), num_layers=2, hidden_units=(8,), activation="tanh")
    model.use_xla = False
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(X, epochs=2, batch_size=16, verbose=0)
    return model


class TestInsideTFP:
    @pytest.mark.slow
    def test_joint_distribution(self, flow):
        joint = tfd.JointDistributionSequential(
            [flow.distribution, lambda flow: tfd.Independent(tfd.Normal(2 * flow, 0.5), 1)], validate_args=True
        )
        x, y = joint.sample(4, seed=1)
        assert x.shape == y.shape == (4, 3)
        expected = flow.log_prob(x) + tf.reduce_sum(tfd.Normal(2 * x, 0.5).log_prob(y), axis=-1)
        np.testing.assert_allclose(joint.log_prob([x, y]), expected, rtol=1e-5)
        assert joint.sample(seed=2)[0].shape == (3,)

    @pytest.mark.slow
    def test_transformed_transition_kernel(self):
        flow = tfdgm.models.RealNVP((3,), num_layers=2, hidden_units=(8,), activation="tanh")
        flow.use_xla = False
        flow.compile(keras.optimizers.Adam(1e-2))
        flow.fit(X, epochs=2, batch_size=16, verbose=0)
        target = tfd.MultivariateNormalDiag(tf.constant(X.mean(axis=0)), tf.constant(X.std(axis=0)))
        kernel = tfp.mcmc.TransformedTransitionKernel(
            tfp.mcmc.HamiltonianMonteCarlo(target.log_prob, step_size=0.3, num_leapfrog_steps=2), flow.distribution.bijector
        )

        @tf.function(autograph=False)
        def run():
            return tfp.mcmc.sample_chain(
                12,
                current_state=tf.constant(X[:4]),
                kernel=kernel,
                trace_fn=lambda _, results: results.inner_results.is_accepted,
                seed=(1, 2),
            )

        states, accepted = run()
        assert np.isfinite(states).all()
        assert np.mean(accepted) > 0.2
        assert (np.abs(states[-1] - X[:4]).max(axis=1) > 0).any()

    def test_as_a_prior_in_a_gradient(self, flow):
        x = tf.Variable(X[:1])
        with tf.GradientTape() as tape:
            loss = -tf.reduce_sum(flow.distribution.log_prob(x))
        gradient = tape.gradient(loss, x)
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


class TestGaussianMixture:
    def test_equals_scikit_learn(self):
        import sklearn.mixture

        x = np.concatenate([X, X @ np.diag([1, -1, 2]) + 4]).astype("float64")
        model = tfdgm.models.GaussianMixture((3,), num_components=2, standardize=False, dtype="float64")
        model.use_xla = False
        model.adapt(x)
        em = sklearn.mixture.GaussianMixture(2, reg_covar=1e-4, random_state=0).fit(x)
        np.testing.assert_allclose(model.log_prob(x), em.score_samples(x), rtol=1e-6)
        # On standardised data it is EM's of that, times the change of variables.
        model = tfdgm.models.GaussianMixture((3,), num_components=2, dtype="float64")
        model.use_xla = False
        model.adapt(x)
        z = (x - x.mean(axis=0)) / x.std(axis=0)
        em = sklearn.mixture.GaussianMixture(2, reg_covar=1e-4, random_state=0).fit(z)
        expected = em.score_samples(z) - np.log(x.std(axis=0)).sum()
        np.testing.assert_allclose(model.log_prob(x), expected, rtol=1e-6)

    def random(self):
        """A mixture with weights far apart, and TFP's of the same weights."""
        model = tfdgm.models.GaussianMixture((3,), num_components=3, standardize=False, dtype="float64")
        base, random = model.distribution.base, np.random.default_rng(0)
        base.logits.assign(random.normal(size=3))
        base.means.assign(3 * random.normal(size=(3, 3)))
        scale = np.tril(random.normal(size=(3, 3, 3)))
        base.scale_tril.assign(scale + np.eye(3) * (1 - 2 * np.minimum(scale, 0)))
        of_each = tfd.MultivariateNormalTriL(base.means, base.scale_tril)
        return model, tfd.MixtureSameFamily(tfd.Categorical(logits=base.logits), of_each)

    def test_equals_tfp(self):
        model, theirs = self.random()
        x = tf.constant(5 * np.random.default_rng(1).normal(size=(20, 3)))
        weights = [x, *(w.value for w in model.trainable_weights)]
        assert len(weights) == 4
        values, gradients = [], []
        for distribution in (model.distribution, theirs):
            with tf.GradientTape() as tape:
                tape.watch(x)
                values.append(distribution.log_prob(x))
            gradients.append(tape.gradient(values[-1], weights))
        np.testing.assert_allclose(*values, rtol=1e-12)
        for ours, expected in zip(*gradients, strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12)

    def test_samples_have_the_mixtures_moments(self):
        model, theirs = self.random()
        n = 20_000
        x = model.sample(n, seed=1).numpy()
        # 4.5 standard errors: of the mean by the covariance, of the covariance by the samples' own spread.
        weights, means = tf.nn.softmax(model.distribution.base.logits).numpy(), model.distribution.base.means.numpy()
        second = np.einsum("k,kij->ij", weights, theirs.components_distribution.covariance() + means[:, :, None] * means[:, None])
        expected = second - np.outer(weights @ means, weights @ means)
        error = np.abs(x.mean(axis=0) - weights @ means) / np.sqrt(np.diag(expected) / n)
        assert error.max() < 4.5
        products = (x - weights @ means)[:, :, None] * (x - weights @ means)[:, None]
        assert (np.abs(products.mean(axis=0) - expected) / (products.std(axis=0) / np.sqrt(n))).max() < 4.5

    def test_fewer_rows_than_components(self):
        model = tfdgm.models.GaussianMixture((3,), num_components=5)
        model.use_xla = False
        model.adapt(X[:3])
        assert np.isfinite(model.log_prob(X)).all()


class TestReparameterization:
    """What samples say of themselves, by which TFP's estimators choose between gradients of samples and of scores."""

    @pytest.mark.parametrize(
        ("distribution", "expected"),
        [
            (lambda: tfdgm.models.MAF((2,), num_layers=1, hidden_units=(4,)).distribution, True),
            (lambda: tfdgm.models.IAF((2,), num_layers=1, hidden_units=(4,)).distribution, True),
            (lambda: tfdgm.models.RealNVP((2,), num_layers=1, hidden_units=(4,)).distribution, True),
            (lambda: tfdgm.distributions.Autoregressive(MADE((2,), params_size=2), tfdgm.families.Normal()), True),
            (lambda: tfdgm.models.MADE((2,), levels=None, hidden_units=(4,)).distribution, False),
            (lambda: tfdgm.models.MADE((2,), levels=3, hidden_units=(4,)).distribution, False),
            (lambda: tfdgm.models.GaussianMixture((2,)).distribution, False),
            (lambda: tfdgm.models.MAF((2,), levels=3, num_layers=1, hidden_units=(4,)).distribution, False),
            (lambda: tfdgm.DensityModel.from_distribution(tfd.Normal(0.0, 1.0)).distribution, True),
            (lambda: tfdgm.DensityModel.from_distribution(tfd.Poisson(3.0)).distribution, False),
            (lambda: tfdgm.distributions.Flow(tfdgm.bijectors.Permute([1, 0]), (2,), base=tfd.Dirichlet([1.0, 2.0])), True),
        ],
    )
    def test_type(self, distribution, expected):
        wanted = tfd.FULLY_REPARAMETERIZED if expected else tfd.NOT_REPARAMETERIZED
        assert distribution().reparameterization_type == wanted

    def test_gradient_of_an_expectation_under_a_mixture(self):
        # d E[x] / d logit_1 = w_0 w_1 (m_1 - m_0); through the samples alone it was 0.
        model = tfdgm.models.GaussianMixture((1,), num_components=2, standardize=False, dtype="float64")
        base = model.distribution.base
        base.logits.assign([0.0, 0.5])
        base.means.assign([[-2.0], [3.0]])
        w = tf.nn.softmax(base.logits).numpy()
        with tf.GradientTape() as tape:
            mean = tfp.monte_carlo.expectation(
                lambda x: x[..., 0],
                model.distribution.sample(50_000, seed=1),
                log_prob=model.distribution.log_prob,
                use_reparameterization=model.distribution.reparameterization_type == tfd.FULLY_REPARAMETERIZED,
            )
        gradient = tape.gradient(mean, base.logits).numpy()
        np.testing.assert_allclose(gradient, np.array([-1, 1]) * w[0] * w[1] * 5, atol=0.05)
