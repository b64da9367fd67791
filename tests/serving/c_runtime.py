"""Runs SavedModels with TensorFlow's C library, the loader that TF Serving wraps; imports neither tensorflow nor tfdgm.

    python c_runtime.py JOB...   # each JOB a folder with job.json; see `main`

The library is the one that lies in the installed `tensorflow` package: found by its place, called through ctypes.
"""

import ctypes
import importlib.util
import json
import pathlib
import sys

import numpy as np

#: tensorflow/core/framework/types.proto
DTYPES = {1: np.float32, 2: np.float64, 3: np.int32, 4: np.uint8, 7: np.object_, 9: np.int64, 10: np.bool_, 19: np.float16}
CODES = {np.dtype(dtype): code for code, dtype in DTYPES.items()}


class CRuntimeError(RuntimeError):
    """An error of the C library: `code` as in gRPC (3 is INVALID_ARGUMENT)."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class SavedModel:
    """A SavedModel in a session of the C library. `run` may be called by several threads at once."""

    def __init__(self, path):
        path = pathlib.Path(path)
        #: {signature: ({input: (tensor, dtype code, shape)}, {output: the same})}
        self.signatures = read_signatures((path / "saved_model.pb").read_bytes())
        self._graph, options = LIBRARY.TF_NewGraph(), LIBRARY.TF_NewSessionOptions()
        tags = (ctypes.c_char_p * 1)(b"serve")
        with _Status() as status:
            self._session = LIBRARY.TF_LoadSessionFromSavedModel(
                options, None, str(path).encode(), tags, 1, self._graph, None, status
            )
        LIBRARY.TF_DeleteSessionOptions(options)

    def run(self, signature, given):
        """{input: array} -> {output: array}. Dtypes and shapes go to the library as they are: it is the judge of them."""
        inputs, outputs = self.signatures[signature]
        feeds = (_Output * len(given))(*[self._tensor(inputs[name][0]) for name in given])
        fetches = (_Output * len(outputs))(*[self._tensor(outputs[name][0]) for name in outputs])
        values = (ctypes.c_void_p * len(given))(*[_to_tensor(value) for value in given.values()])
        results = (ctypes.c_void_p * len(outputs))()
        try:
            with _Status() as status:
                LIBRARY.TF_SessionRun(
                    self._session, None, feeds, values, len(given), fetches, results, len(outputs), None, 0, None, status
                )
            return {name: _to_array(result) for name, result in zip(outputs, results, strict=True)}
        finally:
            for tensor in [*values, *results]:
                if tensor:
                    LIBRARY.TF_DeleteTensor(tensor)

    def _tensor(self, name):
        operation, index = name.split(":")
        found = LIBRARY.TF_GraphOperationByName(self._graph, operation.encode())
        assert found, f"the graph has no operation {operation}"
        return _Output(found, int(index))


class _Output(ctypes.Structure):
    _fields_ = [("oper", ctypes.c_void_p), ("index", ctypes.c_int)]


class _Status:
    def __enter__(self):
        self._status = LIBRARY.TF_NewStatus()
        return self._status

    def __exit__(self, *_):
        code, message = LIBRARY.TF_GetCode(self._status), LIBRARY.TF_Message(self._status).decode(errors="replace")
        LIBRARY.TF_DeleteStatus(self._status)
        if code:
            raise CRuntimeError(code, message)


def _library():
    # find_spec of a top-level package does not import it.
    folder = pathlib.Path(importlib.util.find_spec("tensorflow").submodule_search_locations[0])
    ctypes.CDLL(str(folder / "libtensorflow_framework.so.2"), mode=ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(folder / "libtensorflow_cc.so.2"))
    pointer, integer, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    for name, result, *arguments in (
        ("TF_NewStatus", pointer),
        ("TF_DeleteStatus", None, pointer),
        ("TF_GetCode", integer, pointer),
        ("TF_Message", text, pointer),
        ("TF_NewGraph", pointer),
        ("TF_NewSessionOptions", pointer),
        ("TF_DeleteSessionOptions", None, pointer),
        (
            "TF_LoadSessionFromSavedModel",
            pointer, pointer, pointer, text, ctypes.POINTER(text), integer, pointer, pointer, pointer,
        ),
        ("TF_GraphOperationByName", pointer, pointer, text),
        (
            "TF_SessionRun",
            None, pointer, pointer, pointer, pointer, integer, pointer, pointer, integer, pointer, integer, pointer, pointer,
        ),
        ("TF_AllocateTensor", pointer, integer, ctypes.POINTER(ctypes.c_int64), integer, ctypes.c_size_t),
        ("TF_TensorData", pointer, pointer),
        ("TF_TensorByteSize", ctypes.c_size_t, pointer),
        ("TF_TensorType", integer, pointer),
        ("TF_NumDims", integer, pointer),
        ("TF_Dim", ctypes.c_int64, pointer, integer),
        ("TF_DeleteTensor", None, pointer),
        ("TF_StringGetSize", ctypes.c_size_t, pointer),
        ("TF_StringGetDataPointer", pointer, pointer),
    ):  # fmt: skip
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


LIBRARY = _library()


def _to_tensor(array):
    array = np.ascontiguousarray(array)
    shape = (ctypes.c_int64 * array.ndim)(*array.shape)
    tensor = LIBRARY.TF_AllocateTensor(CODES[array.dtype], shape, array.ndim, array.nbytes)
    ctypes.memmove(LIBRARY.TF_TensorData(tensor), array.ctypes.data, array.nbytes)
    return tensor


def _to_array(tensor):
    shape = [LIBRARY.TF_Dim(tensor, i) for i in range(LIBRARY.TF_NumDims(tensor))]
    array = np.empty(shape, DTYPES[LIBRARY.TF_TensorType(tensor)])
    if array.dtype == np.object_:
        size = LIBRARY.TF_TensorByteSize(tensor) // max(array.size, 1)
        texts = [LIBRARY.TF_TensorData(tensor) + i * size for i in range(array.size)]
        array.flat = [ctypes.string_at(LIBRARY.TF_StringGetDataPointer(t), LIBRARY.TF_StringGetSize(t)) for t in texts]
        return array
    assert array.nbytes == LIBRARY.TF_TensorByteSize(tensor)
    ctypes.memmove(array.ctypes.data, LIBRARY.TF_TensorData(tensor), array.nbytes)
    return array


def read_signatures(saved_model):
    """The signatures in the bytes of a saved_model.pb: SavedModel.meta_graphs[0].signature_def, field by field."""
    meta_graph = next(value for number, value in _fields(saved_model) if number == 2)
    return {
        name: tuple({key: _tensor_info(info) for key, info in _map_entries(signature, side)} for side in (1, 2))
        for name, signature in _map_entries(meta_graph, 5)
        if not name.startswith("__")  # The initialisation has a signature too.
    }


def _tensor_info(info):
    """TensorInfo -> (name, dtype, shape), -1 where a dimension is free."""
    fields = dict(_fields(info))
    dims = [dict(_fields(dim)).get(1, 0) for number, dim in _fields(fields.get(3, b"")) if number == 2]
    return fields[1].decode(), fields[2], tuple(d - 2**64 if d >= 2**63 else d for d in dims)


def _map_entries(message, number):
    for found, entry in _fields(message):
        if found == number:
            fields = dict(_fields(entry))
            yield fields[1].decode(), fields.get(2, b"")


def _fields(message):
    """(number, value) of each field of a protobuf message: integers, or the bytes of what has a length."""
    message, at = memoryview(message), 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
        else:
            length, at = _varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value, at = bytes(message[at : at + length]), at + length
        yield key >> 3, value


def _varint(message, at):
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def main(jobs):
    """Each job is a folder: job.json {"saved_model": PATH, "calls": [signature, ...]}, and inputs-<i>.npz for call i.

    Writes outputs-<i>.npz, and done.json: the signatures' tensors, and the top-level modules imported so far.
    """
    for folder in map(pathlib.Path, jobs):
        job = json.loads((folder / "job.json").read_text())
        model = SavedModel(job["saved_model"])
        for i, signature in enumerate(job["calls"]):
            with np.load(folder / f"inputs-{i}.npz") as given:
                np.savez(folder / f"outputs-{i}.npz", **model.run(signature, dict(given)))
        modules = sorted({module.split(".")[0] for module in sys.modules})
        (folder / "done.json").write_text(json.dumps({"signatures": model.signatures, "modules": modules}))


if __name__ == "__main__":
    main(sys.argv[1:])
