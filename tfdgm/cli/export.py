"""Write a model as a SavedModel, for TensorFlow Serving.

Usage: tfdgm export MODEL DIR
       tfdgm export RUN

Writes DIR/<name>/<version>/: the name is the zoo name or that of the run's folder, the version the next one that is free. It
runs without tfdgm. Signatures: serving_default = log_prob, sample, and encode and decode (flows) or complete (autoregressive
models). With the package tensorflow-serving-api it holds warm-up requests, which the server runs when it loads the version.

Beside the models it writes, from all that lie in DIR, the server's models.config (versions and their labels), batching.config
and monitoring.config; tools/serving/ starts a server with them, docs/serving.md tells more.

Where DIR ends in a number it is the version folder itself, and nothing is written beside it.

RUN is the folder of a training under another backend than TensorFlow (see `tfdgm train --help`). It receives what a training
under TensorFlow leaves: card.json with the likelihood of the test split, curves.png, samples.png and the SavedModel 1/, and so
becomes a MODEL.

Examples:
  tfdgm export maf_digits served
  tfdgm export runs/maf_rows served --name rows --precision bfloat16
  tfdgm export runs/maf_rows elsewhere/rows/7
  tfdgm export runs/pixelcnn_trained_by_jax
"""

import re

from absl import flags

from tfdgm.cli.usage import UsageError, exactly
from tfdgm.expanded import expanded
from tfdgm.printable import printable

_LARGEST = 2**63 - 1  # TensorFlow Serving's versions are int64.

FLAGS = flags.FlagValues()
flags.DEFINE_string("name", None, "Of the model on the server, and of its folder.", flag_values=FLAGS)
flags.DEFINE_integer("version", None, "Of the model.", lower_bound=1, upper_bound=_LARGEST, flag_values=FLAGS)
flags.DEFINE_bool("overwrite", False, "Replace a version that is there.", flag_values=FLAGS)
flags.DEFINE_integer(
    "max_batch",
    128,
    "Largest batch that the server is to compute at once: of batching.config and of the warm-up requests.",
    lower_bound=1,
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "precision",
    "float32",
    ["float32", "bfloat16", "float16"],
    "What the kernels are stored as; float32 leaves them as they are. In 16 bits they are cast to float32 when used: the file is "
    "half as large, all arithmetic and outputs stay float32, and scores change by the kernels' rounding.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "data_dir", None, "Of RUN: folder of data sets. Default: the environment's TFDGM_DATA_DIR.", flag_values=FLAGS
)
flags.DEFINE_float(
    "temperature",
    1.0,
    "T of the sample signature. Models of integers with Bernoulli or Categorical positions: each logit a becomes a / T. Flows: "
    "x = f(T z), z standard normal. Scores and completions do not change.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "server_dir",
    "/models",
    "Where DIR will lie on the server, for models.config: an absolute path or a URL (gs://...).",
    flag_values=FLAGS,
)


def run(arguments):
    if len(arguments) == 1:
        _export_run(arguments[0])
        return
    model_name, folder = exactly(arguments, "MODEL", "DIR")
    folder = expanded(folder)
    alone = _is_version(folder)
    if alone and (FLAGS.name or FLAGS.version):
        raise UsageError(f"{folder} ends in a number and is the version folder itself: leave --name and --version out.")
    if not re.match(r"/|[a-z0-9]+://", FLAGS.server_dir):
        raise UsageError(f"--server_dir expects an absolute path or a URL. Received: {FLAGS.server_dir}")
    if FLAGS.temperature <= 0:
        raise UsageError(f"--temperature expects a positive number. Received: {FLAGS.temperature}")
    target = folder if alone else _version_folder(folder / _served_name(model_name))

    from tfdgm.cli.quiet import import_tensorflow

    import_tensorflow()
    from tfdgm.cli.inputs import load_model
    from tfdgm.distributions.tempered import tempered
    from tfdgm.serving.server_files import write_server_files
    from tfdgm.serving.warmup import WARM_UP_REQUESTS

    model = load_model(model_name)
    sampler = None if FLAGS.temperature == 1 else tempered(model.distribution, FLAGS.temperature)
    options = {"precision": FLAGS.precision, "sampler": sampler, "max_batch": FLAGS.max_batch}
    model.export(target, overwrite=FLAGS.overwrite, **options)
    print(printable(f"SavedModel: {target}"))
    if not (target / WARM_UP_REQUESTS).exists():
        print("Warm-up requests were left out: they need the package tensorflow-serving-api (pip install '.[serving]').")
    if not alone:
        print(printable(f"Server files: {' '.join(map(str, write_server_files(folder, FLAGS.server_dir)))}"))


def _export_run(folder):
    if not (expanded(folder) / "record.json").exists():
        raise UsageError(f"Expected MODEL DIR, or a RUN that holds a record.json. Received: {folder}")

    from tfdgm.cli.quiet import import_tensorflow

    import_tensorflow()
    from tfdgm.zoo.cards import Card
    from tfdgm.zoo.exporting import export_run

    card = export_run(folder, data_dir=FLAGS.data_dir, report=lambda line: print(printable(line), flush=True))
    print(printable(f"\n{Card.from_dict(card).text()}"))


def _served_name(model_name):
    """--name, or the zoo name, or the name of a run's folder, whichever version folder of it is meant."""
    path = expanded(model_name).resolve()
    name = FLAGS.name or (path.parent if _is_version(path) else path).name
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name) or name.isdigit():
        raise UsageError(f"--name expects letters, digits, '_', '-' and '.', and not digits alone. Received: {name or 'nothing'}")
    return name


def _version_folder(folder):
    versions = [int(path.name) for path in folder.glob("*") if _is_version(path)] if folder.is_dir() else []
    version = FLAGS.version or max(versions, default=0) + 1
    if version > _LARGEST:
        raise UsageError(f"{folder} holds version {_LARGEST}, the largest there is: --version expects one that is free.")
    return folder / str(version)


def _is_version(path):
    digits = path.name.isascii() and path.name.isdigit()
    if digits and int(path.name[:30]) > _LARGEST:
        raise UsageError(f"Expected a version of at most {_LARGEST}. Received: {path}")
    return digits
