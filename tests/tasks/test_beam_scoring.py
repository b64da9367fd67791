import csv
import os
import sys

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import tfdgm
from tfdgm.cli.main import main
from tfdgm.data import DataError
from tfdgm.non_finite import NonFiniteScoresWarning
from tfdgm.written_aside import locked

pytest.importorskip("apache_beam")

from apache_beam.io.localfilesystem import LocalFileSystem

from tfdgm.tasks import beam_scoring

pytestmark = pytest.mark.usefixtures("eagerly")


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(1000, 3)).astype("float32")


@pytest.fixture(scope="module")
def model(rows, tmp_path_factory):
    """The folder of a model over real vectors [3]."""
    folder = tmp_path_factory.mktemp("model")
    made = tfdgm.models.MADE((3,), levels=None, num_components=2, hidden_units=(4,))
    made.adapt(rows)
    made.export(folder / "1")
    return folder


@pytest.fixture
def parts(rows, tmp_path):
    """Three csv files with 400, 10 and 590 rows."""
    folder = tmp_path / "parts"
    folder.mkdir()
    for i, part in enumerate(np.split(rows, [400, 410])):
        np.savetxt(folder / f"part-{i}.csv", part, delimiter=",", header="a,b,c", comments="", fmt="%.9g")
    return folder


def read(out):
    """All scores, in the order of the names."""
    return np.concatenate([np.loadtxt(path, skiprows=1, ndmin=1) for path in sorted(out.glob("0*.csv"))])


def without_beam(model, source, tmp_path, *flags):
    out = tmp_path / "without_beam.csv"
    assert main(["score", str(model), str(source), "--out", str(out), *flags]) == 0
    return np.loadtxt(out, skiprows=1)


def equal(received, expected):
    np.testing.assert_allclose(received, expected, rtol=1e-6, atol=1e-6)


class TestScores:
    def test_equal_those_without_beam_in_order(self, model, parts, tmp_path):
        done = beam_scoring.score_files(model, parts / "*.csv", tmp_path / "out", rows_per_shard=150)
        assert done == 1000
        assert len(list((tmp_path / "out").glob("0*.csv"))) == 3 + 1 + 4
        equal(read(tmp_path / "out"), without_beam(model, parts / "*.csv", tmp_path))

    @pytest.mark.parametrize("runner", ["DirectRunner", "BundleBasedDirectRunner"])
    def test_on_the_command_line(self, model, parts, tmp_path, capfd, runner, monkeypatch):
        # The DirectRunner looks for another runner on the network first, and goes without.
        monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: (_ for _ in ()).throw(OSError("no network")))
        options = f"--beam_options=--runner={runner} --job_name=scores"
        assert main(["score", str(model), str(parts), "--out", str(tmp_path / "out"), "--runner=beam", options]) == 0
        assert "1,000 scores" in capfd.readouterr().out
        equal(read(tmp_path / "out"), without_beam(model, parts, tmp_path))

    @pytest.mark.slow
    def test_in_other_processes(self, model, parts, tmp_path):
        options = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
        beam_scoring.score_files(model, parts, tmp_path / "out", options=options, rows_per_shard=150)
        equal(read(tmp_path / "out"), without_beam(model, parts, tmp_path))

    @pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet"])
    def test_files_of_every_kind(self, model, rows, tmp_path, suffix):
        source = tmp_path / f"rows{suffix}"
        if suffix == ".parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.table({name: rows[:, i] for i, name in enumerate("abc")}), source)
        else:
            (np.save if suffix == ".npy" else np.savez)(source, rows)
        beam_scoring.score_files(model, source, tmp_path / "out", rows_per_shard=300)
        equal(read(tmp_path / "out"), without_beam(model, source, tmp_path))

    def test_integers_in_images_from_flat_rows(self, tmp_path):
        x = np.random.default_rng(0).integers(0, 4, size=(50, 4))
        flow = tfdgm.models.RealNVP((2, 2), levels=4, num_layers=2, hidden_units=(4,))
        flow.export(tmp_path / "flow" / "1")
        np.savetxt(tmp_path / "x.csv", x, delimiter=",", fmt="%d")
        beam_scoring.score_files(tmp_path / "flow", tmp_path / "x.csv", tmp_path / "out", rows_per_shard=20)
        equal(read(tmp_path / "out"), without_beam(tmp_path / "flow", tmp_path / "x.csv", tmp_path))

    def test_a_condition(self, tmp_path, rows):
        made = tfdgm.models.MADE((3,), levels=None, num_components=2, hidden_units=(4,), condition_shape=(2,))
        made.export(tmp_path / "made" / "1")
        np.save(tmp_path / "x.npy", rows[:20])
        arguments = ["score", str(tmp_path / "made"), str(tmp_path / "x.npy"), "--out", str(tmp_path / "out"), "--runner=beam"]
        assert main([*arguments, "--condition=0.5,2"]) == 0
        equal(read(tmp_path / "out"), made.log_prob(rows[:20], np.tile(np.float32([0.5, 2]), (20, 1))))
        with pytest.raises(ValueError, match=r"a condition \(2,\). Received: None"):
            beam_scoring.score_files(tmp_path / "made", tmp_path / "x.npy", tmp_path / "out")


