import json
import os

import keras
import matplotlib.image
import numpy as np
import pytest

import tfdgm
from tfdgm import data, zoo
from tfdgm.training import StrategyError
from tfdgm.zoo import Recipe, RecipeError, machine
from tfdgm.zoo.optimizer import build_optimizer
from tfdgm.zoo.tensorflow_trainer import build_model

pytestmark = pytest.mark.usefixtures("eagerly")

QUIET = {"verbose": 0, "report": lambda line: None}


class TestFinishedRun:
    @pytest.mark.slow
    def test_the_folder_is_a_zoo_entry(self, finished):
        assert {p.name for p in finished.iterdir()} == {"recipe.toml", "card.json", "curves.png", "samples.png", "1", "last"}
        for name in ("curves.png", "samples.png"):
            image = matplotlib.image.imread(finished / name)
            assert min(image.shape[:2]) > 300 and image[..., :3].std() > 0.01

    def test_the_recipe_says_what_was_run(self, finished, recipe):
        assert Recipe.read(finished).sections == Recipe(recipe).sections

    @pytest.mark.parametrize("split", ["validation", "test"])
    def test_the_cards_likelihood_is_the_artifacts(self, finished, recipe, card, split):
        splits = data.load(recipe["data"]["source"])
        rows = splits.valid if split == "validation" else splits.test
        scores = np.concatenate([tfdgm.load(finished).log_prob(**batch) for batch in rows]).astype("float64")
        assert card[split]["rows"] == len(scores) == 30
        np.testing.assert_allclose(card[split]["nll"], -scores.mean(), rtol=1e-6)
        np.testing.assert_allclose(card[split]["standard_error"], scores.std(ddof=1) / len(scores) ** 0.5, rtol=1e-6)
        assert card[split]["bits_per_dim"] is None

    def test_what_the_card_holds(self, finished, recipe, card):
        model = tfdgm.load(finished)
        splits = data.load(recipe["data"]["source"])
        assert card["name"] == finished.name and card["is_bound"] is False
        assert card["model"]["class"] == "RealNVP" and card["model"]["parameters"] == 2 * (1 * 8 + 8 + 8 * 4 + 4 + 6)
        assert card["model"]["config"] == json.loads(json.dumps(model.get_config()))
        assert card["model"]["config"]["seed"] == 5  # The training's.
        assert card["data"]["sha256"] == splits.sha256
        assert [card["data"][k] for k in ("train", "validation", "test")] == [240, 30, 30]
        assert card["training"]["epochs"] == 3 and 1 <= card["training"]["best_epoch"] <= 3 and card["training"]["seed"] == 5
        assert 0 < card["training"]["hours"] < 1
        assert card["published"] == {**recipe["published"], "reached": True}
        assert card["versions"]["tfdgm"] == tfdgm.__version__ and card["machine"]["cores"] == os.cpu_count()
        assert card["command"] == "tfdgm train realnvp_rows/recipe.toml --output realnvp_rows_again"

    def test_it_is_refused_to_be_overwritten(self, finished, recipe):
        before = (finished / "card.json").read_bytes()
        with pytest.raises(RecipeError, match="holds a finished run"):
            zoo.train(recipe, finished, **QUIET)
        assert (finished / "card.json").read_bytes() == before

    def test_another_recipe_is_refused(self, recipe, tmp_path):
        (tmp_path / "recipe.toml").write_text(Recipe(recipe).to_toml())
        other = Recipe(recipe).with_overrides({"training.seed": 6})
        with pytest.raises(RecipeError, match="another recipe"):
            zoo.train(other, tmp_path, **QUIET)
        assert Recipe.read(tmp_path).training["seed"] == 5


