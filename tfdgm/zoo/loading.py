import zipfile

import keras
import tensorflow as tf

import tfdgm.models  # Registers the classes that an artifact names.
from tfdgm import serving
from tfdgm.expanded import expanded
from tfdgm.from_outside import MOST_BYTES, OutsideError, parse_json
from tfdgm.serving.artifact import at_most
from tfdgm.unknown_name import unknown_name
from tfdgm.zoo import entries


def load(name_or_path):
    """The Keras model of a zoo entry, by name, of a SavedModel (a version folder, a folder of versions, or a run's folder), or of
    a .keras file that `model.save` wrote.

    `log_prob` equals that of the model which was exported, bit for bit, and `fit` goes on; a .keras file holds the optimizer's
    state, too. A zoo name comes before a folder of that name: write "./maf_digits" for the folder. docs/security.md says what
    loading the file of a stranger may do.

    Raises:
      ZooError: for what is not there.
      ArtifactError: for what cannot be read, and for models of `DensityModel.from_distribution`: build the distribution again,
        then `DensityModel.from_distribution(distribution)` takes the weights back, by `restore` from a SavedModel.
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
    if path.suffix == ".keras":
        return _of_keras_file(path)
    exported = path.is_dir() and any(p.name.isdigit() for p in path.iterdir())
    if (path / "record.json").is_file() and not exported:
        raise entries.ZooError(
            f"The run in {path} was trained without TensorFlow: `tfdgm export {path}` makes a SavedModel of it."
        )
    if (path / "checkpoints").is_dir() and not exported:
        raise entries.ZooError(f"The run in {path} is not finished: `tfdgm train {path}` goes on with it.")
    return serving.load(path)


def _of_keras_file(path):
    if not path.is_file():
        raise serving.ArtifactError(f"Expected a .keras file. Received: {path}, which is none.")
    try:
        with zipfile.ZipFile(path) as archive:
            config = parse_json(archive.open("config.json").read(MOST_BYTES), dict)
        cls = keras.saving.get_registered_object(str(config.get("registered_name")))
        if not (isinstance(cls, type) and issubclass(cls, tfdgm.models.DensityModel)):  # Before anything of it is built.
            raise OutsideError(f"it holds a {config.get('class_name')}, which is no DensityModel known here")
        with tf.variable_creator_scope(at_most(path.stat().st_size // 64 + 100)):  # Each is a data set in the file.
            return keras.saving.load_model(path)
    except (zipfile.BadZipFile, ValueError, TypeError, LookupError, AttributeError, OSError, EOFError, ImportError) as error:
        cause = str(error).split("Exception encountered: ")[-1].split("\n")[0]  # Keras shows the whole config first.
        raise serving.ArtifactError(f"{path} cannot be loaded: {cause or type(error).__name__}") from None
