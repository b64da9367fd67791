"""Help texts: a command's docstring, then its flags."""

import inspect
import textwrap


class UsageError(Exception):
    """A command line that cannot be understood."""


def general_help(docs):
    width = max(map(len, docs)) + 2
    commands = "\n".join(f"  {name.ljust(width)}{doc.strip().splitlines()[0]}" for name, doc in docs.items())
    return f"""tfdgm: generative models with tractable likelihood. Train, score, sample, serve.

Usage: tfdgm COMMAND [arguments] [--flags]

{commands}

`tfdgm COMMAND --help` tells more. MODEL is a zoo name (see `tfdgm zoo`), a run's folder or a SavedModel. SOURCE is a data
set's name (digits, binarized_mnist, mnist, ...), a .csv, .tsv, .npy, .npz or .parquet file, a glob, or a folder.

Environment: TFDGM_DATA_DIR, the folder of data sets; TFDGM_ZOO_DIR, a zoo of your own; TFDGM_TRACEBACK=1, whole tracebacks."""


def command_help(name, doc, flag_values):
    lines = [inspect.cleandoc(doc), *(["", "Flags:"] if len(flag_values) else [])]
    for flag in (flag_values[key] for key in flag_values):
        default = "" if flag.default in (None, [], False) else f" Default: {flag.default}."
        argument = "" if flag.flag_type() == "bool" else f"={flag.flag_type().split()[-1].upper()}"
        text = flag.help.split(";\n    repeat this option")[0]  # absl's own addition to flags that may be repeated.
        wrapped = textwrap.wrap(f"{text}{default}", 96)
        lines += [f"  --{flag.name}{argument}", *[f"      {line}" for line in wrapped]]
    return "\n".join(lines)


def exactly(arguments, *names):
    """The positional arguments, which must be as many as `names`."""
    if len(arguments) != len(names):
        raise UsageError(f"Expected {' '.join(names) or 'no argument'}. Received: {' '.join(arguments) or 'nothing'}")
    return arguments if len(names) != 1 else arguments[0]