class TestOptionsOfTraining:
    @pytest.mark.slow
    @pytest.mark.graph
    def test_accumulation_precision_and_steps_in_one_call(self, recipe, tmp_path):
        training = {**recipe["training"], "accumulate_steps": 2, "precision": "mixed_bfloat16", "steps_per_execution": 3}
        card = zoo.train({**recipe, "training": {**training, "xla": False}}, tmp_path / "run", **QUIET)
        assert {key: card["training"][key] for key in ("accumulate_steps", "precision", "steps_per_execution", "xla")} == {
            "accumulate_steps": 2,
            "precision": "mixed_bfloat16",
            "steps_per_execution": 3,
            "xla": False,
        }
        assert card["training"]["replicas"] == 1 and card["training"]["waiting_for_data"] is None
        assert card["model"]["config"]["dtype"] == "mixed_bfloat16" and np.isfinite(card["test"]["nll"])

    @pytest.mark.parametrize(
        ("precision", "cpuinfo", "slow"),
        [
            ("mixed_bfloat16", "flags : fma avx2", True),
            ("mixed_bfloat16", "flags : avx2 avx512_bf16", False),
            ("mixed_bfloat16", "Features : fp asimd bf16", False),
            ("mixed_float16", "flags : avx2 avx512_bf16", True),
            ("float32", "flags : fma avx2", False),
            ("mixed_bfloat16", "", False),  # A system that does not tell.
        ],
    )
    def test_emulated_precision_is_said(self, precision, cpuinfo, slow, monkeypatch, tmp_path):
        (tmp_path / "cpuinfo").write_text(f"processor : 0\n{cpuinfo}\n")
        read, lines = machine._cpuinfo, []
        monkeypatch.setattr(machine, "_cpuinfo", lambda key: read(key, tmp_path / "cpuinfo"))
        monkeypatch.setattr(machine, "_accelerators", lambda: [])
        machine.report_emulation(precision, lines.append)
        assert len(lines) == slow and all(precision in line and "--precision float32" in line for line in lines)
        monkeypatch.setattr(machine, "_accelerators", lambda: ["a GPU"])
        machine.report_emulation(precision, lines.append)
        assert len(lines) == slow

    @pytest.mark.slow
    def test_logs_for_tensorboard(self, recipe, tmp_path):
        pytest.importorskip("tensorboard")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        lines = []
        card = zoo.train(recipe, tmp_path / "run", tensorboard=True, verbose=0, report=lines.append)
        logs = EventAccumulator(str(tmp_path / "run" / "tensorboard" / "validation")).Reload()
        assert len(logs.Tensors("epoch_loss")) == recipe["training"]["epochs"]
        assert 0 <= card["training"]["waiting_for_data"] < 1
        assert any("Waiting for data: " in line for line in lines)

    def test_steps_in_one_call_must_divide_the_epoch(self, recipe, tmp_path):
        wrong = Recipe(recipe).with_overrides({"training.steps_per_execution": 2})
        with pytest.raises(RecipeError, match=r"steps_per_execution must divide the 3 steps of an epoch\. Received: .*=2"):
            zoo.train(wrong, tmp_path / "run", **QUIET)

    def test_a_strategy_that_is_not_there(self, recipe, tmp_path):
        with pytest.raises(StrategyError, match="one of default"):
            zoo.train(recipe, tmp_path / "run", strategy="many", **QUIET)
        assert not (tmp_path / "run").exists()


class TestWeights:
    """Rows of a normal, weighted so that they stand for one around 1: the run is of that one."""

    @pytest.mark.filterwarnings("ignore:MAF over one dimension can only be a Gaussian")
    def test_a_column_that_weighs_the_run(self, tmp_path, eagerly):
        x = np.random.default_rng(0).normal(size=(2000, 1))
        rows = tmp_path / "rows.csv"
        np.savetxt(rows, np.hstack([x, 3 * np.exp(x)]), delimiter=",", header="a,w", comments="")
        sections = {
            "model": {"class": "MAF", "num_layers": 1, "hidden_units": [4]},
            "data": {"source": str(rows), "weight": "w"},
            "training": {"epochs": 1, "xla": False},
        }
        card = zoo.train(sections, tmp_path / "run", **QUIET)
        assert card["data"]["weight"] == "w" and card["data"]["columns"] == ("a",)
        assert "w: NLLs are weighted means" in zoo.cards.Card.from_dict(card).text()
        model = tfdgm.load(tmp_path / "run")
        # The moments of exp(x) N(x; 0, 1), which is e^(1/2) N(x; 1, 1).
        mean, end = (model.decode([[z]]).numpy().item() for z in (0.0, 1.0))
        assert (mean, end - mean) == (pytest.approx(1, abs=0.2), pytest.approx(1, abs=0.2))
        test = data.load(rows, weight="w", batch_size=2000).test
        batch = next(test.as_numpy_iterator())
        expected = np.average(-model.log_prob(batch["x"]).numpy(), weights=batch["weight"])
        assert card["test"]["nll"] == pytest.approx(expected, rel=1e-5)