class TestFloat64:
    """x = 1e4 + 1e-3 n, of which float32 knows eight values."""

    X = 1e4 + 1e-3 * np.random.default_rng(0).normal(size=(50, 3))

    @pytest.mark.slow
    @pytest.mark.parametrize("suffix", [".csv", ".npy", ".npz", ".parquet"])
    def test_files_of_every_kind(self, tmp_path, suffix):
        model = tfdgm.models.GaussianMixture((3,), num_components=1, dtype="float64")
        model.adapt(self.X)
        model.export(tmp_path / "m" / "1")
        source = tmp_path / f"x{suffix}"
        if suffix == ".csv":
            np.savetxt(source, self.X, delimiter=",", fmt="%.17g")
        elif suffix == ".parquet":
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.table({name: self.X[:, i] for i, name in enumerate("abc")}), source)
        else:
            (np.save if suffix == ".npy" else np.savez)(source, self.X)
        beam_scoring.score_files(tmp_path / "m", source, tmp_path / "out", rows_per_shard=20)
        np.testing.assert_allclose(read(tmp_path / "out"), model.log_prob(self.X), rtol=1e-13)

    def test_a_condition(self, tmp_path):
        model = tfdgm.models.MADE((2,), levels=None, num_components=2, hidden_units=(4,), condition_shape=(1,), dtype="float64")
        model.export(tmp_path / "m" / "1")
        np.save(tmp_path / "x.npy", self.X[:, :2])
        flags = ["--out", str(tmp_path / "out"), "--runner=beam", "--condition=10000.0003"]
        assert main(["score", str(tmp_path / "m"), str(tmp_path / "x.npy"), *flags]) == 0
        np.testing.assert_allclose(read(tmp_path / "out"), model.log_prob(self.X[:, :2], [10000.0003]), rtol=1e-13)


