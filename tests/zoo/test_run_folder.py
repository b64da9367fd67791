import json
import pathlib
import shutil

import numpy as np
import pytest

import tfdgm
from tfdgm import zoo
from tfdgm.training import Checkpoints
from tfdgm.written_aside import locked
from tfdgm.zoo import Recipe, RecipeError, run_folder

pytestmark = pytest.mark.usefixtures("eagerly")

QUIET = {"verbose": 0, "report": lambda line: None}
LEFT = {"recipe.toml", "card.json", "curves.png", "samples.png", "1", "last"}


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def planted(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"dear")
    return files(folder)


@pytest.fixture(scope="session")
def short(rows_csv):
    """The sections of a recipe of two epochs."""
    training = {"epochs": 2, "learning_rate": 0.01, "ema_momentum": 0.5, "seed": 5, "xla": False}
    model = {"class": "GaussianMixture", "num_components": 2}
    return {"model": model, "data": {"source": str(rows_csv), "batch_size": 120}, "training": training}


@pytest.fixture(scope="session")
def two_epochs(short, tmp_path_factory):
    """A finished run of `short`; not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "two"
    zoo.train(short, folder, **QUIET)
    return folder


@pytest.fixture
def run(two_epochs, tmp_path):
    return shutil.copytree(two_epochs, tmp_path / "run")


@pytest.fixture
def without_export(monkeypatch):
    """To write a SavedModel takes most of a small run's time."""
    monkeypatch.setattr(tfdgm.DensityModel, "export", lambda model, path: None)


def longer(sections, **training):
    return {**sections, "training": {**sections["training"], **training}}


class TestWhatIsOurs:
    @pytest.mark.parametrize(
        "names",
        [
            ["thesis.txt"],
            ["checkpoints/epoch_1.pt"],
            ["last/mine"],
            ["samples.png"],
            ["1/saved_model.pb"],
            ["1/saved_model.pb", "recipe.toml"],
            ["recipe.toml", "curves.png"],
            ["recipe.toml", "checkpoints/mine"],
            ["card.json"],
            ["record.json"],
            ["weights.weights.h5"],
            ["a/b/c"],
        ],
        ids="+".join,
    )
    @pytest.mark.parametrize("restart", [False, True])
    def test_a_folder_of_something_else_is_left_alone(self, short, tmp_path, names, restart):
        before = planted(tmp_path, *names)
        if "recipe.toml" in names:
            (tmp_path / "recipe.toml").write_text(Recipe(short).to_toml())
            before = files(tmp_path)
        with pytest.raises(RecipeError, match=r"holds .*, which no run has written\. Choose another folder \(--output\)"):
            zoo.train(short, tmp_path, restart=restart, **QUIET)
        assert files(tmp_path) == before

    @pytest.mark.parametrize(
        "names",
        [[], [".gitignore", ".run.lock"], ["recipe.toml", "README.md"], ["tensorboard/x", "checkpoints/places.json"]],
        ids=str,
    )
    def test_a_folder_that_may_become_a_run(self, short, tmp_path, names):
        planted(tmp_path, *names)
        if "recipe.toml" in names:
            (tmp_path / "recipe.toml").write_text(Recipe(short).to_toml())
        before = files(tmp_path)
        run_folder.check(tmp_path, Recipe(short), False)
        assert files(tmp_path) == before

    @pytest.mark.slow
    def test_what_is_put_into_a_run_stays(self, run, short):
        planted(run, "notes.txt", "checkpoints/mine.pt", "last/mine.txt", "checkpoints/best-x.npz")
        zoo.train(short, run, restart=True, **QUIET)
        assert {path.name for path in run.iterdir()} == LEFT | {"notes.txt", "checkpoints"}
        assert {path.name for path in (run / "checkpoints").iterdir()} == {"mine.pt", "best-x.npz"}
        assert (run / "last" / "mine.txt").read_bytes() == b"dear"
        with pytest.raises(RecipeError, match="holds a finished run"):
            zoo.train(short, run, **QUIET)

    @pytest.mark.slow
    def test_what_comes_during_the_first_training_is_not_replaced(self, short, tmp_path, monkeypatch):
        fit = zoo.training_run.resumable_fit.fit

        def and_somebody_saves_a_picture(*given):
            fit(*given)
            planted(tmp_path / "run", "samples.png")

        monkeypatch.setattr(zoo.training_run.resumable_fit, "fit", and_somebody_saves_a_picture)
        with pytest.raises(RecipeError, match=r"holds samples\.png, which no run has written"):
            zoo.train(short, tmp_path / "run", **QUIET)
        assert (tmp_path / "run" / "samples.png").read_bytes() == b"dear"
        monkeypatch.undo()
        (tmp_path / "run" / "samples.png").unlink()
        zoo.train(short, tmp_path / "run", **QUIET)
        assert {path.name for path in (tmp_path / "run").iterdir()} == LEFT

    def test_one_process_at_a_time(self, short, tmp_path):
        with locked(tmp_path / "run" / "run"), pytest.raises(OSError, match="is being written by process"):
            zoo.train(short, tmp_path / "run", **QUIET)
        assert not (tmp_path / "run").exists()


