import json

import numpy as np
import pytest
import tensorflow as tf
from contracts.cases import CASES, model_cases
from tensorflow.core.protobuf import saved_model_pb2

import tfdgm
from tfdgm.distributions.tempered import tempered
from tfdgm.serving import ArtifactError

pytestmark = pytest.mark.usefixtures("eagerly")

reduced = pytest.mark.parametrize("precision", ["bfloat16", "float16"])
MADE, MAF, REALNVP = (
    (CASES["made_binary_condition"], "bfloat16"),
    (CASES["maf_levels_act_norm"], "bfloat16"),
    (CASES["realnvp_condition"], "float16"),
)


def pairs(*chosen):
    return pytest.mark.parametrize(("case", "precision"), chosen, ids=[f"{case.name}-{precision}" for case, precision in chosen])


def score(path, case, n=16):
    signature = tf.saved_model.load(str(path)).signatures["log_prob"]
    specs = signature.structured_input_signature[1]
    return signature(**{name: tf.cast(value, specs[name].dtype) for name, value in case.first(n).items()})["log_prob"].numpy()


def made(case):
    model = case.make(seed=2)
    model.adapt(case.x, case.condition)
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A function from a case and a precision to the SavedModel's folder; each is written once."""
    written = {}

    def export(case, precision):
        if (case.name, precision) not in written:
            path = written[case.name, precision] = tmp_path_factory.mktemp(case.name) / "1"
            made(case).export(path, precision=precision)
        return written[case.name, precision]

    return export


class TestPrecision:
    @pytest.mark.slow
    @pairs(MADE, MAF, REALNVP)
    def test_scores_are_those_of_the_rounded_kernels(self, case, precision, exported):
        model = made(case)
        exact = np.asarray(model.log_prob(**case.first(16)))
        served = score(exported(case, precision), case)
        assert served.dtype == np.float32
        for weight in model.weights:  # Rounded by hand.
            if len(weight.shape) == 2:
                weight.assign(np.asarray(weight).astype(tf.as_dtype(precision).as_numpy_dtype).astype("float32"))
        np.testing.assert_allclose(served, model.log_prob(**case.first(16)), rtol=1e-5, atol=1e-5)
        # Kernels of the size of one and three dimensions: half a nat for 8 bits, a twentieth for 11.
        np.testing.assert_allclose(served, exact, rtol=0, atol={"bfloat16": 0.5, "float16": 0.05}[precision])
        assert (served != exact).any()

    @reduced
    def test_the_file_is_half_as_large(self, precision, tmp_path):
        model = tfdgm.models.RealNVP((8,), num_layers=1, hidden_units=(256, 256))
        before = [np.asarray(weight) for weight in model.weights]
        model.export(tmp_path / "full")
        model.export(tmp_path / "half", precision=precision)
        full, half = (sum(file.stat().st_size for file in (tmp_path / name / "variables").iterdir()) for name in ("full", "half"))
        assert half < 0.55 * full
        for weight, value in zip(model.weights, before, strict=True):  # The model itself is unchanged.
            np.testing.assert_array_equal(weight, value)

    @pairs(MAF, REALNVP)
    def test_core_ops_no_devices_and_small_variables(self, case, precision, exported):
        saved_model = saved_model_pb2.SavedModel()
        path = exported(case, precision)
        saved_model.ParseFromString((path / "saved_model.pb").read_bytes())
        graph = saved_model.meta_graphs[0].graph_def
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        functions = {function.signature.name for function in graph.library.function}
        assert {node.op for node in nodes} - functions <= set(tf.raw_ops.__dict__) | {"_Arg", "_Retval"}
        assert not any("Xla" in node.op for node in nodes)
        # The same export serves on CPUs and GPUs: nothing but the restoring of the variables is bound to a device.
        served = [
            f
            for f in graph.library.function
            if "traced_restore" not in f.signature.name and "traced_save" not in f.signature.name
        ]
        assert len(served) > 5 and not {node.device for function in served for node in function.node_def} - {""}
        kept = {node.attr["dtype"].type for node in nodes if node.op == "ReadVariableOp"}
        assert tf.as_dtype(precision).as_datatype_enum in kept

    @pairs(MADE, REALNVP)
    def test_load_says_what_it_is_and_scores_as_the_server(self, case, precision, exported):
        path = exported(case, precision)
        with pytest.warns(UserWarning, match=f"stores its kernels as {precision}: the weights are rounded"):
            loaded = tfdgm.load(path)
        assert {weight.dtype for weight in loaded.weights} <= {"float32", "int32"}
        loaded.use_xla = False
        np.testing.assert_allclose(loaded.log_prob(**case.first(16)), score(path, case), rtol=1e-5, atol=1e-5)
        loaded.compile(optimizer="sgd", jit_compile=False)
        loaded.fit(case.x, case.condition, epochs=1, verbose=0)

    def test_full_precision_loads_without_a_warning(self, tmp_path, recwarn):
        made(CASES["made_binary"]).export(tmp_path / "1")
        tfdgm.load(tmp_path)
        assert not [warning for warning in recwarn if "rounded" in str(warning.message)]
        # Nor do artifacts of before, which say no precision.
        file = tmp_path / "1" / "assets.extra" / "tfdgm.json"
        description = json.loads(file.read_text())
        file.write_text(json.dumps({key: description[key] for key in ("tfdgm", "class", "config", "weights")}))
        tfdgm.load(tmp_path)
        assert not [warning for warning in recwarn if "rounded" in str(warning.message)]

    def test_what_cannot_be_stored_is_refused(self, tmp_path):
        with pytest.raises(ArtifactError, match="has no float32 kernels to store as bfloat16"):
            made(CASES["gaussian_mixture"]).export(tmp_path / "1", precision="bfloat16")
        with pytest.raises(ArtifactError, match=r"`precision` must be one of float32, bfloat16, float16\. Received: int8"):
            made(CASES["maf"]).export(tmp_path / "1", precision="int8")
        model = made(CASES["maf"])
        kernel = next(weight for weight in model.trainable_weights if len(weight.shape) == 2)
        kernel.assign(kernel * 1e7)
        with pytest.raises(ArtifactError, match="values beyond float16"):
            model.export(tmp_path / "1", precision="float16")
        assert not (tmp_path / "1").exists()


