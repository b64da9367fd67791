"""Draw samples: a picture for images, a table otherwise.

Usage: tfdgm sample MODEL --out FILE [--num 64] [--seed 1]

FILE ends in .png (a grid, for event shapes (h, w), (h, w, 1) and (h, w, 3)), .csv (one row a sample, flattened; with the names
of the columns that the model was trained on) or .npy (num x event shape). The same seed gives the same samples, and more samples
begin with the same ones.

With --server=URL, MODEL is the name of a model on TensorFlow Serving, which draws the same samples.

Examples:
  tfdgm sample maf_digits --num 100 --out grid.png
  tfdgm sample runs/maf_rows --num 10000 --seed 7 --out samples.csv
  tfdgm sample runs/by_label --condition 3 --out threes.png
  tfdgm sample runs/pets --condition cat --out cats.png
  tfdgm sample maf_digits --server http://localhost:8501 --levels 17 --out grid.png
"""

import numpy as np
from absl import flags

from tfdgm.cli.usage import UsageError, exactly
from tfdgm.expanded import expanded
from tfdgm.printable import printable

FLAGS = flags.FlagValues()
flags.DEFINE_string("out", None, "File to write: .png, .csv or .npy. Required.", flag_values=FLAGS)
flags.DEFINE_integer("num", 64, "How many.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("seed", 1, "Of the samples.", lower_bound=0, upper_bound=2**31 - 1, flag_values=FLAGS)
flags.DEFINE_string(
    "condition",
    None,
    "For a model of p(x|c): numbers with commas, or where c is one-hot a class, by its name or number.",
    flag_values=FLAGS,
)
flags.DEFINE_string("server", None, "TensorFlow Serving: host:8500 for gRPC, http://host:8501 for REST.", flag_values=FLAGS)
flags.DEFINE_integer(
    "levels", None, "How many levels a served model's integers have, which a .png needs.", lower_bound=2, flag_values=FLAGS
)


def run(arguments):
    name = exactly(arguments, "MODEL")
    out = expanded(FLAGS.out or "")
    if out.suffix.lower() not in (".png", ".csv", ".npy"):
        raise UsageError(f"--out expects a file that ends in .png, .csv or .npy. Received: {FLAGS.out or 'nothing'}")
    if FLAGS.levels and not FLAGS.server:
        raise UsageError("--levels goes with --server: a model that is loaded here knows its own.")

    from tfdgm.cli.quiet import import_tensorflow

    import_tensorflow()
    from tfdgm.cli.served import model_at

    with model_at(FLAGS.server, name, FLAGS.num) as model:
        _write(out, model, name)
    print(printable(f"{FLAGS.num} samples of shape {model.event_shape}: {out}"))


def _write(out, model, name):
    from tfdgm.cli.inputs import columns_of, parse_condition
    from tfdgm.data import csv_files
    from tfdgm.training import pictures
    from tfdgm.written_aside import written_aside

    condition = parse_condition(model, FLAGS.condition, None if FLAGS.server else model.class_names)
    if out.suffix.lower() == ".png" and not pictures.is_image(model.event_shape):
        raise UsageError(f"Events of shape {model.event_shape} are no images: write a .csv or .npy file instead.")
    levels = FLAGS.levels if FLAGS.server else model.levels
    if FLAGS.server and out.suffix.lower() == ".png" and np.dtype(model.dtype).kind == "i" and levels is None:
        raise UsageError("A .png of integers from a server needs --levels: how many there are, the server does not tell.")
    samples = np.asarray(model.sample(FLAGS.num, seed=FLAGS.seed, condition=condition))
    if out.suffix.lower() == ".png":
        pictures.save_image(out, pictures.image_grid(samples, levels=levels))
    else:
        with written_aside(out) as file:
            if out.suffix.lower() == ".npy":
                np.save(file, samples)
            else:
                file.write(csv_files.header(columns_of(None if FLAGS.server else name, model)))
                np.savetxt(file, samples.reshape(len(samples), -1), delimiter=",", fmt=csv_files.number_format(samples.dtype))
