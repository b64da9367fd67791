"""`load` and `stream`: from a source, by name or path, to rows."""

import dataclasses
import os
import pathlib
import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from tfdgm.data import content, digits, files, finding, named, packed, splits, tables, values
from tfdgm.data.data_error import DataError, NotHere
from tfdgm.data.reading import PLAIN, Reading
from tfdgm.event import Event

#: Some test rows of sets that zoo entries were trained on: name -> what `tools/pack_data.py --every` wrote.
_EXCERPTS = {path.stem: path for path in pathlib.Path(__file__).with_name("excerpts").glob("*.npz")}


def load(
    source: str | os.PathLike,
    *,
    batch_size: int | None = 256,
    data_dir: str | os.PathLike | None = None,
    condition: str | Sequence[str] | None = None,
    weight: str | None = None,
    valid_fraction: float = 0.1,
    test_fraction: float = 0.1,
    seed: int = 0,
    shuffle: bool = True,
    levels: int | None = None,
    integers: Sequence[str] = (),
    dtype: str = "float32",
    columns: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    excerpt: bool = False,
    **reading,
) -> splits.Splits:
    """(train, valid, test) of a data set, as `tf.data.Dataset`s of batches of `x`, or of `(x, condition)`.

    Args:
      source: one of `tfdgm.data.names()`; any name of TensorFlow Datasets with an `image` feature (`tfds:` in
        front is allowed); a .csv, .tsv (or either as .gz), .npy, .npz or .parquet file, a glob or a folder of those; a folder
        of images. Of a folder all files below it are read that are data, one kind of them, in the order of their paths; names
        with a dot in front are passed over. Where its entries are named train, valid (val, validation) and test, they are
        the splits. A name comes before a file of that name: write `./mnist` for the file.
      batch_size: rows per batch; the last batch is smaller. None gives single rows.
      data_dir: folder with the source files of named sets, one folder each. Default: environment
        `TFDGM_DATA_DIR`.
      condition: "label" (named sets with labels) gives one-hot vectors; a column's name, or a list of them,
        takes these columns out of x (tables); an array's name (.npz); "label" (images) the name of the folder that each
        lies in (of a folder's files the uppermost one below it, `photos/cat/...`), one-hot. Default: no condition.
      weight: a table's column that says how much each row counts, in the loss of a model and in what is estimated: not
        negative, and divided by its mean over train, so that losses are weighted means. Default: all count the same.
      valid_fraction, test_fraction: for sources without these splits, drawn by a permutation of the rows
        fixed by `seed`. MNIST and its likes (60,000 train images) give their last 10,000 in TFDS's order for
        validation.
      seed: of the split and of the shuffling.
      shuffle: whether train is shuffled, anew in every epoch. valid and test never are.
      levels: x is integers 0..levels-1. Default: what the source says; integer arrays have their maximum + 1,
        tables are real-valued.
      integers: names of a table's columns that are integers 0..L-1, L their largest + 1, beside real ones; x is of `dtype`,
        and levels have one entry for each column, None where it is real.
      dtype: of real values, x and condition: "float32", or "float64" for a model in float64. Integers of a table's
        column that it does not keep, as IDs above 2^24 in float32, are a warning.
      columns: names of the columns that are x, as in training: a table with these in another order is put in
        order; one that lacks some of them, or has more, is an error. Where none of the names is known, or there
        are none, columns are taken by their places.
      classes: names of the classes of images, as in training: they are numbered in this order. Default: those found, sorted.
      excerpt: for a look at "binarized_mnist" and "fashion_mnist" where they cannot be had and no data_dir is given: some of
        their test rows, which come with tfdgm, and no others. A warning and `Splits.excerpt_of` say so.
      reading: how files are read: header, keep, ignore, delimiter, decimal, encoding; size, fit, color. See `Reading`.

    Returns:
      `Splits`. x is int32 where there are levels, else `dtype`.

    Raises:
      DataError: with one line on what was expected and what came.
    """
    _check_arguments(batch_size, valid_fraction, test_fraction, levels, dtype)
    what = load_arrays(
        source,
        data_dir=data_dir,
        condition=condition,
        weight=weight,
        valid_fraction=valid_fraction,
        test_fraction=test_fraction,
        seed=seed,
        levels=levels,
        integers=integers,
        dtype=dtype,
        columns=columns,
        classes=classes,
        excerpt=excerpt,
        **reading,
    )
    parts = what.parts
    options = {"batch_size": batch_size, "seed": seed}
    event = Event(parts["train"].x.shape[1:], what.levels)
    options |= {"dtype": event.dtype(dtype), "condition_dtype": dtype}
    train, valid, test = (
        splits.make_dataset(parts[key], shuffle=shuffle and key == "train", **options) for key in ("train", "valid", "test")
    )
    given = parts["train"].condition
    return splits.Splits(
        train,
        valid,
        test,
        name=what.name,
        event=event,
        dtype=options["dtype"],
        condition_shape=None if given is None else given.shape[1:],
        num_rows=[len(parts[key].rows) for key in ("train", "valid", "test")],
        sha256=what.sha256,
        description=what.description,
        columns=what.columns,
        classes=what.classes,
        excerpt_of=what.excerpt_of,
        train_epochs=splits.make_epochs(parts["train"], **options),
    )