class TestSampler:
    @pytest.mark.slow
    @model_cases("made_categorical", "realnvp_levels")
    def test_sample_alone_draws_from_it(self, case, tmp_path):
        model = made(case)
        model.export(tmp_path / "1")
        model.export(tmp_path / "2", sampler=tempered(model.distribution, 0.3))
        seeds = tf.constant([[1, i] for i in range(200)], tf.int32)
        one, two = (tf.saved_model.load(str(tmp_path / version)).signatures for version in ("1", "2"))
        assert set(one) == set(two)
        plain, cold = (signatures["sample"](seed=seeds)["x"] for signatures in (one, two))
        assert (plain.numpy() != cold.numpy()).any()
        np.testing.assert_array_equal(cold, tempered(model.distribution, 0.3).from_noise(model.distribution.draw_noise(seeds)))
        np.testing.assert_array_equal(score(tmp_path / "1", case), score(tmp_path / "2", case))
        assert np.mean(score_rows(one, cold)) > np.mean(score_rows(one, plain))  # Less varied: likelier under the model.


def score_rows(signatures, x):
    return signatures["log_prob"](x=x)["log_prob"]


class TestVersions:
    @pytest.mark.slow
    def test_folders_of_several_versions_have_the_same_signatures(self, tmp_path):
        model = made(CASES["made_real"])
        for version, options in (("1", {}), ("2", {"precision": "float16"}), ("10", {"max_batch": 3})):
            model.export(tmp_path / "maf" / version, **options)
        seen = []
        for version in ("1", "2", "10"):
            signatures = tf.saved_model.load(str(tmp_path / "maf" / version)).signatures
            seen.append({
                name: (
                    {key: (tuple(spec.shape), spec.dtype) for key, spec in signature.structured_input_signature[1].items()},
                    {key: (tuple(spec.shape), spec.dtype) for key, spec in signature.structured_outputs.items()},
                )
                for name, signature in signatures.items()
            })  # fmt: skip
        assert seen[0] == seen[1] == seen[2] and len(seen[0]) == 5
        assert tfdgm.serving.find_saved_model(tmp_path / "maf").name == "10"
