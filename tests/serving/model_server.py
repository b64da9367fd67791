"""A model server for tests, with TF Serving's protocols and flags over the C library that TF Serving wraps.

    python model_server.py --port=8500 --rest_api_port=8501 --model_config_file=models.config

gRPC: PredictionService (Predict, GetModelMetadata) and ModelService (GetModelStatus), with the official protos. REST: predict,
metadata and status. Nothing is batched and no version is loaded later than at the start. The protos' modules lie in the
`tensorflow` package; they are imported without running that package.
"""

import argparse
import concurrent.futures
import http.server
import importlib.util
import json
import pathlib
import re
import sys
import threading
import types

import grpc
import numpy as np
from c_runtime import CODES, DTYPES, CRuntimeError, SavedModel

_STUB = types.ModuleType("tensorflow")
_STUB.__path__ = list(importlib.util.find_spec("tensorflow").submodule_search_locations)
sys.modules["tensorflow"] = _STUB

from google.protobuf import json_format, text_format  # noqa: E402
from tensorflow.core.framework import types_pb2  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2  # noqa: E402

assert not any(name.startswith("tensorflow.python") for name in sys.modules)

LARGEST_BODY = 64 * 2**20


class Refused(Exception):
    """A request that gets an error reply."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Models:
    """The versions of all models of a ModelServerConfig."""

    def __init__(self, config):
        self.versions, self.labels = {}, {}
        for entry in config.model_config_list.config:
            found = sorted(int(path.name) for path in pathlib.Path(entry.base_path).iterdir() if path.name.isdigit())
            policy = entry.model_version_policy
            kind = policy.WhichOneof("policy_choice")
            if kind == "specific":
                found = [version for version in found if version in policy.specific.versions]
            elif kind != "all":
                found = found[-max(1, policy.latest.num_versions) :]
            assert found, f"{entry.name}: no version under {entry.base_path}"
            self.versions[entry.name] = {v: SavedModel(pathlib.Path(entry.base_path) / str(v)) for v in found}
            self.labels[entry.name] = dict(entry.version_labels)

    def find(self, name, version=None, label=None):
        """(version, its SavedModel)."""
        if name not in self.versions:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Latest({name})")
        if label:
            if label not in self.labels[name]:
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
            version = self.labels[name][label]
        version = max(self.versions[name]) if version is None else version
        if version not in self.versions[name]:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Specific({name}, {version})")
        return version, self.versions[name][version]

    def find_spec(self, spec):
        """As `find`, of a ModelSpec."""
        return self.find(spec.name, spec.version.value if spec.HasField("version") else None, spec.version_label)


def signature_of(model, name):
    name = name or "serving_default"
    if name not in model.signatures:
        raise Refused(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    return name, *model.signatures[name]


def predict(model, signature, given):
    """The outputs for {input: array}; the library judges dtypes and shapes."""
    inputs = model.signatures[signature][0]
    if set(given) != set(inputs):
        extra, missing = sorted(set(given) - set(inputs)), sorted(set(inputs) - set(given))
        message = f"input size does not match signature: {len(given)}!={len(inputs)}."
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"{message} Sent extra: {extra}. Missing but required: {missing}.")
    try:
        return model.run(signature, given)
    except CRuntimeError as error:
        raise Refused(next(code for code in grpc.StatusCode if code.value[0] == error.code), str(error)) from None


def to_array(name, tensor):
    """TensorProto -> array, from its bytes or from the field of its dtype."""
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    fields = {1: "float_val", 2: "double_val", 3: "int_val", 4: "int_val", 9: "int64_val", 10: "bool_val"}
    try:
        dtype = DTYPES[tensor.dtype]
        if tensor.tensor_content or 0 in shape:
            return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
        values = np.array(getattr(tensor, fields[tensor.dtype]), dtype)
        # The last value stands for all that follow.
        return np.concatenate([values, np.repeat(values[-1:], np.prod(shape, dtype=int) - len(values))]).reshape(shape)
    except (KeyError, ValueError) as error:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"Could not read the tensor `{name}`: {error!r}") from None


class Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, models):
        self.models = models

    def Predict(self, request, context):
        try:
            version, model = self.models.find_spec(request.model_spec)
            signature, _, _ = signature_of(model, request.model_spec.signature_name)
            outputs = predict(model, signature, {name: to_array(name, tensor) for name, tensor in request.inputs.items()})
        except Refused as error:
            context.abort(error.code, str(error))
        response = predict_pb2.PredictResponse()
        response.model_spec.name, response.model_spec.signature_name = request.model_spec.name, signature
        response.model_spec.version.value = version
        for name, array in outputs.items():
            tensor = response.outputs[name]
            tensor.dtype = CODES[array.dtype]
            if array.dtype == np.object_:
                tensor.string_val.extend(array.ravel())
            else:
                tensor.tensor_content = array.tobytes()
            for size in array.shape:
                tensor.tensor_shape.dim.add(size=size)
        return response

    def GetModelMetadata(self, request, context):
        try:
            return metadata(self.models, *self.models.find_spec(request.model_spec), request.model_spec.name)
        except Refused as error:
            context.abort(error.code, str(error))


class Status(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, models):
        self.models = models

    def GetModelStatus(self, request, context):
        try:
            return status(self.models, request.model_spec.name)
        except Refused as error:
            context.abort(error.code, str(error))


def metadata(models, version, model, name):
    found = get_model_metadata_pb2.SignatureDefMap()
    for signature, sides in model.signatures.items():
        entry = found.signature_def[signature]
        entry.method_name = "tensorflow/serving/predict"
        for side, tensors in zip((entry.inputs, entry.outputs), sides, strict=True):
            for key, (tensor, dtype, shape) in tensors.items():
                side[key].name, side[key].dtype = tensor, dtype
                for size in shape:
                    side[key].tensor_shape.dim.add(size=size)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name, response.model_spec.version.value = name, version
    response.metadata["signature_def"].Pack(found)
    return response


def status(models, name):
    models.find(name)
    response = get_model_status_pb2.GetModelStatusResponse()
    for version in models.versions[name]:
        entry = response.model_version_status.add(version=version, state="AVAILABLE")
        entry.status.error_message = ""
    return response


class Rest(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    models = None

    def do_GET(self):
        self._answer(self._get)

    def do_POST(self):
        self._answer(self._post)

    def _answer(self, method):
        left = int(self.headers.get("Content-Length", 0))
        body = bytearray() if left <= LARGEST_BODY else None
        while left:
            piece = self.rfile.read(min(left, 2**20))
            left -= len(piece)
            if body is not None:
                body += piece
        try:
            if body is None:
                raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, f"The body has more than {LARGEST_BODY} bytes.")
            http_status, reply = 200, method(bytes(body))
        except Refused as error:
            names = {"NOT_FOUND": 404, "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "RESOURCE_EXHAUSTED": 429}
            http_status, reply = names.get(error.code.name, 500), {"error": str(error)}
        text = json.dumps(reply).encode()
        self.send_response(http_status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _find(self, end):
        path = re.fullmatch(rf"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?{end}", self.path)
        if path is None:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"Malformed request: {self.command} {self.path}")
        name, version, label = path.groups()
        return name, *self.models.find(name, None if version is None else int(version), label)

    def _get(self, body):
        if not self.path.endswith("/metadata"):
            return json_format.MessageToDict(status(self.models, self._find("")[0]), preserving_proto_field_name=True)
        name, version, model = self._find("/metadata")
        found = get_model_metadata_pb2.SignatureDefMap()
        metadata(self.models, version, model, name).metadata["signature_def"].Unpack(found)
        signatures = json_format.MessageToDict(found, preserving_proto_field_name=True)
        return {"model_spec": {"name": name, "version": str(version)}, "metadata": {"signature_def": signatures}}

    def _post(self, body):
        _, _, model = self._find(":predict")
        try:
            request = json.loads(body)
            columns = "inputs" in request
            rows = request["inputs" if columns else "instances"]
            signature, inputs, outputs = signature_of(model, request.get("signature_name"))
            if not columns and isinstance(rows[0], dict):
                rows = {name: [row[name] for row in rows] for name in rows[0]}
            elif not isinstance(rows, dict):
                rows = dict.fromkeys(inputs, rows) if len(inputs) == 1 else {}
            given = {name: self._tensor(name, values, inputs.get(name)) for name, values in rows.items()}
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"JSON Parse error: {error!r}") from None
        found = predict(model, signature, given)
        found = {name: (array.astype(str) if array.dtype == np.object_ else array).tolist() for name, array in found.items()}
        if columns:
            return {"outputs": next(iter(found.values())) if len(outputs) == 1 else found}
        if len(outputs) == 1:
            return {"predictions": next(iter(found.values()))}
        return {"predictions": [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]}

    @staticmethod
    def _tensor(name, values, info):
        values = np.asarray(values)
        if info is None:
            return values
        dtype = np.dtype(DTYPES[info[1]])
        if values.dtype.kind not in ("iu" if dtype.kind in "iu" else "iuf"):
            raise ValueError(f"`{name}` is not of expected type: {types_pb2.DataType.Name(info[1])}")
        return values.astype(dtype)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True, help="of gRPC")
    parser.add_argument("--rest_api_port", type=int, required=True)
    parser.add_argument("--model_config_file", type=pathlib.Path, required=True)
    arguments, _ = parser.parse_known_args()  # TF Serving's further flags.
    config = text_format.Parse(arguments.model_config_file.read_text(), model_server_config_pb2.ModelServerConfig())
    models = Models(config)
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), options=unlimited)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Prediction(models), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Status(models), server)
    assert server.add_insecure_port(f"127.0.0.1:{arguments.port}") == arguments.port
    Rest.models = models
    http.server.ThreadingHTTPServer.request_queue_size = 128
    rest = http.server.ThreadingHTTPServer(("127.0.0.1", arguments.rest_api_port), Rest)
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
