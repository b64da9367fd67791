"""`--server`: the same files as without it, from a model server over TensorFlow's C library."""

import http.client

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import served

import tfdgm

pytest.importorskip("tensorflow_serving")

pytestmark = [pytest.mark.usefixtures("eagerly"), pytest.mark.slow]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The folder of versions of a small model of 3x3 images of 4 levels under a condition."""
    folder = tmp_path_factory.mktemp("images")
    tfdgm.models.MADE((3, 3), levels=4, hidden_units=(8,), condition_shape=(2,)).export(folder / "1")
    return folder


@pytest.fixture(scope="module")
def named_model(tmp_path_factory):
    """The folder of versions of a model that was trained on columns with names; no card lies beside it."""
    folder = tmp_path_factory.mktemp("named")
    model = tfdgm.models.MADE((2,), levels=None, num_components=2, hidden_units=(4,))
    model.adapt(pd.DataFrame(np.random.default_rng(0).normal(size=(20, 2)) * [1, 10], columns=["a", "b, c"]))
    model.export(folder / "1")
    return folder


@pytest.fixture(scope="module")
def fine(tmp_path_factory):
    """The folder of versions of a model in float64."""
    folder = tmp_path_factory.mktemp("fine")
    model = tfdgm.models.MADE((2,), levels=None, num_components=2, hidden_units=(4,), condition_shape=(1,), dtype="float64")
    model.export(folder / "1")
    return folder


@pytest.fixture(scope="module")
def server(vector_model, images, fine, named_model, tmp_path_factory):
    models = {"vectors": vector_model / "model", "images": images, "fine": fine, "named": named_model}
    with served.running(tmp_path_factory.mktemp("server"), models) as running:
        yield running


@pytest.fixture(params=["grpc", "rest"])
def url(request, server):
    return getattr(server, request.param)


class TestScore:
    @pytest.mark.parametrize("suffix", ["csv", "npy"])
    def test_the_same_scores(self, cli, url, vector_model, tmp_path, suffix):
        here, there = tmp_path / f"here.{suffix}", tmp_path / f"there.{suffix}"
        assert cli("score", vector_model / "model", vector_model / "rows.csv", "--out", here).code == 0
        result = cli("score", "vectors", vector_model / "rows.csv", "--out", there, "--server", url)
        assert result.code == 0 and "5,000 scores" in result.out
        a, b = (np.load(f) if suffix == "npy" else np.loadtxt(f, skiprows=1) for f in (here, there))
        assert a.dtype == b.dtype and a.shape == b.shape == (5000,)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)

    def test_integers_under_a_condition(self, cli, fails, url, images, tmp_path):
        x = np.random.default_rng(0).integers(0, 4, (20, 9))
        np.savetxt(tmp_path / "x.csv", x, delimiter=",", fmt="%d")
        options = ["--condition", "1", "--out", tmp_path / "s.npy", "--overwrite", "--server", url]
        assert cli("score", "images", tmp_path / "x.csv", *options).code == 0
        expected = tfdgm.load(images).log_prob(x.reshape(20, 3, 3), [0.0, 1.0])
        np.testing.assert_allclose(np.load(tmp_path / "s.npy"), expected, rtol=1e-5)
        (tmp_path / "x.csv").write_text("0,1,2,3,0,1,2,3,0\n0,1,2,3,0,1,2,3,0.5\n")
        assert "line 2" in fails("score", "images", tmp_path / "x.csv", *options)

    @pytest.mark.parametrize("suffix", ["csv", "npy"])
    def test_float64(self, cli, url, fine, tmp_path, suffix):
        x = 1e4 + 1e-3 * np.random.default_rng(0).normal(size=(40, 2))
        source, out = tmp_path / f"x.{suffix}", tmp_path / f"s.{suffix}"
        np.savetxt(source, x, delimiter=",", fmt="%.17g") if suffix == "csv" else np.save(source, x)
        assert cli("score", "fine", source, "--out", out, "--server", url, "--condition=10000.0003").code == 0
        scores = np.load(out) if suffix == "npy" else np.loadtxt(out, skiprows=1)
        assert scores.dtype == np.float64
        np.testing.assert_allclose(scores, tfdgm.load(fine).log_prob(x, [10000.0003]), rtol=1e-13)

    def test_columns_in_another_order(self, cli, fails, url, named_model, tmp_path):
        table = pd.DataFrame(np.random.default_rng(1).normal(size=(9, 2)), columns=["b, c", "a"])
        table.to_csv(tmp_path / "x.csv", index=False)
        assert cli("score", "named", tmp_path / "x.csv", "--out", tmp_path / "s.npy", "--server", url).code == 0
        expected = tfdgm.load(named_model).log_prob(table[["a", "b, c"]].to_numpy())
        np.testing.assert_allclose(np.load(tmp_path / "s.npy"), expected, rtol=1e-5, atol=1e-5)
        table.rename(columns={"a": "d"}).to_csv(tmp_path / "x.csv", index=False)
        assert "'a'" in fails("score", "named", tmp_path / "x.csv", "--out", tmp_path / "t.npy", "--server", url)

    def test_errors(self, cli, fails, url, vector_model, tmp_path):
        out, rows = ["--out", tmp_path / "s.csv"], vector_model / "rows.csv"
        assert "Servable not found" in fails("score", "nothing", rows, *out, "--server", url)
        (tmp_path / "x.csv").write_text("1,2\n")
        narrow = ["score", "vectors", tmp_path / "x.csv", *out, "--server", url]
        assert "Expected rows of event_shape=(3,). Received: (2,)" in fails(*narrow)
        (tmp_path / "x.csv").unlink()
        assert "`url` must be host:port" in fails("score", "vectors", rows, *out, "--server", "nowhere", code=2)
        assert "takes no --condition" in fails("score", "vectors", rows, *out, "--server", url, "--condition", "1", code=2)
        assert "does not go with --runner=beam" in fails("score", "vectors", rows, *out, "--server", url, "--runner=beam", code=2)
        assert not list(tmp_path.iterdir())


class TestSample:
    def test_the_same_tables(self, cli, url, vector_model, images, tmp_path):
        for model, name, options in ((vector_model / "model", "vectors", []), (images, "images", ["--condition=0,1"])):
            for suffix in ("csv", "npy"):
                here, there = tmp_path / f"here.{suffix}", tmp_path / f"there.{suffix}"
                arguments = ["--num=30", "--seed=7", *options]
                assert cli("sample", model, *arguments, "--out", here).code == 0
                assert cli("sample", name, *arguments, "--out", there, "--server", url).code == 0
                a, b = (np.load(f) if suffix == "npy" else np.loadtxt(f, delimiter=",") for f in (here, there))
                assert a.dtype == b.dtype
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
        assert here.read_bytes() == there.read_bytes()  # Integers.

    def test_names_of_columns(self, cli, url, named_model, tmp_path):
        """As pandas reads them; of a SavedModel without a card, too."""
        for model, options in ((named_model, []), ("named", ["--server", url])):
            assert cli("sample", model, "--num=5", "--out", tmp_path / "x.csv", *options).code == 0
            table = pd.read_csv(tmp_path / "x.csv")
            assert list(table) == ["a", "b, c"]
            np.testing.assert_allclose(table, tfdgm.load(named_model).sample(5, seed=1), rtol=1e-5, atol=1e-5)

    def test_float64(self, cli, url, fine, tmp_path):
        arguments, read = ["--num=30", "--seed=7", "--condition=0.3", "--server", url], {"csv": np.loadtxt, "npy": np.load}
        expected = np.asarray(tfdgm.load(fine).sample(30, seed=7, condition=[0.3]))
        for suffix, options in (("csv", {"delimiter": ","}), ("npy", {})):
            assert cli("sample", "fine", *arguments, "--out", tmp_path / f"x.{suffix}").code == 0
            x = read[suffix](tmp_path / f"x.{suffix}", **options)
            assert x.dtype == np.float64
            np.testing.assert_allclose(x, expected, rtol=1e-12)

    def test_the_same_picture(self, cli, fails, url, images, tmp_path):
        arguments = ["--num=4", "--condition=1"]
        assert cli("sample", images, *arguments, "--out", tmp_path / "a.png").code == 0
        served_ = ["sample", "images", *arguments, "--server", url, "--out", tmp_path / "b.png"]
        assert "needs --levels" in fails(*served_, code=2)
        assert cli(*served_, "--levels=4").code == 0
        assert (matplotlib.image.imread(tmp_path / "a.png") == matplotlib.image.imread(tmp_path / "b.png")).all()

    def test_errors(self, fails, url, images, tmp_path):
        out = ["--out", tmp_path / "a.npy"]
        assert "Servable not found" in fails("sample", "nothing", *out, "--server", url)
        assert "needs --condition" in fails("sample", "images", *out, "--server", url, code=2)
        assert "--levels goes with --server" in fails("sample", images, *out, "--levels=4", code=2)


def test_no_server(fails, vector_model, tmp_path, monkeypatch):
    monkeypatch.setattr("tfdgm.serving.client._FIRST_PAUSE", 0.01)
    url = f"http://127.0.0.1:{served.free_port()}"
    line = fails("score", "vectors", vector_model / "rows.csv", "--out", tmp_path / "s.csv", "--server", url)
    assert f"The model `vectors` at {url}: UNAVAILABLE" in line and "refused" in line


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_connections_are_closed(cli, server, vector_model, tmp_path, monkeypatch):
    """And are not left to the collector."""
    closed, close = [], http.client.HTTPConnection.close
    monkeypatch.setattr(http.client.HTTPConnection, "close", lambda self: closed.append(self) or close(self))
    (tmp_path / "x.csv").write_text("1,2,3\n")
    for command in (["score", "vectors", tmp_path / "x.csv"], ["sample", "vectors"]):
        assert cli(*command, "--out", tmp_path / "out.npy", "--server", server.rest).code == 0
        assert closed
        closed.clear()
