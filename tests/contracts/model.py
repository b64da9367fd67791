import keras
import numpy as np
import pytest
import tensorflow as tf
from contracts.checks import passes
from contracts.derivatives import derivatives_are_right
from contracts.model_case import ModelCase

import tfdgm
from tfdgm.tasks import artifact_checks


@pytest.mark.usefixtures("eagerly")
class ModelContract(ModelCase):
    """Tests of one model in one configuration: scores, samples, training, artifacts.

    Subclass `IntegerModelContract` or `RealModelContract`; under conditions with `ConditionalModelContract` before it.
    """

    #: Of log_prob and samples in float32: where rows are scored in another shape, and the SavedModel against the model.
    shape_tolerance, artifact_tolerance = 1e-5, 1e-5
    #: Nats that eight epochs gain at least; None where `adapt` has brought the model to its optimum.
    gain = 0.02

    def test_rows_are_independent_and_batch_axes_are_kept(self):
        model, rtol = self.adapted(), self.shape_tolerance
        scores = model.log_prob(**self.first(6)).numpy()
        assert np.isfinite(scores).all() and scores.shape == (6,)
        condition = None if self.condition is None else self.condition[:6].reshape(2, 3, 2)
        shaped = model.log_prob(self.x[:6].reshape(2, 3, *model.event_shape), condition=condition)
        np.testing.assert_allclose(shaped, scores.reshape(2, 3), rtol=rtol)
        one = model.log_prob(self.x[2], condition=None if self.condition is None else self.condition[2])
        assert one.shape == ()
        np.testing.assert_allclose(one, scores[2], rtol=rtol)
        size = np.prod(model.event_shape)
        np.testing.assert_allclose(model.bits_per_dim(**self.first(6)), -scores / size / np.log(2), rtol=1e-6)
        if self.condition is not None:
            other = model.log_prob(self.x[:6], condition=self.condition[6:12])
            assert (np.abs(other - scores) > 1e-6).all()

    def test_first_and_second_derivatives_of_scores_in_x_and_weights(self):
        self.check_derivatives("eager")

    def check_derivatives(self, *modes, **changes):
        model = self.exact(**changes)
        x, condition = tf.constant(self.x[:3], model.distribution.dtype), self.condition_of(3, "float64")
        values = [x] if model.levels is None else []

        def score(x=x):
            return tf.reduce_sum(model.distribution.log_prob_of_rows(x, condition))

        derivatives_are_right(score, model.trainable_weights, *values, modes=modes)

    def test_same_seed_same_sample_and_prefix(self):
        model, n = self.adapted(), 10
        given = {} if self.condition is None else {"condition": self.condition[:n]}
        sample = model.sample(n, seed=3, **given).numpy()
        assert sample.shape == (n, *model.event_shape)
        np.testing.assert_array_equal(sample, model.sample(n, seed=3, **given))
        # One row in eight may differ where rounding falls on an edge (see `same_sample`); here none does.
        more = model.sample(20, seed=3, **{name: np.resize(value, (20, *value.shape[1:])) for name, value in given.items()})
        np.testing.assert_allclose(more[:n], sample, rtol=1e-4, atol=1e-4)
        assert (model.sample(n, seed=4, **given).numpy() != sample).any()

    def test_from_noise_and_log_prob_is_the_sample_with_its_score(self):
        distribution, condition = self.exact().distribution, self.condition_of(5, "float64")
        noise = distribution.draw_noise(tf.constant([[3, i] for i in range(5)], tf.int32))
        x, log_prob = distribution.from_noise_and_log_prob(noise, condition)
        np.testing.assert_allclose(x, distribution.from_noise(noise, condition), rtol=1e-12)
        np.testing.assert_allclose(log_prob, distribution.log_prob_of_rows(x, condition), rtol=1e-9)
        with pytest.raises(ValueError, match="`condition`"):
            distribution.from_noise_and_log_prob(noise, None if self.condition is not None else tf.zeros((5, 1)))

    def test_functions_are_what_the_distribution_says(self):
        # Every function on two rows: the batch axis first in all that comes out.
        functions = self.exact().distribution.functions()
        assert set(functions) in ({"encode", "decode"}, {"complete"})
        given = {} if self.condition is None else {"condition": self.condition_of(2, "float64")}
        for function, specs in functions.values():
            values = {name: tf.zeros((2, *spec.shape[1:]), spec.dtype) for name, spec in specs.items()}
            for value in function(**values, **given).values():
                assert value.shape[0] == 2

    @pytest.mark.graph
    def test_steps_reach_every_weight_change_scores_and_raise_the_likelihood(self):
        model = self.make(seed=1, dtype="float64")
        model.adapt(self.x, self.condition)
        x, condition = tf.constant(self.x[:16], model.distribution.dtype), self.condition_of(16, "float64")
        given = {} if condition is None else {"condition": condition}
        before = {"model": model.log_prob(x, **given), "distribution": model.distribution.log_prob(x, **given)}
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(model(x, condition=condition, training=True))
        for weight, gradient in zip(model.trainable_weights, tape.gradient(loss, model.trainable_weights), strict=True):
            assert gradient is not None, weight.path
            assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.path
        start = [np.array(weight) for weight in model.trainable_weights]
        model.compile(keras.optimizers.SGD(0.1, global_clipnorm=1.0))  # Half of what Adam's step has to trace.

        # One step changes the score of the same tensor.
        model.fit(self.x[:16], None if condition is None else self.condition[:16], batch_size=16, verbose=0)
        for weight, value in zip(model.trainable_weights, start, strict=True):
            assert (np.array(weight) != value).any(), weight.path
        after = {"model": model.log_prob(x, **given), "distribution": model.distribution.log_prob(x, **given)}
        for name, scores in after.items():
            assert (np.abs(scores - before[name]) > 1e-9).all(), name
        np.testing.assert_allclose(after["model"], after["distribution"], rtol=1e-10)

        if self.gain is None:
            return
        # From the weights that a new model has.
        model.set_weights(self.make(dtype="float64").get_weights())
        model.adapt(self.x, self.condition)
        before = self.mean_log_prob(model)
        model.fit(self.x, self.condition, epochs=8, batch_size=16, verbose=0)
        assert self.mean_log_prob(model) > before + self.gain

    @classmethod
    def mean_log_prob(cls, model):
        """In batches of 16, for which `log_prob` is traced once."""
        batches = np.split(np.arange(len(cls.x)), range(16, len(cls.x), 16))
        return np.mean([model.log_prob(**{k: v[rows] for k, v in cls.first(len(cls.x)).items()}) for rows in batches])

    @pytest.fixture(scope="class")
    @classmethod
    def exported(cls, tmp_path_factory):
        """(`adapted`, the folder of its SavedModel): to trace all signatures takes longer than any other test here."""
        model, folder = cls.adapted(), tmp_path_factory.mktemp("exported")
        for count in model.non_trainable_weights:
            if count.path.endswith(("noise_step", "skipped_steps")):
                count.assign(7)
        model.export(folder / "1")
        return model, folder

    def test_saved_model_and_load(self, exported):
        # The SavedModel is traced, the model computes op by op; it sums in another order.
        (model, folder), condition = exported, None if self.condition is None else self.condition[:16]
        checks = list(artifact_checks.saved_model(model, self.x[:16], condition, folder / "1", self.artifact_tolerance))
        checks.append(artifact_checks.loaded_back(lambda m: m.log_prob(self.x[:16], condition), model, folder / "1"))
        signatures = ("signatures", "log_prob", "sample", "encode", "decode", "complete")
        assert [check.name for check in checks] == [*(f"SavedModel: {name}" for name in signatures), "load: log_prob"]
        for check in checks:
            signature = check.name.removeprefix("SavedModel: ")
            if signature in ("encode", "decode", "complete") and signature not in model.distribution.functions():
                assert check.skipped
            else:
                passes(check)
        assert checks[-1].value == 0

        again = tfdgm.load(folder)
        assert type(again) is type(model)
        assert again.get_config() == model.get_config()
        for ours, theirs in zip(again.weights, model.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert int(again.adapted) == 1

    def test_every_weight_comes_back_bit_for_bit_from_a_checkpoint(self, tmp_path):
        model, other = self.adapted(), self.make(seed=2)
        path = tf.train.Checkpoint(model=model).write(str(tmp_path / "c"))
        tf.train.Checkpoint(model=other).read(path).assert_consumed()
        for ours, theirs in zip(other.weights, model.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(other.log_prob(**self.first(4)), model.log_prob(**self.first(4)))
