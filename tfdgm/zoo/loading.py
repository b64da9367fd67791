import tfdgm.models  # noqa: F401  Registers the classes that an artifact names.
from tfdgm import serving
from tfdgm.expanded import expanded
from tfdgm.unknown_name import unknown_name
from tfdgm.zoo import entries


def load(name_or_path):
    """The Keras model of a zoo entry, by name, or of a SavedModel: a version folder, a folder of versions, or a run's folder.

    `log_prob` equals that of the model which was exported, bit for bit, and `fit` goes on. A zoo name comes before a folder of
    that name: write "./maf_digits" for the folder.
    """
    if name_or_path in entries.names():
        return serving.load(entries.find(name_or_path))
    path = expanded(name_or_path)
    if not str(name_or_path):
        raise entries.ZooError("Expected the name of a zoo entry or a folder. Received: ''")
    if not path.exists():
        beside = {str(model.parents[1]) for model in path.parent.glob("*/*/saved_model.pb")}
        known = beside | set(entries.names() if entries.is_name(name_or_path) else [])
        raise entries.ZooError(unknown_name("zoo entry or folder", str(name_or_path), known))
    exported = path.is_dir() and any(p.name.isdigit() for p in path.iterdir())
    if (path / "record.json").is_file() and not exported:
        raise entries.ZooError(
            f"The run in {path} was trained without TensorFlow: `tfdgm export {path}` makes a SavedModel of it."
        )
    if (path / "checkpoints").is_dir() and not exported:
        raise entries.ZooError(f"The run in {path} is not finished: `tfdgm train {path}` goes on with it.")
    return serving.load(path)
