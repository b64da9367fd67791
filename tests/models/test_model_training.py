"""Training."""

import numpy as np
from contracts.cases import CASES, model_cases


class TestTraining:
    @model_cases("made_binary_condition", "maf_levels_act_norm", "gaussian_mixture")
    def test_evaluate_gives_the_mean_negative_log_likelihood(self, case):
        model = case.make(seed=1)
        model.compile("adam")
        expected = -np.mean(model.lower_bound(case.x, case.condition, num_samples=1))
        if model.kind == "exact":
            np.testing.assert_allclose(expected, -case.mean_log_prob(model), rtol=1e-5)
        found = model.evaluate(case.x, case.condition, num_samples=1, verbose=0)
        np.testing.assert_allclose(found, expected, rtol=1e-5)

    def test_the_step_is_traced_once(self, monkeypatch):
        case, traces = CASES["maf"], []
        model, step = case.make(), case.cls.train_step
        monkeypatch.setattr(case.cls, "train_step", lambda self, data: traces.append(data) or step(self, data))
        model.compile("adam")
        model.fit(case.x, batch_size=16, epochs=2, verbose=0)
        assert len(traces) == 1