class TestImagesAndRestart:
    @pytest.mark.slow
    def test_integers_give_bits_per_dim_and_a_grid_and_a_restart_replaces_the_run(self, tmp_path):
        recipe = {
            "model": {"class": "MADE", "hidden_units": [4]},
            "data": {"source": "digits", "condition": "label"},
            "training": {"epochs": 30, "patience": 1, "learning_rate": 1.0},
            "published": {"name": "A paper", "value": 0.1, "unit": "bits/dim", "source": "nowhere"},
        }
        card = zoo.train(recipe, tmp_path / "run", **QUIET)
        assert card["training"]["epochs"] < 30  # A learning rate of 1 stops early.
        assert card["training"]["epochs"] == card["training"]["best_epoch"] + 1
        np.testing.assert_allclose(card["test"]["bits_per_dim"], card["test"]["nll"] / 64 / np.log(2))
        assert card["published"]["reached"] is False
        assert card["data"]["condition_shape"] == (10,) and card["data"]["levels"] == 17
        image = matplotlib.image.imread(tmp_path / "run" / "samples.png")
        assert image.shape[1] == (10 * 9 + 1) * 9 < image.shape[0]  # Above, the names of the classes.

        again = zoo.train(Recipe(recipe).with_overrides({"training.epochs": 1}), tmp_path / "run", restart=True, **QUIET)
        assert again["training"]["epochs"] == zoo.card(str(tmp_path / "run"))["training"]["epochs"] == 1


