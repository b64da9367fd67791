import collections
import http.client
import itertools
import json
import math
import random
import time
import urllib.parse

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfdgm.event import Event

#: Seconds of the first pause before a retry; each further one is twice as long, times a random number in [0.5, 1].
_FIRST_PAUSE = 0.2

#: What an HTTP status means, in gRPC's words.
_HTTP_CODES = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 413: "RESOURCE_EXHAUSTED", 429: "RESOURCE_EXHAUSTED"}
_HTTP_CODES |= {503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}

#: name, numpy dtype and shape (-1 where free) of each input and output of one signature.
_Signature = collections.namedtuple("_Signature", ["inputs", "outputs"])
_Spec = collections.namedtuple("_Spec", ["dtype", "shape"])


class ServingError(OSError):
    """A request that the server refused, or did not answer in time. `code` is gRPC's word for why ("INVALID_ARGUMENT", ...)."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


class Client:
    """A model on TensorFlow Serving, with the methods of a `DensityModel`: numpy in, numpy out.

        client = tfdgm.serving.Client("localhost:8500", "maf_digits")         # gRPC: pip install 'tfdgm[serving]'
        client = tfdgm.serving.Client("http://localhost:8501", "maf_digits")  # REST: nothing more to install
        client.log_prob(x)            # [n], nats
        client.sample(10, seed=1)     # the rows of model.sample(10, seed=1)

    Arguments are checked here, against the signatures that the server tells: shapes, dtypes, numbers that are finite, integers
    that are not negative. Long inputs go in requests of `max_batch` rows. Requests that find no server, or one that is not
    available (gRPC UNAVAILABLE; over REST a failed connection, or status 503), are sent again after pauses that double.
    One client may be used by several threads.

    Args:
      url: "host:port" or "grpc://host:port" for gRPC; "http://host:port" or "https://host:port" for REST.
      model: the served model's name.
      version: of the model, a number; by default the one that the server prefers, its newest.
      label: of a version ("stable"), instead of a number.
      timeout: seconds within which each request must be answered, its retries and their pauses included.
      retries: how often a request is sent again.
      max_batch: rows of one request at most; by default what an export lets the server take, which refuses larger requests.

    Raises (all methods):
      ValueError: for arguments that do not fit the served model. Nothing was sent.
      ServingError: with the server's message.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 60.0,
        retries: int = 5,
        max_batch: int = 128,
    ):
        if not model or not isinstance(model, str):
            raise ValueError(f"`model` must be the served model's name. Received: {model!r}")
        if version is not None and label is not None:
            raise ValueError(f"Give a `version` or a `label`, not both. Received: version={version!r}, label={label!r}")
        if version is not None and (isinstance(version, bool) or int(version) != version or version < 0):
            raise ValueError(f"`version` must be a number, as of a version's folder. Received: {version!r}")
        if not timeout > 0:
            raise ValueError(f"`timeout` must be more than 0 seconds. Received: {timeout}")
        if int(retries) != retries or retries < 0:
            raise ValueError(f"`retries` must be a non-negative integer. Received: {retries}")
        if int(max_batch) != max_batch or max_batch < 1:
            raise ValueError(f"`max_batch` must be at least 1. Received: {max_batch}")
        self.url, self.model, self.version, self.label = url, model, version, label
        self.timeout, self.retries, self.max_batch = timeout, retries, max_batch
        self._transport = _transport(url, model, version, label)
        self._signatures = None

    def log_prob(self, x: ArrayLike, condition: ArrayLike | None = None, *, known: ArrayLike | None = None) -> np.ndarray:
        """x [*batch, *event_shape] -> log p(x) [*batch], nats; of p(x|c) with a `condition` [*batch, *condition_shape].

        Of a model whose entries may be missing, those that are NaN, or 0 in `known`, are integrated out.
        """
        rows, batch = self._rows("log_prob", "x", x)
        inputs = {"x": rows}
        if self.event.missing:
            inputs["known"], _ = self._rows("log_prob", "known", self.event.known(x, known))
        elif known is not None:
            raise ValueError(f"The served model `{self.model}` takes no `known`. Received one.")
        return self._call("log_prob", batch, **inputs, condition=condition)["log_prob"]

    def sample(self, n: int = 1, *, seed: int | None = None, condition: ArrayLike | None = None) -> np.ndarray:
        """n samples [n, *event_shape]: those of `model.sample(n, seed=seed)`, for row i has the seed (seed, i) here as there."""
        if int(n) != n or n < 0:
            raise ValueError(f"`n` must be a non-negative integer. Received: n={n}")
        return self._call("sample", (int(n),), seed=_seeds(seed, int(n)), condition=condition)["x"]

    def encode(self, x: ArrayLike, condition: ArrayLike | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Of a flow: x [*batch, *event_shape] -> (z [*batch, *event_shape], log |det dz/dx| [*batch])."""
        x, batch = self._rows("encode", "x", x)
        outputs = self._call("encode", batch, x=x, condition=condition)
        return outputs["z"], outputs["log_det"]

    def decode(self, z: ArrayLike, condition: ArrayLike | None = None) -> np.ndarray:
        """Of a flow: noise z [*batch, *event_shape] -> x [*batch, *event_shape]."""
        z, batch = self._rows("decode", "z", z)
        return self._call("decode", batch, z=z, condition=condition)["x"]

    def complete(
        self, x: ArrayLike, known: ArrayLike, *, seed: int | None = None, condition: ArrayLike | None = None
    ) -> np.ndarray:
        """Of an autoregressive model: x [*batch, *event_shape], drawn anew where `known` (the same shape) is 0.

        Row i, counted over all of the batch, has the seed (seed, i).
        """
        x, batch = self._rows("complete", "x", x)
        known, known_batch = self._rows("complete", "known", known)
        if batch != known_batch:
            raise ValueError(f"`known` must have the shape of `x`: batch {batch}. Received: batch {known_batch}")
        return self._call("complete", batch, x=x, known=known, seed=_seeds(seed, len(x)), condition=condition)["x"]

    @property
    def event(self) -> Event:
        """What one x is, as far as the server tells: how many levels integers have, it does not."""
        inputs = self._signature("log_prob").inputs
        return _event(inputs["x"], missing="known" in inputs)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one x."""
        return self.event.shape

    @property
    def dtype(self) -> np.dtype:
        """The numpy dtype of x: int32 where the model is one of integers."""
        return self._signature("log_prob").inputs["x"].dtype

    @property
    def compute_dtype(self) -> str:
        """The name of the dtype of scores, of real-valued x and of conditions: "float32" or "float64"."""
        return np.dtype(self._signature("log_prob").outputs["log_prob"].dtype).name

    @property
    def condition_shape(self) -> tuple[int, ...] | None:
        """The shape of one condition, or None."""
        spec = self._signature("log_prob").inputs.get("condition")
        return None if spec is None else spec.shape[1:]

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _rows(self, signature, name, values):
        """`values` checked against a signature's input -> (rows [n, *shape], the shape of the batch)."""
        spec = self._signature(signature).inputs[name]
        event = self.event if name == "x" else _event(spec)
        rows = event.check(values, np.dtype(spec.dtype).name, name)
        return rows.reshape((-1, *event.shape)), event.batch_of(rows)

    def _condition_rows(self, signature, condition, batch):
        spec = self._signature(signature).inputs.get("condition")
        if spec is None:
            if condition is not None:
                raise ValueError(f"The served model `{self.model}` takes no `condition`. Received one.")
            return {}
        shape = spec.shape[1:]
        if condition is None:
            raise ValueError(f"The served model `{self.model}` needs a `condition` that ends in condition_shape={shape}.")
        return {"condition": _event(spec).rows_for(batch, condition, np.dtype(spec.dtype).name)}

    def _call(self, signature, batch, *, condition, **inputs):
        """The outputs of a signature for rows, in requests of `max_batch`, each reshaped to the batch."""
        specs = self._signature(signature).outputs
        inputs |= self._condition_rows(signature, condition, batch)
        n = math.prod(batch)
        parts = [slice(start, start + self.max_batch) for start in range(0, n, self.max_batch)]
        received = [self._request(signature, {name: rows[part] for name, rows in inputs.items()}) for part in parts]
        return {
            name: np.concatenate([part[name] for part in received]).reshape((*batch, *received[0][name].shape[1:]))
            if received
            else np.zeros((*batch, *spec.shape[1:]), spec.dtype)
            for name, spec in specs.items()
        }

    def _request(self, signature, inputs):
        specs, n = self._signature(signature).outputs, len(next(iter(inputs.values())))
        outputs = self._with_retries(lambda timeout: self._transport.predict(signature, inputs, specs, timeout))
        for name in specs:
            if name not in outputs or outputs[name].shape[:1] != (n,):
                came = f"shape {outputs[name].shape}" if name in outputs else "nothing"
                raise ServingError("DATA_LOSS", f"{self._name()}: expected `{name}` of {n} rows. Received: {came}")
        return outputs

    def _signature(self, name):
        if self._signatures is None:
            self._signatures = self._with_retries(self._transport.signatures)
        if name not in self._signatures:
            found = ", ".join(sorted(set(self._signatures) - {"serving_default"})) or "none"
            raise ValueError(f"{self._name()} has no signature `{name}`. It has: {found}")
        return self._signatures[name]

    def _with_retries(self, request):
        deadline = time.monotonic() + self.timeout
        for attempt in itertools.count():
            try:
                return request(max(deadline - time.monotonic(), 1e-3))
            except ServingError as error:
                # Random, so that the clients of a server that comes back do not all return at once.
                pause = _FIRST_PAUSE * 2**attempt * random.uniform(0.5, 1)
                if error.code != "UNAVAILABLE" or attempt == self.retries or time.monotonic() + pause > deadline:
                    tries = f" ({attempt + 1} tries)" if attempt else ""
                    raise ServingError(error.code, f"{self._name()}: {error.code}: {error}{tries}") from None
            time.sleep(pause)

    def _name(self):
        version = self.label if self.version is None else self.version
        return f"The model `{self.model}`{'' if version is None else f' ({version})'} at {self.url}"


class _Grpc:
    """The official protos, through tensorflow-serving-api."""

    def __init__(self, address, model, version, label):
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
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        # gRPC's own pauses between connections, up to two minutes, would outlast our retries.
        options += [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100)]
        options += [("grpc.max_reconnect_backoff_ms", 1000)]
        self._channel = grpc.insecure_channel(address, options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def predict(self, signature, inputs, specs, timeout):
        request = self._protos[0].PredictRequest(model_spec={**self._spec, "signature_name": signature})
        for name, rows in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(rows))
        outputs = self._send(self._stub.Predict, request, timeout).outputs
        return {name: tf.make_ndarray(tensor) for name, tensor in outputs.items()}

    def signatures(self, timeout):
        request = self._protos[1].GetModelMetadataRequest(model_spec=self._spec, metadata_field=["signature_def"])
        response, found = self._send(self._stub.GetModelMetadata, request, timeout), self._protos[1].SignatureDefMap()
        response.metadata["signature_def"].Unpack(found)
        return {
            name: _Signature(*[{key: self._tensor(info) for key, info in side.items()} for side in (s.inputs, s.outputs)])
            for name, s in found.signature_def.items()
            if not name.startswith("__")
        }

    @staticmethod
    def _tensor(info):
        return _Spec(tf.as_dtype(info.dtype).as_numpy_dtype, tuple(dim.size for dim in info.tensor_shape.dim))

    def _send(self, method, request, timeout):
        try:
            return method(request, timeout=timeout)
        except self._error as error:
            raise ServingError(error.code().name, error.details()) from None

    def close(self):
        self._channel.close()


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

    def predict(self, signature, inputs, specs, timeout):
        body = {"signature_name": signature, "inputs": {name: rows.tolist() for name, rows in inputs.items()}}
        outputs = self._send("POST", f"{self._path}:predict", json.dumps(body).encode(), timeout).get("outputs")
        # A single output comes without its name.
        outputs = {next(iter(specs)): outputs} if len(specs) == 1 else outputs
        return {name: np.asarray(rows, specs[name].dtype) for name, rows in outputs.items() if name in specs}

    def signatures(self, timeout):
        found = self._send("GET", f"{self._path}/metadata", None, timeout)["metadata"]["signature_def"]["signature_def"]
        return {
            name: _Signature(*[{k: self._tensor(info) for k, info in s.get(side, {}).items()} for side in ("inputs", "outputs")])
            for name, s in found.items()
            if not name.startswith("__")
        }

    @staticmethod
    def _tensor(info):
        dims = info["tensor_shape"].get("dim", [])
        dtype = tf.as_dtype(info["dtype"].removeprefix("DT_").lower()).as_numpy_dtype
        return _Spec(dtype, tuple(int(dim["size"]) for dim in dims))

    def _send(self, method, path, body, timeout):
        deadline = time.monotonic() + timeout
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect(*self._address)
        connection.timeout = timeout  # Of connecting.
        try:
            if connection.sock is None:
                connection.connect()
            socket = connection.sock
            socket.settimeout(max(deadline - time.monotonic(), 1e-3))
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response, pieces = connection.getresponse(), []
            while piece := response.read1(2**20):
                pieces.append(piece)
                socket.settimeout(max(deadline - time.monotonic(), 1e-3))
            response.close()  # read1 leaves it open, and the connection could not be used again.
        except TimeoutError:
            connection.close()
            raise ServingError("DEADLINE_EXCEEDED", f"no answer within {timeout:.3g} seconds") from None
        except OSError as error:
            connection.close()
            self.close()  # The server is gone, or is another one: so are the idle connections.
            raise ServingError("UNAVAILABLE", str(error) or type(error).__name__) from None
        except http.client.HTTPException as error:
            connection.close()
            raise ServingError("UNKNOWN", f"this is no REST server: {error or type(error).__name__}") from None
        self._idle.append(connection)
        return self._read(response.status, b"".join(pieces))

    @staticmethod
    def _read(status, body):
        try:
            reply = json.loads(body)
        except ValueError:
            reply = None
        if status == 200 and isinstance(reply, dict):
            return reply
        message = reply["error"] if isinstance(reply, dict) and "error" in reply else body[:500].decode(errors="replace")
        raise ServingError(_HTTP_CODES.get(status, "UNKNOWN"), f"{message or 'no message'} (HTTP status {status})")

    def close(self):
        while self._idle:
            self._idle.pop().close()


