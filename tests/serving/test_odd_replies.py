"""Servers that answer with what is no answer: each gives a ServingError within the timeout, and never a number."""

import concurrent.futures
import contextlib
import copy
import http.server
import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import served
import tensorflow as tf

from tfdgm.serving import Client, ServingError, replies
from tfdgm.serving import client as client_module

X = np.array([[1, 2], [3, 4]], np.float32)


def tensors(**shapes):
    """{name: TensorInfo in JSON} of float32; of int32 and text where the shape's first entry says so."""
    dtypes = {name: shape[0] if isinstance(shape[0], str) else "DT_FLOAT" for name, shape in shapes.items()}
    sizes = {name: [size for size in shape if not isinstance(size, str)] for name, shape in shapes.items()}
    return {n: {"dtype": dtypes[n], "tensor_shape": {"dim": [{"size": str(s)} for s in sizes[n]]}} for n in shapes}


SIGNATURES = {
    "log_prob": {"inputs": tensors(x=(-1, 2)), "outputs": tensors(log_prob=(-1,))},
    "sample": {"inputs": tensors(seed=("DT_INT32", -1, 2)), "outputs": tensors(x=("DT_INT32", -1, 2))},
    "encode": {"inputs": tensors(x=(-1, 2)), "outputs": tensors(z=(-1, 2), log_det=(-1,))},
}
DESCRIBE = {"describe": {"inputs": tensors(row=("DT_INT32", -1)), "outputs": tensors(json=("DT_STRING", -1))}}
CALLS = {"log_prob": lambda c: c.log_prob(X), "sample": lambda c: c.sample(2, seed=1), "encode": lambda c: c.encode(X)}
METADATA = {"metadata": {"signature_def": {"signature_def": SIGNATURES}}}


def reply(body, status="200 OK", connection="close"):
    """A whole HTTP reply."""
    return f"HTTP/1.1 {status}\r\nConnection: {connection}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@contextlib.contextmanager
def rest(*answers, metadata=METADATA, seconds_a_byte=0):
    """The URL of a server that gives `answers` to POST, one after the other and the last again and again."""
    left = list(answers)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.wfile.write(reply(json.dumps(metadata)))

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            answer = left.pop(0) if len(left) > 1 else left[0]
            with contextlib.suppress(OSError):
                for part in [answer[i : i + 1] for i in range(len(answer))] if seconds_a_byte else [answer]:
                    self.wfile.write(part)
                    time.sleep(seconds_a_byte)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def refused(url, call="log_prob", **options):
    """The error of a call that a server at `url` answers."""
    with Client(url, "m", retries=0, **options) as client, pytest.raises(ServingError) as error:
        CALLS[call](client)
    assert "The model `m` at " in str(error.value)
    return error.value


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
GOOD = '{"outputs": [3.0, 7.0]}'
#: (the call, what the server sends, the error's code, what it says)
REST = {
    "too few": ("log_prob", '{"outputs": [3.0]}', "DATA_LOSS", r"float32 of shape \(2,\).*Received: .*\(1,\)"),
    "too many": ("log_prob", '{"outputs": [3, 7, 9]}', "DATA_LOSS", r"\(3,\)"),
    "an axis more": ("log_prob", '{"outputs": [[3], [7]]}', "DATA_LOSS", r"\(2, 1\)"),
    "a scalar": ("log_prob", '{"outputs": 3}', "DATA_LOSS", r"of shape \(\)"),
    "ragged": ("log_prob", '{"outputs": [[3], [7, 1]]}', "DATA_LOSS", "Received"),
    "NaN": ("log_prob", '{"outputs": [3, NaN]}', "DATA_LOSS", "Received: nan"),
    "infinity": ("log_prob", '{"outputs": [Infinity, 3]}', "DATA_LOSS", "Received: inf"),
    "beyond float32": ("log_prob", '{"outputs": [1e39, 3]}', "DATA_LOSS", r"Received: 1e\+39"),
    "below float32": ("log_prob", '{"outputs": [-1e39, 3]}', "DATA_LOSS", r"Received: -1e\+39"),
    "text": ("log_prob", '{"outputs": ["3", "7"]}', "DATA_LOSS", "Received: .*str"),
    "null": ("log_prob", '{"outputs": [3, null]}', "DATA_LOSS", "Received: object"),
    "booleans": ("log_prob", '{"outputs": [true, false]}', "DATA_LOSS", "Received: bool"),
    "a named output": ("log_prob", '{"outputs": {"log_prob": [3, 7]}}', "DATA_LOSS", "Received: object"),
    "rows": ("log_prob", '{"predictions": [3, 7]}', "DATA_LOSS", "Received"),
    "fractions": ("sample", '{"outputs": [[0.5, 1], [2, 3]]}', "DATA_LOSS", "int32.*Received: float64"),
    "beyond int32": ("sample", '{"outputs": [[4294967296, 1], [2, 3]]}', "DATA_LOSS", "Received: 4294967296"),
    "beyond int64": ("sample", '{"outputs": [[100000000000000000000, 1], [2, 3]]}', "DATA_LOSS", "Received"),
    "one output of two": ("encode", '{"outputs": {"z": [[1, 2], [3, 4]]}}', "DATA_LOSS", "outputs log_det, z. Received: z"),
    "an output more": (
        "encode",
        '{"outputs": {"z": [[1, 2], [3, 4]], "log_det": [0, 0], "y": [0, 0]}}',
        "DATA_LOSS",
        "Received: log_det, y, z",
    ),
    "no names": ("encode", '{"outputs": [[1, 2], [3, 4]]}', "DATA_LOSS", "Received: list"),
    "infinite noise": ("encode", '{"outputs": {"z": [[1, -Infinity], [3, 4]], "log_det": [0, 0]}}', "DATA_LOSS", "-inf"),
    "a list": ("log_prob", "[3, 7]", "UNKNOWN", r"\[3, 7\]"),
    "a page": ("log_prob", "<html>", "UNKNOWN", "<html>"),
    "deep": ("log_prob", "[" * 100_000, "UNKNOWN", "HTTP status 200"),
    "no words": ("log_prob", reply("", "500 Oh"), "UNKNOWN", "no message"),
    "another protocol": ("log_prob", b"+OK POP3 ready\r\n", "UNKNOWN", "no REST server"),
    "nothing": ("log_prob", b"", "UNAVAILABLE", "closed connection"),
    "half the headers": ("log_prob", b"HTTP/1.1 200 OK\r\nContent-", "UNAVAILABLE", "ended within an answer"),
    "half a body": ("log_prob", reply(GOOD)[:-4], "UNAVAILABLE", "ended within an answer, after 19 bytes"),
    "half a body of untold length": ("log_prob", b"HTTP/1.1 200 OK\r\n\r\n" + GOOD[:-4].encode(), "UNAVAILABLE", "19 bytes"),
    "half a chunk": ("log_prob", CHUNKED + b"20\r\n{", "UNAVAILABLE", "IncompleteRead"),
    "a dead gateway": ("log_prob", reply("<html>", "503 Gone"), "UNAVAILABLE", "<html>"),
}


