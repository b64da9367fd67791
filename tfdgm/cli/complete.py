"""Keep the upper rows of images and draw the rest: a picture of before and after.

Usage: tfdgm complete MODEL --out FILE.png [--data SOURCE] [--rows N] [--num 16] [--samples 1]

MODEL is an autoregressive model of images: MADE, PixelCNN, GatedPixelCNN, ... --num images, evenly spread over --split, are
completed from their first --rows rows. The picture shows each image, what is kept of it, and --samples completions, side by
side. Without --data, the images are of what the model was trained on, split as in its training (or an excerpt of it, as in
`tfdgm evaluate`). The same seed gives the same picture.

For a model whose order is not row by row, each completion is chosen among --num_candidates; the more, the nearer to an exact one.

Examples:
  tfdgm complete made_binarized_mnist --rows 14 --out completed.png
  tfdgm complete runs/pixelcnn --data images.npy --num 8 --samples 5 --seed 7 --out completed.png
"""

import numpy as np
from absl import flags

from tfdgm.cli import reading_flags
from tfdgm.cli.usage import UsageError, exactly
from tfdgm.expanded import expanded
from tfdgm.printable import printable

FLAGS = flags.FlagValues()
flags.DEFINE_string("out", None, "File to write: .png. Required.", flag_values=FLAGS)
flags.DEFINE_string("data", None, "Data set's name, file, glob or folder. Default: what MODEL was trained on.", flag_values=FLAGS)
flags.DEFINE_enum("split", "test", ["train", "valid", "test"], "train, valid or test.", flag_values=FLAGS)
flags.DEFINE_integer(
    "rows", None, "How many rows of each image are kept. Default: half of them.", lower_bound=0, flag_values=FLAGS
)
flags.DEFINE_integer("num", 16, "How many images.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("samples", 1, "How many completions of each image.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("num_candidates", 1, "Of which one is taken, by importance.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("seed", 1, "Of the completions.", lower_bound=0, upper_bound=2**31 - 1, flag_values=FLAGS)
flags.DEFINE_string("condition", None, "For a model of p(x|c): 'label', or columns with commas between.", flag_values=FLAGS)
flags.DEFINE_string("data_dir", None, "Folder of data sets. Default: the environment's TFDGM_DATA_DIR.", flag_values=FLAGS)
reading_flags.define(FLAGS)


def run(arguments):
    name = exactly(arguments, "MODEL")
    out = expanded(FLAGS.out or "")
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out expects a file that ends in .png. Received: {FLAGS.out or 'nothing'}")

    from tfdgm.cli.quiet import import_tensorflow

    import_tensorflow()
    from tfdgm.cli.inputs import load_model, load_splits, reshaped
    from tfdgm.training import pictures

    model = load_model(name)
    if not pictures.is_image(model.event_shape):
        raise UsageError(f"Events of shape {model.event_shape} are no images.")
    if "complete" not in model.distribution.functions():
        raise UsageError(f"Only an autoregressive model of images can be completed. Received: {name}, a {type(model).__name__}.")
    kept = model.event_shape[0] // 2 if FLAGS.rows is None else FLAGS.rows
    if kept > model.event_shape[0]:
        raise UsageError(f"--rows must be at most the height of an image, {model.event_shape[0]}. Received: {kept}")
    options = {"condition": FLAGS.condition, "data_dir": FLAGS.data_dir, "reading": reading_flags.given(FLAGS)}
    splits = load_splits(model, name, FLAGS.data, **options)
    num_rows = getattr(splits, f"num_{FLAGS.split}")
    if not num_rows:
        raise ValueError(f"{splits.name} has no rows in its split {FLAGS.split}.")
    rows = reshaped(model, getattr(splits, FLAGS.split)).unbatch()
    batch = next(iter(rows.shard(max(1, num_rows // FLAGS.num), 0).batch(FLAGS.num)))
    x, condition = batch["x"], batch.get("condition")

    known = np.zeros(model.event_shape, int)
    known[:kept] = 1
    x, condition = (None if a is None else np.repeat(a, FLAGS.samples, axis=0) for a in (x, condition))
    completed = model.complete(x, known, FLAGS.seed, condition=condition, num_candidates=FLAGS.num_candidates)
    completed = np.reshape(completed, (-1, FLAGS.samples, *model.event_shape))
    pictures.save_image(out, pictures.completions(x[:: FLAGS.samples], known, completed, levels=model.levels))
    said = f"{len(completed)} images, {kept} of {model.event_shape[0]} rows kept, {FLAGS.samples} completions each: {out}"
    print(printable(said))
