import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from contracts.cases import CASES, model_cases
from tensorflow.core.protobuf import saved_model_pb2

import tfdgm
from tfdgm.serving import ArtifactError, find_saved_model, load
from tfdgm.serving.warmup import WARM_UP_REQUESTS

EXPORTED = (
    "made_categorical",
    "made_binary_condition",
    "made_real",
    "maf_levels_act_norm",
    "iaf",
    "realnvp_condition",
    "gaussian_mixture",
)

pytestmark = pytest.mark.usefixtures("eagerly")
exported_cases = model_cases(*EXPORTED)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A function from a case to (its model of random weights, the SavedModel's folder); each is written once."""
    written = {}

    def export(case):
        if case.name not in written:
            model = case.make(seed=2)
            model.adapt(case.x, case.condition)
            path = tmp_path_factory.mktemp(case.name) / "1"
            model.export(path)
            written[case.name] = model, path
        return written[case.name]

    return export


def proto(path):
    saved_model = saved_model_pb2.SavedModel()
    saved_model.ParseFromString((path / "saved_model.pb").read_bytes())
    return saved_model.meta_graphs[0]


class TestSignatures:
    @exported_cases
    def test_names_shapes_and_dtypes(self, case, exported):
        model, path = exported(case)
        signatures = tf.saved_model.load(str(path)).signatures
        flow, autoregressive = (
            not case.name.startswith("made_b") and case.name != "made_categorical",
            case.name.startswith("made"),
        )
        autoregressive = autoregressive and case.name != "made_real"  # Standardised: a flow over an autoregressive base.
        names = {"serving_default", "log_prob", "sample"}
        names |= {"encode", "decode"} if flow else set()
        names |= {"complete"} if autoregressive else set()
        assert set(signatures) == names

        event, dtype = (None, *model.event_shape), model.distribution.dtype
        x, log_prob = {"x": (event, dtype)}, {"log_prob": ((None,), tf.float32)}
        seed, z = {"seed": ((None, 2), tf.int32)}, {"z": (event, tf.float32)}
        expected = {
            "serving_default": (x, log_prob),
            "log_prob": (x, log_prob),
            "sample": (seed, x),
            "encode": (x, {**z, "log_det": ((None,), tf.float32)}),
            "decode": (z, x),
            "complete": ({**x, "known": (event, dtype), **seed}, x),
        }
        for name in names:
            inputs, outputs = expected[name]
            if case.condition is not None:
                inputs = {**inputs, "condition": ((None, 2), tf.float32)}
            given = signatures[name].structured_input_signature[1]
            assert {k: (tuple(s.shape), s.dtype) for k, s in given.items()} == inputs
            returned = signatures[name].structured_outputs
            assert {k: (tuple(s.shape), s.dtype) for k, s in returned.items()} == outputs

    def test_names_of_columns(self, tmp_path):
        """As TensorFlow alone reads them, one text a row; the warm-up requests ask for them, too."""
        model = CASES["realnvp_condition"].make(seed=2)
        model.column_names, model.condition_names = ("a", "ü, b", 'c"'), None
        model.export(tmp_path / "1", max_batch=3)
        signatures = tf.saved_model.load(str(tmp_path / "1")).signatures
        assert set(signatures) == {"serving_default", "log_prob", "sample", "encode", "decode", "describe"}
        texts = signatures["describe"](row=tf.zeros(2, tf.int32))["json"].numpy()
        assert [json.loads(t) for t in texts] == [{"column_names": ["a", "ü, b", 'c"'], "condition_names": None}] * 2
        if importlib.util.find_spec("tensorflow_serving"):
            assert b"describe" in (tmp_path / "1" / WARM_UP_REQUESTS).read_bytes()

    @pytest.mark.slow
    @exported_cases
    def test_a_sample_depends_on_its_seed_alone(self, case, exported):
        model, path = exported(case)
        sample = tf.saved_model.load(str(path)).signatures["sample"]
        given = {} if case.condition is None else {"condition": case.condition[:6]}
        seeds = np.array([[4, 0], [4, 1], [4, 2], [9, 2], [-7, 3], [4, 2]], np.int32)

        def draw(rows):
            condition = {name: tf.constant(value[rows]) for name, value in given.items()}
            return sample(seed=tf.constant(seeds[rows]), **condition)["x"].numpy()

        together = draw([0, 1, 2, 3, 4, 5])
        # Sums of another batch size may round otherwise.
        np.testing.assert_allclose(draw([3, 1]), together[[3, 1]], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(draw([4]), together[[4]], rtol=1e-4, atol=1e-5)
        if case.condition is None:
            np.testing.assert_allclose(together[5], together[2], rtol=1e-4, atol=1e-5)
        assert (together[2] != together[3]).any() or case.x.dtype.kind == "i"
        np.testing.assert_allclose(
            model.sample(3, seed=4, **{name: value[:3] for name, value in given.items()}), together[:3], rtol=1e-4, atol=1e-5
        )

    @pytest.mark.slow
    @model_cases("iaf", "realnvp_condition", "maf_levels_act_norm", "made_real")
    def test_encode_and_decode(self, case, exported):
        model, path = exported(case)
        signatures = tf.saved_model.load(str(path)).signatures
        given = {} if case.condition is None else {"condition": tf.constant(case.condition[:8])}
        x = tf.constant(case.x[:8], model.distribution.dtype)
        encoded = signatures["encode"](x=x, **given)
        back = signatures["decode"](z=encoded["z"], **given)["x"]
        # Of integers the noise falls away again.
        np.testing.assert_allclose(back, x, rtol=1e-3, atol=1e-3)
        log_prob = signatures["log_prob"](x=x, **given)["log_prob"]
        if case.name != "made_real":  # Its base is no normal.
            base = -0.5 * np.sum(np.square(encoded["z"]), axis=1) - 1.5 * np.log(2 * np.pi)
            np.testing.assert_allclose(base + encoded["log_det"], log_prob, rtol=1e-4)

    @model_cases("made_categorical", "made_binary_condition")
    def test_complete_keeps_what_is_known(self, case, exported):
        _, path = exported(case)
        signatures = tf.saved_model.load(str(path)).signatures
        given = {} if case.condition is None else {"condition": tf.constant(case.condition[:40])}
        x, known = case.x[:40].astype(np.int32), np.zeros_like(case.x[:40], np.int32)
        known.reshape(40, -1)[:, 1] = 1
        seed = tf.constant([[1, i] for i in range(40)], tf.int32)
        completed = signatures["complete"](x=tf.constant(x), known=tf.constant(known), seed=seed, **given)["x"].numpy()
        np.testing.assert_array_equal(completed[known == 1], x[known == 1])
        assert (completed[known == 0] != x[known == 0]).any()
        free = signatures["complete"](x=tf.constant(x), known=tf.zeros_like(known), seed=seed, **given)["x"]
        np.testing.assert_array_equal(free, signatures["sample"](seed=seed, **given)["x"])


class TestOps:
    @exported_cases
    def test_core_ops_only_and_nothing_jit_compiled(self, case, exported):
        meta_graph = proto(exported(case)[1])
        functions = list(meta_graph.graph_def.library.function)
        nodes = [*meta_graph.graph_def.node, *(node for function in functions for node in function.node_def)]
        assert len(nodes) > 20 and functions
        ops = {node.op for node in nodes}
        assert not {op for op in ops if "Xla" in op or "PyFunc" in op or ">" in op}
        # Every op that is no function of the library is one that TensorFlow's own core registers.
        registered = set(tf.raw_ops.__dict__) | {"_Arg", "_Retval"}
        assert ops - {function.signature.name for function in functions} <= registered
        for holder in [*nodes, *functions]:
            for name in ("_XlaMustCompile", "_XlaCompile"):
                assert not (name in holder.attr and holder.attr[name].b), holder

    def test_the_weights_of_cut_connections_are_zero(self, exported):
        model, _ = exported(CASES["made_categorical"])
        for layer in model._flatten_layers():
            if isinstance(layer, tfdgm.layers.MaskedDense):
                assert (layer.kernel.numpy()[~layer.mask] == 0).all()


# Loads the SavedModel with TensorFlow's C library and prints log_prob; neither tensorflow nor tfdgm is imported.
C_CLIENT = r"""
import ctypes, importlib.util, json, pathlib, sys
import numpy as np

folder, tensor_in, tensor_out, rows = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4]
where = pathlib.Path(importlib.util.find_spec("tensorflow").submodule_search_locations[0])
ctypes.CDLL(str(where / "libtensorflow_framework.so.2"), mode=ctypes.RTLD_GLOBAL)
tf = ctypes.CDLL(str(where / "libtensorflow_cc.so.2"), mode=ctypes.RTLD_GLOBAL)


class Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


pointer, text = ctypes.c_void_p, ctypes.c_char_p
for name in ("NewStatus", "NewGraph", "NewSessionOptions", "LoadSessionFromSavedModel", "GraphOperationByName",
             "AllocateTensor", "TensorData"):
    getattr(tf, "TF_" + name).restype = pointer
tf.TF_Message.restype = text
tf.TF_GetCode.argtypes = tf.TF_Message.argtypes = tf.TF_TensorData.argtypes = [pointer]
tf.TF_LoadSessionFromSavedModel.argtypes = [pointer, pointer, text, ctypes.POINTER(text), ctypes.c_int, pointer, pointer, pointer]
tf.TF_GraphOperationByName.argtypes = [pointer, text]
tf.TF_AllocateTensor.argtypes = [ctypes.c_int, ctypes.POINTER(ctypes.c_int64), ctypes.c_int, ctypes.c_size_t]
tf.TF_SessionRun.argtypes = [pointer, pointer, ctypes.POINTER(Output), ctypes.POINTER(pointer), ctypes.c_int,
                             ctypes.POINTER(Output), ctypes.POINTER(pointer), ctypes.c_int,
                             pointer, ctypes.c_int, pointer, pointer]
status, graph, options = tf.TF_NewStatus(), tf.TF_NewGraph(), tf.TF_NewSessionOptions()


def check():
    assert tf.TF_GetCode(status) == 0, tf.TF_Message(status)


tags = (text * 1)(b"serve")
session = tf.TF_LoadSessionFromSavedModel(options, None, folder.encode(), tags, 1, graph, None, status)
check()
x = np.load(rows)
shape = (ctypes.c_int64 * x.ndim)(*x.shape)
tensor = tf.TF_AllocateTensor({"float32": 1, "int32": 3}[x.dtype.name], shape, x.ndim, x.nbytes)
ctypes.memmove(tf.TF_TensorData(tensor), x.ctypes.data, x.nbytes)


def output(name):
    operation, index = name.split(":")
    found = tf.TF_GraphOperationByName(graph, operation.encode())
    assert found, name
    return Output(found, int(index))


inputs, outputs = (Output * 1)(output(tensor_in)), (Output * 1)(output(tensor_out))
given, got = (pointer * 1)(tensor), (pointer * 1)()
tf.TF_SessionRun(session, None, inputs, given, 1, outputs, got, 1, None, 0, None, status)
check()
values = np.ctypeslib.as_array(ctypes.cast(tf.TF_TensorData(got[0]), ctypes.POINTER(ctypes.c_float)), (len(x),))
assert not {"tensorflow", "tfdgm", "keras"} & set(sys.modules)
print(json.dumps([float(value) for value in values]))
"""


class TestWithoutPython:
    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library's name is that of Linux")
    @model_cases("made_categorical", "iaf")
    def test_tensorflows_c_library_loads_and_scores(self, case, exported, tmp_path):
        model, path = exported(case)
        signature = proto(path).signature_def["log_prob"]
        x = case.x[:8].astype(model.distribution.dtype.as_numpy_dtype)
        np.save(tmp_path / "x.npy", x)
        names = [signature.inputs["x"].name, signature.outputs["log_prob"].name]
        command = [sys.executable, "-c", C_CLIENT, str(path), *names, str(tmp_path / "x.npy")]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
        assert result.returncode == 0, result.stderr[-2000:]
        np.testing.assert_allclose(json.loads(result.stdout.splitlines()[-1]), model.log_prob(x), rtol=1e-5)


class TestDamage:
    """Whatever the folder holds: an ArtifactError that names it."""

    @pytest.fixture
    def copy(self, exported, tmp_path):
        _, path = exported(CASES["made_categorical"])
        shutil.copytree(path, tmp_path / "m" / "1")
        return tmp_path / "m" / "1"

    def test_the_copy_loads(self, copy):
        for path in (copy, copy.parent, str(copy)):
            assert isinstance(load(path), tfdgm.models.MADE)

    def test_highest_version_is_taken(self, copy):
        shutil.copytree(copy, copy.with_name("10"))
        shutil.copytree(copy, copy.with_name("9"))
        assert find_saved_model(copy.parent).name == "10"

    @pytest.mark.parametrize("part", ["variables.data-00000-of-00001", "variables.index"])
    @pytest.mark.parametrize("how", ["truncated", "emptied", "removed", "garbage"])
    def test_variables(self, copy, part, how):
        file = copy / "variables" / part
        data = file.read_bytes()
        if how == "removed":
            file.unlink()
        else:
            file.write_bytes({"truncated": data[:100], "emptied": b"", "garbage": os.urandom(len(data))}[how])
        with pytest.raises(ArtifactError, match="damaged") as caught:
            load(copy)
        assert str(copy) in str(caught.value)

    @pytest.mark.parametrize("how", ["truncated", "emptied", "garbage"])
    def test_the_graph_that_a_server_reads(self, copy, how):
        data = (copy / "saved_model.pb").read_bytes()
        (copy / "saved_model.pb").write_bytes({"truncated": data[:-100], "emptied": b"", "garbage": b"\xff" * 1000}[how])
        for read in (load, CASES["made_categorical"].make().restore):
            with pytest.raises(ArtifactError, match=r"damaged: saved_model\.pb cannot be read"):
                read(copy)

    @pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"tfdgm": "0.1.0", "class": "x"}', "null"])
    def test_description(self, copy, content):
        (copy / "assets.extra" / "tfdgm.json").write_text(content)
        with pytest.raises(ArtifactError, match=r"damaged: .*tfdgm.json"):
            load(copy)

    def test_config_of_another_version(self, copy):
        file = copy / "assets.extra" / "tfdgm.json"
        description = json.loads(file.read_text())
        file.write_text(json.dumps({**description, "config": {**description["config"], "num_wings": 2}}))
        with pytest.raises(ArtifactError, match=r"another tfdgm.*num_wings"):
            load(copy)
        file.write_text(json.dumps({**description, "class": "elsewhere>Model"}))
        with pytest.raises(ArtifactError, match=r"elsewhere>Model, which is not known"):
            load(copy)
        file.write_text(json.dumps({**description, "config": {**description["config"], "hidden_units": [9, 9]}}))
        with pytest.raises(ArtifactError, match="holds other weights than this model"):
            load(copy)

    def test_foreign_saved_model(self, tmp_path):
        module = tf.Module()
        module.v = tf.Variable(1.0)
        tf.saved_model.save(module, str(tmp_path / "1"))
        with pytest.raises(ArtifactError, match="was not written by tfdgm"):
            load(tmp_path)

    def test_empty_missing_and_file(self, tmp_path):
        with pytest.raises(ArtifactError, match="and no numbered version folder"):
            load(tmp_path)
        with pytest.raises(ArtifactError, match="does not exist"):
            load(tmp_path / "nowhere")
        (tmp_path / "file").write_text("text")
        with pytest.raises(ArtifactError):
            load(tmp_path / "file")


class TestExport:
    @pytest.mark.slow
    def test_failed_write_leaves_the_old_version_whole(self, tmp_path, monkeypatch):
        case = CASES["made_binary"]
        first, second = case.make(seed=1), case.make(seed=2)
        first.export(tmp_path / "1")
        before = _files(tmp_path)

        def full(module, path, **kwargs):
            pathlib.Path(path).mkdir(parents=True)
            (pathlib.Path(path) / "saved_model.pb").write_bytes(b"half")
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(tf.saved_model, "save", full)
            with pytest.raises(ArtifactError, match=r"Could not write .*No space left.*unchanged"):
                second.export(tmp_path / "1")
        assert _files(tmp_path) == before
        np.testing.assert_array_equal(load(tmp_path).get_weights()[0], first.get_weights()[0])
        second.export(tmp_path / "1")
        np.testing.assert_array_equal(load(tmp_path).get_weights()[0], second.get_weights()[0])
        assert sorted(p.name for p in tmp_path.iterdir()) == ["1"]

    @pytest.mark.slow
    def test_failed_rename_puts_the_old_version_back(self, tmp_path, monkeypatch):
        case = CASES["made_binary"]
        case.make(seed=1).export(tmp_path / "1")
        before, rename = _files(tmp_path), os.rename

        def fail(source, target):
            if pathlib.Path(source).name.endswith(".new"):
                raise OSError(5, "Input/output error")
            rename(source, target)

        monkeypatch.setattr(os, "rename", fail)
        with pytest.raises(ArtifactError, match="Could not write"):
            case.make(seed=2).export(tmp_path / "1")
        monkeypatch.undo()
        assert _files(tmp_path) == before

    @pytest.mark.slow
    def test_kill_while_writing_and_between_the_renames(self, tmp_path):
        case = CASES["made_binary"]
        model = case.make(seed=1)
        model.export(tmp_path / "1")
        # Killed while writing: the new one lies half beside.
        half = tmp_path / f".1.{'0' * 32}.new"
        half.mkdir()
        (half / "saved_model.pb").write_bytes(b"half")
        np.testing.assert_array_equal(load(tmp_path).get_weights()[0], model.get_weights()[0])
        # Killed between the renames: the old one lies beside, and nothing in its place.
        os.rename(tmp_path / "1", tmp_path / ".1.old")
        np.testing.assert_array_equal(load(tmp_path / "1").get_weights()[0], model.get_weights()[0])
        # And a new export clears up.
        model.export(tmp_path / "1")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["1"]

    def test_kill_between_the_renames_is_found_from_the_folder_of_versions(self, tmp_path):
        model = CASES["made_binary"].make(seed=1)
        model.export(tmp_path / "1")
        os.rename(tmp_path / "1", tmp_path / ".1.old")
        np.testing.assert_array_equal(load(tmp_path).get_weights()[0], model.get_weights()[0])

    def test_other_folders_are_not_overwritten(self, tmp_path):
        model = CASES["made_binary"].make()
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "one.jpg").write_bytes(b"dear")
        with pytest.raises(ArtifactError, match="with other files"):
            model.export(tmp_path / "photos")
        assert (tmp_path / "photos" / "one.jpg").read_bytes() == b"dear"
        model.export(tmp_path / "1")
        with pytest.raises(ArtifactError, match="exists already"):
            model.export(tmp_path / "1", overwrite=False)
        (tmp_path / "1" / "notes.txt").write_bytes(b"dear")
        with pytest.raises(ArtifactError, match=r"with other files: notes\.txt"):
            model.export(tmp_path / "1")
        assert (tmp_path / "1" / "notes.txt").read_bytes() == b"dear"

    def test_another_programs_saved_model_is_not_overwritten(self, tmp_path):
        tf.saved_model.save(tf.Module(), str(tmp_path / "1"))
        before = _files(tmp_path)
        with pytest.raises(ArtifactError, match="which tfdgm has not written"):
            CASES["made_binary"].make().export(tmp_path / "1")
        assert _files(tmp_path) == before

    def test_two_at_once(self, tmp_path, monkeypatch):
        """The second is told so, and nothing of it stays; nor does it replace what comes without a lock, unless it may."""
        case, save = CASES["made_binary"], tf.saved_model.save

        def meanwhile(module, path, **kwargs):
            monkeypatch.undo()
            with pytest.raises(ArtifactError, match=r"Could not write .*1: .*1 is being written by process"):
                case.make(seed=2).export(tmp_path / "1")
            case.make(seed=2).export(tmp_path / "2")
            os.rename(tmp_path / "2", tmp_path / "1")
            save(module, path, **kwargs)

        monkeypatch.setattr(tf.saved_model, "save", meanwhile)
        with pytest.raises(ArtifactError, match="exists already"):
            case.make(seed=1).export(tmp_path / "1", overwrite=False)
        np.testing.assert_array_equal(load(tmp_path).get_weights()[0], case.make(seed=2).get_weights()[0])
        assert [path.name for path in tmp_path.iterdir()] == ["1"]

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, AttributeError])
    def test_nothing_stays_after_any_exception(self, tmp_path, monkeypatch, error):
        def fail(module, path, **kwargs):
            pathlib.Path(path).mkdir()
            raise error

        monkeypatch.setattr(tf.saved_model, "save", fail)
        with pytest.raises(error):
            CASES["made_binary"].make().export(tmp_path / "new" / "1")
        assert not list(tmp_path.iterdir())

    def test_restore_refuses_another_model(self, exported):
        _, path = exported(CASES["made_categorical"])
        with pytest.raises(ArtifactError, match="holds other weights than this model"):
            CASES["maf"].make().restore(path)


def _files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
