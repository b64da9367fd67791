"""Write a model as a SavedModel, for TensorFlow Serving.

Usage: tfdgm export MODEL DIR

Writes DIR/<version>/, the next version where DIR holds some already, or DIR itself where it ends in a number. It runs without
tfdgm. Signatures: serving_default = log_prob, sample, and encode and decode (flows) or complete (autoregressive models).

Examples:
  tfdgm export maf_digits served/digits
  tfdgm export runs/maf_rows served/rows/7
"""

import pathlib

from absl import flags

from tfdgm.cli.usage import exactly

FLAGS = flags.FlagValues()
flags.DEFINE_bool("overwrite", False, "Replace a version that is there.", flag_values=FLAGS)


def run(arguments):
    name, folder = exactly(arguments, "MODEL", "DIR")
    target = pathlib.Path(folder).expanduser()
    if not target.name.isdigit():
        versions = [int(p.name) for p in target.glob("*") if p.name.isdigit()] if target.is_dir() else []
        target = target / str(max(versions, default=0) + 1)

    from tfdgm.cli.quiet import import_tensorflow

    import_tensorflow()
    from tfdgm.cli.inputs import load_model

    load_model(name).export(target, overwrite=FLAGS.overwrite)
    print(f"SavedModel: {target}")