class TestColumns:
    def test_columns_in_another_order_by_the_models_own_names(self, rows, tmp_path):
        made = tfdgm.models.MADE((3,), levels=None, num_components=2, hidden_units=(4,))
        made.adapt(pd.DataFrame(rows, columns=["a", "b", "c"]))
        made.export(tmp_path / "model" / "1")
        pd.DataFrame(rows[:50, [2, 0, 1]], columns=["c", "a", "b"]).to_csv(tmp_path / "rows.csv", index=False)
        beam_scoring.score_files(tmp_path / "model", tmp_path / "rows.csv", tmp_path / "out")
        np.testing.assert_allclose(read(tmp_path / "out"), made.log_prob(rows[:50]), rtol=1e-5, atol=1e-5)

    def test_are_put_in_order_by_name(self, model, parts, rows, tmp_path):
        expected = without_beam(model, parts, tmp_path)
        np.savetxt(parts / "part-1.csv", rows[400:410, [2, 0, 1]], delimiter=",", header="c,a,b", comments="", fmt="%.9g")
        beam_scoring.score_files(model, parts, tmp_path / "out", columns=["a", "b", "c"])
        equal(read(tmp_path / "out"), expected)
        with pytest.raises(DataError, match=r"part-0.csv has no column 'd'\. Expected: a, b, d"):
            beam_scoring.score_files(model, parts, tmp_path / "out", columns=["a", "b", "d"])

    @pytest.mark.slow
    def test_of_a_run_on_the_command_line(self, rows, tmp_path, parts):
        np.savetxt(parts / "part-1.csv", rows[400:410, [2, 0, 1]], delimiter=",", header="c,a,b", comments="", fmt="%.9g")
        run, small = str(tmp_path / "run"), ["--set=model.num_components=1", "--set=training.xla=false", "--epochs=1"]
        assert main(["train", "--model=GaussianMixture", f"--data={parts}/part-0.csv", *small, f"--output={run}"]) == 0
        assert main(["score", run, str(parts), "--out", str(tmp_path / "out"), "--runner=beam"]) == 0
        np.testing.assert_allclose(read(tmp_path / "out"), tfdgm.load(run).log_prob(rows), rtol=1e-5)

    def test_other_names_must_be_those_of_the_first_file(self, model, parts, tmp_path):
        (parts / "part-1.csv").write_text("x,y,z\n1,2,3\n")
        with pytest.raises(DataError, match=r"part-1.csv: expected the columns \['a', 'b', 'c'\] as in .*part-0.csv"):
            beam_scoring.score_files(model, parts, tmp_path / "out", columns=["a", "b", "c"])

    def test_tables_are_read_as_is_said(self, model, parts, rows, tmp_path):
        expected = without_beam(model, parts, tmp_path)
        lines = "".join(
            f"{i};{b:.9g};{c:.9g};{a:.9g};x\n".replace(".", ",") for i, (a, b, c) in enumerate(rows[400:410].tolist())
        )
        (parts / "part-1.csv").unlink()
        (parts / "part-1.tsv").write_text("id;b;c;a;text\n" + lines, encoding="utf-16")
        reading = {"keep": ["a", "b", "c"]}
        beam_scoring.score_files(model, parts, tmp_path / "out", reading=reading)
        equal(read(tmp_path / "out"), expected)
        with pytest.raises(DataError, match=r"part-1.tsv, line 2, column 'text': expected numbers"):
            beam_scoring.score_files(model, parts / "part-1.tsv", tmp_path / "out")


class TestOutput:
    def test_the_index_says_where_every_row_is(self, model, parts, tmp_path):
        beam_scoring.score_files(model, parts, tmp_path / "out", rows_per_shard=150)
        with open(tmp_path / "out" / "index.csv", newline="") as file:
            lines = list(csv.DictReader(file))
        assert [line["scores"] for line in lines] == sorted(p.name for p in (tmp_path / "out").glob("0*.csv"))
        third = [(int(line["first_row"]), int(line["rows"])) for line in lines if line["input"].endswith("part-2.csv")]
        assert third == [(0, 150), (150, 150), (300, 150), (450, 140)]
        for line in lines:
            scores = np.loadtxt(tmp_path / "out" / line["scores"], skiprows=1, ndmin=1)
            assert len(scores) == int(line["rows"])

    def test_scores_that_are_not_finite_are_counted(self, model, parts, rows, tmp_path, capfd):
        rows = rows[410:].copy()
        rows[[160, 500]] = 1e38
        np.savetxt(parts / "part-2.csv", rows, delimiter=",", header="a,b,c", comments="", fmt="%.9g")
        expected = "2 of 1,000 scores are -inf or NaN, the first that of row 570,"
        with pytest.warns(NonFiniteScoresWarning, match=expected):
            assert beam_scoring.score_files(model, parts, tmp_path / "out", rows_per_shard=150) == 1000
        with open(tmp_path / "out" / "index.csv", newline="") as file:
            found = [(line["not_finite"], line["first_not_finite"]) for line in csv.DictReader(file)]
        assert found[-4:] == [("0", ""), ("1", "10"), ("0", ""), ("1", "50")]
        command = ["score", str(model), str(parts), "--out", str(tmp_path / "out"), "--runner=beam"]
        command += ["--fail_on_nonfinite", "--overwrite"]
        assert main(command) == 1 and f"error: {expected}" in capfd.readouterr().err

    def test_old_scores_go(self, model, parts, tmp_path):
        beam_scoring.score_files(model, parts, tmp_path / "out", rows_per_shard=150)
        assert beam_scoring.score_files(model, parts / "part-1.csv", tmp_path / "out") == 10
        assert sorted(os.listdir(tmp_path / "out")) == ["000000-000000.csv", "index.csv"]

    def test_nothing_else_does(self, model, parts, tmp_path):
        (tmp_path / "out").mkdir()
        for name in ("000000-000000.csv", "thesis.csv"):
            (tmp_path / "out" / name).write_text("")
        with pytest.raises(ValueError, match=r"holds nothing else. It has .*thesis.csv"):
            beam_scoring.score_files(model, parts, tmp_path / "out")
        assert len(os.listdir(tmp_path / "out")) == 2

    @pytest.mark.parametrize("name", ["index.csv", "000000-000000.csv", ".mine.new", "deep/000001-000000.csv"])
    def test_nor_what_only_has_a_name_like_ours(self, model, parts, tmp_path, name):
        path = tmp_path / "[out]" / name
        path.parent.mkdir(parents=True)
        path.write_text("a,b\n1,2\n")
        with pytest.raises(ValueError, match=r"holds nothing else\. It has"):
            beam_scoring.score_files(model, parts, tmp_path / "[out]")
        assert path.read_text() == "a,b\n1,2\n"

    def test_those_of_a_whole_run_go_when_they_may(self, model, parts, tmp_path, capfd):
        scored = ["score", str(model), str(parts / "part-1.csv"), "--out", str(tmp_path / "out"), "--runner=beam"]
        assert main(scored) == 0
        assert main(scored) == 1
        assert "holds the scores of a complete run: choose another folder, or --overwrite" in capfd.readouterr().err
        assert main([*scored, "--overwrite"]) == 0
        (tmp_path / "out" / "index.csv").unlink()  # As if it had been interrupted.
        assert main(scored) == 0
        with locked(tmp_path / "out" / "index.csv"):
            assert main([*scored, "--overwrite"]) == 1
        assert "index.csv is being written by process" in capfd.readouterr().err

    def test_an_unknown_runner_leaves_the_old_scores(self, model, parts, tmp_path):
        beam_scoring.score_files(model, parts, tmp_path / "out")
        with pytest.raises(ValueError, match="Nowhere"):
            beam_scoring.score_files(model, parts, tmp_path / "out", options=["--runner=Nowhere"])
        assert len(os.listdir(tmp_path / "out")) == 4


