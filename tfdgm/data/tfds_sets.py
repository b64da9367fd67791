"""Sets of TensorFlow Datasets: our own builders and the official ones, without a network where possible."""

import contextlib
import gzip
import hashlib
import json
import os
import pathlib
import shutil
import socket
import sys
import tempfile
import urllib.parse
import urllib.request
import zlib

import numpy as np

from tfdgm.data import cache, named
from tfdgm.data.content import Content, Part
from tfdgm.data.data_error import DataError, NotHere

# The usual validation split of sets that have none: the last rows of train, in TFDS's (shuffled) order.
_VALID_ROWS = {"mnist": 10_000, "fashion_mnist": 10_000, "kmnist": 10_000}
_SOURCE_HASH = "source.sha256"


def are_to_be_had() -> bool:
    """Whether TensorFlow Datasets is installed."""
    try:
        import tensorflow_datasets  # noqa: F401
    except ImportError:
        return False
    return True


def exists(name: str) -> bool:
    """Whether TensorFlow Datasets has an official builder of this name."""
    return name.split("/")[0].split(":")[0] in _official_names()


def read(name: str, data_dir: str | os.PathLike | None, condition: str | None = None) -> Content:
    """The `Content` of a set; prepared in the cache (TFRecords, then one .npy for each split) once."""
    if name in named.BUILDERS:
        builder = _own(name, data_dir)
        feature = "x"
    else:
        name = name.removeprefix("tfds:")
        builder = _official(name, data_dir)
        feature = "image"
    features = builder.info.features
    if feature not in features:
        raise DataError(f"The TFDS set {name} has the features {', '.join(features)}. Expected one called 'image'.")
    if None in features[feature].shape:
        raise DataError(f"The images of the TFDS set {name} have no one size: {features[feature].shape}.")
    labelled = "label" in features and hasattr(features["label"], "num_classes")
    if condition is not None and not (labelled and condition == "label"):
        raise DataError(f"{name} has {'the' if labelled else 'no'} condition 'label'. Received: condition={condition!r}.")

    parts = {}
    for split, ours in (("train", "train"), ("validation", "valid"), ("test", "test")):
        if split in builder.info.splits:
            x = _array(builder, split, feature)
            label = None
            if condition is not None:
                label = np.eye(features["label"].num_classes, dtype=np.float32)[_array(builder, split, "label")]
            parts[ours] = Part(x, label)
    if "train" not in parts:
        raise DataError(f"The TFDS set {name} has the splits {', '.join(builder.info.splits)}. Expected 'train'.")
    if name in _VALID_ROWS and "valid" not in parts:
        rows = parts["train"].rows
        at = len(rows) - _VALID_ROWS[name]
        train = parts.pop("train")
        parts["train"] = Part(train.x, train.condition, rows[:at])
        parts["valid"] = Part(train.x, train.condition, rows[at:])
    levels = {"u": 256, "i": 256}.get(parts["train"].x.dtype.kind)
    if name in named.BUILDERS:
        levels = builder.LEVELS
    description = " ".join(builder.info.description.split())
    classes = None if condition is None else tuple(features["label"].names)
    return Content(name, parts, levels, _sha256(builder), description, classes=classes)


def _own(name, data_dir):
    cls = named.own_builder(name)
    # Apart from the official sets: TFDS has a `binarized_mnist` too.
    builder = cls(data_dir=str(cache.cache_dir() / "own"))
    sources = None if data_dir is None else cls.source_files(pathlib.Path(data_dir))
    here = sources is not None and all(p.is_file() for p in sources)
    prepared = _is_prepared(builder)
    if prepared and here and builder.info.metadata["sha256"] != cache.sha256_of(sources):
        # The source files are others than those it was prepared from.
        shutil.rmtree(builder.data_dir)
        builder, prepared = cls(data_dir=str(cache.cache_dir() / "own")), False
    if prepared:
        return builder
    if not here:
        folder = "<data_dir>" if data_dir is None else data_dir
        wanted = cls.source_files(pathlib.Path(folder))
        missing = next(p for p in wanted if not p.is_file())
        raise NotHere(
            f"{name} needs the file {missing}, which is not there. Set data_dir (or TFDGM_DATA_DIR) to the "
            f"folder that has it. {' '.join(cls.MANUAL_DOWNLOAD_INSTRUCTIONS.split())}"
        )
    _prepare(builder, data_dir)
    return builder


def _official(name, data_dir):
    import tensorflow_datasets as tfds

    if not exists(name):
        raise named.unknown(name, _official_names())
    base = name.split("/")[0].split(":")[0]
    folder = cache.cache_dir() / "tfds"
    try:
        builder = tfds.builder(name, data_dir=str(folder))
    except Exception as e:  # TFDS raises many kinds for an unknown configuration or version.
        raise DataError(f"TensorFlow Datasets cannot build {name}: {_line(e)}") from None
    if not _is_prepared(builder):
        files = {} if data_dir is None else _local_files(builder, os.path.join(data_dir, base))
        try:
            if files and all(files.values()):
                _prepare_from_files(builder, files)
            else:
                _reach(builder)
                _prepare(builder, data_dir if builder.MANUAL_DOWNLOAD_INSTRUCTIONS else None)
        except DataError:
            raise
        except Exception as e:  # Without a network: whatever the layer that missed it raises.
            wanted = sorted(_file_name(url, info) for url, info in builder.url_infos.items())
            names = f" ({', '.join(wanted[:6])}{', ...' if len(wanted) > 6 else ''})" if wanted else ""
            raise NotHere(
                f"{name} could not be prepared: {_line(e)} Without a network its files{names} must lie in "
                f"<data_dir>/{base}; data_dir (or TFDGM_DATA_DIR) is {data_dir or 'not set'}."
            ) from None
    return builder