class TestRest:
    @pytest.mark.parametrize("what", REST)
    def test_no_answer(self, what):
        call, answer, code, message = REST[what]
        with rest(answer if isinstance(answer, bytes) else reply(answer)) as url:
            error = refused(url, call)
        assert error.code == code
        with pytest.raises(ServingError, match=message):
            raise error

    @pytest.mark.parametrize(
        "answer", [reply('{"outputs": [3, -Infinity]}'), b'HTTP/1.0 200 OK\r\n\r\n{"outputs": [3.0, -Infinity]}']
    )
    def test_what_is_one(self, answer):
        with rest(answer) as url, Client(url, "m") as client:
            np.testing.assert_array_equal(client.log_prob(X), np.float32([3, -np.inf]))

    @pytest.mark.parametrize("what", [name for name, row in REST.items() if row[2] == "UNAVAILABLE"])
    def test_a_server_that_dies_within_an_answer_is_asked_again(self, what, monkeypatch):
        monkeypatch.setattr(client_module, "_FIRST_PAUSE", 1e-3)
        with rest(REST[what][1], REST[what][1], reply(GOOD)) as url, Client(url, "m") as client:
            assert client.log_prob(X).tolist() == [3, 7]

    @pytest.mark.parametrize("answer", [reply("[" + " " * 5000), b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 5000])
    def test_more_than_the_answer_can_be(self, answer, monkeypatch):
        monkeypatch.setattr(replies, "largest_reply", lambda specs, n: 2000)
        with rest(answer) as url:
            error = refused(url)
        assert error.code == "RESOURCE_EXHAUSTED" and "at most 2,000 bytes" in str(error)

    @pytest.mark.parametrize("answer", [reply(GOOD), b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 200])
    def test_one_that_drips(self, answer):
        with rest(answer, seconds_a_byte=0.05) as url:
            start = time.monotonic()
            assert refused(url, timeout=0.4).code == "DEADLINE_EXCEEDED"
            assert time.monotonic() - start < 1.5

    def test_what_a_large_answer_may_take(self):
        specs = {"x": replies.Spec(np.dtype(np.float32), (-1, 100, 100))}
        longest = json.dumps([[[-1.2345678e-38] * 100] * 100] * 128, indent=4)
        assert len(longest) < replies.largest_reply(specs, 128) < 30 * len(longest)