class TestStart:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"data": {"source": "none.csv"}},
            {"model": {"class": "GaussianMixture", "num_components": 0}},
            {"training": {"start": "maf_digits"}},
            {"training": {"start": "nowhere"}},
            {"training": {"optimizer": "sgd", "epsilon": 1e-3}},
        ],
        ids=str,
    )
    def test_one_that_fails_leaves_nothing(self, short, tmp_path, wrong):
        with pytest.raises(ValueError):
            zoo.train({**short, **wrong}, tmp_path / "new" / "run", **QUIET)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("method", ["adapt", "fit"])
    def test_nor_does_one_that_fails_in_its_first_step(self, short, run, monkeypatch, method):
        def fail(*_, **__):
            raise FloatingPointError("ten steps in a row")

        monkeypatch.setattr(tfdgm.DensityModel, method, fail)
        before = files(run)
        for folder, restart in ((run / "new" / "run", False), (run, True)):
            with pytest.raises(FloatingPointError):
                zoo.train(longer(short, epochs=1), folder, restart=restart, **QUIET)
        assert files(run) == before and not (run / "new").exists()


@pytest.mark.slow
class TestGoingOn:
    def test_equals_one_run_of_as_many_epochs(self, short, tmp_path, without_export):
        flow = {**short, "model": {"class": "RealNVP", "num_layers": 1, "hidden_units": [4]}}
        said, cards, states = [], [], []
        zoo.train(flow, tmp_path / "more", **QUIET)
        for name in ("more", "unbroken"):
            cards.append(zoo.train(longer(flow, epochs=4), tmp_path / name, verbose=0, report=said.append))
            with np.load(tmp_path / name / "last" / "state.npz") as state:
                states.append([state[key] for key in state.files if key != "meta"])
        assert sum("Going on after epoch 2 of 4" in line for line in said) == 1
        for more, unbroken in zip(*states, strict=True):  # Weights, the optimizer's moments and its averages.
            np.testing.assert_allclose(more, unbroken, rtol=1e-5, atol=1e-6)
        assert cards[0]["training"]["epochs"] == cards[1]["training"]["epochs"] == 4
        assert cards[0]["training"]["best_epoch"] == cards[1]["training"]["best_epoch"]
        np.testing.assert_allclose(cards[0]["test"]["nll"], cards[1]["test"]["nll"], rtol=1e-5)
        assert Recipe.read(tmp_path / "more").training["epochs"] == 4 and not (tmp_path / "more" / "checkpoints").exists()

    @pytest.mark.parametrize("training", [{}, {"epochs": 1}], ids=str)
    def test_without_more_it_is_finished(self, run, short, training):
        before = files(run)
        with pytest.raises(RecipeError, match=r"holds a finished run\. Start over \(--restart\), go on with more epochs than 2"):
            zoo.train(longer(short, **training), run, **QUIET)
        assert files(run) == before

    def test_one_whose_recipe_is_gone_is_not_trained_over(self, run, short):
        (run / "recipe.toml").unlink()
        before = files(run)
        with pytest.raises(RecipeError, match="holds a finished run"):
            zoo.train(longer(short, epochs=3), run, **QUIET)
        assert files(run) == before

    def test_without_its_state_it_cannot(self, run, short):
        shutil.rmtree(run / "last")
        with pytest.raises(RecipeError, match=r"holds a finished run\..*which needs its last state; it is not there"):
            zoo.train(longer(short, epochs=3), run, **QUIET)

    def test_with_another_recipe_it_is_another_run(self, run, short):
        with pytest.raises(RecipeError, match="another recipe"):
            zoo.train(longer(short, epochs=3, learning_rate=0.1), run, **QUIET)

    def test_one_that_its_patience_ended_needs_more_patience(self, short, tmp_path, without_export):
        impatient = longer(short, epochs=9, patience=1, learning_rate=1e-30)
        assert zoo.train(impatient, tmp_path, **QUIET)["training"]["epochs"] == 2
        before = files(tmp_path)
        with pytest.raises(RecipeError, match=r"ended after 2 epochs by its patience: it goes on with more --patience"):
            zoo.train({**impatient, "training": {**impatient["training"], "epochs": 20}}, tmp_path, **QUIET)
        assert files(tmp_path) == before
        again = zoo.train({**impatient, "training": {**impatient["training"], "patience": 2}}, tmp_path, **QUIET)
        assert again["training"]["epochs"] == 3

    def test_an_interruption_keeps_the_finished_run_and_goes_on(self, run, short, without_export):
        with pytest.raises(tfdgm.training.Preempted):
            zoo.train(longer(short, epochs=4), run, stop_after=0, **QUIET)
        assert zoo.card(str(run))["training"]["epochs"] == 2 and Checkpoints(run / "checkpoints").exist()
        assert zoo.train(longer(short, epochs=4), run, **QUIET)["training"]["epochs"] == 4
        assert not (run / "checkpoints").exists()


