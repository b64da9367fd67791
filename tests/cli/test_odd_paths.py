"""Folders, names and moments that nobody thought of."""

import json
import os
import pwd
import shutil
import signal
import time

import numpy as np
import pytest
from forked import Command

import tfdgm
from tfdgm.serving import find_saved_model

pytestmark = pytest.mark.usefixtures("eagerly")

SMALL = ["--model=GaussianMixture", "--set=model.num_components=1", "--set=training.xla=false", "--epochs=1"]


@pytest.fixture(scope="module")
def run(vector_model, tmp_path_factory):
    """A finished run on a table; not to be changed."""
    from tfdgm.cli.main import main

    folder = tmp_path_factory.mktemp("runs") / "mixture"
    assert main(["train", *SMALL, f"--data={vector_model}/rows.csv", f"--output={folder}"]) == 0
    return folder


@pytest.fixture
def rows(vector_model, tmp_path):
    shutil.copy(vector_model / "rows.csv", tmp_path / "rows.csv")
    return tmp_path / "rows.csv"


def moved(run, folder):
    return shutil.copytree(run, folder / "run")


class TestNames:
    """A run under every kind of name is loaded, scored with, and exported."""

    @pytest.mark.parametrize(
        "name",
        [
            "a[1]",
            "a[!b]*",
            "what?",
            "back\\slash",
            "~",
            "new\nline",
            "\x1b[31mred",
            "ünï",
            " ",
            "-x",
            "12",
            "a,b",
            "%41",
            "x" * 200,
        ],
        ids=ascii,
    )
    def test_of_folders(self, cli, run, rows, tmp_path, name):
        there = moved(run, tmp_path / name)
        expected = np.asarray(tfdgm.load(run).log_prob(np.loadtxt(rows, delimiter=",", skiprows=1)))
        result = cli("score", there, rows, "--out", tmp_path / name / "s.csv")
        assert result.code == 0 and "\x1b" not in result.out
        np.testing.assert_allclose(np.loadtxt(tmp_path / name / "s.csv", skiprows=1), expected, rtol=1e-5)

    def test_a_glob_does_not_read_anothers_weights(self, run, vector_model, tmp_path):
        there = moved(run, tmp_path / "a*b")
        shutil.copytree(vector_model / "model", tmp_path / "a1b" / "run")
        x = np.zeros((1, 3))
        assert tfdgm.load(there).log_prob(x) == tfdgm.load(run).log_prob(x)

    @pytest.mark.parametrize(("inside", "name"), [("", "."), ("1", "."), ("1", ".."), ("1", "../1"), ("last", "..")])
    def test_of_where_one_is(self, cli, run, rows, tmp_path, monkeypatch, inside, name):
        monkeypatch.chdir(run / inside)
        assert find_saved_model(name) == run / "1"
        assert cli("score", name, rows, "--out", tmp_path / "s.csv").code == 0
        assert cli("export", name, tmp_path / "served").code == 0
        assert (tmp_path / "served" / "mixture" / "1" / "saved_model.pb").exists()

    def test_evaluate_from_inside_a_run(self, cli, run, monkeypatch):
        monkeypatch.chdir(run)
        assert "500 rows" in cli("evaluate", ".").out


NOBODY = "~nosuchuser/x"


class TestRefused:
    """One line each, and nothing written."""

    @pytest.mark.parametrize(
        ("argv", "message", "code"),
        [
            (
                ["train", *SMALL, "--data=ROWS", f"--output={NOBODY}"],
                "The home folder that '~nosuchuser/x' names is not known",
                1,
            ),
            (["train", f"{NOBODY}/recipe.toml"], "The home folder that", 1),
            (["train", *SMALL, f"--data={NOBODY}.csv"], "The home folder that", 1),
            (["score", NOBODY, "ROWS", "--out=s.csv"], "The home folder that", 1),
            (["score", "RUN", NOBODY, "--out=s.csv"], "~nosuchuser/x", 1),
            (["score", "RUN", "ROWS", f"--out={NOBODY}.csv"], "The home folder that", 1),
            (["sample", "RUN", f"--out={NOBODY}.csv"], "The home folder that", 1),
            (["export", "RUN", NOBODY], "The home folder that", 1),
            (["export", NOBODY], "The home folder that", 1),
            (["evaluate", NOBODY], "The home folder that", 1),
            (["score", "RUN", "ROWS", f"--out={'x' * 300}.csv"], "File name too long", 1),
            (["train", *SMALL, "--data=ROWS", f"--output={'x' * 300}"], "File name too long", 1),
            (["score", "x" * 300, "ROWS", "--out=s.csv"], "File name too long", 1),
            (["export", "RUN", "x" * 300], "File name too long", 1),
            (["score", "RUN", "ROWS", "--out=s\0.csv"], "null byte", 1),
            (["score", "\x1b[31m", "ROWS", "--out=s.csv"], "\\x1b[31m", 1),
            (["train", "a\x9b31m\u202e\u2028b"], "a\\x9b31m\\u202e\\u2028b", 1),
            (["zoo", "\udcff"], "\\udcff", 1),
            (["export", "RUN", "served", f"--version={2**63}"], "version", 2),
            (["export", "RUN", f"served/{2**63}"], "Expected a version of at most 9223372036854775807", 2),
            (["export", "RUN", "served/" + "9" * 200], "Expected a version of at most", 2),
            (["score", "RUN", "ROWS", "--out=."], "--out expects a file", 2),
            (["score", "RUN", "ROWS", "--out=folder.csv"], "Expected a file to write. Received the folder", 1),
            (["score", "RUN", "ROWS", "--out=rows.csv/s.csv"], "File exists: 'rows.csv'", 1),
            (["train", *SMALL, "--data=ROWS", "--output=folder.csv/kept"], "holds dear, which no run has written", 1),
        ],
        ids=lambda given: ascii(given)[:60] if isinstance(given, list) else "",
    )
    def test_paths(self, fails, run, rows, tmp_path, monkeypatch, argv, message, code):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "folder.csv" / "kept").mkdir(parents=True)
        (tmp_path / "folder.csv" / "kept" / "dear").write_text("dear")
        before = sorted(tmp_path.rglob("*"))
        argv = [argument.replace("RUN", str(run)).replace("ROWS", str(rows)) for argument in argv]
        line = fails(*argv, code=code)
        assert message in line and line.isprintable()
        assert sorted(tmp_path.rglob("*")) == before

    def test_no_home(self, fails, run, rows, monkeypatch):
        def nobody(uid):
            raise KeyError(uid)

        monkeypatch.delenv("HOME")
        monkeypatch.setattr(pwd, "getpwuid", nobody)
        assert "The home folder that '~/s.csv' names is not known" in fails("score", run, rows, "--out=~/s.csv")

    def test_after_the_largest_version_there_is_none(self, fails, run, tmp_path):
        (tmp_path / "mixture" / str(2**63 - 1)).mkdir(parents=True)
        (tmp_path / "mixture" / "²").mkdir()  # A digit to Python, and no number.
        assert "the largest there is" in fails("export", run, tmp_path, code=2)


