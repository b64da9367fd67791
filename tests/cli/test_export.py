import sys

import numpy as np
import pytest
import tensorflow as tf

import tfdgm

pytestmark = pytest.mark.usefixtures("eagerly")


def text(path):
    return path.read_text()


class TestLayout:
    @pytest.mark.slow
    def test_versions_count_up(self, cli, vector_model, tmp_path):
        for version in (1, 2):
            result = cli("export", vector_model / "model", tmp_path / "served")
            assert result.code == 0 and f"SavedModel: {tmp_path}/served/model/{version}\n" in result.out
        assert cli("export", vector_model / "model", tmp_path / "served", "--version=7").code == 0
        assert cli("export", vector_model / "model" / "1", tmp_path / "served").code == 0  # The same name.
        assert sorted(p.name for p in (tmp_path / "served" / "model").iterdir()) == ["1", "2", "7", "8"]
        config = text(tmp_path / "served" / "models.config")
        assert 'key: "stable" value: 7' in config and 'key: "canary" value: 8' in config
        x = np.ones((4, 3))
        a, b = (tfdgm.load(path).log_prob(x) for path in (vector_model / "model", tmp_path / "served" / "model"))
        assert (np.asarray(a) == np.asarray(b)).all()

    @pytest.mark.slow
    def test_the_name_of_the_zoo_of_the_run_and_a_given_one(self, cli, run_folder, vector_model, tmp_path):
        for source, options in (("realnvp_digits", ()), (run_folder, ()), (vector_model / "model", ("--name", "rows.v2"))):
            result = cli("export", source, tmp_path, *options)
            assert result.code == 0, result
        assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["made_digits", "realnvp_digits", "rows.v2"]
        config = text(tmp_path / "models.config")
        for name in ("made_digits", "realnvp_digits", "rows.v2"):
            assert (tmp_path / name / "1" / "saved_model.pb").exists()
            assert f'base_path: "/models/{name}"' in config
        assert result.out.endswith(
            f"Server files: {tmp_path}/monitoring.config {tmp_path}/batching.config {tmp_path}/models.config\n"
        )

    def test_a_folder_that_ends_in_a_number_is_the_version(self, cli, fails, vector_model, tmp_path):
        assert cli("export", vector_model / "model", tmp_path / "served" / "3").code == 0
        assert [p.name for p in tmp_path.iterdir()] == ["served"]
        assert [p.name for p in (tmp_path / "served").iterdir()] == ["3"]
        before = (tmp_path / "served" / "3" / "saved_model.pb").stat().st_mtime_ns
        assert "exists already" in fails("export", vector_model / "model", tmp_path / "served" / "3")
        assert (tmp_path / "served" / "3" / "saved_model.pb").stat().st_mtime_ns == before
        assert cli("export", vector_model / "model", tmp_path / "served" / "3", "--overwrite").code == 0
        message = fails("export", vector_model / "model", tmp_path / "served" / "3", "--version", "4", code=2)
        assert "is the version folder itself: leave --name and --version out" in message

    def test_a_version_that_is_there_stays(self, cli, fails, vector_model, tmp_path):
        assert cli("export", vector_model / "model", tmp_path).code == 0
        assert "exists already" in fails("export", vector_model / "model", tmp_path, "--version=1")

    def test_a_file_in_the_way(self, fails, vector_model, tmp_path):
        (tmp_path / "file").write_text("")
        fails("export", vector_model / "model", tmp_path / "file")

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            ("--name=a/b", "--name expects letters"),
            ("--name=12", "not digits alone"),
            ("--version=0", "version"),
            ("--max_batch=0", "max_batch"),
            ("--precision=int8", "precision"),
            ("--temperature=0", "--temperature expects a positive number"),
            ("--server_dir=models", "--server_dir expects an absolute path"),
        ],
    )
    def test_wrong_options(self, fails, vector_model, tmp_path, option, message):
        assert message in fails("export", vector_model / "model", tmp_path, option, code=2)
        assert not list(tmp_path.iterdir())


class TestOptions:
    def test_max_batch_and_server_dir(self, cli, vector_model, tmp_path):
        result = cli("export", vector_model / "model", tmp_path, "--max_batch=24", "--server_dir=/srv/models")
        assert result.code == 0
        batching = text(tmp_path / "batching.config")
        assert "max_batch_size { value: 24 }" in batching and batching.endswith("allowed_batch_sizes: 24\n")
        assert 'base_path: "/srv/models/model"' in text(tmp_path / "models.config")

    def test_warm_up_requests_of_the_largest_batch(self, cli, vector_model, tmp_path):
        prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
        result = cli("export", vector_model / "model", tmp_path, "--max_batch=24")
        assert "left out" not in result.out
        path = tmp_path / "model" / "1" / "assets.extra" / "tf_serving_warmup_requests"
        logs = [prediction_log_pb2.PredictionLog.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(path))]
        sizes = {tuple(v.tensor_shape.dim[0].size for v in log.predict_log.request.inputs.values()) for log in logs}
        assert sizes == {(1,), (24,)} and len(logs) == 2 * 5

    def test_without_the_serving_package(self, cli, vector_model, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "tensorflow_serving", None)
        monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
        result = cli("export", vector_model / "model", tmp_path)
        assert result.code == 0
        assert "Warm-up requests were left out: they need the package tensorflow-serving-api (pip install" in result.out
        assert (tmp_path / "models.config").exists() and (tmp_path / "model" / "1" / "saved_model.pb").exists()

    @pytest.mark.slow
    def test_precision_and_temperature(self, cli, fails, vector_model, tmp_path):
        assert cli("export", "realnvp_digits", tmp_path, "--precision=bfloat16", "--temperature=0.5", "--max_batch=4").code == 0
        signatures = tf.saved_model.load(str(tmp_path / "realnvp_digits" / "1")).signatures
        model = tfdgm.load("realnvp_digits")
        seeds = tf.constant([[3, i] for i in range(8)], tf.int32)
        cold = signatures["sample"](seed=seeds)["x"].numpy()
        expected = model.distribution.from_base(0.5 * model.distribution.draw_noise(seeds))
        assert np.mean(np.abs(cold - expected) <= 1) > 0.99  # Kernels rounded to 8 bits move few pixels by a level of 17.
        small, full = (
            (folder / "1" / "variables" / "variables.data-00000-of-00001").stat().st_size
            for folder in (tmp_path / "realnvp_digits", tfdgm.zoo.entries.find("realnvp_digits"))
        )
        assert small < 0.55 * full
        message = fails("export", vector_model / "model", tmp_path, "--temperature=0.5")
        assert "A temperature needs an autoregressive model of integers" in message
        assert not (tmp_path / "model").exists()

    def test_help_states_the_formulas(self, cli):
        out = " ".join(cli("export", "--help").out.split())
        assert "each logit a becomes a / T" in out and "x = f(T z), z standard normal" in out
