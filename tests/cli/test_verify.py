import numpy as np
import pytest

from tfdgm import tasks

pytestmark = pytest.mark.usefixtures("eagerly")


class TestVerify:
    @pytest.mark.slow
    def test_a_model_that_is_a_density(self, cli, vector_model):
        result = cli("verify", vector_model / "model", "--data", vector_model / "rows.csv", "--rows=16")
        assert result.code == 0, result
        assert "PASS" in result.out and "FAIL" not in result.out

    def test_one_that_is_not_exits_with_1(self, cli, vector_model, monkeypatch):
        seen = []

        def verify(model, x, **options):
            seen.append(x)
            return tasks.Report([tasks.Check("total mass", 0.17, 1e-3)])

        monkeypatch.setattr(tasks, "verify", verify)
        result = cli("verify", vector_model / "model", "--data", vector_model / "rows.csv", "--rows=16")
        assert result.code == 1 and "FAIL" in result.out and not result.err
        assert np.shape(seen[0]) == (16, 3)

    def test_without_data_the_models_own_samples(self, cli, vector_model, monkeypatch):
        seen = []
        report = tasks.Report([tasks.Check("a", 0.0, 1.0)])
        monkeypatch.setattr(tasks, "verify", lambda model, x, **options: seen.append(x) or report)
        assert cli("verify", vector_model / "model").code == 0 and seen == [None]

    def test_the_saved_model_that_lies_there_is_measured(self, cli, vector_model, monkeypatch):
        seen, report = [], tasks.Report([tasks.Check("a", 0.0, 1.0)])
        monkeypatch.setattr(tasks, "verify", lambda model, x, artifact, **options: seen.append(artifact) or report)
        assert cli("verify", vector_model / "model").code == 0 and seen == [str(vector_model / "model")]

    def test_data_that_is_not_there(self, fails, vector_model):
        assert "none.csv" in fails("verify", vector_model / "model", "--data", "none.csv")
