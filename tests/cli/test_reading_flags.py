import gzip
import tracemalloc

import numpy as np
import pandas as pd
import pytest

import tfdgm
from tfdgm import tasks

pytestmark = pytest.mark.usefixtures("eagerly")

SMALL = ["--set=model.num_components=1", "--set=training.xla=false", "--epochs=1"]
FRAME = pd.DataFrame(np.random.default_rng(0).normal([0, 50], size=(100, 2)), columns=["low", "high"])


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table as a German Excel writes it, with a day and a number of each row."""
    path = tmp_path_factory.mktemp("tables") / "a.csv"
    odd = FRAME.assign(id=range(100), day="2020-01-01")[["day", "high", "id", "low"]]
    odd.to_csv(path, sep=";", decimal=",", index=False, encoding="cp1252")
    return path


def test_a_run_is_read_as_it_was_trained(cli, table, tmp_path, monkeypatch):
    run, seen = tmp_path / "run", []
    assert cli("train", "--model=GaussianMixture", f"--data={table}", "--ignore=day,id", *SMALL, "--output", run).code == 0
    model = tfdgm.load(run)
    assert model.column_names == ("high", "low")
    expected = np.asarray(model.log_prob(FRAME))
    assert cli("score", run, table, "--out", tmp_path / "scores.csv").code == 0
    np.testing.assert_allclose(np.loadtxt(tmp_path / "scores.csv", skiprows=1), expected, rtol=1e-5)

    said = cli("evaluate", run, f"--data={table}", "--split=all").out
    assert f"log-likelihood  {expected.mean():.3f}" in said
    assert cli("evaluate", run).code == 0
    report = tasks.Report([tasks.Check("a", 0.0, 1.0)])
    monkeypatch.setattr(tasks, "verify", lambda model, x, **options: seen.append(np.asarray(x)) or report)
    assert cli("verify", run, f"--data={table}").code == 0
    assert seen[0].shape[1:] == (2,)

    assert "Expected rows of event_shape=(2,)" in cli("evaluate", run, "--data=digits").err  # Without these flags.

    # A table without what was left out, written otherwise.
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(FRAME.to_csv(index=False).encode("utf-16")))
    assert cli("score", run, tmp_path / "b.csv.gz", "--out", tmp_path / "scores.csv", "--overwrite").code == 0
    np.testing.assert_allclose(np.loadtxt(tmp_path / "scores.csv", skiprows=1), expected, rtol=1e-5)


def test_columns_in_their_order(cli, table, tmp_path):
    run = tmp_path / "run"
    flags = ["--columns=low,high", "--condition=id", "--delimiter=;", "--decimal=,", "--encoding=cp1252", "--header"]
    small = ["--set=model.num_layers=1", "--set=model.hidden_units=[4]", *SMALL[1:]]
    assert cli("train", "--model=MAF", f"--data={table}", *flags, *small, "--output", run).code == 0
    model = tfdgm.load(run)
    assert model.column_names == ("low", "high")
    assert cli("score", run, table, "--out", tmp_path / "scores.csv").code == 0
    expected = model.log_prob(FRAME, np.arange(100)[:, None])
    np.testing.assert_allclose(np.loadtxt(tmp_path / "scores.csv", skiprows=1), expected, rtol=1e-4)


@pytest.mark.parametrize("flag", ["--noheader", "--no_header"])
def test_a_numbered_row(cli, vector_model, tmp_path, flag):
    (tmp_path / "a.csv").write_text("0,1,2\n1,2,3\n")
    assert "2 scores" in cli("score", vector_model / "model", tmp_path / "a.csv", flag, "--out", tmp_path / "s.csv").out
    result = cli("score", vector_model / "model", tmp_path / "a.csv", "--out", tmp_path / "s.csv", "--overwrite")
    assert "1 score:" in result.out and "a.csv: line 1, 0,1,2, is taken for a header" in result.err


def test_two_columns_of_a_name_are_refused_before_training(fails, tmp_path):
    FRAME.assign(b=1.0).to_csv(tmp_path / "a.csv", index=False, header=["a", "a", "b"])
    message = fails("train", "--model=MAF", f"--data={tmp_path}/a.csv", "--condition=a", "--output", tmp_path / "run")
    assert "a.csv: column 'a' for the condition is not one: columns 1 and 2 have that name." in message
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_what_a_file_says_does_not_steer_the_terminal(fails, vector_model, tmp_path):
    (tmp_path / "a\x1b[31m.csv").write_text("a,b\x1b[31m,c\n1,x,2\n1,3,2\n")
    message = fails("score", vector_model / "model", tmp_path / "a\x1b[31m.csv", "--out", tmp_path / "s.csv")
    assert "\x1b" not in message and "a\\x1b[31m.csv, line 2, column 2 (b\\x1b[31m)" in message


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--delimiter=ab"], "Expected delimiter to be one character"),
        (["--encoding=utf9"], "Expected encoding to be the name of an encoding"),
        (["--columns=a", "--ignore=a"], "A column is in keep or in ignore"),
        (["--ignore=d"], "no column 'd' to ignore. It has: a, b, c"),
    ],
)
def test_flags_that_are_refused(fails, vector_model, tmp_path, flags, message):
    assert message in fails("score", vector_model / "model", vector_model / "rows.csv", *flags, "--out", tmp_path / "s.csv")


def test_an_archive_of_another_shape_is_not_unpacked(fails, vector_model, tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((2**22, 4)))
    tracemalloc.start()
    message = fails("evaluate", vector_model / "model", f"--data={tmp_path}/a.npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "Expected rows of event_shape=(3,). Received: (4,)" in message and peak < 2**26
