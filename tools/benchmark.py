"""Times our models beside their peers' in one run on one machine, and prints tables with ratios.

Each model runs in a process of its own. Needs the peers:

    pip install -e '.[bench]'
    python tools/benchmark.py flows --write README.md
    python tools/benchmark.py images --write README.md

flows: our masked autoregressive flow beside its peers' (tools/benchmark_peers.py says what is measured), `import tfdgm` on top of
its dependencies, a flow over 784 dimensions, and `tfdgm score` on a csv of a million rows (--skip-extras leaves all but the
first out).

images: our image models and TFP's PixelCNN (tools/benchmark_images.py says what is measured), the cost against the image's
size, and training beside a PyTorch network of equal shape.
"""

import argparse
import compileall
import datetime
import importlib.util
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time

from benchmark_images import CONVOLUTIONS, MODELS

PEERS = pathlib.Path(__file__).with_name("benchmark_peers.py")
IMAGES = PEERS.with_name("benchmark_images.py")
LIBRARIES = ("tfdgm", "tfdgm-exported", "nflows", "zuko", "flowjax", "tfp", "tfp-xla")
SIZES = (16, 32, 64)
MARKS = {"flows": "benchmark", "images": "benchmark_images"}
TO_REACH = """\
Asked of ourselves: log_prob and train step at least 1.2 times faster than the fastest peer; a sample at most 3 times our own \
log_prob (goal 2; 5 as exported) and 10 times faster than the fastest peer's; its first call under 5 s."""


def measure(library, seconds, extra=(), tool=PEERS):
    command = [sys.executable, str(tool), library, "--seconds", str(seconds), *extra]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        print(f"{library}: left out: {lines[-1] if lines else 'no output'}", file=sys.stderr)
        return None
    row = json.loads(done.stdout.strip().splitlines()[-1])
    print(json.dumps(row), file=sys.stderr, flush=True)
    return row


def best_of(rounds):
    """One row a library: of each figure the lowest of its rounds, since what else runs on a machine only ever adds time."""
    rows = []
    for turns in zip(*rounds, strict=True):
        turns = [row for row in turns if row]
        if turns:
            times = [key for key in turns[0] if key.endswith(("_ms", "_s")) and turns[0][key] is not None]
            rows.append({**turns[0], **{key: min(row[key] for row in turns) for key in times}})
    return rows


def table(rows):
    lines = ["| library | train step, 256 rows | log_prob, 1000 rows | sample, 1000 rows | sample / log_prob | first sample |"]
    lines.append("|---|---|---|---|---|---|")
    for row in rows:
        step = "-" if row["train_step_ms"] is None else f"{row['train_step_ms']:.1f} ms"
        lines.append(
            f"| {row['library']} {row['version']} ({row['backend']}) | {step} | {row['log_prob_ms']:.1f} ms "
            f"| {row['sample_ms']:.1f} ms | {row['sample_ms'] / row['log_prob_ms']:.1f} | {row['first_sample_s']:.1f} s |"
        )
    return "\n".join(lines)


def ratios(rows):
    ours = next(row for row in rows if row["library"] == "tfdgm")
    peers = [row for row in rows if not row["library"].startswith("tfdgm")]
    parts = []
    for key, name in (("train_step_ms", "train step"), ("log_prob_ms", "log_prob"), ("sample_ms", "sample")):
        if peers:
            fastest = min(peers, key=lambda row, key=key: row[key])
            parts.append(f"{name} {fastest[key] / ours[key]:.2f} times as fast as the fastest peer's ({fastest['library']})")
    return "Ours: " + "; ".join(parts) + "." if parts else ""


def import_seconds():
    """Seconds that importing tfdgm and its model classes adds to TensorFlow, TFP and Keras: the median of 5 processes. Once its
    bytecode is there, as after an installation."""
    compileall.compile_dir(importlib.util.find_spec("tfdgm").submodule_search_locations[0], quiet=2)
    code = (
        "import time, tensorflow, keras, tensorflow_probability as tfp; tfp.distributions; tfp.bijectors; tfp.util\n"
        "start = time.perf_counter(); import tfdgm; tfdgm.models.MAF; print(time.perf_counter() - start)"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) for _ in range(5)
    ]
    return sorted(times)[2]


def score_million(rows=1_000_003, columns=43):
    """`tfdgm score` on a csv of 1,000,003 rows: (seconds, peak memory in MB, the same for a tenth of the rows)."""
    code = """
import sys, numpy as np, tfdgm
rng = np.random.default_rng(0)
tfdgm.models.MAF((int(sys.argv[2]),), num_layers=5, hidden_units=(64, 64)).export(sys.argv[1] + "/model/1")
block = np.round(rng.standard_normal((1000, int(sys.argv[2]))), 3)
text = "\\n".join(",".join(map(str, row)) for row in block) + "\\n"
for name, count in (("small", int(sys.argv[3]) // 10), ("large", int(sys.argv[3]))):
    with open(f"{sys.argv[1]}/{name}.csv", "w") as file:
        for _ in range(count // 1000):
            file.write(text)
        file.writelines(line + "\\n" for line in text.splitlines()[: count % 1000])
"""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", code, folder, str(columns), str(rows)], check=True, capture_output=True)
        for name in ("small", "large"):
            command = [sys.executable, "-m", "tfdgm", "score", f"{folder}/model", f"{folder}/{name}.csv"]
            command += ["--out", f"{folder}/{name}.npy"]
            start = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                raise SystemExit(f"tfdgm score failed on {name}.csv")
            results.append((time.perf_counter() - start, usage.ru_maxrss / 1000))
    return results


