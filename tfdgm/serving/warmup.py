"""Warm-up requests: TF Serving runs them when it loads a version, so that no user's request pays for the first call."""

import os
import pathlib
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

WARM_UP_REQUESTS = pathlib.Path("assets.extra") / "tf_serving_warmup_requests"


def write_warm_up_requests(
    folder: str | os.PathLike, name: str, functions: dict[str, Callable], batch_sizes: Iterable[int]
) -> bool:
    """Writes `folder`/assets.extra/tf_serving_warmup_requests: for each signature a PredictionLog of each batch size.

    What is scored, encoded and completed are the model's own samples (of the zero condition), so that the requests are like
    those to come. Needs the package tensorflow-serving-api; without it nothing is written.

    Args:
      folder: a SavedModel.
      name: of the model on the server.
      functions: signature name -> concrete function, as `signatures` returns.
      batch_sizes: of the requests.

    Returns:
      Whether the file was written.
    """
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError:
        return False
    path = pathlib.Path(folder) / WARM_UP_REQUESTS
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for size in batch_sizes:
            values = _values(functions, size)
            for signature, function in functions.items():
                log = prediction_log_pb2.PredictionLog()
                request = log.predict_log.request
                request.model_spec.name, request.model_spec.signature_name = name, signature
                for key in _inputs(function):
                    request.inputs[key].CopyFrom(tf.make_tensor_proto(values[key]))
                writer.write(log.SerializeToString())
    return True


def _inputs(function):
    return function.structured_input_signature[1]


def _values(functions, size):
    """Name of an input -> its value, of batch size `size`."""
    values = {"seed": np.stack([np.zeros(size), np.arange(size)], axis=1).astype(np.int32), "row": np.zeros(size, np.int32)}
    condition = _inputs(functions["sample"]).get("condition")
    if condition is not None:
        values["condition"] = np.zeros((size, *condition.shape[1:]), condition.dtype.as_numpy_dtype)

    def call(name):
        return functions[name](**{key: tf.constant(values[key]) for key in _inputs(functions[name])})

    values["x"] = call("sample")["x"].numpy()
    values["known"] = np.zeros_like(values["x"])
    if "encode" in functions:
        values["z"] = call("encode")["z"].numpy()
    return values