def changed(path, value):
    """The metadata with another value at a path of keys."""
    found = copy.deepcopy(METADATA)
    place = found
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return found


OF = ("metadata", "signature_def", "signature_def")
X_INFO = (*OF, "log_prob", "inputs", "x")
BAD_METADATA = {
    "nothing": {},
    "null": changed(("metadata",), None),
    "a list": changed(OF, [SIGNATURES]),
    "a signature of text": changed((*OF, "log_prob"), "log_prob"),
    "no inputs": changed((*OF, "log_prob", "inputs"), {}),
    "another input": changed((*OF, "log_prob", "inputs"), tensors(y=(-1, 2))),
    "another output": changed((*OF, "log_prob", "outputs"), tensors(score=(-1,))),
    "no dtype": changed((*X_INFO, "dtype"), "DT_INVALID"),
    "unknown dtype": changed((*X_INFO, "dtype"), "DT_MINE"),
    "dtype of text": changed((*X_INFO, "dtype"), "DT_STRING"),
    "dtype as a list": changed((*X_INFO, "dtype"), [1]),
    "a size of text": changed((*X_INFO, "tensor_shape", "dim"), [{"size": "-1"}, {"size": "two"}]),
    "a fraction": changed((*X_INFO, "tensor_shape", "dim"), [{"size": "-1"}, {"size": 2.5}]),
    "a free size": changed((*X_INFO, "tensor_shape", "dim"), [{"size": "-1"}, {"size": "-1"}]),
    "no rank": changed((*X_INFO, "tensor_shape"), {"unknown_rank": True}),
    "no batch": changed((*OF, "log_prob", "outputs", "log_prob", "tensor_shape", "dim"), []),
}


@pytest.mark.parametrize("what", BAD_METADATA)
def test_metadata_over_rest(what):
    with rest(reply(GOOD), metadata=BAD_METADATA[what]) as url:
        error = refused(url)
    assert error.code == "DATA_LOSS" and "malformed metadata" in str(error)


def test_other_signatures_may_be_what_they_like():
    odd = {"examples": {"dtype": "DT_STRING", "tensor_shape": {"unknown_rank": True}}}
    metadata = changed((*OF, "classify"), {"inputs": odd, "outputs": odd})
    with rest(reply(GOOD), metadata=metadata) as url, Client(url, "m") as client:
        assert client.log_prob(X).tolist() == [3, 7]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"column_names": "ab", "condition_names": null}', '{"column_names": [[1]]}'])
def test_names_of_columns(text):
    metadata = changed(OF, SIGNATURES | DESCRIBE)
    with rest(reply(json.dumps({"outputs": [text]})), metadata=metadata) as url, Client(url, "m") as client:
        for _ in range(2):  # Without its names a table would be taken by its places.
            with pytest.raises(ServingError, match="expected JSON with the names of columns") as error:
                client.log_prob(X)
            assert error.value.code == "DATA_LOSS"