class TestResume:
    @pytest.mark.slow
    def test_a_kill_after_the_last_epoch_needs_no_training(self, recipe, tmp_path, monkeypatch):
        sections = {**recipe, "training": {"epochs": 1}}
        export = tfdgm.DensityModel.export

        def killed(model, path):
            raise KeyboardInterrupt

        monkeypatch.setattr(tfdgm.DensityModel, "export", killed)
        with pytest.raises(KeyboardInterrupt):
            zoo.train(sections, tmp_path, **QUIET)
        assert (tmp_path / "checkpoints").exists() and not (tmp_path / "card.json").exists()
        monkeypatch.setattr(tfdgm.DensityModel, "export", export)
        monkeypatch.setattr(tfdgm.DensityModel, "fit", None)
        assert zoo.train(sections, tmp_path, **QUIET)["training"]["epochs"] == 1

    def test_changed_data_is_refused(self, recipe, rows_csv, tmp_path, monkeypatch):
        rows = tmp_path / "rows.csv"
        rows.write_text(rows_csv.read_text())
        sections = {**recipe, "data": {"source": str(rows)}, "training": {"epochs": 1}}
        monkeypatch.setattr(tfdgm.DensityModel, "export", lambda model, path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            zoo.train(sections, tmp_path / "run", **QUIET)
        rows.write_text(rows_csv.read_text() + "1,2,3\n")
        with pytest.raises(tfdgm.training.CheckpointError, match=r"other settings .sha256: there .*--restart"):
            zoo.train(sections, tmp_path / "run", **QUIET)


class TestBuilding:
    @pytest.fixture
    def splits(self, rows_csv):
        return data.load(rows_csv)

    def model(self, splits, **arguments):
        return build_model(Recipe({"model": arguments, "data": {"source": "x"}, "training": {"seed": 3}}), splits)

    def test_shape_levels_and_seed_come_from_the_run(self, splits):
        model = self.model(splits, **{"class": "MADE", "hidden_units": [4]})
        assert model.event_shape == (3,) and model.levels is None and model.get_config()["seed"] == 3

    @pytest.mark.parametrize(
        "arguments,message",
        [
            ({"class": "MAFF"}, "no model 'MAFF'. Did you mean 'MAF'.*Known: .*GaussianMixture, IAF, .*MADE, MAF"),
            ({"class": "DensityModel"}, "no model 'DensityModel'"),
            ({"class": "MAF", "num_layer": 3}, "no argument of MAF 'num_layer'. Did you mean 'num_layers'"),
            ({"class": "MAF", "hidden_units": "many"}, "MAF could not be built"),
        ],
    )
    def test_errors(self, splits, arguments, message):
        with pytest.raises(RecipeError, match=message):
            self.model(splits, **arguments)

    def test_one_place_for_the_dtype(self, splits):
        sections = {"model": {"class": "MAF", "dtype": "float64"}, "data": {"source": "x"}}
        recipe = Recipe({**sections, "training": {"precision": "mixed_bfloat16"}})
        message = r"dtype in \[model\] or precision in \[training\], not both\. Received: dtype='float64', precision='mixed_bf"
        with pytest.raises(RecipeError, match=message):
            build_model(recipe, splits)

    @pytest.mark.parametrize(
        "model,dtype",
        [
            ({}, "float32"),
            ({"dtype": "float64"}, "float64"),
            ({"dtype": "mixed_bfloat16"}, "float32"),
            ({"dtype": None}, "float32"),
        ],
    )
    def test_files_are_read_in_the_models_dtype(self, model, dtype):
        recipe = Recipe({"model": {"class": "MAF", **model}, "data": {"source": "x"}})
        assert recipe.data_options()["dtype"] == dtype

    def test_files_are_read_in_keras_own_dtype(self):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float64")
        try:
            assert Recipe({"model": {"class": "MAF"}, "data": {"source": "x"}}).data_options()["dtype"] == "float64"
        finally:
            keras.config.set_dtype_policy(before)

    @pytest.mark.parametrize("dtype", ["float", "double", 64, [32]])
    def test_an_unknown_dtype(self, dtype):
        recipe = Recipe({"model": {"class": "MAF", "dtype": dtype}, "data": {"source": "x"}})
        with pytest.raises(RecipeError, match=r"\[model\]: dtype must be 'float32', 'float64' or a mixed one\. Received: "):
            recipe.data_options()

    def test_a_model_without_condition(self, rows_csv):
        splits = data.load(rows_csv, condition="a")
        with pytest.raises(RecipeError, match="takes no condition"):
            self.model(splits, **{"class": "GaussianMixture"})
        assert self.model(splits, **{"class": "MAF", "hidden_units": [4]}).condition_shape == (1,)

    def test_a_run_needs_all_splits(self, recipe, tmp_path):
        with pytest.raises(RecipeError, match="0 validation"):
            zoo.train(Recipe(recipe).with_overrides({"data.valid_fraction": 0.0}), tmp_path, **QUIET)

    @pytest.mark.parametrize("name", zoo.recipe.OPTIMIZERS)
    def test_every_optimizer(self, name):
        optimizer = build_optimizer({**Recipe(RECIPE).training, "optimizer": name, "weight_decay": 0.1, "clipnorm": 2.0}, 10)
        assert type(optimizer).__name__.lower() == name and optimizer.weight_decay == 0.1 and optimizer.clipnorm == 2.0

    def test_a_cosine_ends_at_zero_with_the_last_step(self):
        training = {**Recipe(RECIPE).training, "schedule": "cosine", "learning_rate": 0.2, "epochs": 5}
        rate = build_optimizer(training, 10)._learning_rate
        np.testing.assert_allclose([rate(0), rate(25), rate(50)], [0.2, 0.1, 0.0], atol=1e-7)

    @pytest.mark.parametrize("schedule, at_the_end", [("cosine", 0.0), ("constant", 0.2)])
    def test_half_an_epoch_of_warm_up(self, schedule, at_the_end):
        training = {**Recipe(RECIPE).training, "schedule": schedule, "learning_rate": 0.2, "epochs": 5, "warmup_epochs": 0.5}
        rate = build_optimizer(training, 10)._learning_rate
        np.testing.assert_allclose([rate(0), rate(2), rate(5), rate(50)], [0.0, 0.08, 0.2, at_the_end], atol=1e-7)


RECIPE = {"model": {"class": "MAF"}, "data": {"source": "digits"}}
