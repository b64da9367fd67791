"""The client against a real server; then against scripted ones, for what a good server does not show."""

import concurrent.futures
import contextlib
import http.server
import inspect
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pandas as pd
import pytest
import served
import tensorflow as tf
from contracts.cases import CASES

import tfdgm
from tfdgm.cli import export
from tfdgm.serving import Client, ServingError
from tfdgm.serving import client as client_module

grpc = pytest.importorskip("grpc")
pytest.importorskip("tensorflow_serving")
from tensorflow_serving.apis import (  # noqa: E402
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

pytestmark = pytest.mark.usefixtures("eagerly")

#: name of the served model -> its case; `flow` has a second version, of other weights.
MODELS = {"binary": "made_binary_condition", "levels": "made_categorical", "real": "maf", "flow": "realnvp_condition"}

TABLE = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 4)) * [1, 10, 1, 5], columns=["a", "b, ü", "u", "v"])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """{name: {version: model}} and the folder where they are exported."""
    folder, made = tmp_path_factory.mktemp("models"), {}
    for name, case in MODELS.items():
        for version in (1, 2) if name == "flow" else (1,):
            model = CASES[case].make(seed=version)
            model.adapt(CASES[case].x, CASES[case].condition)
            model.export(folder / name / str(version))
            made.setdefault(name, {})[version] = model
    network = tfdgm.networks.MADE((3,), params_size=3, levels=3, hidden_units=(8,))
    distribution = tfdgm.distributions.Autoregressive(network, tfdgm.families.Categorical(3), missing=True)
    made["named"] = {1: tfdgm.models.MADE((2,), levels=None, num_components=2, hidden_units=(4,), condition_shape=(2,))}
    made["named"][1].adapt(TABLE[["a", "b, ü"]], TABLE[["u", "v"]])
    made["named"][1].export(folder / "named" / "1")
    made["missing"] = {1: tfdgm.DensityModel.from_distribution(distribution)}
    made["missing"][1].export(folder / "missing" / "1")
    return made, folder


@pytest.fixture(scope="module", params=served.SERVERS)
def server(request, models, tmp_path_factory):
    served.program_of(request.param)
    made, folder = models
    paths = {name: folder / name for name in made}
    labels = {"flow": {"stable": 1, "canary": 2}}
    with served.running(tmp_path_factory.mktemp("server"), paths, server=request.param, labels=labels) as running:
        yield running
        assert running.process.poll() is None, "the server did not live"


@pytest.fixture(params=["grpc", "rest"])
def connect(request, server):
    """A function from a served model's name to a client of it."""
    with contextlib.ExitStack() as stack:
        yield lambda name, **options: stack.enter_context(Client(getattr(server, request.param), name, **options))


@pytest.fixture
def model(models):
    """A function from (name, version) to the model in Python."""
    return lambda name, version=1: models[0][name][version]