class TestFineTuning:
    @pytest.fixture
    def newer(self, tmp_path):
        """Rows of the same columns in another order, of another distribution."""
        x = np.random.default_rng(1).normal(2, 3, size=(200, 3))
        np.savetxt(tmp_path / "newer.csv", x, delimiter=",", header="c,a,b", comments="")
        return tmp_path / "newer.csv", x[:, [1, 2, 0]]

    def test_begins_with_the_weights_and_says_so(self, two_epochs, short, newer, tmp_path):
        sections = longer(short, start=str(two_epochs), learning_rate=1e-30, epochs=1)
        path, x = newer
        card = zoo.train({**sections, "data": {"source": str(path)}}, tmp_path / "tuned", **QUIET)
        splits = tfdgm.data.load(path, columns=("a", "b", "c"))
        rows = np.concatenate([batch["x"] for batch in splits.test])
        assert np.isin(rows, x.astype("float32")).all()
        # As the base scores them: standardised as there, its columns in order.
        np.testing.assert_allclose(card["test"]["nll"], -np.mean(tfdgm.load(two_epochs).log_prob(rows)), rtol=1e-5)
        assert card["training"]["start"] == "two" and "\n  from  " in zoo.cards.Card.from_dict(card).text()
        assert tfdgm.load(tmp_path / "tuned").column_names == ("a", "b", "c")

    def test_moves_them(self, two_epochs, short, newer, tmp_path, without_export):
        sections = longer(short, start=str(two_epochs), learning_rate=0.05, epochs=3)
        card = zoo.train({**sections, "data": {"source": str(newer[0])}}, tmp_path / "tuned", **QUIET)
        before = -np.mean(tfdgm.load(two_epochs).log_prob(newer[1]))
        assert card["test"]["nll"] < before - 1

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"data": {"source": "digits"}}, r"Expected event_shape=\(3,\).*Received: \(8, 8\)"),
            ({"model": {"class": "GaussianMixture", "num_components": 3}}, "Expected weights="),
            ({"data": {"source": None, "condition": "a"}}, "column"),
        ],
        ids=["shape", "weights", "condition"],
    )
    def test_another_shape_is_refused(self, two_epochs, short, rows_csv, tmp_path, change, message):
        sections = {**longer(short, start=str(two_epochs)), **change}
        sections["data"] = {**sections["data"], "source": sections["data"]["source"] or str(rows_csv)}
        with pytest.raises(ValueError, match=message):
            zoo.train(sections, tmp_path / "tuned", **QUIET)
        assert not list(tmp_path.iterdir())


class TestWhereFilesLay:
    def test_cards_and_recipes_name_no_folder_of_this_machine(self, two_epochs, rows_csv):
        for path in (two_epochs / "card.json", two_epochs / "recipe.toml"):
            for folder in (rows_csv.parent, two_epochs.parent, pathlib.Path.home()):
                assert str(folder) not in path.read_text()
        card = json.loads((two_epochs / "card.json").read_text())
        assert card["data"]["name"] == "rows.csv" and card["data"]["description"] == "Rows of 1 .csv file: rows.csv"
        assert card["command"] == "tfdgm train two/recipe.toml --output two_again"

    def test_the_run_finds_its_data_from_anywhere(self, two_epochs, rows_csv, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        recipe = Recipe.read(two_epochs)
        assert recipe.data["source"] == "rows.csv" and recipe.source == str(rows_csv)
        assert recipe.with_overrides({"training.epochs": 3}).source == str(rows_csv)
        assert recipe.with_overrides({"data.source": "rows.csv"}).source == "rows.csv"

    def test_a_relative_path_stays_and_is_found_from_anywhere(self, short, tmp_path, rows_csv, monkeypatch, without_export):
        (tmp_path / "data").mkdir()
        shutil.copy(rows_csv, tmp_path / "data" / "t.csv")
        monkeypatch.chdir(tmp_path)
        zoo.train({**longer(short, epochs=1), "data": {"source": "data/t.csv"}}, "run", **QUIET)
        monkeypatch.chdir(tmp_path / "run")
        recipe = Recipe.read(".")
        assert recipe.data["source"] == "data/t.csv" and recipe.source == str(tmp_path / "data" / "t.csv")
