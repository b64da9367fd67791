"""The log-probability of every row of a file, of any length, in constant memory.

Usage: tfdgm score MODEL INPUT --out scores.csv

Writes one score a row, in order: log p(x) in nats, as .csv (with a header) or .npy. INPUT is a .csv, .npy, .npz or .parquet
file, a glob or folder of these, or a data set's name. A low score means an unlikely row. The file appears when all is scored;
one that is there already is replaced with --overwrite alone.
Scores that are -inf or NaN are counted on stderr, and make the command fail under --fail_on_nonfinite; they are written anyway.
Columns that stand in another order than in training are put in order by their names; a table that lacks some of them, or has
more, is refused. Tables without names, or with other names altogether, are read as they are.
A model of p(x|c) takes c from INPUT as in its training (a label, or columns), unless --condition says otherwise. With
--runner=beam or --server, --condition says c, the same for all rows.

With --runner=beam, an Apache Beam pipeline scores files: here, or on a runner named in --beam_options (Dataflow, Flink, Spark).
The folder --out receives one or more .csv files for each file of INPUT, and index.csv, which says what is where. Names in
order are rows in order. MODEL, INPUT and --out must mean the same on all workers: a shared folder, or gs://, s3://, hdfs://.

With --server=URL, MODEL is the name of a model on TensorFlow Serving, which computes the scores.

Examples:
  tfdgm score runs/maf_rows rows.csv --out scores.csv
  tfdgm score made_binarized_mnist "parts/*.npy" --out scores.npy
  tfdgm score runs/by_label digits --split test --condition 3 --out as_threes.csv
  tfdgm score runs/maf_rows "parts/*.csv" --out scores/ --runner beam
  tfdgm score /shared/maf_rows "/shared/*.csv" --out /shared/scores --runner beam --beam_options="--runner=FlinkRunner ..."
  tfdgm score maf_rows rows.csv --server localhost:8500 --out scores.csv
"""

import importlib.util
import logging
import pathlib
import shlex
import shutil
import sys
import tempfile
import time
import warnings

import numpy as np
from absl import flags

from tfdgm.cli import reading_flags
from tfdgm.cli.usage import UsageError, exactly
from tfdgm.data.csv_files import number_format
from tfdgm.event import can_be_reshaped
from tfdgm.expanded import expanded
from tfdgm.non_finite import NonFinite, NonFiniteScoresWarning
from tfdgm.printable import printable

FLAGS = flags.FlagValues()
flags.DEFINE_string("out", None, "File to write: .csv or .npy; with --runner=beam, a folder. Required.", flag_values=FLAGS)
flags.DEFINE_string(
    "condition",
    None,
    "For a model of p(x|c): c, the same for all rows, as in `tfdgm sample`; or 'label', or columns of INPUT with commas between.",
    flag_values=FLAGS,
)
flags.DEFINE_string("split", None, "Of a data set that has splits: only train, valid or test.", flag_values=FLAGS)
flags.DEFINE_string("data_dir", None, "Folder of data sets. Default: the environment's TFDGM_DATA_DIR.", flag_values=FLAGS)
flags.DEFINE_enum("runner", "local", ["local", "beam"], "What runs it: this process, or Apache Beam.", flag_values=FLAGS)
flags.DEFINE_string("beam_options", None, 'Beam\'s own options: "--runner=FlinkRunner ...".', flag_values=FLAGS)
flags.DEFINE_bool("overwrite", False, "Replace scores that are there.", flag_values=FLAGS)
flags.DEFINE_string("server", None, "TensorFlow Serving: host:8500 for gRPC, http://host:8501 for REST.", flag_values=FLAGS)
flags.DEFINE_bool("fail_on_nonfinite", False, "End with 1 where a score is -inf or NaN.", flag_values=FLAGS)
reading_flags.define(FLAGS)


def run(arguments):
    with warnings.catch_warnings():
        if FLAGS.fail_on_nonfinite:
            warnings.simplefilter("error", NonFiniteScoresWarning)
        try:
            _run(arguments)
        except NonFiniteScoresWarning as found:
            raise ValueError(f"{found} The scores are in {FLAGS.out}.") from None


def _run(arguments):
    name, source = exactly(arguments, "MODEL", "INPUT")
    if FLAGS.server and FLAGS.runner != "local":
        raise UsageError(f"--server sends the rows to a server: it does not go with --runner={FLAGS.runner}.")
    if FLAGS.runner == "beam":
        _run_beam(name, source)
        return
    if FLAGS.beam_options:
        raise UsageError("--beam_options goes with --runner=beam.")
    out = expanded(FLAGS.out or "")
    if out.suffix.lower() not in (".csv", ".npy"):
        raise UsageError(f"--out expects a file that ends in .csv or .npy. Received: {FLAGS.out or 'nothing'}")

    from tfdgm.cli.quiet import import_tensorflow

    import_tensorflow()
    from tfdgm.cli.served import model_at

    found = NonFinite()
    with model_at(FLAGS.server, name, 128) as model:
        rows = _write(out, model, name, source, found)
    print(printable(f"{rows:,} score{'s' if rows != 1 else ''}: {out}"))
    found.warn()