def close(received, expected):
    expected = np.asarray(expected)
    assert received.dtype == expected.dtype and received.shape == expected.shape
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
class TestMethods:
    @pytest.mark.parametrize("max_batch", [128, 7])
    @pytest.mark.parametrize("name", ["levels", "real"])
    def test_log_prob_and_sample(self, connect, model, name, max_batch):
        client, x = connect(name, max_batch=max_batch), CASES[MODELS[name]].x
        assert client.event_shape == (3,) and client.condition_shape is None
        assert np.dtype(client.dtype) == model(name).distribution.dtype.as_numpy_dtype
        assert client.compute_dtype == model(name).compute_dtype
        close(client.log_prob(x), model(name).log_prob(x))
        close(client.log_prob(x[0]), model(name).log_prob(x[0]))
        close(client.log_prob(x.reshape(4, 12, 3).tolist()), model(name).log_prob(x.reshape(4, 12, 3)))
        close(client.sample(20, seed=5), model(name).sample(20, seed=5))
        assert not np.array_equal(client.sample(20), client.sample(20))

    def test_what_is_no_level_has_probability_0(self, connect, model):
        # And leaves the other rows of the request alone.
        x = CASES[MODELS["levels"]].x[:3].copy()
        x[1, 2] = 9
        scores = connect("levels").log_prob(x)
        assert scores[1] == -np.inf
        close(scores[::2], model("levels").log_prob(x[::2]))

    def test_missing_entries(self, connect, model):
        client, x, known = connect("missing"), np.array([[0, 1, 2], [2, 0, 1]]), [[1, 1, 1], [1, 1, 0]]
        expected = model("missing").log_prob(x, known=known)
        close(client.log_prob(x, known=known), expected)
        close(client.log_prob(np.where(known, x, np.nan)), expected)
        for wrong, message in ((np.ones((3, 3)), "shape of `x`"), ([2, 1, 1], r"0 \(unknown\) and 1 \(known\). Received: 2")):
            with pytest.raises(ValueError, match=message):
                client.log_prob(x, known=wrong)
        with pytest.raises(ValueError, match="takes no `known`"):
            connect("levels").log_prob(x, known=known)

    def test_columns_in_another_order(self, connect, model):
        client, x, c = connect("named"), TABLE[["b, ü", "a"]], TABLE[["v", "u"]]
        assert client.column_names == model("named").column_names == ("a", "b, ü") and client.condition_names == ("u", "v")
        expected = model("named").log_prob(TABLE.to_numpy()[:, :2], TABLE.to_numpy()[:, 2:])
        close(client.log_prob(x, c), expected)
        close(client.log_prob(x.iloc[0], c.iloc[0]), expected[0])
        close(client.log_prob(TABLE.to_numpy()[:, :2], TABLE.to_numpy()[:, 2:]), expected)
        close(client.sample(3, seed=1, condition=c[:3]), model("named").sample(3, seed=1, condition=c[:3]))
        with pytest.raises(ValueError, match=r"`x` must have the columns .*Received: \('a', 'u'\)"):
            client.log_prob(TABLE[["a", "u"]], c)
        with pytest.raises(ValueError, match=r"`condition` must have the columns"):
            client.log_prob(x, x)
        assert connect("real").column_names is None and connect("real").condition_names is None

    def test_requests_have_at_most_max_batch_rows(self, connect, monkeypatch):
        client, rows = connect("real", max_batch=7), []
        predict = client._transport.predict
        monkeypatch.setattr(
            client._transport,
            "predict",
            lambda name, inputs, *rest: rows.append(len(inputs["x"])) or predict(name, inputs, *rest),
        )
        client.log_prob(CASES["maf"].x[:20])
        assert rows == [7, 7, 6]

    def test_encode_and_decode(self, connect, model):
        case, client = CASES["realnvp_condition"], connect("flow", version=1, max_batch=10)
        z, log_det = client.encode(case.x, case.condition)
        expected_z, expected_log_det = model("flow").distribution.to_base(case.x, case.condition)
        close(z, expected_z)
        close(log_det, expected_log_det)
        np.testing.assert_allclose(client.decode(z, case.condition), case.x, rtol=1e-4, atol=1e-4)

    def test_complete(self, connect, model):
        case, client = CASES["made_binary_condition"], connect("binary", max_batch=10)
        known = np.zeros(case.x.shape, bool)
        known[:, 0] = True
        completed = client.complete(case.x, known, seed=3, condition=case.condition)
        seeds = np.stack([np.full(48, 3), np.arange(48)], axis=1).astype(np.int32)
        distribution = model("binary").distribution
        given = (case.x.astype(np.int32), known.astype(np.int32), case.condition)
        close(completed, distribution.complete_from_noise(distribution.draw_noise(seeds), *given))
        assert (completed[known] == case.x[known]).all() and (completed != case.x).any()

    def test_one_condition_for_all_rows(self, connect, model):
        case, client = CASES["realnvp_condition"], connect("flow", version=1)
        assert client.condition_shape == (2,)
        close(client.log_prob(case.x, [0.5, -1]), model("flow").log_prob(case.x, [0.5, -1]))
        close(client.sample(9, seed=2, condition=[0.5, -1]), model("flow").sample(9, seed=2, condition=[0.5, -1]))

    def test_no_rows(self, connect):
        client = connect("flow")
        assert client.log_prob(np.zeros((0, 3)), [0, 0]).shape == (0,)
        assert client.sample(0, seed=1, condition=[0, 0]).shape == (0, 3)
        z, log_det = client.encode(np.zeros((2, 0, 3)), [0, 0])
        assert z.shape == (2, 0, 3) and log_det.shape == (2, 0) and z.dtype == np.float32

    def test_versions_and_labels(self, connect, model):
        case = CASES["realnvp_condition"]
        first, second = (model("flow", version).log_prob(case.x, case.condition) for version in (1, 2))
        assert not np.allclose(first, second)
        for options, expected in (
            ({}, second),
            ({"version": 1}, first),
            ({"version": 2}, second),
            ({"label": "stable"}, first),
            ({"label": "canary"}, second),
        ):
            close(connect("flow", **options).log_prob(case.x, case.condition), expected)

    def test_many_threads_of_one_client(self, connect, model):
        client, x = connect("real", max_batch=16), CASES["maf"].x
        expected = np.asarray(model("real").log_prob(x))
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            found = list(pool.map(lambda i: client.log_prob(x[i % 40 : i % 40 + 8]), range(160)))
        for i, scores in enumerate(found):
            close(scores, expected[i % 40 : i % 40 + 8])


