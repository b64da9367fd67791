"""Times a served masked autoregressive flow under load: 1, 8 and 64 clients on loopback, single rows and batches.

    pip install -e '.[serving]'
    python tools/benchmark_serving.py --write docs/serving.md

The server is tensorflow_model_server where it is on PATH or TFDGM_MODEL_SERVER names it, else the tests' server over
TensorFlow's C library (tests/serving/model_server.py). The clients are threads of this process, each with its own
`tfdgm.serving.Client`, which sends its next request when the last is answered and does not repeat failed ones.
"""

import argparse
import concurrent.futures
import datetime
import itertools
import os
import pathlib
import re
import shlex
import sys
import tempfile
import threading
import time

import numpy as np

import tfdgm

sys.path.append(str(pathlib.Path(__file__).parents[1] / "tests"))
import served

START, END = "<!-- benchmark_serving -->", "<!-- /benchmark_serving -->"
DIMENSIONS, LAYERS, UNITS = 43, 5, 512
CLIENTS, ROWS = (1, 8, 64), (1, 64)


def load(url, call, rows, clients, requests):
    """The latencies in seconds of the requests that were answered, the errors, and the seconds of it all."""
    x = np.random.default_rng(0).normal(size=(rows, DIMENSIONS)).astype(np.float32)
    numbers, started = itertools.count(), []
    ready = threading.Barrier(clients, action=lambda: started.append(time.perf_counter()))

    def work(_):
        times, errors = [], []
        with tfdgm.serving.Client(url, "maf", retries=0) as client:
            send = {"log_prob": lambda i: client.log_prob(x), "sample": lambda i: client.sample(rows, seed=i)}[call]
            try:
                send(0)
            except BaseException:
                ready.abort()  # Else the others would wait for ever.
                raise
            ready.wait()
            while (i := next(numbers)) < requests:
                start = time.perf_counter()
                try:
                    finite = np.isfinite(send(i)).all()
                    times.append(time.perf_counter() - start)
                    errors += [] if finite else ["a number that is not finite"]
                except tfdgm.serving.ServingError as error:
                    errors.append(str(error))
        return times, errors

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        results = list(pool.map(work, range(clients)))
        seconds = time.perf_counter() - started[0]
    return np.array([t for times, _ in results for t in times]), [e for _, errors in results for e in errors], seconds


def table(url, protocol, requests):
    """Lines of the table, and the errors; `requests` are those of one line."""
    lines, failed = [], []
    for call, rows, clients in itertools.product(("log_prob", "sample"), ROWS, CLIENTS):
        times, errors, seconds = load(url, call, rows, clients, requests)
        failed += errors
        p50, p95, p99 = 1000 * np.percentile(times, (50, 95, 99)) if len(times) else (np.nan,) * 3
        lines.append(
            f"| {call} | {protocol} | {rows} | {clients} | {p50:.1f} ms | {p95:.1f} ms | {p99:.1f} ms "
            f"| {len(times) * rows / seconds:,.0f} | {len(errors)} |"
        )
        print(lines[-1], file=sys.stderr, flush=True)
    return lines, failed


def machine():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown processor")
    return f"{model}, {len(os.sched_getaffinity(0))} cores, {datetime.date.today()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000, help="in all, at least; each line of the table has its share")
    parser.add_argument("--protocols", nargs="+", choices=("grpc", "rest"), default=["grpc"])
    parser.add_argument("--write", metavar="FILE", type=pathlib.Path, help=f"replace the text between {START} and {END} in FILE")
    arguments = parser.parse_args()
    each = -(-arguments.requests // (2 * len(ROWS) * len(CLIENTS) * len(arguments.protocols)))
    kind = "tensorflow_model_server" if served.installed("tensorflow_model_server") else "test_server"
    name = {"test_server": "the tests' server over TensorFlow's C library"}.get(kind, kind)
    text = ["| call | protocol | rows of a request | clients | p50 | p95 | p99 | rows/s | errors |"]
    text, failed = [*text, "|---|---|---:|---:|---:|---:|---:|---:|---:|"], []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model = tfdgm.models.MAF(event_shape=(DIMENSIONS,), num_layers=LAYERS, hidden_units=(UNITS, UNITS))
        model.export(folder / "maf" / "1")
        with served.running(folder, {"maf": folder / "maf"}, server=kind) as server:
            for protocol in arguments.protocols:
                lines, errors = table(getattr(server, protocol), protocol, each)
                text, failed = text + lines, failed + errors
    total = each * (len(text) - 2)
    text.append(
        f"\n{total:,} requests, {len(failed)} errors; a MAF of {DIMENSIONS} dimensions and {LAYERS} layers of 2 x {UNITS} units, "
        f"float32; clients and server ({name}) on one machine: {machine()}; written by "
        f"`{shlex.join(['python', 'tools/benchmark_serving.py', *sys.argv[1:]])}`."
    )
    text = "\n".join(text)
    print(text)
    for error in sorted(set(failed))[:10]:
        print(f"error: {error}", file=sys.stderr)
    if arguments.write:
        old = arguments.write.read_text()
        if old.count(START) != 1 or old.count(END) != 1:
            parser.error(f"{arguments.write} must hold {START} and {END} once each.")
        arguments.write.write_text(re.sub(f"{START}.*?{END}", lambda _: f"{START}\n{text}\n{END}", old, flags=re.DOTALL))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