def load_arrays(
    source: str | os.PathLike,
    *,
    data_dir: str | os.PathLike | None = None,
    condition: str | Sequence[str] | None = None,
    weight: str | None = None,
    valid_fraction: float = 0.1,
    test_fraction: float = 0.1,
    seed: int = 0,
    levels: int | None = None,
    integers: Sequence[str] = (),
    dtype: str = "float32",
    columns: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    excerpt: bool = False,
    **reading,
) -> content.Content:
    """`load` without `tf.data`: a `Content` whose parts "train", "valid" and "test" hold arrays. Arguments as in `load`.

    Files and "digits" need no TensorFlow; other named sets need none where `data_dir` holds what `pack` wrote.
    """
    _check_arguments(None, valid_fraction, test_fraction, levels, dtype)
    if integers and levels is not None:
        raise DataError(f"Expected levels, for all columns, or integers, for some. Received: levels={levels} and integers.")
    given, reading = condition if weight is None else _with_weight(source, condition, weight), Reading.of(reading)
    what = _read(_as_source(source), _folder(data_dir), given, levels, dtype, columns, reading, classes, excerpt)
    parts = what.parts
    if len(parts) == 1:
        (part,) = parts.values()
        parts = content.divide(part, valid_fraction=valid_fraction, test_fraction=test_fraction, seed=seed)
    elif "valid" not in parts:
        parts = content.divide(parts["train"], valid_fraction=valid_fraction, test_fraction=0.0, seed=seed)
        parts["test"] = what.parts["test"]
    elif "test" not in parts:
        parts = content.divide(parts["train"], valid_fraction=0.0, test_fraction=test_fraction, seed=seed)
        parts["valid"] = what.parts["valid"]
    if integers:
        what = dataclasses.replace(what, levels=_levels_of(what, [integers] if isinstance(integers, str) else integers))
    return dataclasses.replace(what, parts=parts if weight is None else _weighted(parts, f"{source}, column {weight!r}"))


def _levels_of(what, integers):
    """The levels of each column of a table, None but of those that are integers."""
    columns = what.columns or ()
    for name in integers:
        if name not in columns:
            known = ", ".join(columns) or "columns without names"
            raise DataError(f"{what.name}: no column {name!r} to be integers. It has: {known}.")
    levels = [None] * len(columns)
    for i, name in enumerate(columns):
        if name in integers:
            values = np.concatenate([np.unique(part.x[:, i]) for part in what.parts.values()])
            bad = values[(values < 0) | (values != np.floor(values))]
            if len(bad):
                raise DataError(f"{what.name}, column {name!r}: expected integers, 0 or more. Received: {bad[0]:g}.")
            levels[i] = max(2, int(values.max()) + 1)
    return tuple(levels)


def _with_weight(source, condition, weight):
    """The columns that are read beside x, the weight last."""
    paths = files_of(source)
    if not paths or any(tables.suffix_of(path) not in tables.READERS for path in paths):
        raise DataError(f"A weight is read from a column of a table. Received: weight={weight!r} with {source}.")
    return [*([condition] if isinstance(condition, str) else condition or ()), weight]