class TestRefusedHere:
    """What does not fit the signatures is not sent."""

    @pytest.mark.parametrize(
        ("name", "call", "message"),
        [
            ("real", lambda c: c.log_prob(np.zeros((5, 4))), r"`x` must end in event_shape=\(3,\). Received: x.shape=\(5, 4\)"),
            ("real", lambda c: c.log_prob(1.0), r"`x` must end in event_shape=\(3,\). Received: x.shape=\(\)"),
            ("real", lambda c: c.log_prob([[0, np.nan, 0]]), r"`x` must be finite. Received: nan at index \(0, 1\)"),
            ("real", lambda c: c.log_prob([[0, 1e300, 0]]), r"`x` must fit in float32. Received: values up to 1e\+300"),
            ("real", lambda c: c.log_prob([["a", "b", "c"]]), "`x` must hold numbers"),
            (
                "real",
                lambda c: c.log_prob(np.ma.masked_less(np.eye(3), 1)),
                "`x` must have no masked entries. Received: a numpy.ma",
            ),
            ("real", lambda c: c.log_prob([[1, 2], [3]]), "`x` must be an array of numbers"),
            ("real", lambda c: c.log_prob(np.zeros((5, 3)), [1.0]), "`real` takes no `condition`"),
            ("real", lambda c: c.sample(-1), "`n` must be a non-negative integer. Received: n=-1"),
            ("real", lambda c: c.sample(1, seed=2**31), "`seed` must be an integer of 32 bits"),
            ("levels", lambda c: c.log_prob([[0, 0.5, 0]]), "`x` must hold integers 0..2147483647. Received: 0.5"),
            ("levels", lambda c: c.log_prob([[0, -1, 0]]), "`x` must hold integers 0..2147483647. Received: values from -1 to 0"),
            ("levels", lambda c: c.log_prob([[0, np.nan, 0]]), "`x` must hold integers 0..2147483647. Received: nan"),
            ("levels", lambda c: c.encode([[0, 1, 0]]), "has no signature `encode`. It has: complete, log_prob, sample"),
            ("levels", lambda c: c.complete([[0, 1, 0]], [[[1, 1, 1]] * 2]), "`known` must have the shape of `x`"),
            ("real", lambda c: c.complete([[0, 1, 0]], [[1, 1, 1]]), "has no signature `complete`"),
            ("flow", lambda c: c.log_prob(np.zeros((5, 3))), r"needs a `condition` that ends in condition_shape=\(2,\)"),
            ("flow", lambda c: c.log_prob(np.zeros((5, 3)), np.zeros((4, 2))), r"`condition` must have shape \(5, 2\) or \(2,\)"),
            ("flow", lambda c: c.decode(np.zeros((5, 2)), [0, 0]), r"`z` must end in event_shape=\(3,\)"),
        ],
    )
    @pytest.mark.slow
    def test_arguments(self, connect, monkeypatch, name, call, message):
        client = connect(name)
        monkeypatch.setattr(client._transport, "predict", lambda *_: pytest.fail("sent"))
        with pytest.raises(ValueError, match=message):
            call(client)

    @pytest.mark.parametrize(
        ("url", "options", "message"),
        [
            ("localhost", {}, "`url` must be host:port"),
            ("ftp://localhost:1", {}, "`url` must be host:port"),
            ("localhost:port", {}, "`url` must be host:port"),
            ("http://", {}, "`url` must be host:port"),
            ("localhost:1/path", {}, "`url` must be host:port"),
            ("localhost:1", {"model": ""}, "`model` must be"),
            ("localhost:1", {"version": 1, "label": "stable"}, "not both"),
            ("localhost:1", {"version": -1}, "`version` must be a number"),
            ("localhost:1", {"timeout": 0}, "`timeout` must be more than 0"),
            ("localhost:1", {"timeout": np.inf}, "`timeout` must be more than 0 seconds, and finite"),
            ("localhost:1", {"retries": -1}, "`retries` must be"),
            ("localhost:1", {"max_batch": 0}, "`max_batch` must be at least 1"),
        ],
    )
    def test_constructor(self, url, options, message):
        with pytest.raises(ValueError, match=message):
            Client(url, **{"model": "m", **options})