class TestControlCharacters:
    def test_of_a_header_and_a_card_do_not_reach_the_terminal(self, cli, fails, tmp_path):
        header, x = "a\x1b[31m,b\x07,c$^$", np.random.default_rng(0).normal(size=(60, 3))
        np.savetxt(tmp_path / "esc.csv", x, delimiter=",", header=header, comments="")
        run = tmp_path / "\x1b[2Jrun"
        result = cli("train", *SMALL, f"--data={tmp_path}/esc.csv", "--output", run)
        assert result.code == 0 and "a\\x1b[31m, b\\x07, c$^$" in result.out
        (tmp_path / "bad.csv").write_text(f"{header}\n1,2,3\nx,2,3\n")
        said = [
            result,
            cli("zoo", run),
            cli("evaluate", run),
            cli("score", run, tmp_path / "bad.csv", "--out", tmp_path / "s.csv"),
        ]
        assert said[-1].code == 1
        for result in said:
            assert not {"\x1b", "\x07"} & set(result.out + result.err)

    def test_of_a_strangers_card(self, cli, run, tmp_path, monkeypatch):
        card = json.loads((run / "card.json").read_text())
        card.update(name="evil\x1b]0;title\x07", command="\x9b2J", date="\x1b[31m")
        (tmp_path / "evil").mkdir()
        (tmp_path / "evil" / "card.json").write_text(json.dumps(card))
        monkeypatch.setenv("TFDGM_ZOO_DIR", str(tmp_path))
        for result in (cli("zoo", "evil"), cli("zoo")):
            assert result.code == 0 and "evil\\x1b]0;title\\x07" in result.out
            assert not {"\x1b", "\x07", "\x9b"} & set(result.out)


class TestAtOnce:
    def test_the_second_to_score_into_a_file_is_told(self, cli, fails, run, rows, tmp_path, monkeypatch):
        out, log_prob = tmp_path / "s.csv", tfdgm.DensityModel.log_prob

        def meanwhile(*given):
            monkeypatch.undo()
            assert "s.csv is being written by process" in fails("score", run, rows, "--out", out)
            return log_prob(*given)

        monkeypatch.setattr(tfdgm.DensityModel, "log_prob", meanwhile)
        assert cli("score", run, rows, "--out", out).code == 0
        assert "s.csv exists already: choose another name, or --overwrite" in fails("score", run, rows, "--out", out)
        assert len(out.read_text().splitlines()) == 5001
        assert cli("score", run, rows, "--out", out, "--overwrite").code == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv", "s.csv"]

    def test_what_comes_while_it_scores_is_not_replaced(self, fails, run, rows, tmp_path, monkeypatch):
        log_prob = tfdgm.DensityModel.log_prob

        def meanwhile(*given):
            (tmp_path / "s.npy").write_bytes(b"dear")
            return log_prob(*given)

        monkeypatch.setattr(tfdgm.DensityModel, "log_prob", meanwhile)
        assert "s.npy exists already" in fails("score", run, rows, "--out", tmp_path / "s.npy")
        assert (tmp_path / "s.npy").read_bytes() == b"dear"

    @pytest.mark.slow
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_a_signal_leaves_nothing_that_stands_in_the_way(self, run, vector_model, tmp_path, number):
        rows = np.load(vector_model / "rows.npy")
        np.save(tmp_path / "rows.npy", np.resize(rows, (1_000_000, 3)))
        argv = ["score", run, tmp_path / "rows.npy", "--out", tmp_path / "out" / "s.npy"]
        command = Command(argv, tmp_path / "log")
        while command.is_alive() and not (tmp_path / "out").exists():
            time.sleep(0.01)
        command.send_signal(number)
        assert command.wait(60) == (-9 if number == signal.SIGKILL else 128 + number), command.said()
        assert (tmp_path / "out").exists() == (number == signal.SIGKILL)
        assert Command(argv, tmp_path / "log").wait(200) == 0
        assert os.listdir(tmp_path / "out") == ["s.npy"] and len(np.load(tmp_path / "out" / "s.npy")) == 1_000_000