def _weighted(parts, where):
    """Parts whose condition's last column is their weight -> parts with weights, of mean 1 over train."""
    weights = {key: part.condition[:, -1] for key, part in parts.items()}
    least, mean = min(w.min() for w in weights.values()), np.mean(weights["train"][parts["train"].rows], dtype=np.float64)
    if least < 0 or not mean:
        raise DataError(f"{where}: expected weights that are not negative, some above 0. Received: from {least:g} on.")
    return {
        key: dataclasses.replace(
            part,
            condition=part.condition[:, :-1] if part.condition.shape[1] > 1 else None,
            weight=(weights[key] / mean).astype(part.condition.dtype),
        )
        for key, part in parts.items()
    }


def pack(
    source: str,
    folder: str | os.PathLike,
    *,
    data_dir: str | os.PathLike | None = None,
    condition: str | Sequence[str] | None = None,
    every: int | None = None,
) -> pathlib.Path:
    """Writes a named set to `<folder>/<source>.npz`; with data_dir=folder, `load` and `load_arrays` read it from there,
    also where TensorFlow Datasets is not installed. `condition` as in `load`; `every`: an excerpt, each so many-th test row.
    Returns the path."""
    source = _as_source(source)
    if _is_file(source):
        raise DataError(f"Expected the name of a data set; files are read as they are. Received: {source}.")
    path = _packed(source, folder)
    what = _read(source, _folder(data_dir), condition, None, "float32", None, PLAIN)
    packed.write(path, what if every is None else content.excerpt(what, every), condition)
    return path


def stream(
    source: str | os.PathLike,
    batch_size: int | None,
    data_dir: str | os.PathLike | None = None,
    levels: int | None = None,
    split: str | None = None,
    *,
    dtype: str = "float64",
    columns: Sequence[str] | None = None,
    **reading,
) -> Iterator[np.ndarray]:
    """Yields numpy batches [batch_size, *event_shape] of all rows of a source, in order; the last is smaller.

    Files are read as the batches are taken, in constant memory (an .npz array is read whole). `split` keeps
    one split of a source with its own splits, which without it come one after another: train, valid, test.
    Real values are float64 by default: nothing is kept, so nothing need be rounded. Arguments else as in `load`. The
    source is looked up at once; errors in the rows come where they lie.
    """
    _check_arguments(batch_size or 0, 0.0, 0.0, levels, dtype)
    if split not in (None, "train", "valid", "test"):
        raise DataError(f"Expected split='train', 'valid', 'test' or None. Received: split={split!r}.")
    source, reading = _as_source(source), Reading.of(reading)
    if _is_file(source):
        return _rebatch(files.blocks(source, levels, split, dtype, columns, reading), batch_size)
    if split is not None:
        content_splits = load(source, batch_size=batch_size, data_dir=data_dir, levels=levels, shuffle=False, dtype=dtype)
        return (batch["x"].numpy() for batch in getattr(content_splits, split))
    return _rebatch(_all_rows(_read(source, _folder(data_dir), None, levels, dtype, columns, reading), dtype), batch_size)


def files_of(source: str | os.PathLike) -> list[pathlib.Path]:
    """The files that a source is read from, as absolute paths: `files_of("parts/*.csv")`; none for a name."""
    source = _as_source(source)
    return [pathlib.Path(path).resolve() for path in files.paths_of(source)] if _is_file(source) else []