def _transport(url, model, version, label):
    parts = urllib.parse.urlsplit(url if "://" in url else f"grpc://{url}")
    try:
        known = parts.scheme in ("grpc", "http", "https") and parts.hostname and (parts.port or parts.scheme != "grpc")
    except ValueError:  # A port that is no number.
        known = False
    if not known or parts.query or (parts.scheme == "grpc" and parts.path):
        raise ValueError(f"`url` must be host:port, grpc://host:port, http://host:port or https://host:port. Received: {url}")
    return (_Grpc(parts.netloc, model, version, label)) if parts.scheme == "grpc" else _Rest(parts, model, version, label)


def _event(spec, missing=False):
    """What one row of a signature's input is."""
    integer = np.dtype(spec.dtype).kind in "iu"
    return Event(spec.shape[1:], levels=2**31 if integer else None, missing=missing)


def _seeds(seed, n):
    """The seed pairs (seed, i) of rows i < n, int32 [n, 2]."""
    if seed is None:
        seed = np.random.SeedSequence().entropy % 2**31
    if int(seed) != seed or not -(2**31) <= seed < 2**31:
        raise ValueError(f"`seed` must be an integer of 32 bits. Received: {seed}")
    return np.stack([np.full(n, seed), np.arange(n)], axis=1).astype(np.int32)
