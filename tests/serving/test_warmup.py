import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from contracts.cases import CASES, model_cases

from tfdgm.serving.warmup import WARM_UP_REQUESTS

pytestmark = pytest.mark.usefixtures("eagerly")

C_RUNTIME = pathlib.Path(__file__).with_name("c_runtime.py")


def export(case, path, **options):
    model = case.make(seed=2)
    model.adapt(case.x, case.condition)
    model.export(path, **options)
    return model


def requests(path):
    """The PredictRequests in a SavedModel."""
    prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    found = []
    for record in tf.data.TFRecordDataset(str(path / WARM_UP_REQUESTS)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        assert log.WhichOneof("log_type") == "predict_log"
        found.append(log.predict_log.request)
    return found


def inputs_of(request):
    return {name: tf.make_ndarray(value) for name, value in request.inputs.items()}


class TestWarmUpRequests:
    @pytest.mark.slow
    @model_cases("made_binary_condition", "realnvp_levels")
    def test_each_signature_of_each_size_runs(self, case, tmp_path):
        export(case, tmp_path / "digits" / "3", max_batch=5)
        signatures = tf.saved_model.load(str(tmp_path / "digits" / "3")).signatures
        found = requests(tmp_path / "digits" / "3")
        kinds = [(request.model_spec.signature_name, len(next(iter(inputs_of(request).values())))) for request in found]
        assert sorted(kinds) == sorted((name, size) for name in signatures for size in (1, 5))
        for request in found:
            assert request.model_spec.name == "digits"
            signature, given = signatures[request.model_spec.signature_name], inputs_of(request)
            specs = signature.structured_input_signature[1]
            assert set(given) == set(specs)
            for name, value in given.items():
                assert value.dtype == specs[name].dtype.as_numpy_dtype and specs[name].shape.is_compatible_with(value.shape)
            for value in signature(**{name: tf.constant(value) for name, value in given.items()}).values():
                assert len(value) == len(next(iter(given.values()))) and np.isfinite(value).all()

    def test_what_is_scored_are_samples_and_not_all_zero(self, tmp_path):
        case = CASES["made_categorical"]
        model = export(case, tmp_path / "1", max_batch=6)
        scored = [inputs_of(r)["x"] for r in requests(tmp_path / "1") if r.model_spec.signature_name == "log_prob"]
        np.testing.assert_array_equal(scored[1], model.sample(6, seed=0))
        assert len(np.unique(scored[1], axis=0)) > 1

    def test_one_request_a_signature_where_the_largest_batch_is_one(self, tmp_path):
        export(CASES["gaussian_mixture"], tmp_path / "1", max_batch=1)
        names = [request.model_spec.signature_name for request in requests(tmp_path / "1")]
        assert sorted(names) == ["decode", "encode", "log_prob", "sample", "serving_default"]

    def test_not_asked_for_or_without_the_package_there_are_none(self, tmp_path, monkeypatch):
        case = CASES["made_binary"]
        export(case, tmp_path / "1")
        monkeypatch.setitem(sys.modules, "tensorflow_serving", None)
        monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
        export(case, tmp_path / "2", max_batch=4)
        for version in ("1", "2"):
            assert (tmp_path / version / "saved_model.pb").exists()
            assert not (tmp_path / version / WARM_UP_REQUESTS).exists()

    @pytest.mark.slow
    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library's name is that of Linux")
    @pytest.mark.parametrize(("name", "precision"), [("realnvp_condition", "float32"), ("made_categorical", "bfloat16")])
    def test_tensorflows_c_library_runs_them(self, name, precision, tmp_path):
        """As the server does when it loads a version: each request in the loader that it wraps."""
        path = tmp_path / "1"
        export(CASES[name], path, max_batch=4, precision=precision)
        found = requests(path)
        job = tmp_path / "job"
        job.mkdir()
        calls = [request.model_spec.signature_name for request in found]
        (job / "job.json").write_text(json.dumps({"saved_model": str(path), "calls": calls}))
        for i, request in enumerate(found):
            np.savez(job / f"inputs-{i}.npz", **inputs_of(request))
        result = subprocess.run([sys.executable, str(C_RUNTIME), str(job)], capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stderr[-2000:]
        signatures = tf.saved_model.load(str(path)).signatures
        for i, request in enumerate(found):
            given = {name: tf.constant(value) for name, value in inputs_of(request).items()}
            expected = signatures[request.model_spec.signature_name](**given)
            with np.load(job / f"outputs-{i}.npz") as got:
                assert set(got) == set(expected)
                for name in got:
                    np.testing.assert_allclose(got[name], expected[name], rtol=1e-5, atol=1e-5)
