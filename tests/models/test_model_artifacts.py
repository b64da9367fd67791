"""Export, load, train on."""

import keras
import numpy as np
import pytest
from contracts.cases import model_cases
from contracts.weights import weights_of

import tfdgm

pytestmark = pytest.mark.usefixtures("eagerly")


class TestArtifact:
    @pytest.mark.slow
    @model_cases("made_categorical", "maf_condition", "realnvp", "gaussian_mixture")
    def test_load_and_train_on_equals_training_in_one_go(self, case, tmp_path):
        # Plain SGD has no state, and these models draw no training noise, so the artifact holds all there is.
        whole, half = (case.trained(keras.optimizers.SGD(1e-2)) for _ in range(2))
        half.export(tmp_path / "1")
        again = tfdgm.load(tmp_path)
        again.use_xla = False
        again.compile(keras.optimizers.SGD(1e-2))
        for model in (whole, again):
            model.fit(case.x, case.condition, epochs=1, batch_size=16, shuffle=False, verbose=0)
        for ours, theirs in zip(weights_of(again), weights_of(whole), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
        assert any((np.abs(a - b) > 1e-4).any() for a, b in zip(half.get_weights(), again.get_weights(), strict=True))

    @model_cases("maf_levels_act_norm", "gaussian_mixture", slow=("made_binary", "realnvp_condition"))
    def test_keras_file_and_train_on_with_adam(self, case, tmp_path):
        # A .keras file holds the optimizer and the training noise's seed as well.
        whole, half = case.trained(), case.trained()
        half.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        again.use_xla = False
        np.testing.assert_array_equal(again.log_prob(**case.first(8)), half.log_prob(**case.first(8)))
        for model in (whole, again):
            model.fit(case.x, case.condition, epochs=1, batch_size=16, shuffle=False, verbose=0)
        for ours, theirs in zip(weights_of(again), weights_of(whole), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)

    @pytest.mark.slow
    @model_cases("maf_levels_act_norm", "realnvp")
    def test_what_was_set_from_data_is_not_set_again_after_loading(self, case, tmp_path):
        model = case.adapted()
        model.export(tmp_path / "1")
        again = tfdgm.load(tmp_path)
        again.use_xla = False
        again.compile(keras.optimizers.SGD(0.0))
        before = again.get_weights()
        again.fit(case.x[::-1] // 2 if case.x.dtype.kind == "i" else case.x[::-1] * 3 + 1, epochs=1, verbose=0)
        for weight, value in zip(again.weights, before, strict=True):
            if not weight.path.endswith("noise_step"):  # It counts training steps.
                np.testing.assert_array_equal(weight, value, err_msg=weight.path)
