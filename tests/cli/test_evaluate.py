import json
import pathlib

import numpy as np
import pytest

import tfdgm

pytestmark = pytest.mark.usefixtures("eagerly")


class TestEvaluate:
    def test_a_run_on_what_it_was_trained_on_gives_its_cards_figures(self, cli, run_folder):
        test = json.loads((run_folder / "card.json").read_text())["test"]
        result = cli("evaluate", run_folder)
        assert result.code == 0, result.err
        assert "MADE on digits, test: 180 rows" in result.out
        assert f"{-test['nll']:.4f} ± {test['standard_error']:.4f} nats\n" in result.out
        assert f"{test['bits_per_dim']:.4f}" in result.out

    @pytest.mark.slow
    def test_data_that_changed_since_the_training(self, cli, tmp_path):
        x = np.random.default_rng(0).normal(size=(100, 2))
        np.save(tmp_path / "x.npy", x)
        small = ["--model=GaussianMixture", "--set=model.num_components=1", "--epochs=1"]
        assert cli("train", *small, f"--data={tmp_path}/x.npy", "--output", tmp_path / "run").code == 0
        assert cli("evaluate", tmp_path / "run").err == ""
        np.save(tmp_path / "x.npy", x[1:])
        result = cli("evaluate", tmp_path / "run")
        assert result.code == 0 and f"warning: {tmp_path}/x.npy has changed since" in result.err
        np.save(tmp_path / "other.npy", x[2:])  # Of other data nothing is expected.
        result = cli("evaluate", tmp_path / "run", "--data", tmp_path / "other.npy")
        assert result.code == 0 and result.err == ""

    def test_all_rows_of_a_file(self, cli, vector_model):
        scores = np.asarray(tfdgm.load(vector_model / "model").log_prob(np.load(vector_model / "rows.npy")))
        result = cli("evaluate", vector_model / "model", "--data", vector_model / "rows.csv", "--split", "all")
        assert "5,000 rows" in result.out and "bits/dim" not in result.out
        assert f"{scores.astype('float64').mean():.4f} ± " in result.out

    def test_a_zoo_name(self, cli, run_folder, monkeypatch):
        monkeypatch.setenv("TFDGM_ZOO_DIR", str(run_folder.parent))
        assert cli("evaluate", "made_digits", "--split", "valid").code == 0

    def test_an_excerpt_is_said_to_be_one(self, cli, tmp_path, monkeypatch):
        monkeypatch.delenv("TFDGM_DATA_DIR", raising=False)
        monkeypatch.setenv("TFDGM_CACHE_DIR", str(tmp_path))
        with np.load(pathlib.Path(tfdgm.data.__file__).parent / "excerpts" / "binarized_mnist.npz") as file:
            scores = np.asarray(tfdgm.load("made_binarized_mnist").log_prob(file["test"]), "float64")
        result = cli("evaluate", "made_binarized_mnist")
        assert result.code == 0 and result.err.startswith("tfdgm: warning: An excerpt stands in for binarized_mnist, 500 of its ")
        assert "MADE on binarized_mnist, test: an excerpt, 500 of 10,000 test rows\n" in result.out
        figure = f"{scores.mean():.4f} ± {scores.std(ddof=1) / 500**0.5:.4f} nats"
        assert f"log-likelihood  {figure}  (of the excerpt, not of the whole test split)\n" in result.out
        result = cli("evaluate", "made_binarized_mnist", "--split=train")
        assert result.code == 1 and "only an excerpt of its test rows is here. Received: --split train" in result.err

    def test_rows_of_another_size(self, fails, run_folder, vector_model):
        line = fails("evaluate", vector_model / "model", "--data", "digits")
        assert "Expected rows of event_shape=(3,). Received: (8, 8) in digits" in line

    def test_values_outside_the_levels(self, fails, run_folder, tmp_path):
        np.save(tmp_path / "x.npy", np.full((40, 8, 8), 17))
        assert "16" in fails("evaluate", run_folder, "--data", tmp_path / "x.npy")

    def test_without_data(self, fails, vector_model):
        assert "--data is needed" in fails("evaluate", vector_model / "model", code=2)

    @pytest.mark.parametrize(
        "command", [("evaluate",), ("verify",), ("sample", "--out=a.png"), ("score", "x.csv", "--out=a.csv")]
    )
    def test_unknown_model(self, fails, command, run_folder, monkeypatch):
        monkeypatch.setenv("TFDGM_ZOO_DIR", str(run_folder.parent))
        line = fails(command[0], "made_digit", *command[1:])
        assert "no zoo entry or folder 'made_digit'" in line and "Did you mean 'made_digits'" in line

    def test_a_damaged_model(self, fails, tmp_path):
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "saved_model.pb").write_bytes(b"no")
        assert "was not written by tfdgm" in fails("evaluate", tmp_path, "--data", "digits")