def extras(seconds):
    lines = []
    row = measure("tfdgm", seconds, ("--dims", "784"))
    lines.append(
        f"Ours over 784 dimensions: log_prob {row['log_prob_ms']:.0f} ms, sample {row['sample_ms']:.0f} ms, first sample "
        f"{row['first_sample_s']:.1f} s."
    )
    lines.append(f"`import tfdgm` with its models adds {import_seconds():.2f} s to importing TensorFlow, Keras and TFP.")
    (_, small), (large_s, large) = score_million()
    lines.append(
        f"`tfdgm score` on a csv of 1,000,003 rows of 43 (a MAF of 5 x 2 x 64 units): {large_s:.0f} s in all, "
        f"at most {large:.0f} MB; on a tenth of the rows {small:.0f} MB."
    )
    return " ".join(lines)


def images(seconds):
    measured = [measure(name, seconds, tool=IMAGES) for name in [*MODELS, "tfp"]]
    rows = [row for row in measured if row]
    lines = ["| model | weights | log_prob | sample | ratio | one image | first sample | exported: log_prob | sample | ratio |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        lines.append(f"| {row['model']} | {row['weights']:,} | {_pair(row, '')} | {_ms(row, 'sample_1_ms')} ")
        lines[-1] += f"| {row['first_sample_s']:.1f} s | {_pair(row, 'exported_')} |"
    parts = ["\n".join(lines)]
    theirs = next((row for row in rows if row["model"] == "tfd.PixelCNN"), None)
    if theirs:
        slowest = max((row for row in rows if row is not theirs), key=lambda row: row["sample_ms"])
        times = theirs["sample_ms"] / slowest["sample_ms"]
        parts.append(f"The slowest of ours ({slowest['model']}) samples {times:.0f} times as fast as `tfd.PixelCNN`.")
    steps = [
        f"{row['model']} {row['first_step_ms']:.2f} and {row['last_step_ms']:.2f} ms" for row in rows if "first_step_ms" in row
    ]
    parts.append("A call of `step` without XLA, for the first and the last hundred pixels: " + "; ".join(steps) + ".")

    lines = ["| model | " + " | ".join(f"{size} x {size}: log_prob | sample | a pixel" for size in SIZES) + " |"]
    lines.append("|---|" + "---:|" * 3 * len(SIZES))
    for name in CONVOLUTIONS:
        cells = []
        for size in SIZES:
            row = measure(name, seconds, ("--size", str(size)), tool=IMAGES)
            cells += [_ms(row, "log_prob_ms"), _ms(row, "sample_ms"), f"{1000 * row['sample_ms'] / size**2:.0f} us"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    parts.append("\n".join(lines))

    def training(name, *options):
        rows = [measure(name, seconds, ("--train", *option), tool=IMAGES) for option in ((), *options)]
        return max(row["images_per_s"] for row in rows if row)

    ours, torch = training("GatedPixelCNN", ("--xla",)), training("torch", ("--channels_last",))
    parts.append(
        f"Training GatedPixelCNN, batches of 64: {ours:.0f} images a second, a PyTorch network of the same shape {torch:.0f}: "
        f"{ours / torch:.2f} times as fast (each with the faster of its two settings: XLA or not, channels first or last)."
    )
    return "\n\n".join(parts)


def _ms(row, key):
    return f"{row[key]:.0f} ms" if key in row else "-"


def _pair(row, prefix):
    """log_prob, sample and their ratio."""
    log_prob, sample = prefix + "log_prob_ms", prefix + "sample_ms"
    ratio = f"{row[sample] / row[log_prob]:.1f}" if sample in row else "-"
    return f"{_ms(row, log_prob)} | {_ms(row, sample)} | {ratio}"


def machine():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown processor")
    return f"{model}, {len(os.sched_getaffinity(0))} cores, {datetime.date.today()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=MARKS)
    parser.add_argument("--seconds", type=float, default=5.0, help="time each figure for at least this long")
    parser.add_argument("--rounds", type=int, default=3, help="flows: take turns so often; each figure is a library's best round")
    parser.add_argument("--write", metavar="FILE", type=pathlib.Path, help="replace the part's text in FILE, between its marks")
    parser.add_argument("--skip-extras", action="store_true", help="flows: the table alone")
    arguments = parser.parse_args()
    if importlib.util.find_spec("tfdgm") is None:
        parser.error("tfdgm is not installed here: pip install -e '.[bench]'")
    seconds, rounds, command = arguments.seconds, arguments.rounds, shlex.join(["python", "tools/benchmark.py", *sys.argv[1:]])
    if arguments.part == "flows":
        rows = best_of([[measure(library, seconds) for library in LIBRARIES] for _ in range(rounds)])
        text = "\n\n".join([table(rows), ratios(rows), TO_REACH] + ([] if arguments.skip_extras else [extras(seconds)]))
        how = f"Medians, the best of {rounds} rounds in turn"
    else:
        text, how = images(seconds), "16 images of 28 x 28 where no other size is named; medians"
    text += f"\n\n{how}; float32; {machine()}; written by `{command}`."
    print(text)
    if arguments.write:
        start, end = f"<!-- {MARKS[arguments.part]} -->", f"<!-- /{MARKS[arguments.part]} -->"
        old = arguments.write.read_text()
        if old.count(start) != 1 or old.count(end) != 1:
            parser.error(f"{arguments.write} must hold {start} and {end} once each.")
        arguments.write.write_text(re.sub(f"{start}.*?{end}", lambda _: f"{start}\n{text}\n{end}", old, flags=re.DOTALL))


if __name__ == "__main__":
    main()
