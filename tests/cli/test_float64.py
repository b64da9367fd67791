"""A run of `dtype = "float64"`: every command reads and writes float64. x = 1e4 + 1e-3 n is eight values in float32."""

import json
import re

import matplotlib.image
import numpy as np
import pytest

import tfdgm
from tfdgm import tasks
from tfdgm.cli.main import main

pytestmark = pytest.mark.usefixtures("eagerly")

SUFFIXES = ["csv", "parquet", "npy", "npz"]


@pytest.fixture(scope="module")
def rows():
    return 1e4 + 1e-3 * np.random.default_rng(0).normal(size=(300, 2))


def write(path, x, names="ab"):
    if path.suffix == ".csv":
        np.savetxt(path, x, delimiter=",", header=",".join(names), comments="", fmt="%.17g")
    elif path.suffix == ".parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table({name: x[:, i] for i, name in enumerate(names)}), path)
    else:
        (np.save if path.suffix == ".npy" else np.savez)(path, x)
    return path


@pytest.fixture(scope="module")
def files(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    return {suffix: write(folder / f"rows.{suffix}", rows) for suffix in SUFFIXES}


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "fine"
    small = ["--set=model.num_components=1", "--set=training.xla=false", "--epochs=1", "--set=model.dtype=float64"]
    assert main(["train", "--model=GaussianMixture", f"--data={files['csv']}", *small, f"--output={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def under_a_condition(rows, tmp_path_factory):
    """The SavedModel of a p(b|a) in float64 that depends on a."""
    folder = tmp_path_factory.mktemp("conditional")
    model = tfdgm.models.MADE((1,), levels=None, num_components=2, hidden_units=(4,), condition_shape=(1,), dtype="float64")
    generator = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(generator.normal(size=weight.shape))
    model.export(folder / "1")
    return folder


def test_the_card_is_of_the_files_numbers(run, files):
    model, card = tfdgm.load(run), json.loads((run / "card.json").read_text())
    assert model.compute_dtype == "float64"
    test = np.concatenate([batch["x"].numpy() for batch in tfdgm.data.load(files["csv"], dtype="float64").test])
    np.testing.assert_allclose(-card["test"]["nll"], np.mean(model.log_prob(test)), rtol=1e-12)


class TestScore:
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_files_of_every_kind(self, cli, run, files, rows, tmp_path, suffix):
        expected = np.asarray(tfdgm.load(run).log_prob(rows))
        assert len(np.unique(expected)) == len(rows)
        for out in (tmp_path / "s.npy", tmp_path / "s.csv"):
            assert cli("score", run, files[suffix], "--out", out).code == 0
            scores = np.load(out) if out.suffix == ".npy" else np.loadtxt(out, skiprows=1)
            assert scores.dtype == np.float64
            np.testing.assert_allclose(scores, expected, rtol=1e-13)

    def test_a_condition_in_numbers(self, cli, under_a_condition, rows, tmp_path):
        np.save(tmp_path / "x.npy", rows[:, 1:])
        flags = ["--condition=10000.0003", "--out", tmp_path / "s.npy"]
        assert cli("score", under_a_condition, tmp_path / "x.npy", *flags).code == 0
        expected = tfdgm.load(under_a_condition).log_prob(rows[:, 1:], [10000.0003])
        np.testing.assert_allclose(np.load(tmp_path / "s.npy"), expected, rtol=1e-13)

    @pytest.mark.parametrize("suffix", ["csv", "parquet"])
    def test_a_condition_in_columns(self, cli, under_a_condition, files, rows, tmp_path, suffix):
        flags = ["--condition=a", "--out", tmp_path / "s.npy"]
        assert cli("score", under_a_condition, files[suffix], *flags).code == 0
        model = tfdgm.load(under_a_condition)
        expected, rounded = (np.asarray(model.log_prob(rows[:, 1:], a)) for a in (rows[:, :1], rows[:, :1].astype("float32")))
        assert np.isclose(expected, rounded, rtol=1e-10).mean() < 0.1
        np.testing.assert_allclose(np.load(tmp_path / "s.npy"), expected, rtol=1e-13)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_evaluate(cli, run, files, rows, suffix):
    said = cli("evaluate", run, "--data", files[suffix], "--split=all").out
    expected = np.mean(tfdgm.load(run).log_prob(rows))
    assert re.search(r"log-likelihood +(\S+) ", said)[1] == f"{expected:.4f}"


def test_verify(cli, run, rows, monkeypatch):
    seen = []
    report = tasks.Report([tasks.Check("a", 0.0, 1.0)])
    monkeypatch.setattr(tasks, "verify", lambda model, x, **options: seen.append(np.asarray(x)) or report)
    assert cli("verify", run).code == 0
    assert np.isin(seen[0], rows).all()


def test_sample(cli, run, tmp_path):
    expected = np.asarray(tfdgm.load(run).sample(20, seed=3))
    for out in (tmp_path / "x.npy", tmp_path / "x.csv"):
        assert cli("sample", run, "--num=20", "--seed=3", "--out", out).code == 0
        x = np.load(out) if out.suffix == ".npy" else np.loadtxt(out, delimiter=",", skiprows=1)
        assert x.dtype == np.float64 and (x == expected).all()


def test_complete(cli, rows, tmp_path, monkeypatch):
    tfdgm.models.MADE((2, 1), levels=2, hidden_units=(4,), condition_shape=(1,), dtype="float64").export(tmp_path / "m" / "1")
    bits = np.arange(80).reshape(40, 2) % 2
    np.savetxt(tmp_path / "t.csv", np.c_[bits, rows[:40, 0]], delimiter=",", header="x,y,c", comments="", fmt="%.17g")
    seen, complete = [], tfdgm.DensityModel.complete

    def remembered(*given, **options):
        seen.append(options["condition"])
        return complete(*given, **options)

    monkeypatch.setattr(tfdgm.DensityModel, "complete", remembered)
    flags = ["--data", tmp_path / "t.csv", "--condition=c", "--out", tmp_path / "a.png"]
    assert cli("complete", tmp_path / "m", *flags).code == 0
    assert np.isin(seen[0], rows[:, 0]).all() and matplotlib.image.imread(tmp_path / "a.png").size