@pytest.mark.slow
class TestRefusedThere:
    """The server's own words arrive."""

    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [("nothing", {}, "nothing"), ("flow", {"version": 9}, "9"), ("flow", {"label": "odd"}, "odd")],
    )
    def test_unknown_models_versions_and_labels(self, connect, name, options, message):
        with pytest.raises(ServingError, match=message) as error:
            connect(name, **options).log_prob(np.zeros((1, 3)), [0, 0])
        assert error.value.code in ("NOT_FOUND", "INVALID_ARGUMENT") and f"The model `{name}`" in str(error.value)


def tensor(array, **changes):
    proto = tf.make_tensor_proto(array)
    for field, value in changes.items():
        setattr(proto, field, value)
    return proto


def completion(x):
    """The inputs of `complete`, with nothing known."""
    x = np.array(x, np.int32)
    return {"x": tensor(x), "known": tensor(np.zeros_like(x)), "seed": tensor(np.zeros((len(x), 2), np.int32))}


X = np.zeros((2, 3), np.float32)
#: What is wrong -> (changes of the ModelSpec, inputs).
MALFORMED = {
    "double": ({}, {"x": tensor(X.astype(np.float64))}),
    "int": ({}, {"x": tensor(X.astype(np.int32))}),
    "text": ({}, {"x": tensor(np.array([["a", "b", "c"]]))}),
    "narrow": ({}, {"x": tensor(X[:, :2])}),
    "scalar": ({}, {"x": tensor(X[0, 0])}),
    "one axis more": ({}, {"x": tensor(np.zeros((2, 5, 7), np.float32))}),
    "multiple": ({}, {"x": tensor(np.zeros((2, 6), np.float32))}),
    "too few bytes": ({}, {"x": tensor(X, tensor_content=b"123")}),
    "unknown dtype": ({}, {"x": tensor(X, dtype=99)}),
    "NaN in one row": ({}, {"x": tensor(np.array([[1, 2, 3], [0, np.nan, 0]], np.float32))}),
    "infinity": ({}, {"x": tensor(np.array([[0, np.inf, 0]], np.float32))}),
    "a level too high": ({"name": "levels", "signature_name": "complete"}, completion([[0, 4, 0]])),
    "a negative level": ({"name": "levels", "signature_name": "complete"}, completion([[0, -1, 0]])),
    "NaN in the condition": (
        {"name": "binary"},
        {"x": tensor(np.zeros((1, 2, 2), np.int32)), "condition": tensor(np.full((1, 2), np.nan, np.float32))},
    ),
    "no input": ({}, {}),
    "another input": ({}, {"y": tensor(X)}),
    "one input more": ({}, {"x": tensor(X), "y": tensor(X)}),
    "unknown signature": ({"signature_name": "nothing"}, {"x": tensor(X)}),
    "unknown model": ({"name": "nothing"}, {"x": tensor(X)}),
    "100 MB": ({}, {"x": tensor(np.zeros((5, 5 * 2**20), np.float32))}),
}


