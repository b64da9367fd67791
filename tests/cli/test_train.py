import json
import re

import numpy as np
import pytest

import tfdgm
from tfdgm import tasks
from tfdgm.cli import inputs
from tfdgm.zoo import Recipe

pytestmark = pytest.mark.usefixtures("eagerly")


class TestTrain:
    def test_what_a_run_leaves(self, run_folder):
        assert {p.name for p in run_folder.iterdir()} == {"recipe.toml", "card.json", "curves.png", "samples.png", "1", "last"}
        card = json.loads((run_folder / "card.json").read_text())
        assert card["training"]["epochs"] == 2 and card["training"]["batch_size"] == 512
        assert card["model"]["config"]["hidden_units"] == [8] and card["test"]["bits_per_dim"] > 0

    def test_a_recipe_with_overrides_and_the_lines_at_the_end(self, cli, vector_model, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "a.toml").write_text(
            f'[model]\nclass = "GaussianMixture"\n[data]\nsource = "{vector_model}/rows.csv"\n[training]\nepochs = 9\n'
        )
        result = cli("train", "a.toml", "--epochs", "1", "--set", "model.num_components=2", "--seed=3")
        folder = tmp_path / "runs" / "gaussianmixture_rows"
        assert result.code == 0, result.err
        assert "GaussianMixture, " in result.out and "4,000 train, 500 validation, 500 test rows" in result.out
        assert "runs/gaussianmixture_rows/card.json" in result.out and "1 epochs, the best is 1" in result.out
        model = tfdgm.load(folder)
        assert model.get_config()["num_components"] == 2 and model.get_config()["seed"] == 3
        assert np.isfinite(model.log_prob(np.zeros((1, 3)))).all()
        assert "holds a finished run. Start over (--restart)" in cli("train", "a.toml", "--epochs", "1").err

    def test_the_names_of_columns_are_kept(self, cli, fails, tmp_path):
        x = np.random.default_rng(0).normal([0, 50], size=(100, 2))
        np.savetxt(tmp_path / "a.csv", x, delimiter=",", header="low,high", comments="")
        run = tmp_path / "run"
        small = ["--set", "model.num_components=1", "--set", "training.xla=false", "--epochs=1"]
        said = cli("train", "--model=GaussianMixture", f"--data={tmp_path}/a.csv", *small, "--output", run).out
        assert "  columns         low, high\n" in said
        assert tfdgm.load(run).column_names == ("low", "high")

        assert cli("sample", run, "--num=3", "--out", tmp_path / "drawn.csv").code == 0
        lines = (tmp_path / "drawn.csv").read_text().splitlines()
        assert lines[0] == "low,high" and len(lines) == 4 and float(lines[1].split(",")[1]) > 40

        assert cli("score", run, tmp_path / "drawn.csv", "--out", tmp_path / "scores.csv").code == 0
        (tmp_path / "scores.csv").unlink()
        np.savetxt(tmp_path / "d.csv", x, delimiter=",", header="low,other", comments="")
        message = "d.csv has no column 'high'. Expected: low, high. Received: low, other."
        for model in (run, run / "1"):
            assert message in fails("score", model, tmp_path / "d.csv", "--out", tmp_path / "scores.csv")
            for command in ("evaluate", "verify"):
                assert message in fails(command, model, "--data", tmp_path / "d.csv")
        assert not (tmp_path / "scores.csv").exists()

    def test_integers_and_weights_among_the_columns(self, cli, tmp_path):
        random, rows, run = np.random.default_rng(0), tmp_path / "rows.csv", tmp_path / "run"
        x = np.stack([random.normal(size=300), random.poisson(3, 300), random.exponential(size=300)], axis=1)
        np.savetxt(rows, x, delimiter=",", header="height,count,w", comments="")
        small = ["--model=MAF", "--set=model.hidden_units=[4]", "--set=model.num_layers=1", "--epochs=1", "--output", run]
        result = cli("train", f"--data={rows}", "--weight=w", *small)
        assert result.code == 0 and "warning: The values of x[:, 1] (count) repeat, as integers do" in result.err
        result = cli("train", f"--data={rows}", "--weight=w", "--integers=count", *small, "--restart")
        assert result.code == 0 and "repeat" not in result.err
        top = int(x[:, 1].max())
        assert f"count 0..{top}, by uniform dequantization" in result.out and "w: NLLs are weighted means" in result.out
        model = tfdgm.load(run)
        assert model.levels == (None, top + 1) and model.column_names == ("height", "count")
        assert (model.sample(50, seed=0).numpy()[:, 1] % 1 == 0).all()
        assert "bits/dim" not in cli("evaluate", run, "--split=all").out  # Of reals they depend on the unit.
        assert inputs.reading_of(str(run), {"ignore": ["a"]})["ignore"] == ["a", "w"]

    def test_columns_in_another_order_are_put_in_order(self, cli, tmp_path, monkeypatch):
        x = np.random.default_rng(0).normal([0, 50], size=(100, 2))
        for name, columns, header in (("a", [0, 1], "low,high"), ("b", [1, 0], "high,low"), ("c", [0, 1], "other,names")):
            np.savetxt(tmp_path / f"{name}.csv", x[:, columns], delimiter=",", header=header, comments="")
        run, seen = tmp_path / "run", []
        small = ["--set", "model.num_components=1", "--set", "training.xla=false", "--epochs=1"]
        assert cli("train", "--model=GaussianMixture", f"--data={tmp_path}/a.csv", *small, "--output", run).code == 0
        report = tasks.Report([tasks.Check("a", 0.0, 1.0)])
        monkeypatch.setattr(tasks, "verify", lambda model, x, **options: seen.append(np.asarray(x)) or report)

        scores, figures = {}, {}
        for name in "abc":
            result = cli("score", run, tmp_path / f"{name}.csv", "--out", tmp_path / "scores.csv", "--overwrite")
            assert result.code == 0 and ("taken by their places" in result.err) == (name == "c")
            scores[name] = np.loadtxt(tmp_path / "scores.csv", skiprows=1)
            said = cli("evaluate", run, f"--data={tmp_path}/{name}.csv", "--split=all").out
            figures[name] = said.splitlines()[1]
            assert cli("verify", run, f"--data={tmp_path}/{name}.csv").code == 0
        assert (scores["a"] == scores["b"]).all() and (scores["a"] == scores["c"]).all()
        assert figures["a"] == figures["b"] == figures["c"]
        assert (seen[0] == seen[1]).all() and (seen[0] == seen[2]).all()

    @pytest.mark.parametrize(
        "value,kept",
        [("False", False), *(pytest.param(*pair, marks=pytest.mark.slow) for pair in [("false", False), ("True", True)])],
    )
    def test_values_of_python(self, cli, vector_model, tmp_path, value, kept):
        flags = ["--set=model.num_components=1", "--epochs=1", "--set=training.xla=false"]
        flags += ["--set=training.clipnorm=None", "--set=model.dtype=None"]
        run = ["train", "--model=GaussianMixture", f"--data={vector_model}/rows.csv", *flags, "--output", tmp_path / "run"]
        assert cli(*run, f"--set=model.standardize={value}").code == 0
        card = json.loads((tmp_path / "run" / "card.json").read_text())
        assert card["model"]["config"]["standardize"] is kept and card["training"]["clipnorm"] is None
        model = Recipe.read(tmp_path / "run").model
        assert model["standardize"] is kept and model["dtype"] is None

    def test_half_a_list(self, fails, vector_model):
        line = fails("train", "--model=MAF", f"--data={vector_model}/rows.csv", "--set=model.hidden_units=[64,64")
        assert 'Expected a value of TOML or Python: 3, 0.1, true, [64, 64], "text". Received: [64,64.' in line


