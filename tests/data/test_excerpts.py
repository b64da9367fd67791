"""What comes with tfdgm of sets that are not to be had."""

import pathlib
import re

import numpy as np
import pytest

import tfdgm
from tfdgm import data, zoo
from tfdgm.data import packed

NAMES = ("binarized_mnist", "fashion_mnist")
ROOT = pathlib.Path(tfdgm.__file__).parent.parent


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("urllib.request.getproxies", dict)


def bits(folder, **splits):
    """A packed set in a folder of data sets."""
    (folder / "binarized_mnist").mkdir(exist_ok=True)
    path = folder / "binarized_mnist" / "binarized_mnist.npz"
    np.savez_compressed(path, **{split: np.packbits(x, axis=1) for split, x in splits.items()})
    return path


@pytest.mark.parametrize(
    ("name", "condition", "rows", "levels"), [("binarized_mnist", None, 500, 2), ("fashion_mnist", "label", 200, 256)]
)
def test_an_excerpt_stands_in_and_says_so(name, condition, rows, levels):
    with pytest.warns(UserWarning, match=rf"An excerpt stands in for {name}, {rows} of its 10,000 test rows: {name} "):
        splits = data.load(name, condition=condition, excerpt=True, batch_size=rows)
    assert (splits.num_train, splits.num_valid, splits.num_test, splits.excerpt_of) == (0, 0, rows, 10_000)
    (test,) = splits.test.as_numpy_iterator()
    assert test["x"].shape == (rows, *splits.event_shape) and test["x"].min() == 0 and test["x"].max() == levels - 1
    assert condition is None or np.array_equal(test["condition"].sum(axis=1), np.ones(rows))
    assert list(splits.train) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("function", [data.load, data.load_arrays])
def test_it_is_asked_for(function, name):
    with pytest.raises(data.DataError, match=rf"tfdgm.data.load\('{name}', excerpt=True\) gives some of its test rows"):
        function(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_data_folder_without_the_set_is_an_error(name, tmp_path):
    with pytest.raises(data.DataError, match=f"{name}.*data_dir") as error:
        data.load(name, data_dir=tmp_path, excerpt=True)
    assert "excerpt" not in str(error.value)


def test_the_set_itself_comes_first(tmp_path, recwarn):
    bits(tmp_path, **{split: np.eye(4, 784, dtype="uint8") for split in ("train", "valid", "test")})
    for folder in (tmp_path, None):  # The second time from the cache.
        splits = data.load("binarized_mnist", data_dir=folder, excerpt=True)
        assert splits.num_train == 4 and splits.excerpt_of is None
    assert not [warning for warning in recwarn if "excerpt" in str(warning.message)]


def test_damage_is_no_absence(tmp_path):
    bits(tmp_path, train=np.zeros((2, 784), "uint8")).write_bytes(b"no archive")
    with pytest.raises(data.DataError, match="cannot be read"):
        data.load("binarized_mnist", data_dir=tmp_path, excerpt=True)


@pytest.mark.parametrize("name", ["mnist", "power"])
def test_other_sets_have_none(name):
    with pytest.raises(data.DataError) as error:
        data.load(name, excerpt=True)
    assert "excerpt" not in str(error.value)


def test_without_tensorflow_datasets(monkeypatch):
    monkeypatch.setattr("tfdgm.data.tfds_sets.are_to_be_had", lambda: False)
    with pytest.warns(UserWarning, match="needs TensorFlow Datasets, which is not installed"):
        assert len(data.load_arrays("binarized_mnist", excerpt=True).parts["test"].x) == 500


@pytest.mark.parametrize("name", NAMES)
def test_its_hash_is_that_of_what_the_zoo_was_trained_on(name):
    excerpt = packed.read(ROOT / f"tfdgm/data/excerpts/{name}.npz", None)
    hashes = {card["data"]["sha256"] for card in map(zoo.card, zoo.names()) if card["data"]["name"] == name}
    assert hashes == {excerpt.sha256}


def test_its_rows_are_those_of_the_set(real_data):
    with np.load(f"{real_data('binarized_mnist')}/binarized_mnist/binarized_mnist.npz") as file:
        expected = np.unpackbits(file["test"][::20], axis=1).reshape(-1, 28, 28)
    np.testing.assert_array_equal(packed.read(ROOT / "tfdgm/data/excerpts/binarized_mnist.npz", None).parts["test"].x, expected)


def test_a_packed_excerpt(tmp_path):
    test = np.random.default_rng(0).integers(0, 2, (10, 784), "uint8")
    bits(tmp_path, train=test[:3], valid=test[:2], test=test)
    path = data.pack("binarized_mnist", tmp_path / "packed", data_dir=tmp_path, every=4)
    excerpt = packed.read(path, None)
    assert excerpt.excerpt_of == 10 and [len(excerpt.parts[key].x) for key in ("train", "valid", "test")] == [0, 0, 3]
    np.testing.assert_array_equal(excerpt.parts["test"].x.reshape(-1, 784), test[::4])


def test_they_are_package_data(monkeypatch):
    from distutils.core import run_setup  # setuptools's.

    monkeypatch.chdir(ROOT)
    build = run_setup("setup.py", stop_after="init").get_command_obj("build_py")
    build.ensure_finalized()
    [files] = [files for package, _, _, files in build.data_files if package == "tfdgm.data"]
    assert {pathlib.Path(path).name for path in files} == {"binarized_mnist.npz", "fashion_mnist.npz", "TERMS.md"}


def test_the_guide_s_python(tmp_path, monkeypatch, capsys):
    first, to_pack = re.findall(r"```python\n(.*?)```", (ROOT / "docs/data.md").read_text(), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    x = {part: np.random.default_rng(i).integers(0, 2, (3, 784), "uint8") for i, part in enumerate(("train", "valid", "test"))}
    for part, rows in x.items():
        np.savetxt(f"binarized_mnist_{part}.amat", rows, fmt="%d")
    with pytest.warns(UserWarning, match="An excerpt stands in"):
        exec(compile(first, "data.md", "exec"), {})
    assert capsys.readouterr().out == "500 rows; of an excerpt, the whole has 10000\n"
    exec(compile(to_pack, "data.md", "exec"), {})
    content = data.load_arrays("binarized_mnist", data_dir=tmp_path / "data")
    for part, rows in x.items():
        np.testing.assert_array_equal(content.parts[part].x.reshape(-1, 784), rows)