@pytest.mark.slow
class TestMalformedRequests:
    """Past the client: each gets an error, and the server lives and answers the next."""

    @pytest.fixture
    def healthy(self, server, model):
        yield
        close(Client(server.grpc, "real").log_prob(CASES["maf"].x), model("real").log_prob(CASES["maf"].x))
        with grpc.insecure_channel(server.grpc) as channel:
            stub = model_service_pb2_grpc.ModelServiceStub(channel)
            status = stub.GetModelStatus(get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "flow"}))
        assert {version.version for version in status.model_version_status} == {1, 2}

    @pytest.mark.parametrize("what", MALFORMED)
    def test_grpc(self, server, healthy, what):
        spec, inputs = MALFORMED[what]
        request = predict_pb2.PredictRequest(model_spec={"name": "real", "signature_name": "log_prob", **spec}, inputs=inputs)
        with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as error:
            prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=60)
        codes = ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND", "RESOURCE_EXHAUSTED", "INTERNAL")
        assert error.value.code().name in codes and error.value.details()

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b'{"inputs": {"x": [[1, 2], [3]]}}',
            b'{"inputs": {"x": [["a", "b", "c"]]}}',
            b'{"inputs": {"y": [[1, 2, 3]]}}',
            b'{"inputs": {"x": [[1, 2]]}}',
            b'{"instances": []}',
            b'{"signature_name": "nothing", "inputs": {"x": [[1, 2, 3]]}}',
            b'{"inputs": {"x": [' + b"0," * (50 * 2**20) + b"0]}}",
        ],
        ids=["empty", "half", "list", "ragged", "text", "other", "narrow", "no_rows", "signature", "100MB"],
    )
    def test_rest(self, server, healthy, body):
        request = urllib.request.Request(f"{server.rest}/v1/models/real:predict", body)
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(request, timeout=60)
        assert 400 <= error.value.code < 500 and json.load(error.value)["error"]

    def test_rest_paths(self, server, healthy):
        for path in ("", "/v1/models/nothing:predict", "/v1/models/real:classify2", "/v1/models/real/versions/9:predict"):
            with pytest.raises(urllib.error.HTTPError) as error:
                urllib.request.urlopen(f"{server.rest}{path}", b'{"inputs": {"x": [[1, 2, 3]]}}', timeout=60)
            assert 400 <= error.value.code < 500

    def test_the_error_says_what_was_expected(self, server, healthy):
        spec, inputs = MALFORMED["a level too high"]
        with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as error:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            stub.Predict(predict_pb2.PredictRequest(model_spec=spec, inputs=inputs), timeout=60)
        assert error.value.code().name == "INVALID_ARGUMENT"
        assert "`x` must hold integers 0..3. Received: values from" in error.value.details()

    def test_rows_of_instances(self, server, model):
        """REST's other format, for the commands of the documentation."""
        rows = CASES["maf"].x[:3]
        body = json.dumps({"instances": rows.tolist()}).encode()
        with urllib.request.urlopen(f"{server.rest}/v1/models/real:predict", body, timeout=60) as reply:
            np.testing.assert_allclose(json.load(reply)["predictions"], model("real").log_prob(rows), rtol=1e-5)


class Script(prediction_service_pb2_grpc.PredictionServiceServicer):
    """A model whose log p(x) is the sum of x [2], behind a server that first fails as told.

    `failures`: gRPC codes, one for each request; "hang" answers after `hang` seconds.
    """

    HTTP = {"UNAVAILABLE": 503, "INVALID_ARGUMENT": 400, "INTERNAL": 500}

    def __init__(self, *failures, hang=3.0):
        self.failures, self.requests, self.hang = list(failures), 0, hang
        self._over = threading.Event()

    def _failure(self):
        self.requests += 1
        failure = self.failures.pop(0) if self.failures else None
        if failure == "hang":
            self._over.wait(self.hang)
            return None
        return failure

    def GetModelMetadata(self, request, context):
        found = get_model_metadata_pb2.SignatureDefMap()
        for side, key, shape in (("inputs", "x", (-1, 2)), ("outputs", "log_prob", (-1,))):
            info = getattr(found.signature_def["log_prob"], side)[key]
            info.dtype = 1
            for size in shape:
                info.tensor_shape.dim.add(size=size)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(found)
        return response

    def Predict(self, request, context):
        if failure := self._failure():
            context.abort(grpc.StatusCode[failure], "said the script")
        response = predict_pb2.PredictResponse()
        response.outputs["log_prob"].CopyFrom(tf.make_tensor_proto(tf.make_ndarray(request.inputs["x"]).sum(axis=1)))
        return response

    @contextlib.contextmanager
    def grpc(self, port):
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, server)
        assert server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        try:
            yield f"grpc://127.0.0.1:{port}"
        finally:
            self._over.set()
            server.stop(None)

    @contextlib.contextmanager
    def rest(self, port):
        script = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                info = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "2"}]}}
                out = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}]}}
                signature = {"inputs": {"x": info}, "outputs": {"log_prob": out}}
                self.reply(200, {"metadata": {"signature_def": {"signature_def": {"log_prob": signature}}}})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                failure = script._failure()
                if failure == "drop":
                    self.close_connection = True
                elif failure:
                    self.reply(script.HTTP[failure], {"error": "said the script"})
                else:
                    self.reply(200, {"outputs": [sum(row) for row in body["inputs"]["x"]]})

            def reply(self, status, value):
                text = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            self._over.set()
            server.shutdown()
            server.server_close()


@pytest.fixture(params=["grpc", "rest"])
def protocol(request):
    return request.param


