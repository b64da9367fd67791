"""Damaged and hostile artifacts: one ArtifactError that says what is wrong, nothing that hangs, no file that is touched."""

import json
import os
import shutil
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import node_def_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_probability import distributions as tfd

import tfdgm
from tfdgm.serving import ArtifactError, load, load_graph


@keras.saving.register_keras_serializable(package="odd")
class NoDensity(keras.Model):
    pass


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with the SavedModels of two small flows of one kind, in 1 and in other/1."""
    folder = tmp_path_factory.mktemp("flow")
    for path, activation in ((folder / "1", "relu"), (folder / "other" / "1", "tanh")):
        model = tfdgm.models.MAF((2,), num_layers=1, hidden_units=(4,), activation=activation)
        model.adapt(np.random.default_rng(0).normal(size=(20, 2)))
        model.export(path)
    return folder


@pytest.fixture
def artifact(exported, tmp_path):
    shutil.copytree(exported / "1", tmp_path / "m" / "1")
    return tmp_path / "m" / "1"


def description_file(artifact):
    return artifact / "assets.extra" / "tfdgm.json"


def changed(artifact, **values):
    file = description_file(artifact)
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def with_config(**values):
    def change(artifact):
        config = json.loads(description_file(artifact).read_text())["config"]
        changed(artifact, config={**config, **values})

    return change


def with_values(**values):
    return lambda artifact: changed(artifact, **values)


def with_content(content):
    return lambda artifact: description_file(artifact).write_bytes(content)


def as_pipe(name):
    def change(artifact):
        (artifact / name).unlink()
        os.mkfifo(artifact / name)

    return change


def as_folder(artifact):
    description_file(artifact).unlink()
    description_file(artifact).mkdir()


def endless(artifact):
    """A hundred gigabytes, none of them on disk."""
    with open(description_file(artifact), "wb") as file:
        file.truncate(10**11)


def cut(artifact):
    """Without the last bytes, which are no weights."""
    file = artifact / "variables" / "variables.data-00000-of-00001"
    file.write_bytes(file.read_bytes()[:-20])


def with_texts(artifact):
    """Variables of the right names and shapes, of an export of before."""
    description = json.loads(description_file(artifact).read_text())
    module = tf.Module()
    module.weights = {f"{i:04d}": tf.Variable(tf.fill(w["shape"], "x")) for i, w in enumerate(description["weights"])}
    tf.saved_model.save(module, str(artifact))
    changed(artifact, sha256={})


def with_graph_of_another(artifact):
    other = artifact.parents[1] / "other.pb"
    shutil.copy(other, artifact / "saved_model.pb")


WEIGHT = {"shape": [], "dtype": "int32"}
TEXT_VECTORIZATION = {"module": "keras.layers", "class_name": "TextVectorization", "config": {"vocabulary": "/etc/passwd"}}

DAMAGED = {
    # What the description says.
    "class_number": (with_values(**{"class": 3}), r"class must be str \| None. Received: 3"),
    "class_dict": (with_values(**{"class": {"a": 1}}), "class must be str"),
    "class_list": (with_values(**{"class": ["a"]}), "class must be str"),
    "class_layer": (with_values(**{"class": "tfdgm>MaskedDense"}), "MaskedDense, which is not known"),
    "class_abstract": (with_values(**{"class": "tfdgm>DensityModel", "config": {}}), "DensityModel, which is not known"),
    "class_of_keras": (with_values(**{"class": "odd>NoDensity", "config": {}}), "no attribute 'distribution'"),
    "class_from_distribution": (with_values(**{"class": "tfdgm>_FromDistribution"}), "damaged, or was written by another tfdgm"),
    "class_other_model": (with_values(**{"class": "tfdgm>GaussianMixture"}), "another tfdgm.*num_layers"),
    "version_number": (with_values(tfdgm=1), "tfdgm must be str. Received: 1"),
    "config_list": (with_values(config=[1]), r"config must be dict \| None"),
    "config_of_objects": (with_config(activation=TEXT_VECTORIZATION), "`activation` must be a plain value"),
    "config_dtype_of_objects": (with_config(dtype={"class_name": "Lambda"}), "`dtype` must be a plain value"),
    "config_dtype": (with_config(dtype="float3"), "float3"),
    "config_activation": (with_config(activation="no_such"), "no_such"),
    "config_activation_number": (with_config(activation=3), "another tfdgm"),
    "config_many_layers": (with_config(num_layers=10**9), "`num_layers` is larger than all .* weights"),
    "config_many_layers_float": (with_config(num_layers=1e300), "`num_layers` is larger"),
    "config_some_layers": (with_config(num_layers=30), "more weights than there are"),
    "config_negative": (with_config(num_layers=-1), "`num_layers` must be"),
    "config_wide": (with_config(hidden_units=[10**9]), "`hidden_units` is larger"),
    "config_deep": (with_config(hidden_units=[1] * 10**5), "more weights than there are"),
    "config_large_event": (with_config(event_shape=[10**5, 10**5]), "`event_shape` has more than"),
    "config_event_text": (with_config(event_shape="abc"), "another tfdgm"),
    "config_event_none": (with_config(event_shape=None), "another tfdgm"),
    "config_columns": (with_config(column_names=5), "another tfdgm"),
    "config_seed": (with_config(seed=10**30), "seed"),
    "weights_none": (with_values(weights=None), "weights must be list"),
    "weights_text": (with_values(weights="abc"), "weights must be list"),
    "weights_numbers": (with_values(weights=[1, 2]), r"weights\[0\] must be dict. Received: 1"),
    "weights_empty": (with_values(weights=[{}]), r"weights\[0\] must have dtype, shape"),
    "weights_shape": (with_values(weights=[{"shape": "ab", "dtype": "float32"}]), r"weights\[0\].shape must be list"),
    "weights_large": (with_values(weights=[{"shape": [10**9], "dtype": "int32"}]), r"shape \[1000000000\]. Stored: \[\]"),
    "weights_few": (with_values(weights=[WEIGHT]), "more weights than there are|larger than all"),
    "weights_many": (with_values(weights=[WEIGHT] * 10**4), r"Stored: \["),
    "precision": (with_values(precision="int4"), "precision must be .*float32"),
    "digests": (with_values(sha256={"../../../etc/passwd": "0"}), "passwd is not what was exported"),
    "digests_list": (with_values(sha256=[]), "sha256 must be dict"),
    # The file that it stands in.
    "empty": (with_content(b""), r"damaged: .*tfdgm\.json cannot be read"),
    "nested": (with_content(b"[" * 10**5), "nested too deeply"),
    "long_number": (with_content(b"1" * 10**5), "cannot be read"),
    "no_text": (with_content(b"\xff\xfe{}"), "UTF-8"),
    "endless": (endless, "bytes at most. Received: 100,000,000,000"),
    "pipe": (as_pipe("assets.extra/tfdgm.json"), "expected a file. Received: a pipe or device"),
    "folder": (as_folder, "expected a file. Received: a folder"),
    # The other files.
    "pipe_graph": (as_pipe("saved_model.pb"), r"damaged: saved_model\.pb cannot be read"),
    "pipe_index": (as_pipe("variables/variables.index"), r"variables\.index is no file"),
    "pipe_data": (as_pipe("variables/variables.data-00000-of-00001"), "is no file"),
    "cut_variables": (cut, r"variables\.data-00000-of-00001 is not what was exported"),
    "texts": (with_texts, "weights must be numbers. Stored: texts"),
    "graph_of_another": (with_graph_of_another, r"saved_model\.pb is not what was exported"),
}


class TestLoad:
    @pytest.mark.parametrize(("damage", "message"), DAMAGED.values(), ids=DAMAGED)
    def test_one_line_that_says_what_is_wrong(self, damage, message, artifact, exported):
        shutil.copy(exported / "other" / "1" / "saved_model.pb", artifact.parents[1] / "other.pb")
        damage(artifact)
        with pytest.raises(ArtifactError, match=message) as caught:
            load(artifact)
        assert str(artifact) in str(caught.value) and len(str(caught.value)) < 500

    def test_what_is_no_version_beside_one(self, artifact):
        # TF Serving takes folders whose names are numbers.
        (artifact.parent / "12").write_text("")
        (artifact.parent / "²").mkdir()
        assert isinstance(load(artifact.parent), tfdgm.models.MAF)

    def test_exports_of_before_have_no_digests(self, artifact):
        description = json.loads(description_file(artifact).read_text())
        del description["sha256"]
        description_file(artifact).write_text(json.dumps(description))
        assert isinstance(load(artifact), tfdgm.models.MAF)


def node(op, **texts):
    made = node_def_pb2.NodeDef(name="added", op=op)
    for name, text in texts.items():
        made.attr[name].s = text.encode()
    return made


def with_node(made):
    """The node in a function that the signatures call."""

    def change(graph):
        function = next(f for f in graph.graph_def.library.function if "signature_wrapper" in f.signature.name)
        function.node_def.append(made)

    return change


def saver(graph):
    return next(n for n in graph.graph_def.node if n.name == graph.saver_def.restore_op_name).attr["f"].func.name


def calls_saver(graph):
    made = node("StatefulPartitionedCall")
    made.attr["f"].func.name = saver(graph)
    with_node(made)(graph)


def holds_saver(graph):
    graph.object_graph_def.nodes.add().bare_concrete_function.concrete_function_name = saver(graph)


def saver_stands_in(graph):
    function = next(f for f in graph.graph_def.library.function if f.signature.name == saver(graph))
    function.attr["api_implements"].s = b"log_prob"


def in_a_loop(graph):
    """A body that nothing calls by its name alone."""
    body = graph.graph_def.library.function.add()
    body.signature.name = "body"
    body.node_def.append(node("WriteFile"))
    made = node("While")
    made.attr["body"].func.name = "body"
    with_node(made)(graph)


def named_as_an_operation(graph):
    graph.graph_def.library.function.add().signature.name = "ReadFile"
    with_node(node("ReadFile"))(graph)


OPERATIONS = [
    "ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "EagerPyFunc", "PyFuncStateless", "MergeV2Checkpoints", "SaveV2",
    "RestoreV2", "ImmutableConst", "PrintV2", "DebugIdentity", "EncodeProto", "TFRecordDataset", "TextLineDataset",
    "CreateSummaryFileWriter", "InitializeTableFromTextFileV2", "RpcCall", "Abort", "NoSuchOp", "UnwrapDatasetVariant",
    "_Send",
]  # fmt: skip
HOSTILE = {
    **{op: (with_node(node(op)), op) for op in OPERATIONS},
    "calls_saver": (calls_saver, "traced_restore"),
    "holds_saver": (holds_saver, "traced_restore"),
    "saver_stands_in": (saver_stands_in, "RestoreV2"),
    "in_a_loop": (in_a_loop, "WriteFile"),
    "named_as_an_operation": (named_as_an_operation, "ReadFile"),
    "tensorflow_1": (lambda graph: graph.ClearField("object_graph_def"), "TensorFlow 1"),
}


class TestGraphs:
    def test_ours_runs_and_scores_as_the_model(self, exported):
        x = np.float32([[0.5, -1.0], [2.0, 0.0]])
        score = load_graph(exported / "1")["log_prob"](x=tf.constant(x))["log_prob"]
        np.testing.assert_allclose(score, load(exported / "1").log_prob(x), rtol=1e-5)

    @pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE)
    def test_what_does_more_than_compute_is_not_run(self, change, message, artifact, monkeypatch):
        saved_model = saved_model_pb2.SavedModel.FromString((artifact / "saved_model.pb").read_bytes())
        change(saved_model.meta_graphs[0])
        (artifact / "saved_model.pb").write_bytes(saved_model.SerializeToString())
        monkeypatch.setattr(tf.saved_model, "load", None)
        with pytest.raises(ArtifactError, match=message):
            load_graph(artifact)

    @pytest.mark.slow
    def test_no_road_of_ours_writes_what_a_graph_says(self, artifact):
        written = artifact.parents[1] / "written"

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, "x")])
        def log_prob(x):
            with tf.control_dependencies([tf.io.write_file(str(written), "here")]):
                return {"log_prob": tf.reduce_sum(x, axis=1)}

        module = tf.Module()
        module.log_prob, module.weights = log_prob, load(artifact)._all_weights.values
        hostile = artifact.parents[1] / "hostile" / "1"
        tf.saved_model.save(module, str(hostile), signatures={"log_prob": log_prob, "serving_default": log_prob})
        shutil.copytree(artifact / "assets.extra", hostile / "assets.extra")
        changed(hostile, sha256={})
        x = np.float32([[0.5, -1.0]])
        assert np.isfinite(tf.saved_model.load(str(hostile)).signatures["log_prob"](x=tf.constant(x))["log_prob"]).all()
        assert written.exists()  # So it does where nobody looks.
        written.unlink()

        np.testing.assert_array_equal(load(hostile).log_prob(x), load(artifact).log_prob(x))
        report = tfdgm.verify(load(artifact), x, artifact=hostile)
        assert "Received: WriteFile" in report["SavedModel: signatures"].detail and not report.passed
        beam_scoring = pytest.importorskip("tfdgm.tasks.beam_scoring", exc_type=ImportError)
        handler = beam_scoring.LogProbHandler(hostile)
        np.testing.assert_allclose(next(handler.run_inference([x], handler.load_model())), load(artifact).log_prob(x), rtol=1e-5)
        changed(hostile, **{"class": None, "config": None})
        with pytest.raises(ArtifactError, match="WriteFile"):
            handler.load_model()
        assert not written.exists()


class TestKerasFiles:
    def test_loads_as_keras_does(self, exported, tmp_path):
        model = load(exported / "1")
        model.save(tmp_path / "m.keras")
        x = np.float32([[0.5, -1.0]])
        np.testing.assert_array_equal(tfdgm.load(tmp_path / "m.keras").log_prob(x), model.log_prob(x))
        np.testing.assert_array_equal(tfdgm.load(str(tmp_path / "m.keras")).log_prob(x), model.log_prob(x))

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip"])
    def test_what_is_none(self, content, tmp_path):
        (tmp_path / "m.keras").write_bytes(content)
        with pytest.raises(ArtifactError, match=r"m\.keras cannot be loaded"):
            tfdgm.load(tmp_path / "m.keras")

    def test_another_model(self, tmp_path):
        keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "m.keras")
        with pytest.raises(ArtifactError, match="holds a Sequential, which is no DensityModel"):
            tfdgm.load(tmp_path / "m.keras")

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({}, "weights"),  # Of which there are none.
            ({"num_layers": 10**9}, "more weights than there are"),
            ({"num_wings": 2}, "num_wings"),
            ({"activation": {"module": "builtins", "class_name": "function", "config": "no_such"}}, "no_such"),
            ({"activation": {"module": "os", "class_name": "system", "config": {}, "registered_name": "system"}}, "system"),
        ],
    )
    def test_another_config_and_no_weights(self, values, message, exported, tmp_path):
        load(exported / "1").save(tmp_path / "whole.keras")
        with zipfile.ZipFile(tmp_path / "whole.keras") as whole, zipfile.ZipFile(tmp_path / "m.keras", "w") as half:
            config = json.loads(whole.read("config.json"))
            half.writestr("config.json", json.dumps({**config, "config": {**config["config"], **values}}))
            half.writestr("metadata.json", whole.read("metadata.json"))
        with pytest.raises(ArtifactError, match=rf"m\.keras cannot be loaded: .*{message}"):
            tfdgm.load(tmp_path / "m.keras")

    def test_a_pipe_and_a_folder(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.keras")
        (tmp_path / "folder.keras").mkdir()
        for name in ("pipe.keras", "folder.keras"):
            with pytest.raises(ArtifactError, match=name):
                tfdgm.load(tmp_path / name)

    def test_a_model_from_a_distribution_says_what_can_be_kept(self, tmp_path):
        def build():
            normal = tfd.MultivariateNormalDiag(tf.Variable([1.0, 2.0]), tf.Variable([1.0, 3.0]))
            return tfdgm.DensityModel.from_distribution(normal)

        model, x = build(), np.float32([[0.5, -1.0]])
        with pytest.raises(NotImplementedError, match=r"no \.keras file can hold it.*save_weights.*load_weights"):
            model.save(tmp_path / "m.keras")
        for weight in model.trainable_weights:
            weight.assign(weight + 0.5)
        model.save_weights(tmp_path / "m.weights.h5")
        model.export(tmp_path / "1")
        by_keras, by_restore = build(), build()
        assert by_keras.log_prob(x)[0] != model.log_prob(x)[0]
        by_keras.load_weights(tmp_path / "m.weights.h5")
        by_restore.restore(tmp_path)
        for again in (by_keras, by_restore):
            np.testing.assert_array_equal(again.log_prob(x), model.log_prob(x))
