"""Check that a model is a density: scores, log-determinants, masks, noise, samples against scores, its SavedModel.

Usage: tfdgm verify MODEL [--data SOURCE]

Prints a table of checks, each with the error found and the error allowed. The exit code is 1 where one fails. The rows to check
with are test rows of --data, or of what the model was trained on (or an excerpt of it, as in `tfdgm evaluate`), or where neither
is known, samples of the model. Its SavedModel is checked as it lies in its folder, every signature against the model that is
loaded from there; a graph that may do more than compute is not run (docs/security.md).

Examples:
  tfdgm verify maf_digits
  tfdgm verify runs/maf_rows --data rows.csv
"""

from absl import flags

from tfdgm.cli import reading_flags
from tfdgm.cli.usage import UsageError, exactly

FLAGS = flags.FlagValues()
flags.DEFINE_string("data", None, "Data set's name, file, glob or folder. Default: what MODEL was trained on.", flag_values=FLAGS)
flags.DEFINE_integer("rows", 64, "How many rows to check with, at most.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_string("condition", None, "For a model of p(x|c): 'label', or the names of columns.", flag_values=FLAGS)
flags.DEFINE_string("data_dir", None, "Folder of data sets. Default: the environment's TFDGM_DATA_DIR.", flag_values=FLAGS)
reading_flags.define(FLAGS)


def run(arguments):
    name = exactly(arguments, "MODEL")

    from tfdgm.cli.quiet import import_tensorflow

    import_tensorflow()
    from tfdgm import data, tasks
    from tfdgm.cli.inputs import load_model, load_splits, reshaped
    from tfdgm.zoo import entries

    model = load_model(name)
    folder = entries.find(name) if name in entries.names() else name
    x = condition = None  # `verify` then draws samples of the model.
    options = {"condition": FLAGS.condition, "data_dir": FLAGS.data_dir, "reading": reading_flags.given(FLAGS)}
    try:
        splits = load_splits(model, name, FLAGS.data, **options)
    except (UsageError, data.DataError):
        if FLAGS.data is not None:
            raise
    else:
        batch = next(iter(reshaped(model, splits.test).unbatch().batch(FLAGS.rows)))
        x, condition = batch["x"], batch.get("condition")
    report = tasks.verify(model, x, condition=condition, rows=FLAGS.rows, artifact=folder)
    print(report)
    return 0 if report.passed else 1
