"""The likelihood of a data set under a model.

Usage: tfdgm evaluate MODEL [--data SOURCE] [--split test]

Prints the mean log-likelihood in nats with its standard error over rows, and for integer data bits per dimension. MODEL is a
zoo name, a run's folder or a SavedModel. Without --data, it is what the model was trained on, split as in its training. Where
that is binarized_mnist or fashion_mnist and is not here, it is an excerpt of some of its test rows, and the figure is said to be
of the excerpt: the whole set's is on the card (tfdgm zoo MODEL).

A higher log-likelihood is better; that of real-valued data may be positive, since a density may exceed 1. For flows over
integers (dequantized) it is a lower bound, and says so.

Examples:
  tfdgm evaluate maf_digits
  tfdgm evaluate runs/maf_rows --data new_rows.csv --split all
"""

from absl import flags

from tfdgm.cli import reading_flags
from tfdgm.cli.usage import exactly
from tfdgm.printable import printable

FLAGS = flags.FlagValues()
flags.DEFINE_string("data", None, "Data set's name, file, glob or folder. Default: what MODEL was trained on.", flag_values=FLAGS)
flags.DEFINE_enum("split", "test", ["train", "valid", "test", "all"], "train, valid, test or all.", flag_values=FLAGS)
flags.DEFINE_string("condition", None, "For a model of p(x|c): 'label', or columns with commas between.", flag_values=FLAGS)
flags.DEFINE_string("weight", None, "A table's column, how much each row counts, of --data.", flag_values=FLAGS)
flags.DEFINE_string("data_dir", None, "Folder of data sets. Default: the environment's TFDGM_DATA_DIR.", flag_values=FLAGS)
reading_flags.define(FLAGS)


def run(arguments):
    name = exactly(arguments, "MODEL")

    from tfdgm.cli.quiet import import_tensorflow

    import_tensorflow()
    from tfdgm.cli.inputs import load_model, load_splits, reshaped
    from tfdgm.zoo.evaluation import evaluate

    model = load_model(name)
    options = {
        "condition": FLAGS.condition,
        "data_dir": FLAGS.data_dir,
        "weight": FLAGS.weight,
        "reading": reading_flags.given(FLAGS),
    }
    splits = load_splits(model, name, FLAGS.data, **options)
    if FLAGS.split == "all":
        dataset = splits.train.concatenate(splits.valid).concatenate(splits.test)
    else:
        dataset = getattr(splits, FLAGS.split)
    if splits.excerpt_of and FLAGS.split in ("train", "valid"):
        raise ValueError(f"Of {splits.name} only an excerpt of its test rows is here. Received: --split {FLAGS.split}")
    result = evaluate(model, reshaped(model, dataset))
    bound = "  (a lower bound, by random draws of dequantization noise)" if model.is_bound else ""
    rows = f"an excerpt, {result.rows:,} of {splits.excerpt_of:,} test rows" if splits.excerpt_of else f"{result.rows:,} rows"
    print(printable(f"{type(model).__name__} on {splits.name}, {FLAGS.split}: {rows}"))
    error = f" ± {result.standard_error:.4f}" if result.rows > 1 else ""
    of = "  (of the excerpt, not of the whole test split)" if splits.excerpt_of else ""
    print(f"log-likelihood  {result.log_likelihood:.4f}{error} nats{bound}{of}")
    if result.bits_per_dim is not None:
        print(f"bits/dim        {result.bits_per_dim:.4f}")
