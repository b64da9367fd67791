import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from contracts.cases import CASES

import tfdgm
from tfdgm.training import computing_in

HALF = {"mixed_bfloat16": tf.bfloat16, "mixed_float16": tf.float16}


def matmul_dtypes(model, function, *arguments):
    """The dtypes that the products of a traced function compute in."""
    graph = tf.function(function, autograph=False).get_concrete_function(*arguments).graph
    return {op.inputs[0].dtype for op in graph.get_operations() if op.type in ("MatMul", "BatchMatMulV2", "BatchMatMulV3")}


@functools.cache
def train(name, dtype, **changes):
    case = CASES[name]
    keras.utils.set_random_seed(0)
    model = case.make(dtype=dtype, **changes)
    model.compile(keras.optimizers.Adam(1e-2))
    history = model.fit(case.x, case.condition, epochs=4, batch_size=16, shuffle=False, verbose=0)
    return model, history.history["loss"]


class TestMixedPrecision:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("name", "policy"), [("maf_condition", "mixed_float16"), ("realnvp", "mixed_bfloat16"), ("iaf", "mixed_bfloat16")]
    )
    def test_training_ends_near_that_in_full_precision(self, name, policy):
        (full, losses), (mixed, others) = train(name, "float32", num_layers=1), train(name, policy, num_layers=1)
        assert losses[-1] < losses[0] - 0.05
        np.testing.assert_allclose(others, losses, rtol=0.01)
        assert max(np.abs(a - b).max() for a, b in zip(full.get_weights(), mixed.get_weights(), strict=True)) > 0
        assert {w.dtype for w in mixed.trainable_weights} == {"float32"}
        assert int(mixed.skipped_steps.numpy()) == 0

    @pytest.mark.slow
    @pytest.mark.usefixtures("eagerly")
    @pytest.mark.parametrize("name", [name for name, case in CASES.items() if len(case.config["event_shape"]) > 1])
    def test_a_step_of_an_image_model_is_near_that_in_full_precision(self, name):
        case, changes = CASES[name], []
        for policy in ("float32", "mixed_bfloat16"):
            model = case.make(seed=0, dtype=policy)
            model.compile(keras.optimizers.SGD(1e-2), jit_compile=False)
            before = [np.array(w) for w in model.trainable_weights]
            loss = model.fit(case.x, case.condition, epochs=1, batch_size=len(case.x), verbose=0).history["loss"][0]
            steps = [np.ravel(w - old) for w, old in zip(model.trainable_weights, before, strict=True)]
            changes.append((loss, np.concatenate(steps)))
        (loss, full), (half_loss, half) = changes
        assert half_loss == pytest.approx(loss, rel=0.02) and half_loss != loss
        assert np.dot(full, half) > 0.99 * np.linalg.norm(full) * np.linalg.norm(half) > 0

    @pytest.mark.parametrize("policy", HALF)
    def test_only_training_computes_in_half_precision(self, policy):
        case = CASES["maf"]
        model = case.make(dtype=policy)
        x = tf.constant(case.x)
        assert matmul_dtypes(model, lambda x: model(x), x) == {tf.float32}

        def step(x):
            with computing_in(model, policy):
                return model(x, training=True)

        assert matmul_dtypes(model, step, x) == {HALF[policy]}
        assert matmul_dtypes(model, lambda x: model(x), x) == {tf.float32}  # And back.

    @pytest.mark.slow
    @pytest.mark.parametrize("policy", HALF)
    def test_scores_and_samples_are_those_of_full_precision(self, policy):
        case = CASES["maf"]
        mixed, full = case.make(seed=1, dtype=policy), case.make(seed=1)
        np.testing.assert_array_equal(mixed.log_prob(case.x), full.log_prob(case.x))
        np.testing.assert_array_equal(mixed.sample(5, seed=2), full.sample(5, seed=2))
        assert mixed.log_prob(case.x).dtype == tf.float32

    def test_the_log_det_is_in_full_precision(self):
        # In bfloat16 a sum of a hundred log-scales is off by whole tenths.
        case = CASES["realnvp"]
        model, full = (case.make(seed=1, dtype=dtype) for dtype in ("mixed_bfloat16", "float32"))
        with computing_in(model, "mixed_bfloat16"):
            half = model(tf.constant(case.x), training=True)
        assert half.dtype == tf.float32
        np.testing.assert_allclose(half, full(tf.constant(case.x)), rtol=0.02)

    @pytest.mark.slow
    def test_float16_scales_the_loss_and_a_step_that_overflows_lowers_the_scale(self):
        case = CASES["maf"]
        model = case.make(dtype="mixed_float16")
        model.compile(keras.optimizers.SGD(1e-2))
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        model.fit(case.x, batch_size=16, epochs=1, verbose=0)
        scale = float(model.optimizer.dynamic_scale.numpy())
        kept = model.get_weights()
        first = model.trainable_weights[0]
        first.assign(np.full(first.shape, 1e30))  # Beyond float16.
        before = model.trainable_weights[1].numpy()
        with pytest.warns(UserWarning, match="1 training step with a non-finite gradient"):
            model.fit(case.x[:16], batch_size=16, epochs=1, verbose=0)
        assert int(model.skipped_steps.numpy()) == 1
        assert float(model.optimizer.dynamic_scale.numpy()) == scale / 2
        np.testing.assert_array_equal(model.trainable_weights[1].numpy(), before)
        model.set_weights(kept)

    @pytest.mark.slow
    def test_the_artifact_is_in_full_precision(self, tmp_path):
        case = CASES["maf"]
        model, _ = train("maf", "mixed_bfloat16")
        model.export(tmp_path / "1")
        again = tfdgm.load(tmp_path)
        again.use_xla = False
        np.testing.assert_array_equal(again.log_prob(case.x), model.log_prob(case.x))