class _Elsewhere(LocalFileSystem):
    """The local files as elsewhere://...: a file system that only Beam can read."""

    @classmethod
    def scheme(cls):
        return "elsewhere"

    def _away(self, path):
        return path.removeprefix("elsewhere:/")

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        return os.path.split(path)

    def mkdirs(self, path):
        super().mkdirs(self._away(path))

    def match(self, patterns, limits=None):
        results = super().match([self._away(pattern) for pattern in patterns], limits)
        for result in results:
            result.metadata_list = [found for found in result.metadata_list if not os.path.isdir(found.path)]
            for found in result.metadata_list:
                found.path = f"elsewhere:/{found.path}"
        return results

    def open(self, path, *arguments, **kwargs):
        return super().open(self._away(path), *arguments, **kwargs)

    def create(self, path, *arguments, **kwargs):
        return super().create(self._away(path), *arguments, **kwargs)

    def rename(self, sources, targets):
        super().rename([self._away(p) for p in sources], [self._away(p) for p in targets])

    def exists(self, path):
        return super().exists(self._away(path))

    def delete(self, paths):
        for path in paths:
            os.remove(self._away(path))


class TestOtherFileSystems:
    def test_model_rows_and_scores(self, model, parts, tmp_path):
        urls = [f"elsewhere:/{path}" for path in (model, parts / "*.csv", tmp_path / "out")]
        assert beam_scoring.score_files(*urls, rows_per_shard=150) == 1000
        assert beam_scoring.score_files(*urls, rows_per_shard=200) == 1000
        equal(read(tmp_path / "out"), without_beam(model, parts, tmp_path))
        assert f"elsewhere:/{parts}/part-0.csv" in (tmp_path / "out" / "index.csv").read_text()

    def test_errors_name_the_file_there(self, model, parts, tmp_path):
        (parts / "part-1.csv").write_text("a,b,c\n1,2,x\n")
        with pytest.raises(DataError, match=f"^elsewhere:/{parts}/part-1.csv, line 2"):
            beam_scoring.score_files(model, f"elsewhere:/{parts}/*.csv", tmp_path / "out")


