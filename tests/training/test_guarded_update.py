import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfdgm

pytestmark = pytest.mark.usefixtures("eagerly")

CLEAN = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")


def model(optimizer=None, use_xla=False):
    model = tfdgm.models.MAF((3,), num_layers=1, hidden_units=(8,))
    model.use_xla = use_xla
    model.adapt(CLEAN)
    model.compile(optimizer or keras.optimizers.Adam(1e-2))
    return model


def spoiled(*batches):
    """Four batches of 16; in the named ones a value whose square is not finite, though it is itself."""
    x = CLEAN.copy()
    for batch in batches:
        x[16 * batch + 3, 1] = 1e30
    return x


def skips(steps):
    return pytest.warns(UserWarning, match=rf"^{steps} training steps? with a non-finite gradient changed no weight")


class TestNonFiniteGradient:
    @pytest.mark.slow
    @pytest.mark.graph
    @pytest.mark.parametrize("use_xla", [False, True])
    def test_the_step_is_skipped_and_counted(self, use_xla):
        guarded, reference = model(use_xla=use_xla), model(use_xla=use_xla)
        reference.set_weights(guarded.get_weights())
        with skips(1):
            guarded.fit(spoiled(1), batch_size=16, shuffle=False, verbose=0)
        assert int(guarded.skipped_steps) == 1
        # As if that batch had not been: the optimizer's state is untouched too.
        without = np.delete(CLEAN, np.s_[16:32], axis=0)
        reference.fit(without, batch_size=16, shuffle=False, verbose=0)
        assert int(reference.skipped_steps) == 0
        for ours, theirs in zip(guarded.trainable_weights, reference.trainable_weights, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)

    def test_no_weight_changes(self):
        guarded = model()
        before = [np.array(weight) for weight in guarded.trainable_weights]
        with skips(4):
            guarded.fit(spoiled(0, 1, 2, 3), batch_size=16, shuffle=False, verbose=0)
        assert int(guarded.skipped_steps) == 4
        for weight, value in zip(guarded.trainable_weights, before, strict=True):
            np.testing.assert_array_equal(weight, value)

    def test_ten_in_a_row_stop_and_name_the_layer(self):
        guarded = model()
        before = [np.array(weight) for weight in guarded.trainable_weights]
        with pytest.raises(FloatingPointError, match=r"10 steps in a row .*not finite.*weight '.*(kernel|bias)'") as caught:
            guarded.fit(spoiled(0, 1, 2, 3), batch_size=16, epochs=5, shuffle=False, verbose=0)
        assert any(weight.path in str(caught.value) for weight in guarded.trainable_weights)
        for weight, value in zip(guarded.trainable_weights, before, strict=True):
            np.testing.assert_array_equal(weight, value)
        # Nothing is lost: fit goes on with better data.
        guarded.fit(CLEAN, batch_size=16, verbose=0)
        assert np.isfinite(guarded.log_prob(CLEAN)).all()

    def test_not_in_a_row_goes_on(self):
        guarded = model()
        with skips(15):
            guarded.fit(spoiled(0, 1, 3), batch_size=16, epochs=5, shuffle=False, verbose=0)
        assert int(guarded.skipped_steps) == 15

    def test_a_warning_says_so_at_the_end(self):
        guarded = model()
        with skips(1):
            guarded.fit(spoiled(2), batch_size=16, shuffle=False, verbose=0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            guarded.fit(CLEAN, batch_size=16, verbose=0)
        assert not any("non-finite" in str(warning.message) for warning in caught)

    def test_a_weight_without_gradient_does_not_stop_training(self):
        class Unused(keras.layers.Layer):
            def __init__(self):
                super().__init__()
                self.w = self.add_weight(shape=(2,))
                self.built = True

        guarded = model()
        guarded.distribution.unused = Unused()
        guarded.unused = guarded.distribution.unused
        before = guarded.unused.w.numpy()
        guarded.compile(keras.optimizers.SGD(1e-2))
        guarded.fit(CLEAN, batch_size=16, verbose=0)
        assert int(guarded.skipped_steps) == 0
        np.testing.assert_array_equal(guarded.unused.w, before)


def test_loss_scaling_is_undone():
    # Keras's loss scaling multiplies the loss; the optimizer divides the gradient, so the step is the same.
    plain = model(keras.optimizers.SGD(1e-2))
    scaled = model(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-2), initial_scale=64.0))
    scaled.set_weights(plain.get_weights())
    for each in (plain, scaled):
        each.fit(CLEAN, batch_size=16, shuffle=False, verbose=0)
    for ours, theirs in zip(scaled.trainable_weights, plain.trainable_weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert tf.reduce_all(tf.math.is_finite(plain.log_prob(CLEAN)))
