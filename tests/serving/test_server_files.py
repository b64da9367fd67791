import json
import os
import pathlib

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from tfdgm.serving.server_files import write_server_files


def put(folder, name, version, **description):
    """A model's version folder, as far as these files look into it."""
    path = folder / name / str(version)
    (path / "assets.extra").mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(b"")
    if description:
        (path / "assets.extra" / "tfdgm.json").write_text(json.dumps(description))


def message(name, fields):
    """A protobuf message class from (name, number, type) of its fields; of a nested message, the type is its class."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="test", syntax="proto3")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file.dependency.append("google/protobuf/wrappers.proto")
    made = file.message_type.add(name=name)
    kinds = descriptor_pb2.FieldDescriptorProto
    for field, number, kind, repeated in fields:
        label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
        added = made.field.add(name=field, number=number, label=label)
        if isinstance(kind, str):
            added.type, added.type_name = kinds.TYPE_MESSAGE, kind
        else:
            added.type = kind
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"test.{name}"))


def batching_parameters():
    """BatchingParameters, as far as tensorflow_serving/servables/tensorflow/session_bundle_config.proto of 2016 has it.

    The package tensorflow-serving-api leaves that file out.
    """
    kinds, wrapped = descriptor_pb2.FieldDescriptorProto, ".google.protobuf.Int64Value"
    names = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    return message(
        "BatchingParameters",
        [
            *((name, i + 1, wrapped, False) for i, name in enumerate(names)),
            ("allowed_batch_sizes", 6, kinds.TYPE_INT64, True),
            ("pad_variable_length_inputs", 7, kinds.TYPE_BOOL, False),
        ],
    )()


def models_config(folder):
    model_server_config_pb2 = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    parsed = text_format.Parse((folder / "models.config").read_text(), model_server_config_pb2.ModelServerConfig())
    return list(parsed.model_config_list.config)


class TestModelsConfig:
    def test_one_entry_a_model_with_the_two_newest_versions(self, tmp_path):
        for version in (2, 10, 9):
            put(tmp_path, "maf_digits", version)
        put(tmp_path, "made", 4)
        (tmp_path / "notes").mkdir()
        (tmp_path / "made" / ".5.new").mkdir()  # Half written.
        (tmp_path / "made" / ".5.new" / "saved_model.pb").write_bytes(b"")
        put(tmp_path, ".hidden", 1)
        write_server_files(tmp_path)
        made, maf = models_config(tmp_path)
        assert (made.name, made.base_path, made.model_platform) == ("made", "/models/made", "tensorflow")
        assert (maf.name, maf.base_path) == ("maf_digits", "/models/maf_digits")
        assert dict(made.version_labels) == {"stable": 4, "canary": 4}
        assert dict(maf.version_labels) == {"stable": 9, "canary": 10}
        for entry in (made, maf):
            assert entry.model_version_policy.latest.num_versions == 2

    def test_the_folder_on_the_server(self, tmp_path):
        put(tmp_path, "maf", 1)
        for server_dir, path in (("/srv/models/", "/srv/models/maf"), ("gs://bucket/served", "gs://bucket/served/maf")):
            write_server_files(tmp_path, server_dir)
            assert models_config(tmp_path)[0].base_path == path

    def test_names_that_need_quotes(self, tmp_path):
        put(tmp_path, 'a"b\\', 1)
        write_server_files(tmp_path)
        assert models_config(tmp_path)[0].name == 'a"b\\'

    def test_what_is_gone_from_the_folder_is_gone_from_the_file(self, tmp_path):
        put(tmp_path, "a", 1)
        put(tmp_path, "b", 1)
        write_server_files(tmp_path)
        os.unlink(tmp_path / "a" / "1" / "saved_model.pb")
        write_server_files(tmp_path)
        assert [entry.name for entry in models_config(tmp_path)] == ["b"]

    def test_a_failed_write_leaves_the_old_file(self, tmp_path, monkeypatch):
        put(tmp_path, "a", 1)
        write_server_files(tmp_path)
        before = (tmp_path / "models.config").read_text()
        put(tmp_path, "b", 1)

        def half(path, text):
            with open(path, "w") as file:
                file.write(text[: len(text) // 2])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(pathlib.Path, "write_text", half)
        with pytest.raises(OSError, match="No space"):
            write_server_files(tmp_path)
        assert (tmp_path / "models.config").read_text() == before


class TestBatchingConfig:
    @pytest.mark.parametrize(
        ("max_batch", "sizes"), [(1, [1]), (2, [1, 2]), (48, [1, 2, 4, 8, 16, 32, 48]), (64, [1, 2, 4, 8, 16, 32, 64])]
    )
    def test_sizes(self, tmp_path, max_batch, sizes):
        put(tmp_path, "maf", 1, max_batch=max_batch)
        write_server_files(tmp_path)
        parsed = text_format.Parse((tmp_path / "batching.config").read_text(), batching_parameters())
        assert parsed.max_batch_size.value == max_batch
        # The server asks that they rise and end in the maximum.
        assert list(parsed.allowed_batch_sizes) == sizes
        assert parsed.batch_timeout_micros.value > 0 and parsed.max_enqueued_batches.value > 0
        assert not parsed.HasField("num_batch_threads")

    def test_the_largest_of_all_versions(self, tmp_path):
        """A server with a smaller maximum would refuse the warm-up requests, and with them the version."""
        put(tmp_path, "a", 1, max_batch=96)
        put(tmp_path, "a", 2, max_batch=8)
        put(tmp_path, "b", 1, max_batch=None)
        put(tmp_path, "foreign", 1)
        write_server_files(tmp_path)
        parsed = text_format.Parse((tmp_path / "batching.config").read_text(), batching_parameters())
        assert parsed.max_batch_size.value == 96

    def test_the_parser_is_strict(self):
        with pytest.raises(text_format.ParseError):
            text_format.Parse("max_batch { value: 3 }", batching_parameters())


class TestMonitoringConfig:
    def test_prometheus(self, tmp_path):
        """MonitoringConfig of tensorflow_serving/config/monitoring_config.proto, which tensorflow-serving-api leaves out."""
        write_server_files(tmp_path)
        lines = (tmp_path / "monitoring.config").read_text().splitlines()
        assert lines[1] == "prometheus_config {" and lines[-1] == "}"
        kinds = descriptor_pb2.FieldDescriptorProto
        prometheus = message("Prometheus", [("enable", 1, kinds.TYPE_BOOL, False), ("path", 2, kinds.TYPE_STRING, False)])
        parsed = text_format.Parse("\n".join(lines[2:-1]), prometheus())
        assert parsed.enable and parsed.path == "/monitoring/prometheus/metrics"