@pytest.fixture
def pauses(monkeypatch):
    """The pauses before retries, which are not waited for."""
    found = []
    monkeypatch.setattr(client_module.time, "sleep", found.append)
    return found


class TestRetries:
    def test_unavailable_is_sent_again_after_pauses_that_double(self, protocol, pauses):
        script = Script("UNAVAILABLE", "UNAVAILABLE", "UNAVAILABLE")
        with getattr(script, protocol)(served.free_port()) as url, Client(url, "m") as client:
            assert client.log_prob([[1, 2], [3, 4]]).tolist() == [3, 7]
        assert script.requests == 4 and len(pauses) == 3
        for i, pause in enumerate(pauses):
            assert 0.1 * 2**i <= pause <= 0.2 * 2**i

    def test_it_gives_up(self, protocol, pauses):
        script = Script(*["UNAVAILABLE"] * 9)
        message = r"`m` at .*: UNAVAILABLE: said the script.*\(3 tries\)"
        with getattr(script, protocol)(served.free_port()) as url, pytest.raises(ServingError, match=message) as error:
            Client(url, "m", retries=2).log_prob([[1, 2]])
        assert error.value.code == "UNAVAILABLE" and script.requests == 3

    @pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "INTERNAL"])
    def test_other_errors_are_not_sent_again(self, protocol, pauses, code):
        script = Script(code)
        with getattr(script, protocol)(served.free_port()) as url, Client(url, "m") as client:
            with pytest.raises(ServingError, match="said the script"):
                client.log_prob([[1, 2]])
            assert client.log_prob([[1, 2]]).tolist() == [3]
        assert script.requests == 2 and not pauses

    def test_no_pause_outlasts_the_timeout(self, protocol):
        script = Script(*["UNAVAILABLE"] * 99)
        with getattr(script, protocol)(served.free_port()) as url, Client(url, "m", timeout=0.5, retries=99) as client:
            start = time.monotonic()
            with pytest.raises(ServingError, match="UNAVAILABLE"):
                client.log_prob([[1, 2]])
        assert time.monotonic() - start < 2 and script.requests < 9

    def test_a_server_that_hangs(self, protocol):
        script = Script("hang")
        with getattr(script, protocol)(served.free_port()) as url, Client(url, "m", timeout=0.4) as client:
            start = time.monotonic()
            with pytest.raises(ServingError) as error:
                client.log_prob([[1, 2]])
            assert error.value.code == "DEADLINE_EXCEEDED" and time.monotonic() - start < 2

    def test_a_server_that_comes_up_late(self, protocol):
        port, script, late = served.free_port(), Script(), contextlib.ExitStack()
        url = f"{'grpc' if protocol == 'grpc' else 'http'}://127.0.0.1:{port}"
        timer = threading.Timer(0.7, lambda: late.enter_context(getattr(script, protocol)(port)))
        timer.start()
        try:
            with Client(url, "m") as client:
                assert client.log_prob([[1, 2]]).tolist() == [3]
        finally:
            timer.join()
            late.close()

    def test_no_server(self, protocol, pauses):
        url = f"{'grpc' if protocol == 'grpc' else 'http'}://127.0.0.1:{served.free_port()}"
        with Client(url, "m", retries=1) as client, pytest.raises(ServingError, match=r"refused.*\(2 tries\)") as error:
            client.log_prob([[1, 2]])
        assert error.value.code == "UNAVAILABLE"

    def test_a_dropped_connection(self, pauses):
        script = Script("drop")
        with script.rest(served.free_port()) as url, Client(url, "m") as client:
            assert client.log_prob([[1, 2]]).tolist() == [3]
        assert script.requests == 2

    def test_a_server_of_another_protocol(self, pauses):
        with Script().grpc(served.free_port()) as url, pytest.raises(ServingError, match="this is no REST server"):
            Client(url.replace("grpc", "http"), "m", timeout=5).log_prob([[1, 2]])


def test_no_request_is_larger_than_an_export_lets_the_server_take():
    largest = inspect.signature(Client).parameters["max_batch"].default
    assert largest <= export.FLAGS["max_batch"].default


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(ImportError, match=r"gRPC needs tensorflow-serving-api .*pip install 'tfdgm\[serving\]'"):
        Client("localhost:8500", "m")
    Client("http://localhost:8501", "m").close()


@pytest.mark.slow
def test_the_package_does_not_import_the_extra():
    code = "import sys, tfdgm.serving; print([m for m in ('grpc', 'tensorflow_serving') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