class TestGrpc:
    def made(self, **changes):
        """A PredictResponse for log_prob, and its tensor with `changes`."""
        predict_pb2 = pytest.importorskip("tensorflow_serving.apis.predict_pb2")
        response = predict_pb2.PredictResponse()
        tensor = tf.make_tensor_proto(np.float32([3, 7]))
        for field, value in changes.items():
            setattr(tensor, field, value)
        response.outputs["log_prob"].CopyFrom(tensor)
        return response

    @contextlib.contextmanager
    def server(self, response, any_=None):
        grpc = pytest.importorskip("grpc")
        from google.protobuf import json_format
        from tensorflow_serving.apis import get_model_metadata_pb2, prediction_service_pb2_grpc

        class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
            def GetModelMetadata(self, request, context):
                found = json_format.ParseDict({"signature_def": SIGNATURES}, get_model_metadata_pb2.SignatureDefMap())
                metadata = get_model_metadata_pb2.GetModelMetadataResponse()
                if any_ is None:
                    metadata.metadata["signature_def"].Pack(found)
                elif any_:
                    metadata.metadata["signature_def"].type_url, metadata.metadata["signature_def"].value = any_
                return metadata

            def Predict(self, request, context):
                return response

        server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"dtype": 2}, "Received: float64"),
            ({"dtype": 3}, "Received: int32"),
            ({"dtype": 7}, "Received: string"),
            ({"dtype": 99}, "Received"),
            ({"tensor_content": b"\0" * 4}, "Received"),
            ({"tensor_content": b"\0" * 7}, "Received"),
            ({"tensor_content": b""}, "Received: 0 values"),
            ({"tensor_content": np.float32([3, np.nan]).tobytes()}, "Received: nan"),
            ({"tensor_content": np.float32([3, np.inf]).tobytes()}, "Received: inf"),
        ],
    )
    def test_tensors(self, changes, message):
        with self.server(self.made(**changes)) as url, pytest.raises(ServingError, match=message) as error:
            raise refused(url)
        assert error.value.code == "DATA_LOSS"

    @pytest.mark.parametrize("sizes", [(), (1,), (3,), (2, 1), (-2,), (2**40,)])
    def test_shapes(self, sizes):
        response = self.made(tensor_content=b"")
        tensor = response.outputs["log_prob"]
        tensor.float_val.append(3)
        del tensor.tensor_shape.dim[:]
        for size in sizes:
            tensor.tensor_shape.dim.add(size=size)
        with self.server(response) as url, pytest.raises(ServingError, match="of shape") as error:
            raise refused(url)
        assert error.value.code == "DATA_LOSS"

    def test_values_that_are_missing_are_not_made_up(self):
        response = self.made(tensor_content=b"")
        response.outputs["log_prob"].float_val.append(3)
        with self.server(response) as url:
            assert "Received: 1 values" in str(refused(url))
        response.outputs["log_prob"].float_val.append(7)
        with self.server(response) as url, Client(url, "m") as client:
            assert client.log_prob(X).tolist() == [3, 7]

    def test_names(self):
        response = self.made()
        response.outputs["y"].CopyFrom(response.outputs["log_prob"])
        with self.server(response) as url:
            assert "outputs log_prob. Received: log_prob, y" in str(refused(url))
        del response.outputs["log_prob"]
        with self.server(response) as url:
            assert "outputs log_prob. Received: y" in str(refused(url))

    def test_more_than_the_answer_can_be(self, monkeypatch):
        monkeypatch.setattr(replies, "largest_reply", lambda specs, n: 2000)
        response = self.made()
        response.outputs["log_prob"].tensor_content = bytes(5000)
        with self.server(response) as url:
            assert refused(url).code == "RESOURCE_EXHAUSTED"

    @pytest.mark.parametrize(
        "any_", [(), ("type.googleapis.com/tensorflow.TensorProto", b""), ("/tensorflow.serving.SignatureDefMap", b"\xff\xff")]
    )
    def test_metadata(self, any_):
        with self.server(self.made(), any_) as url:
            error = refused(url)
        assert error.code == "DATA_LOSS" and "malformed metadata" in str(error)

    @pytest.mark.slow
    @pytest.mark.parametrize("before", ["", "import grpc"])
    def test_a_fork(self, before):
        """Answers, or says at once why it cannot, where grpc was imported in a way that would hang."""
        code = f"""
import os, sys
{before}
from tfdgm.serving import Client
client = Client(sys.argv[1], "m", timeout=20)
print(client.log_prob([[1, 2], [3, 4]]).tolist(), flush=True)
if os.fork():
    os.wait()
    print(client.log_prob([[1, 2], [3, 4]]).tolist(), flush=True)
else:
    try:
        print(client.log_prob([[1, 2], [3, 4]]).tolist(), flush=True)
    except OSError as error:
        print(error.code, flush=True)
    os._exit(0)
"""
        environ = {name: value for name, value in os.environ.items() if name != "GRPC_ENABLE_FORK_SUPPORT"}
        with self.server(self.made()) as url:
            command = [sys.executable, "-c", code, url]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=environ)
        lines = done.stdout.splitlines()
        assert lines == ["[3.0, 7.0]", "FAILED_PRECONDITION" if before else "[3.0, 7.0]", "[3.0, 7.0]"]


def test_one_timeout_for_all_requests_of_a_call():
    with rest(reply(GOOD), seconds_a_byte=0.004) as url:  # A quarter of a second each.
        start = time.monotonic()
        with Client(url, "m", timeout=0.6, max_batch=2) as client, pytest.raises(ServingError) as error:
            client.log_prob(np.zeros((40, 2)))
    assert error.value.code == "DEADLINE_EXCEEDED" and time.monotonic() - start < 2


def test_a_fork_has_connections_of_its_own():
    served_by = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.wfile.write(reply(json.dumps(METADATA), connection="keep-alive"))

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            served_by.append(self.client_address)
            self.wfile.write(reply(GOOD, connection="keep-alive"))

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", served.free_port()), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        with Client(f"http://127.0.0.1:{server.server_port}", "m") as client:
            client.log_prob(X)
            child = os.fork()
            if not child:
                code = 1
                with contextlib.suppress(BaseException):
                    code = 0 if client.log_prob(X).tolist() == [3, 7] else 2
                os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert client.log_prob(X).tolist() == [3, 7]
    finally:
        server.shutdown()
        server.server_close()
    assert served_by[0] == served_by[2] != served_by[1]