class TestFurther:
    """A finished run goes on, and is what another one starts from."""

    @pytest.fixture
    def run(self, cli, vector_model, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        small = ["--set=model.num_components=1", "--set=training.xla=false", "--epochs=1"]
        assert cli("train", "--model=GaussianMixture", f"--data={vector_model}/rows.csv", *small, "--output=base").code == 0
        return tmp_path / "base"

    def test_more_epochs(self, cli, fails, run):
        assert "go on with more epochs than 1" in fails("train", "base", "--output=base")
        result = cli("train", "base", "--epochs=2")
        assert result.code == 0 and "Going on after epoch 1 of 2." in result.out
        assert json.loads((run / "card.json").read_text())["training"]["epochs"] == 2

    @pytest.mark.slow
    def test_other_data(self, cli, fails, run, tmp_path, monkeypatch):
        x = np.random.default_rng(1).normal(5, 1, size=(100, 3))
        np.savetxt("newer.csv", x, delimiter=",", header="a,b,c", comments="")
        result = cli("train", "base", "--data=newer.csv", "--learning_rate=1e-30")
        assert result.code == 0 and re.search(r"\n  from +base\n", result.out)
        card = json.loads((tmp_path / "runs" / "gaussianmixture_newer" / "card.json").read_text())
        test = np.concatenate([batch["x"] for batch in tfdgm.data.load("newer.csv").test])
        np.testing.assert_allclose(card["test"]["nll"], -np.mean(tfdgm.load(run).log_prob(test)), rtol=1e-5)

        x = x[:, :2]
        np.savetxt("narrow.csv", x, delimiter=",", header="a,b", comments="")
        for wrong in ("narrow.csv", "digits"):
            before = sorted(tmp_path.rglob("*"))
            fails("train", "base", f"--data={wrong}")
            assert sorted(tmp_path.rglob("*")) == before
        result = cli("train", "base", "--data=narrow.csv", "--set=training.start=None")
        assert result.code == 0 and "  from  " not in result.out


class TestErrors:
    @pytest.mark.parametrize(
        "wrong",
        ["--data=none.csv", "--condition=none", "--set=model.num_layers=0", "--set=model.hidden=[3]", "--set=data.levels=2"],
    )
    def test_a_failed_start_leaves_nothing_behind(self, fails, vector_model, tmp_path, wrong):
        right = ["--model=MAF", f"--data={vector_model}/rows.csv", "--output", tmp_path / "run"]
        fails("train", *right, wrong)
        assert not (tmp_path / "run").exists()

    def test_a_failed_restart_keeps_the_state_of_the_run(self, cli, fails, vector_model, tmp_path):
        run = [
            "train",
            "--model=MAF",
            f"--data={vector_model}/rows.csv",
            "--output",
            tmp_path / "run",
            "--set=model.hidden_units=[4]",
        ]
        assert cli(*run, "--stop_after=0").code == 0
        before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
        assert {path.name for path in before} == {"recipe.toml", "state.npz", "places.json"}
        fails(*run, "--set=model.num_layers=0", "--restart")
        assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}

    def test_a_file_as_the_folder(self, fails, vector_model, tmp_path):
        (tmp_path / "run").write_text("")
        line = fails("train", "--model=MAF", f"--data={vector_model}/rows.csv", "--output", tmp_path / "run")
        assert "The folder of the run (--output) is a file" in line

    def test_unknown_recipe(self, fails):
        assert "no recipe 'maf_digit'. Did you mean 'maf_digits'" in fails("train", "maf_digit")

    def test_unknown_key(self, fails):
        line = fails("train", "maf_digits", "--set", "training.epoch=3")
        assert "no key 'epoch'. Did you mean 'epochs'" in line

    def test_unknown_model(self, fails, tmp_path):
        line = fails("train", "--model=MAFF", "--data=digits", "--output", tmp_path)
        assert "no model 'MAFF'. Did you mean 'MAF'" in line

    def test_unknown_data(self, fails, tmp_path):
        assert "Did you mean 'digits'" in fails("train", "--model=MAF", "--data=digit", "--output", tmp_path)

    def test_unknown_argument(self, fails, tmp_path):
        line = fails("train", "--model=MAF", "--data=digits", "--set", "model.hidden=3", "--output", tmp_path)
        assert "no argument of MAF 'hidden'. Did you mean 'hidden_units'" in line

    def test_text_in_a_csv_names_the_line(self, fails, tmp_path):
        (tmp_path / "a.csv").write_text("1,2\n" * 20 + "1,two\n")
        assert "21" in fails("train", "--model=MAF", f"--data={tmp_path}/a.csv", "--output", tmp_path / "run")

    def test_nan_in_the_data(self, fails, tmp_path):
        np.save(tmp_path / "a.npy", np.full((50, 2), np.nan))
        fails("train", "--model=MAF", f"--data={tmp_path}/a.npy", "--output", tmp_path / "run")