def _read(source, data_dir, condition, levels, dtype, columns, reading, classes=None, excerpt=False):
    if _is_file(source):
        return files.read(source, levels, condition, dtype, columns, reading, classes)
    if reading != PLAIN:
        raise DataError(f"{source} is a named data set: how files are read does not apply. Received: {reading.given()}.")
    if source == "digits":
        _only_label(source, condition)
        what = digits.read(condition)
    elif data_dir is not None and _packed(source, data_dir).is_file():
        what = packed.read(_packed(source, data_dir), condition)
    else:
        try:
            what = _prepared(source, data_dir, condition)
        except NotHere as error:
            if data_dir is not None or source not in _EXCERPTS:
                raise
            if not excerpt:
                hint = f"For a look, tfdgm.data.load({source!r}, excerpt=True) gives some of its test rows."
                raise NotHere(f"{error} {hint}") from None
            what = packed.read(_EXCERPTS[source], condition)
            rows = f"{len(what.parts['test'].x):,} of its {what.excerpt_of:,} test rows"
            warnings.warn(f"An excerpt stands in for {source}, {rows}: {error}", stacklevel=4)
    if levels is not None and (what.levels is None or levels < what.levels):
        kind = "real-valued" if what.levels is None else f"integers 0..{what.levels - 1}"
        raise DataError(f"{source} is {kind}. Received: levels={levels}.")
    return what if levels is None else dataclasses.replace(what, levels=levels)


def _prepared(source, data_dir, condition):
    from tfdgm.data import tfds_sets

    if not tfds_sets.are_to_be_had():
        raise NotHere(
            f"{source} needs TensorFlow Datasets, which is not installed. Where it is, `python tools/pack_data.py {source} "
            f"FOLDER` writes what is read without it, here as {_packed(source, data_dir or '<data_dir>')}."
        )
    return tfds_sets.read(source, data_dir, condition)


def _is_file(source):
    """Whether the source is read as files. What has the form of a name and is no path is left to TFDS."""
    if source.startswith("tfds:") or source in named.names():
        return False
    if tables.suffix_of(source) in finding.SUFFIXES:
        return True
    return not named.is_name(source) or (os.path.exists(source) and not _is_tfds_name(source))


def _is_tfds_name(source):
    from tfdgm.data import tfds_sets

    return tfds_sets.are_to_be_had() and tfds_sets.exists(source)


def _packed(source, folder):
    return pathlib.Path(folder, f"{source.removeprefix('tfds:').replace(':', '-')}.npz")


def _only_label(source, condition):
    if condition not in (None, "label"):
        raise DataError(f"{source} has the condition 'label'. Received: condition={condition!r}.")


def _as_source(source):
    try:
        source = os.fspath(source)
    except TypeError:
        raise DataError(f"Expected a name or a path. Received: {type(source).__name__}.") from None
    if not source:
        raise DataError("Expected a name or a path. Received an empty string.")
    return source


def _folder(data_dir):
    data_dir = data_dir or os.environ.get("TFDGM_DATA_DIR") or None
    if data_dir is not None:
        data_dir = os.path.expanduser(data_dir)
        if not os.path.isdir(data_dir):
            raise DataError(f"data_dir (or TFDGM_DATA_DIR) is no folder: {data_dir}.")
    return data_dir


def _check_arguments(batch_size, valid_fraction, test_fraction, levels, dtype):
    if batch_size is not None and batch_size < 1:
        raise DataError(f"Expected batch_size of at least 1. Received: {batch_size}.")
    if min(valid_fraction, test_fraction) < 0.0 or valid_fraction + test_fraction >= 1.0:
        raise DataError(
            "Expected fractions of at least 0 that leave rows for train. "
            f"Received: valid_fraction={valid_fraction}, test_fraction={test_fraction}."
        )
    if levels is not None and not 1 < levels <= 2**31:
        raise DataError(f"Expected levels of at least 2. Received: {levels}.")
    if dtype not in values.REAL_DTYPES:
        raise DataError(f"Expected dtype={' or '.join(map(repr, values.REAL_DTYPES))}. Received: dtype={dtype!r}.")


def _all_rows(what, dtype):
    for part in what.parts.values():
        for start in range(0, len(part.rows), 2**12):
            yield values.to_dtype(part.x[part.rows[start : start + 2**12]], what.levels, dtype)


def _rebatch(chunks, batch_size):
    """Cuts a stream of arrays [k, ...] into arrays [batch_size, ...], the last one smaller."""
    rest = None
    for chunk in chunks:
        if rest is not None:
            chunk = np.concatenate([rest, chunk])
        whole = len(chunk) - len(chunk) % batch_size
        for start in range(0, whole, batch_size):
            yield chunk[start : start + batch_size]
        rest = chunk[whole:] if whole < len(chunk) else None
    if rest is not None:
        yield rest
