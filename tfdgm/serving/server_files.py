"""The configuration files of TF Serving's model server, beside the models they name."""

import json
import os
import pathlib

from google.protobuf import text_encoding

from tfdgm.serving.saved_model import DESCRIPTION

_HEADER = "# Written by `tfdgm export` from the model folders beside it; every export writes it anew.\n"
_METRICS_PATH = "/monitoring/prometheus/metrics"


def write_server_files(folder: str | os.PathLike, server_dir: str = "/models") -> list[pathlib.Path]:
    """Writes `models.config`, `batching.config` and `monitoring.config` into `folder`, from the models that lie there.

    models.config (ModelServerConfig): one entry for each folder `<name>/<version>/saved_model.pb`. The two newest versions are
    served; the newest has the label `canary`, the one before it `stable`, and an only version both.
    batching.config (BatchingParameters): the largest `max_batch` that any version here was exported with, and the powers of two
    below it as allowed sizes, up to which the server fills a batch.
    monitoring.config (MonitoringConfig): Prometheus metrics on the REST port.

    Each is written aside and renamed, so a server that polls never reads half a file.

    Args:
      folder: the folder of model folders.
      server_dir: where `folder` will lie on the server: an absolute path, or a URL such as gs://bucket/models.

    Returns:
      The three paths.
    """
    folder = pathlib.Path(folder)
    models = model_versions(folder)
    # Last, the file that makes a running server load.
    texts = {
        "monitoring.config": f'prometheus_config {{\n  enable: true\n  path: "{_METRICS_PATH}"\n}}\n',
        "batching.config": _batching(folder, models),
        "models.config": _models(models, server_dir.rstrip("/")),
    }
    for name, text in texts.items():
        aside = folder / f".{name}.new"
        aside.write_text(_HEADER + text)
        os.replace(aside, folder / name)
    return [folder / name for name in texts]


def model_versions(folder: str | os.PathLike) -> dict[str, list[int]]:
    """{name: the version numbers, rising} of the models `<name>/<version>/saved_model.pb` in a folder."""
    found = {}
    for path in sorted(pathlib.Path(folder).glob("*/*/saved_model.pb")):
        name, version = path.parts[-3:-1]
        if version.isdigit() and not name.startswith("."):
            found.setdefault(name, []).append(int(version))
    return {name: sorted(versions) for name, versions in found.items()}


def _models(models, server_dir):
    entries = []
    for name, versions in models.items():
        labels = {"stable": versions[-2:][0], "canary": versions[-1]}
        entries.append(
            "  config {\n"
            f"    name: {_quoted(name)}\n"
            f"    base_path: {_quoted(f'{server_dir}/{name}')}\n"
            '    model_platform: "tensorflow"\n'
            "    model_version_policy { latest { num_versions: 2 } }\n"
            + "".join(f'    version_labels {{ key: "{label}" value: {version} }}\n' for label, version in labels.items())
            + "  }\n"
        )
    return f"model_config_list {{\n{''.join(entries)}}}\n"


def _batching(folder, models):
    descriptions = [folder / name / str(version) / DESCRIPTION for name, versions in models.items() for version in versions]
    # A warm-up request above the server's maximum would keep its model from loading.
    largest = max((_max_batch(path) for path in descriptions), default=1)
    sizes = [2**i for i in range((largest - 1).bit_length())] + [largest]
    # Left out: num_batch_threads, which is then the number of the server's cores.
    lines = [
        f"max_batch_size {{ value: {largest} }}",
        "batch_timeout_micros { value: 1000 }",
        "max_enqueued_batches { value: 1000 }",
        *(f"allowed_batch_sizes: {size}" for size in sizes),
    ]
    return "\n".join(lines) + "\n"


def _max_batch(description):
    """What a version was exported with; 1 where nothing says it, as of other programs' SavedModels."""
    try:
        return int(json.loads(description.read_text())["max_batch"] or 1)
    except (OSError, ValueError, KeyError, TypeError):
        return 1


def _quoted(text):
    return f'"{text_encoding.CEscape(text, as_utf8=True)}"'
