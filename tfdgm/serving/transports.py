"""How requests travel: gRPC and REST. Both give the same signatures, arrays and errors."""

import collections
import functools
import http.client
import io
import json
import os
import sys
import time
import urllib.parse

import tensorflow as tf
from google.protobuf import json_format, message
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from tfdgm.serving import replies
from tfdgm.serving.serving_error import ServingError

#: What an HTTP status means, in gRPC's words.
_HTTP_CODES = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 413: "RESOURCE_EXHAUSTED", 429: "RESOURCE_EXHAUSTED"}
_HTTP_CODES |= {503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}


def transport(url: str, model: str, version: int | None, label: str | None) -> "_Grpc | _Rest":
    """The transport that the scheme of `url` names; none, gRPC. It has `signatures`, `predict` and `close`."""
    parts = urllib.parse.urlsplit(url if "://" in url else f"grpc://{url}")
    try:
        known = parts.scheme in ("grpc", "http", "https") and parts.hostname and (parts.port or parts.scheme != "grpc")
    except ValueError:  # A port that is no number.
        known = False
    if not known or parts.query or (parts.scheme == "grpc" and parts.path):
        raise ValueError(f"`url` must be host:port, grpc://host:port, http://host:port or https://host:port. Received: {url}")
    return (_Grpc(parts.netloc, model, version, label)) if parts.scheme == "grpc" else _Rest(parts, model, version, label)


class _Grpc:
    """The official protos, through tensorflow-serving-api."""

    def __init__(self, address, model, version, label):
        # Read when grpc is imported; without it, calls of a forked process hang, past their timeout.
        self._may_fork = "grpc" not in sys.modules or os.environ.get("GRPC_ENABLE_FORK_SUPPORT") in ("1", "true")
        if self._may_fork:
            os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "1")
        try:
            import grpc
            from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc
        except ImportError as error:
            raise ImportError(
                f"gRPC needs tensorflow-serving-api ({error}): pip install 'tfdgm[serving]'. REST needs nothing: http://host:8501"
            ) from None
        self._error, self._protos = grpc.RpcError, (predict_pb2, get_model_metadata_pb2)
        self._spec = {"name": model}
        if version is not None:
            self._spec["version"] = {"value": int(version)}
        if label is not None:
            self._spec["version_label"] = label
        self._connect = functools.partial(grpc.insecure_channel, address)
        self._service, self._process = prediction_service_pb2_grpc.PredictionServiceStub, os.getpid()
        self._channels = {}  # (process, largest reply) -> channel and its stub. A fork's copies of ours are not to be touched.

    def predict(self, signature, inputs, specs, timeout):
        request, n = self._protos[0].PredictRequest(model_spec={**self._spec, "signature_name": signature}), _rows(inputs)
        for name, rows in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(rows))
        outputs = self._send("Predict", request, timeout, replies.largest_reply(specs, n)).outputs
        return replies.arrays_of(outputs, specs, n, replies.from_proto)

    def signatures(self, timeout):
        request = self._protos[1].GetModelMetadataRequest(model_spec=self._spec, metadata_field=["signature_def"])
        metadata = self._send("GetModelMetadata", request, timeout, replies.largest_reply({}, 0)).metadata
        found = self._protos[1].SignatureDefMap()
        try:
            if not metadata["signature_def"].Unpack(found):
                raise ServingError("DATA_LOSS", f"malformed metadata: expected a SignatureDefMap. Received: {list(metadata)}")
        except message.DecodeError as error:
            raise ServingError("DATA_LOSS", f"malformed metadata: {error}") from None
        return dict(found.signature_def)

    def _send(self, method, request, timeout, largest):
        try:
            return getattr(self._stub(largest), method)(request, timeout=timeout)
        except self._error as error:
            raise ServingError(error.code().name, error.details() or "no message") from None

    def _stub(self, largest):
        if os.getpid() != self._process and not self._may_fork:
            raise ServingError(
                "FAILED_PRECONDITION",
                "gRPC in a forked process needs GRPC_ENABLE_FORK_SUPPORT=1 in the environment before grpc is imported.",
            )
        # A channel's limit stands when it is made: of powers of two, few channels serve all.
        key = os.getpid(), 1 << (largest - 1).bit_length()
        if key not in self._channels:
            options = [("grpc.max_receive_message_length", min(key[1], 2**31 - 1)), ("grpc.max_send_message_length", -1)]
            # gRPC's own pauses between connections, up to two minutes, would outlast our retries.
            options += [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100)]
            options += [("grpc.max_reconnect_backoff_ms", 1000)]
            channel = self._connect(options)
            self._channels[key] = channel, self._service(channel)
        return self._channels[key][1]

    def close(self):
        for key in [key for key in self._channels if key[0] == os.getpid()]:
            self._channels.pop(key)[0].close()