class TestErrors:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        "text,message",
        [
            ("a,b,c\n1,2,3\n1,nan,3\n", "part-1.csv, line 3"),
            (
                "a,c,b\n1,2,3\n",
                r"part-1.csv: expected the columns \['a', 'b', 'c'\] as in .*part-0.csv. Received: \['a', 'c', 'b'\]",
            ),
            ("1,2\n", r"part-1.csv: expected rows of event_shape=\(3,\). Received: \(2,\)"),
            ("", "part-1.csv is empty"),
        ],
    )
    def test_bad_rows_leave_no_index(self, model, parts, tmp_path, capfd, text, message):
        (parts / "part-1.csv").write_text(text)
        with pytest.raises(DataError, match=message):
            beam_scoring.score_files(model, parts, tmp_path / "out")
        assert not (tmp_path / "out" / "index.csv").exists()
        capfd.readouterr()
        assert main(["score", str(model), str(parts), "--out", str(tmp_path / "out"), "--runner=beam"]) == 1
        error = capfd.readouterr().err
        assert error.startswith("tfdgm: error: ") and error.count("\n") == 1

    @pytest.mark.parametrize("source,message", [("digits", "There is no file digits"), ("*.png", "There is no file")])
    def test_no_files(self, model, tmp_path, source, message):
        with pytest.raises(DataError, match=message):
            beam_scoring.score_files(model, source, tmp_path / "out")

    def test_hidden_files_are_passed_over_and_others_named(self, parts):
        for name in (".ipynb_checkpoints/part-0-checkpoint.csv", "__MACOSX/._part-0.csv", "._part-0.csv", "notes.txt"):
            (parts / name).parent.mkdir(exist_ok=True)
            (parts / name).write_text("x")
        with pytest.warns(UserWarning, match="1 other file left out: notes.txt"):
            found = beam_scoring._find(str(parts))
        assert found == [str(parts / f"part-{i}.csv") for i in range(3)]

    def test_files_of_another_kind(self, model, tmp_path):
        (tmp_path / "x.png").write_bytes(b"")
        with pytest.raises(DataError, match=r"x.png: expected a file of .csv"):
            beam_scoring.score_files(model, tmp_path / "*.png", tmp_path / "out")

    @pytest.mark.parametrize(
        "flags,message",
        [
            (["--runner=beam"], "--out expects a folder with --runner=beam. Received: nothing"),
            (["--runner=beam", "--out=s.csv"], "--out expects a folder with --runner=beam. Received: s.csv"),
            (["--runner=beam", "--out=s", "--split=test"], "no --split"),
            (["--out=s.csv", "--beam_options=--runner=FlinkRunner"], "--beam_options goes with --runner=beam"),
            (["--out=s.csv", "--runner=flink"], "--runner"),
        ],
    )
    def test_wrong_flags(self, capfd, flags, message):
        assert main(["score", "maf_digits", "x.csv", *flags]) == 2
        assert message in capfd.readouterr().err

    def test_without_beam_one_line_names_the_extra(self, capfd, monkeypatch):
        monkeypatch.setitem(sys.modules, "apache_beam", None)
        assert main(["score", "maf_digits", "x.csv", "--out=s", "--runner=beam"]) == 2
        assert capfd.readouterr().err == "tfdgm: error: --runner=beam needs Apache Beam: pip install 'tfdgm[beam]'\n"


class TestHandler:
    def test_beams_own_could_not_load_the_model(self, model):
        """The reason for `LogProbHandler`: Beam's TensorFlow handlers call this."""
        with pytest.raises(ValueError, match="SavedModel format is not supported"):
            keras.models.load_model(model / "1")

    def test_the_graph_is_run_where_there_is_no_config(self, tmp_path):
        normal = tfd.MultivariateNormalDiag(tf.Variable([1.0, 2.0]), tf.Variable([1.0, 3.0]))
        tfdgm.DensityModel.from_distribution(normal).export(tmp_path / "1")
        x = np.float32([[0.5, -1.0], [2.0, 0.0]])
        handler = beam_scoring.LogProbHandler(tmp_path)
        (scores,) = handler.run_inference([x], handler.load_model())
        np.testing.assert_allclose(scores, scipy.stats.norm([1, 2], [1, 3]).logpdf(x).sum(axis=1), rtol=1e-5)

    def test_the_model_is_loaded_once_for_all_shards(self, model, parts, tmp_path, monkeypatch):
        loads = []
        load_model = beam_scoring.LogProbHandler.load_model
        monkeypatch.setattr(beam_scoring.LogProbHandler, "load_model", lambda self: loads.append(1) or load_model(self))
        beam_scoring.score_files(model, parts, tmp_path / "out", rows_per_shard=100)
        assert loads == [1]
