"""`tfdgm score` as an Apache Beam pipeline, for Dataflow, Flink, Spark or the processes of one machine.

Needs the extra `beam`, so `tfdgm.tasks` does not import this module by itself.
"""

import contextlib
import csv
import io
import math
import os
import pathlib
import re
import shutil
import tempfile
import uuid
import warnings

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.io.filesystems import FileSystems
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

import tfdgm.models  # noqa: F401  Registers the classes that an artifact names.
from tfdgm import data, serving
from tfdgm.data import csv_files, finding, tables
from tfdgm.data.reading import Reading
from tfdgm.event import can_be_reshaped
from tfdgm.expanded import expanded
from tfdgm.non_finite import NonFinite
from tfdgm.written_aside import locked

INDEX = "index.csv"
_INDEX_COLUMNS = ("scores", "input", "first_row", "rows", "not_finite", "first_not_finite")
_SUFFIXES = (*tables.READERS, ".npy", ".npz")
_OURS = re.compile(r"\d{6,}-\d{6,}\.csv|index\.csv|\.[0-9a-f]{32}\.new")
_FIRST_LINES = ("", "log_prob", ",".join(_INDEX_COLUMNS), ",".join(_INDEX_COLUMNS[:4]))


class LogProbHandler(ModelHandler):
    """Beam's `ModelHandler` of a SavedModel's log_prob: arrays [k, *event_shape] -> [k], nats.

    The model is built anew from its config. Of a SavedModel without one (`DensityModel.from_distribution`), or whose class is not
    known where it runs, the `log_prob` signature is run, if its graph only computes (`serving.load_graph`).

    Beam's own TensorFlow handlers (2.77) load with `keras.models.load_model`, which in Keras 3 refuses SavedModels. Each array
    is one example to Beam, and is scored in batches of 2^18 numbers, but 16 rows at least and 4096 at most.

    Args:
      path: a version folder, or the folder of versions, of a SavedModel; where every worker can read it.
      condition: of a model of p(x|c): c [*condition_shape], the same for all rows.
    """

    def __init__(self, path, condition=None):
        super().__init__(min_batch_size=1, max_batch_size=1)
        self.path = os.fspath(path)
        self.condition = condition

    def load_model(self):
        with _local(self.path) as folder:
            try:
                return serving.load(folder)
            except serving.ArtifactError:
                return _Signature(serving.load_graph(folder)["log_prob"])

    def run_inference(self, batch, model, inference_args=None):
        size = min(4096, max(16, 2**18 // math.prod(model.event_shape)))
        for x in batch:
            x = x.reshape(-1, *model.event_shape)
            parts = [model.log_prob(x[i : i + size], self.condition) for i in range(0, len(x), size)]
            yield np.concatenate(parts)

    def get_num_bytes(self, batch):
        return sum(x.nbytes for x in batch)

    def get_metrics_namespace(self):
        return "tfdgm"


class _Signature:
    """The `log_prob` signature of a SavedModel, as a model's method."""

    def __init__(self, signature):
        self._signature, self._specs = signature, signature.structured_input_signature[1]
        self.event_shape = tuple(self._specs["x"].shape[1:])

    def log_prob(self, x, condition=None):
        inputs = {"x": tf.cast(x, self._specs["x"].dtype)}
        if condition is not None:
            inputs["condition"] = tf.repeat(tf.cast(condition, self._specs["condition"].dtype)[None], len(x), axis=0)
        return self._signature(**inputs)["log_prob"]


def score_files(
    path, source, out, *, condition=None, columns=None, reading=None, options=(), rows_per_shard=None, overwrite=True
):
    """Scores every row of every file of `source` with the SavedModel at `path`: log p(x) in nats, in shards under `out`.

    `out` receives `FFFFFF-SSSSSS.csv`, shard S of file F, both counted from 0: a header `log_prob` and one score a row, in the
    file's order; and at the end `index.csv` with the columns `scores, input, first_row, rows, not_finite, first_not_finite` (how
    many scores are -inf or NaN, and the first such row of the shard, from 0), one line a shard. Shards in the
    order of their names are all rows of the files in the order of theirs. Without an index the run is not complete; it may be
    started again, and a shard that is written twice is the same. Memory does not grow with the files.

    Args:
      path: a version folder, or the folder of versions, of a SavedModel. This path, `source` and `out` must mean the same on
        all workers: a shared file system, or a URL of one of Beam's (gs://, s3://, hdfs://).
      source: a .csv, .npy, .npz or .parquet file, a glob or a folder of these.
      out: a folder; new, or with nothing but what an earlier run has written, which is removed.
      condition: of a model of p(x|c): c [*condition_shape], the same for all rows.
      columns: names of the columns that are x, as in training: tables with these in another order are put in order. None:
        the model's own names, where it has any.
      options: Beam's pipeline options, as on a command line: ["--runner=FlinkRunner", ...]. Without a runner it runs in this
        process, on Beam's FnApiRunner (the DirectRunner would first download another one).
      rows_per_shard: Default: up to 2^24 numbers of x, and 2^20 rows.
      overwrite: whether to remove the scores of a complete run; those of one that was interrupted always are.

    Returns:
      The number of rows.

    Raises:
      DataError: a row that is no data, with its file and place; files that are missing or differ in their columns.
    """
    path, source, out = (os.fspath(given) for given in (path, source, out))
    out = out if "://" in out else str(expanded(out))
    with _local(path) as folder:
        model = serving.load(folder)
    if (condition is None) != (model.condition_shape is None):
        needs = "no condition" if model.condition_shape is None else f"a condition {model.condition_shape}"
        raise ValueError(f"This model takes {needs}. Received: {condition}")
    if columns is None and all(isinstance(name, str) for name in model.column_names or ()):
        columns = model.column_names
    size = math.prod(model.event_shape)
    rows_per_shard = rows_per_shard or max(1, min(2**20, 2**24 // size))
    options = list(options)
    if not any(option.split("=")[0] == "--runner" for option in options):
        options.append("--runner=FnApiRunner")
    options = PipelineOptions(options)
    FileSystems.set_options(options)

    files = _find(source)
    reading = reading or {}
    dtype = "float64" if model.compute_dtype == "float64" else "float32"
    with _local(files[0]) as file, _named(files[0], file):
        first = files[0], _names(file, columns, reading)
    levels = None if isinstance(model.levels, tuple) else model.levels
    read = {"levels": levels, "dtype": dtype, "columns": columns, **reading}
    reader = _Read(model.event_shape, rows_per_shard, first, read, reading)
    pipeline = beam.Pipeline(options=options)
    with contextlib.nullcontext() if "://" in out else locked(os.path.join(out, INDEX)):
        _empty(out, overwrite)
        try:
            with pipeline:
                (
                    pipeline
                    | "Files" >> beam.Create(list(enumerate(files)))
                    | "Spread" >> beam.Reshuffle()
                    | "Read" >> beam.ParDo(reader)
                    | "Score" >> RunInference(KeyedModelHandler(LogProbHandler(path, condition)))
                    | "Write" >> beam.Map(_write_shard, out)
                    | "Collect" >> beam.combiners.ToList()
                    | "Index" >> beam.Map(_write_index, out)
                )
        except Exception as error:
            # Runners wrap what a worker raised, most of them as text.
            found = re.findall(r"DataError: (.*?)(?: \[while running|\n|$)", f"{type(error).__name__}: {error}")
            if found:
                raise data.DataError(found[-1]) from None
            raise
    found = NonFinite()
    with io.TextIOWrapper(FileSystems.open(FileSystems.join(out, INDEX)), newline="") as file:
        for line in csv.DictReader(file):
            first = int(line["first_not_finite"]) if line["first_not_finite"] else None
            found.add_counted(int(line["not_finite"]), first, int(line["rows"]))
    found.warn()
    return found.rows


class _Read(beam.DoFn):
    """(number, file) -> ((number, shard, file, first row), rows), a shard at a time."""

    def __init__(self, event_shape, rows_per_shard, first, options, reading):
        self.event_shape, self.rows_per_shard, self.first = event_shape, rows_per_shard, first
        self.options, self.reading = options, reading

    def process(self, element):
        number, path = element
        first = 0
        with _local(path) as file, _named(path, file):
            self._check_names(path, file)
            for shard, x in enumerate(data.stream(file, self.rows_per_shard, **self.options)):
                if not can_be_reshaped(x.shape[1:], self.event_shape):
                    shape = tuple(self.event_shape)
                    raise data.DataError(f"{path}: expected rows of event_shape={shape}. Received: {x.shape[1:]}.")
                yield (number, shard, path, first), x
                first += len(x)

    def _check_names(self, path, file):
        first, expected = self.first
        received = _names(file, self.options["columns"], self.reading)
        if expected and received and expected != received:
            raise data.DataError(f"{path}: expected the columns {expected} as in {first}. Received: {received}.")


def _write_shard(element, out):
    """Writes one shard, whole or not at all, and returns its line of the index."""
    (number, shard, path, first), scores = element
    name, line = f"{number:06d}-{shard:06d}.csv", f"{csv_files.number_format(scores.dtype)}\n"
    _write(out, name, "log_prob\n" + "".join(line % score for score in scores.tolist()))
    found = NonFinite()
    found.add(scores)
    return name, path, first, len(scores), found.count, found.first


def _write_index(lines, out):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_INDEX_COLUMNS, *sorted(lines)])
    _write(out, INDEX, text.getvalue())


def _write(out, name, text):
    # Aside first, under a name of its own: runners may run a piece of work twice at once.
    aside = FileSystems.join(out, f".{uuid.uuid4().hex}.new")
    with FileSystems.create(aside) as file:
        file.write(text.encode())
    FileSystems.rename([aside], [FileSystems.join(out, name)])


def _find(source):
    """The files of a source, sorted."""
    source = os.path.expanduser(source) if "://" not in source else source
    if os.path.isdir(source):
        files = [str(p) for p in finding.data_files(pathlib.Path(source), _SUFFIXES)]
    elif os.path.isfile(source):
        files = [source]
    else:
        files = sorted(found.path for found in FileSystems.match([source])[0].metadata_list)
    if not files:
        raise data.DataError(f"There is no file {source}. Beam reads {', '.join(_SUFFIXES)} files, globs and folders of them.")
    for file in files:
        if tables.suffix_of(file) not in _SUFFIXES:
            raise data.DataError(f"{file}: expected a file of {', '.join(_SUFFIXES)}.")
    return files


def _names(file, columns, reading):
    """The names of a table's columns, or None."""
    if tables.suffix_of(file) not in tables.READERS:
        return None
    with warnings.catch_warnings(action="ignore"):  # They come when it is read.
        (layout,) = tables.layouts([file], None, columns, Reading.of(reading))
    return layout.names and list(layout.names)


@contextlib.contextmanager
def _named(path, file):
    """Errors name the path, and no copy of it."""
    try:
        yield
    except data.DataError as error:
        raise data.DataError(str(error).replace(file, path)) from None


def _empty(out, overwrite):
    """Makes the folder, and removes what an earlier run has written."""
    if not FileSystems.exists(out):
        FileSystems.mkdirs(out)
    if "://" in out:
        old = [found.path for found in FileSystems.match([FileSystems.join(out, "*")])[0].metadata_list]
    else:
        old = [os.path.join(out, name) for name in os.listdir(out) if name != f".{INDEX}.lock"]
    for path in old:
        if not _is_ours(path):
            raise ValueError(f"{out}: expected a new folder for the scores, or one that holds nothing else. It has {path}.")
    if not overwrite and any(path.endswith(INDEX) for path in old):
        raise ValueError(f"{out} holds the scores of a complete run: choose another folder, or --overwrite.")
    if old:
        FileSystems.delete(sorted(old, key=lambda path: not path.endswith(INDEX)))


def _is_ours(path):
    name = FileSystems.split(path)[1]
    if not _OURS.fullmatch(name) or os.path.isdir(path):
        return False
    with FileSystems.open(path) as file:
        return name.endswith(".new") or file.read(80).decode(errors="replace").split("\n")[0] in _FIRST_LINES


@contextlib.contextmanager
def _local(path):
    """The path of a file or folder on this machine: itself, or a copy while it is needed."""
    if "://" not in path:
        yield os.path.expanduser(path)
        return
    path = path.rstrip("/")
    inside, itself = (result.metadata_list for result in FileSystems.match([f"{path}/**", path]))
    with tempfile.TemporaryDirectory() as folder:
        top = os.path.join(folder, os.path.basename(path))
        for file in inside or itself:
            copy = pathlib.Path(top + file.path[len(path) :])
            copy.parent.mkdir(parents=True, exist_ok=True)
            with FileSystems.open(file.path) as source, open(copy, "wb") as target:
                shutil.copyfileobj(source, target)
        yield top