class _Rest:
    """TF Serving's REST API, in columns: {"inputs": {name: rows}} -> {"outputs": ...}."""

    def __init__(self, url, model, version, label):
        self._connect = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}[url.scheme]
        self._address = url.hostname, url.port
        self._path = f"{url.path.rstrip('/')}/v1/models/{urllib.parse.quote(model, safe='')}"
        if version is not None:
            self._path += f"/versions/{int(version)}"
        if label is not None:
            self._path += f"/labels/{urllib.parse.quote(label, safe='')}"
        self._idle = collections.deque()  # Connections to use again; each is used by one thread at a time.
        self._process = os.getpid()

    def predict(self, signature, inputs, specs, timeout):
        body, n = {"signature_name": signature, "inputs": {name: rows.tolist() for name, rows in inputs.items()}}, _rows(inputs)
        largest = replies.largest_reply(specs, n)
        outputs = self._send("POST", f"{self._path}:predict", json.dumps(body).encode(), timeout, largest).get("outputs")
        # A single output comes without its name.
        outputs = {next(iter(specs)): outputs} if len(specs) == 1 else outputs
        return replies.arrays_of(outputs, specs, n, replies.from_json)

    def signatures(self, timeout):
        found = self._send("GET", f"{self._path}/metadata", None, timeout, replies.largest_reply({}, 0))
        try:
            found = found["metadata"]["signature_def"]["signature_def"].items()
            return {name: json_format.ParseDict(of_one, SignatureDef(), ignore_unknown_fields=True) for name, of_one in found}
        except (KeyError, TypeError, AttributeError, json_format.ParseError) as error:
            raise ServingError("DATA_LOSS", f"malformed metadata: {type(error).__name__}: {error}") from None

    def _send(self, method, path, body, timeout, largest):
        deadline = time.monotonic() + timeout
        if self._process != os.getpid():
            self.close()  # A fork's copies: on the other ends of these the server answers our parent.
            self._process = os.getpid()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect(*self._address)
        connection.timeout = timeout  # Of connecting.
        connection.response_class = lambda socket, **options: http.client.HTTPResponse(_Until(socket, deadline), **options)
        try:
            if connection.sock is None:
                connection.connect()
            connection.sock.settimeout(_left(deadline))
            connection.request(method, path, body, {"Content-Type": "application/json"})
            with connection.getresponse() as response:  # Closed, it leaves the connection to the next request.
                received = response.read(largest + 1)
            reply = _parsed(received)
            # An answer of untold length ends where its connection does.
            untold = response.length is None and not response.chunked and response.status == 200
            if len(received) <= largest and (response.length or (untold and reply is None)):
                raise ConnectionError(f"the connection ended within an answer, after {len(received)} bytes")
        except TimeoutError:
            connection.close()
            raise ServingError("DEADLINE_EXCEEDED", f"no answer within {timeout:.3g} seconds") from None
        except (OSError, http.client.IncompleteRead) as error:
            connection.close()
            self.close()  # The server is gone, or is another one: so are the idle connections.
            raise ServingError("UNAVAILABLE", str(error) or type(error).__name__) from None
        except http.client.HTTPException as error:
            connection.close()
            raise ServingError("UNKNOWN", f"this is no REST server: {error or type(error).__name__}") from None
        if len(received) > largest:
            connection.close()
            raise ServingError("RESOURCE_EXHAUSTED", f"expected an answer of at most {largest:,} bytes. Received: more")
        self._idle.append(connection)
        if response.status == 200 and isinstance(reply, dict):
            return reply
        error = reply["error"] if isinstance(reply, dict) and "error" in reply else received[:500].decode(errors="replace")
        code = _HTTP_CODES.get(response.status, "UNKNOWN")
        raise ServingError(code, f"{error or 'no message'} (HTTP status {response.status})")

    def close(self):
        while self._idle:
            self._idle.pop().close()


class _Until(io.RawIOBase):
    """What arrives on a socket until a deadline, however slowly it drips: a socket's own timeout starts anew with every byte."""

    def __init__(self, socket, deadline):
        self._socket, self._raw, self._deadline = socket, socket.makefile("rb", buffering=0), deadline

    def makefile(self, mode):
        return io.BufferedReader(self)

    def readable(self):
        return True

    def readinto(self, buffer):
        self._socket.settimeout(_left(self._deadline))
        return self._raw.readinto(buffer)

    def close(self):
        self._raw.close()
        super().close()


def _parsed(text):
    """What JSON says, or None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _left(deadline):
    """Seconds until then; a TimeoutError where there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _rows(inputs):
    return len(next(iter(inputs.values())))
