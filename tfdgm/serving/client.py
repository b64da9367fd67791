import itertools
import math
import random
import time

import numpy as np
from numpy.typing import ArrayLike

from tfdgm.columns import in_order
from tfdgm.event import Event
from tfdgm.serving import replies
from tfdgm.serving.serving_error import ServingError
from tfdgm.serving.transports import transport

#: Seconds of the first pause before a retry; each further one is twice as long, times a random number in [0.5, 1].
_FIRST_PAUSE = 0.2


class Client:
    """A model on TensorFlow Serving, with the methods of a `DensityModel`: numpy in, numpy out.

        client = tfdgm.serving.Client("localhost:8500", "maf_digits")         # gRPC: pip install 'tfdgm[serving]'
        client = tfdgm.serving.Client("http://localhost:8501", "maf_digits")  # REST: nothing more to install
        client.log_prob(x)            # [n], nats
        client.sample(10, seed=1)     # the rows of model.sample(10, seed=1)

    Arguments are checked here, against the signatures that the server tells: shapes, dtypes, numbers that are finite, integers
    that are not negative. The columns of a DataFrame are put in order by the names that the model was trained with. Long inputs
    go in requests of `max_batch` rows. Requests that find no server, or one that is not available (gRPC UNAVAILABLE; over REST
    a connection that fails or ends within an answer, or status 503), are sent again after pauses that double. Answers are
    checked as arguments are. One client may be used by several threads, and by processes that are forked from its own.

    Args:
      url: "host:port" or "grpc://host:port" for gRPC; "http://host:port" or "https://host:port" for REST.
      model: the served model's name.
      version: of the model, a number; by default the one that the server prefers, its newest.
      label: of a version ("stable"), instead of a number.
      timeout: seconds that a call of a method may take: all of its requests, their retries and their pauses.
      retries: how often a request is sent again.
      max_batch: rows of one request at most; by default what an export lets the server take, which refuses larger requests.

    Raises (all methods):
      ValueError: for arguments that do not fit the served model. Nothing was sent.
      ServingError: with the server's message; or where it answers what is no answer (`code` DATA_LOSS), too late, or too much.
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
        if not 0 < timeout < math.inf:
            raise ValueError(f"`timeout` must be more than 0 seconds, and finite. Received: {timeout}")
        if int(retries) != retries or retries < 0:
            raise ValueError(f"`retries` must be a non-negative integer. Received: {retries}")
        if int(max_batch) != max_batch or max_batch < 1:
            raise ValueError(f"`max_batch` must be at least 1. Received: {max_batch}")
        self.url, self.model, self.version, self.label = url, model, version, label
        self.timeout, self.retries, self.max_batch = timeout, retries, max_batch
        self._transport = transport(url, model, version, label)
        self._protos, self._signatures, self._names = None, {}, None  # What the server tells of the model, once it was asked.

    def log_prob(self, x: ArrayLike, condition: ArrayLike | None = None, *, known: ArrayLike | None = None) -> np.ndarray:
        """x [*batch, *event_shape] -> log p(x) [*batch], nats; of p(x|c) with a `condition` [*batch, *condition_shape].

        Of a model whose entries may be missing, those that are NaN, or 0 in `known`, are integrated out.
        """
        deadline = self._start("log_prob")
        x, known = in_order(x, self.column_names, "x"), in_order(known, self.column_names, "known")
        rows, batch = self._rows("log_prob", "x", x)
        inputs = {"x": rows}
        if self.event.missing:
            inputs["known"], _ = self._rows("log_prob", "known", self.event.known(x, known))
        elif known is not None:
            raise ValueError(f"The served model `{self.model}` takes no `known`. Received one.")
        return self._call("log_prob", deadline, batch, **inputs, condition=condition)["log_prob"]

    def sample(self, n: int = 1, *, seed: int | None = None, condition: ArrayLike | None = None) -> np.ndarray:
        """n samples [n, *event_shape]: those of `model.sample(n, seed=seed)`, for row i has the seed (seed, i) here as there."""
        if int(n) != n or n < 0:
            raise ValueError(f"`n` must be a non-negative integer. Received: n={n}")
        deadline = self._start("sample")
        return self._call("sample", deadline, (int(n),), seed=_seeds(seed, int(n)), condition=condition)["x"]

    def encode(self, x: ArrayLike, condition: ArrayLike | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Of a flow: x [*batch, *event_shape] -> (z [*batch, *event_shape], log |det dz/dx| [*batch])."""
        deadline = self._start("encode")
        x, batch = self._rows("encode", "x", x)
        outputs = self._call("encode", deadline, batch, x=x, condition=condition)
        return outputs["z"], outputs["log_det"]

    def decode(self, z: ArrayLike, condition: ArrayLike | None = None) -> np.ndarray:
        """Of a flow: noise z [*batch, *event_shape] -> x [*batch, *event_shape]."""
        deadline = self._start("decode")
        z, batch = self._rows("decode", "z", z)
        return self._call("decode", deadline, batch, z=z, condition=condition)["x"]

    def complete(
        self, x: ArrayLike, known: ArrayLike, *, seed: int | None = None, condition: ArrayLike | None = None
    ) -> np.ndarray:
        """Of an autoregressive model: x [*batch, *event_shape], drawn anew where `known` (the same shape) is 0.

        Row i, counted over all of the batch, has the seed (seed, i).
        """
        deadline = self._start("complete")
        x, batch = self._rows("complete", "x", x)
        known, known_batch = self._rows("complete", "known", known)
        if batch != known_batch:
            raise ValueError(f"`known` must have the shape of `x`: batch {batch}. Received: batch {known_batch}")
        seeds = _seeds(seed, len(x))
        return self._call("complete", deadline, batch, x=x, known=known, seed=seeds, condition=condition)["x"]

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

    @property
    def column_names(self) -> tuple[str | int, ...] | None:
        """The names of the columns of x in the model's training; None where it had none, and of exports of older versions."""
        return self._names_of_columns()[0]

    @property
    def condition_names(self) -> tuple[str | int, ...] | None:
        """As `column_names`, of the condition."""
        return self._names_of_columns()[1]

    def close(self) -> None:
        """Closes the connections. A later call opens others."""
        self._transport.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _start(self, signature):
        """When a call that starts now must be over. The first call asks the server about the model."""
        deadline = time.monotonic() + self.timeout
        self._signature(signature, deadline)
        self._names_of_columns(deadline)
        return deadline

    def _rows(self, signature, name, values):
        """`values` checked against a signature's input -> (rows [n, *shape], the shape of the batch)."""
        spec = self._signature(signature).inputs[name]
        event = self.event if name == "x" else _event(spec)
        values = values if name == "z" else in_order(values, self.column_names, name)
        rows = event.check(values, spec.dtype.name, name)
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
        condition = in_order(condition, self.condition_names, "condition")
        return {"condition": _event(spec).rows_for(batch, condition, spec.dtype.name)}

    def _call(self, signature, deadline, batch, *, condition, **inputs):
        """The outputs of a signature for rows, in requests of `max_batch`, each reshaped to the batch."""
        specs = self._signature(signature).outputs
        inputs |= self._condition_rows(signature, condition, batch)
        n = math.prod(batch)
        parts = [slice(start, start + self.max_batch) for start in range(0, n, self.max_batch)]
        received = [self._request(signature, deadline, {name: rows[part] for name, rows in inputs.items()}) for part in parts]
        return {
            name: np.concatenate([part[name] for part in received]).reshape((*batch, *spec.shape[1:]))
            if received
            else np.zeros((*batch, *spec.shape[1:]), spec.dtype)
            for name, spec in specs.items()
        }

    def _request(self, signature, deadline, inputs):
        specs = self._signature(signature).outputs
        return self._with_retries(lambda timeout: self._transport.predict(signature, inputs, specs, timeout), deadline)

    def _told(self, deadline):
        """The signatures as the server tells them."""
        if self._protos is None:
            self._protos = self._with_retries(self._transport.signatures, deadline)
        return self._protos

    def _signature(self, name, deadline=None):
        protos = self._told(deadline)
        if name not in protos:
            found = sorted(each for each in protos if each != "serving_default" and not each.startswith("__"))
            raise ValueError(f"{self._name()} has no signature `{name}`. It has: {', '.join(found) or 'none'}")
        if name not in self._signatures:
            self._signatures[name] = self._with_retries(lambda _: replies.signature_of(name, protos[name]), deadline)
        return self._signatures[name]

    def _names_of_columns(self, deadline=None):
        if "describe" not in self._told(deadline):
            return None, None
        if self._names is None:
            text = self._request("describe", deadline, {"row": np.zeros(1, np.int32)})["json"][0]
            self._names = self._with_retries(lambda _: replies.names_of(text), deadline)
        return self._names

    def _with_retries(self, request, deadline=None):
        deadline = time.monotonic() + self.timeout if deadline is None else deadline
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