def _reach(builder):
    """Raises OSError where the host of a set's first file cannot be reached.

    Without it TFDS tries each file again for some four minutes, with a warning each time, before it gives up.
    A proxy is left to TFDS: behind one, hosts need not be known by name.
    """
    for url in list(builder.url_infos)[:1]:
        parts = urllib.parse.urlsplit(url)
        if parts.hostname and parts.scheme not in urllib.request.getproxies():
            port = parts.port or {"http": 80, "ftp": 21}.get(parts.scheme, 443)
            try:
                socket.create_connection((parts.hostname, port), timeout=10.0).close()
            except OSError as e:
                raise OSError(f"{parts.hostname} cannot be reached ({e})") from None


def _local_files(builder, folder):
    """{url: path or None} of the files that TFDS would download, looked for by name in a folder."""
    paths = {url: os.path.join(folder, _file_name(url, info)) for url, info in builder.url_infos.items()}
    return {url: path if os.path.isfile(path) else None for url, path in paths.items()}


def _prepare_from_files(builder, files):
    """Prepares an official set from files in place of downloads.

    TFDS takes what lies in its download folder under the name made of the URL and the official hash, so links
    of these names, in a folder that goes afterwards, stand in for downloads; the files themselves stay
    untouched. A .gz file whose hash is not the official one counts as the same bytes compressed again, once
    it unpacks whole: archives are often repacked, and what they held is what matters. Any other file must
    have the official hash.
    """
    from tensorflow_datasets.core.download import resource

    for url, path in files.items():
        expected, received = builder.url_infos[url].checksum, cache.sha256_of([path])
        if received != expected and not (path.endswith(".gz") and _unpacks(path)):
            raise DataError(f"{path} is damaged, or another file than {url}: expected sha256 {expected}. Received: {received}.")
    with tempfile.TemporaryDirectory(dir=cache.cache_dir()) as folder:
        downloads = pathlib.Path(folder, builder.name)
        downloads.mkdir()
        for url, path in files.items():
            link = downloads / resource.get_dl_fname(url, builder.url_infos[url].checksum)
            link.symlink_to(os.path.abspath(path))
            # TFDS counts a download as complete once this file lies beside it.
            link.with_name(link.name + ".INFO").write_text(json.dumps({"dataset_names": [builder.name], "urls": [url]}))
        _prepare(builder, None, download_dir=folder)
    pathlib.Path(builder.data_dir, _SOURCE_HASH).write_text(cache.sha256_of(sorted(files.values())))


def _unpacks(path):
    try:
        with gzip.open(path) as file:
            while file.read(2**22):
                pass
    except (OSError, EOFError, zlib.error):
        return False
    return True


def _file_name(url, info):
    return info.filename or url.rsplit("/", 1)[-1]


def _prepare(builder, manual_dir, download_dir=None):
    import tensorflow_datasets as tfds

    config = tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
    # TFDS prints what it does; standard output belongs to the program.
    with contextlib.redirect_stdout(sys.stderr):
        builder.download_and_prepare(download_dir=download_dir, download_config=config)


def _is_prepared(builder):
    return bool(builder.info.splits)


def _array(builder, split, feature):
    """One feature of one split, [n, ...], as a memory map of `<split>.<feature>.npy` beside the TFRecords.

    Parsing records row by row takes some 30 microseconds a row; this is done once.
    """
    import tensorflow_datasets as tfds

    path = pathlib.Path(builder.data_dir) / f"{split}.{feature}.npy"
    if not path.exists():
        # Read one shard after another, so that rows keep the order in which they were written.
        config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        skip = {k: tfds.decode.SkipDecoding() for k in builder.info.features if k != feature}
        dataset = builder.as_dataset(split=split, shuffle_files=False, read_config=config, decoders=skip)
        dataset = dataset.map(lambda row: row[feature]).batch(1024)
        info = builder.info.features[feature]
        count = builder.info.splits[split].num_examples
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        os.close(handle)
        try:
            array = np.lib.format.open_memmap(partial, "w+", info.np_dtype, (count, *info.shape))
            start = 0
            for batch in dataset.as_numpy_iterator():
                array[start : start + len(batch)] = batch
                start += len(batch)
            array.flush()
            os.replace(partial, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(partial)
    return np.load(path, mmap_mode="r")


def _sha256(builder):
    """The hash of the source files; of a downloaded set, the hash of their known hashes."""
    if builder.info.metadata and "sha256" in builder.info.metadata:
        return builder.info.metadata["sha256"]
    stored = pathlib.Path(builder.data_dir, _SOURCE_HASH)
    if stored.exists():
        return stored.read_text()
    known = sorted(info.checksum for info in builder.url_infos.values())
    return hashlib.sha256("\n".join(known or [builder.info.full_name]).encode()).hexdigest()


def _official_names():
    import tensorflow_datasets as tfds

    return set(tfds.list_builders(with_community_datasets=False)) - (set(named.BUILDERS) - {"binarized_mnist"})


def _line(error):
    """The first line of an error's message, ended by a full stop."""
    lines = [line for line in str(error).strip().splitlines() if line] or [type(error).__name__]
    return f"{lines[0][:300].rstrip('.')}."