def _write(out, model, name, source, found):
    """The scores to the file `out` -> how many there are. `found` counts those that are not finite."""
    from tfdgm import data
    from tfdgm.cli.inputs import columns_of, condition_names, data_dtype, file_levels, parse_condition, reading_of
    from tfdgm.written_aside import written_aside

    files = data.files_of(source)
    if out.resolve() in files:
        raise UsageError(f"--out would replace a file that is to be scored: {out}")
    names = None if FLAGS.server else condition_names(model, name, FLAGS.condition)
    classes = None if FLAGS.server else model.class_names
    condition = parse_condition(model, FLAGS.condition, classes) if names is None else None
    # A server tells that x is integers, but not how many levels they have.
    levels = (2**31 if np.dtype(model.dtype).kind == "i" else None) if FLAGS.server else file_levels(model)
    # Every batch has the same size, so nothing compiles twice. One is a request to a server, of up to a megabyte.
    size = int(np.clip(2**18 // np.prod(model.event_shape), 16, 128)) if FLAGS.server else model.runner.rows_at_once
    options = {"data_dir": FLAGS.data_dir, "levels": levels, "dtype": data_dtype(model)}
    known_as = None if FLAGS.server else name  # Where a recipe and a card may lie.
    options["columns"] = columns_of(known_as, model)
    options |= reading_of(known_as if files else None, reading_flags.given(FLAGS))
    if names is None:
        batches = ((x, condition) for x in data.stream(source, size, split=FLAGS.split, **options))
    else:
        batches = _with_conditions(source, batch_size=size, condition=names, classes=classes, **options)
    scores = _counted(_scores(model, batches, size), found)
    with written_aside(out, FLAGS.overwrite) as file:
        return _write_csv(file, scores) if out.suffix.lower() == ".csv" else _write_npy(file, out, scores)


def _counted(scores, found):
    for part in scores:
        found.add(part)
        yield part


def _with_conditions(source, **options):
    """Batches (x, condition) of all rows, in order, in constant memory: a table is copied to a memory map first."""
    from tfdgm import data

    try:
        splits = data.load(source, shuffle=False, valid_fraction=0.0, test_fraction=0.0, **options)
    except data.DataError as error:
        raise data.DataError(f"{error} --condition=NUMBERS gives all rows one condition.") from None
    for split in [FLAGS.split] if FLAGS.split else ["train", "valid", "test"]:
        yield from ((batch["x"], batch["condition"]) for batch in getattr(splits, split).as_numpy_iterator())


def _run_beam(name, source):
    if not FLAGS.out or pathlib.Path(FLAGS.out).suffix in (".csv", ".npy"):
        raise UsageError(f"--out expects a folder with --runner=beam. Received: {FLAGS.out or 'nothing'}")
    if FLAGS.split is not None:
        raise UsageError("--runner=beam reads files, which have no --split.")
    if importlib.util.find_spec("apache_beam") is None:
        raise UsageError("--runner=beam needs Apache Beam: pip install 'tfdgm[beam]'")

    from tfdgm.cli.quiet import import_tensorflow

    import_tensorflow()
    # Beam logs what it raises, and what is missing that is not needed here.
    logging.getLogger("apache_beam.runners.common").setLevel(logging.CRITICAL)
    logging.getLogger().setLevel(logging.ERROR)
    from tfdgm.cli.inputs import columns_of, load_model, parse_condition, reading_of
    from tfdgm.tasks.beam_scoring import score_files
    from tfdgm.zoo import entries

    condition = FLAGS.condition
    if condition is not None:
        model = load_model(name)
        condition = parse_condition(model, condition, model.class_names)
    path = entries.find(name) if name in entries.names() else name
    options = {"columns": columns_of(name), "reading": reading_of(name, reading_flags.given(FLAGS))}
    options |= {"options": shlex.split(FLAGS.beam_options or ""), "overwrite": FLAGS.overwrite}
    rows = score_files(path, source, FLAGS.out, condition=condition, **options)
    print(printable(f"{rows:,} scores: {FLAGS.out}"))


def _scores(model, batches, size):
    """Yields arrays of the scores of batches (x, condition), and shows how far it is."""
    done, started, shown = 0, None, 0.0
    for x, condition in batches:
        if not can_be_reshaped(x.shape[1:], model.event_shape):
            from tfdgm.data import DataError

            raise DataError(f"Expected rows of event_shape={model.event_shape}. Received: {x.shape[1:]}.")
        x = x.reshape(-1, *model.event_shape)
        try:
            if FLAGS.server:
                yield np.asarray(model.log_prob(x, condition))
            else:
                padding = np.minimum(np.arange(size), len(x) - 1)
                of_rows = condition is not None and condition.ndim > len(model.condition_shape)
                yield np.asarray(model.log_prob(x[padding], condition[padding] if of_rows else condition))[: len(x)]
        except ValueError as error:
            raise ValueError(f"Rows {done + 1:,} to {done + len(x):,}: {error}") from None
        done += len(x)
        started = started or (time.monotonic(), done)  # The first batch compiles.
        if sys.stderr.isatty() and time.monotonic() - shown > 0.2:
            shown = time.monotonic()
            speed = (done - started[1]) / max(shown - started[0], 1e-9)
            print(f"\r{done:,} rows, {speed:,.0f} rows/s ", end="", file=sys.stderr, flush=True)
    if shown:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    if not done:
        raise ValueError("There are no rows to score.")


def _write_csv(file, scores):
    file.write(b"log_prob\n")
    rows = 0
    for part in scores:
        line = f"{number_format(part.dtype)}\n"
        file.write("".join(line % score for score in part.tolist()).encode())
        rows += len(part)
    return rows


def _write_npy(file, out, scores):
    """The header holds the number of rows, which is known at the end: scores go to a second file first."""
    rows, dtype = 0, None
    with tempfile.TemporaryFile(dir=out.parent) as body:
        for part in scores:
            dtype = part.dtype.newbyteorder("<")
            body.write(part.astype(dtype).tobytes())
            rows += len(part)
        np.lib.format.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": (rows,)})
        body.seek(0)
        shutil.copyfileobj(body, file)
    return rows
