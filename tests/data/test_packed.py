import numpy as np
import pytest

from tfdgm import data
from tfdgm.data import DataError, packed, tfds_sets
from tfdgm.data.content import Content, Part


@pytest.fixture
def content():
    """Two splits over one array, as MNIST has them, and a test split."""
    random = np.random.default_rng(0)
    x, label = random.integers(0, 256, (30, 2, 2), "uint8"), np.eye(3, dtype="float32")[random.integers(0, 3, 30)]
    parts = {name: Part(x, label, rows) for name, rows in (("train", np.arange(20)), ("valid", np.arange(20, 30)))}
    return Content("mnist", {**parts, "test": Part(x[:5], label[:5])}, 256, "abc", "Some digits.", classes=("a", "b", "c"))


@pytest.fixture
def folder(content, tmp_path):
    packed.write(tmp_path / "mnist.npz", content, "label")
    return tmp_path


@pytest.fixture
def without_tfds(monkeypatch):
    monkeypatch.setattr(tfds_sets, "are_to_be_had", lambda: False)


@pytest.mark.usefixtures("without_tfds")
class TestPacked:
    @pytest.mark.parametrize("condition", [None, "label"])
    def test_what_was_written_is_read(self, content, folder, condition):
        read = data.load_arrays("mnist", data_dir=folder, condition=condition)
        assert (read.name, read.levels, read.sha256, read.description) == ("mnist", 256, "abc", "Some digits.")
        assert read.classes == (condition and ("a", "b", "c"))
        for split, part in content.parts.items():
            np.testing.assert_array_equal(read.parts[split].x, part.x[part.rows])
            if condition is None:
                assert read.parts[split].condition is None
            else:
                np.testing.assert_array_equal(read.parts[split].condition, part.condition[part.rows])

    def test_load_reads_it_too(self, content, folder):
        splits = data.load("mnist", data_dir=folder, batch_size=30)
        (test,) = splits.test.as_numpy_iterator()
        np.testing.assert_array_equal(test["x"], content.parts["test"].x)
        assert (splits.num_train, splits.num_valid, splits.num_test, splits.levels) == (20, 10, 5, 256)

    def test_a_condition_that_was_not_packed(self, content, tmp_path):
        packed.write(tmp_path / "mnist.npz", content, None)
        with pytest.raises(DataError, match=r"was packed without one. Received: 'label'"):
            data.load_arrays("mnist", data_dir=tmp_path, condition="label")

    def test_damage(self, folder):
        (folder / "mnist.npz").write_bytes((folder / "mnist.npz").read_bytes()[:100])
        with pytest.raises(DataError, match=r"mnist.npz is damaged, or not written by"):
            data.load_arrays("mnist", data_dir=folder)

    def test_without_tfds_and_without_a_packed_set(self, tmp_path):
        with pytest.raises(DataError, match=r"python tools/pack_data.py mnist FOLDER` writes .*, here as .*/mnist.npz"):
            data.load_arrays("mnist", data_dir=tmp_path)

    def test_a_folder_of_files_that_has_the_form_of_a_name(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "rows").mkdir()
        np.save(tmp_path / "rows" / "a.npy", np.arange(20))
        assert len(data.load_arrays("rows").parts["train"].rows) == 16


class TestPack:
    def test_a_named_set(self, tmp_path):
        path = data.pack("digits", tmp_path / "new")
        assert path == tmp_path / "new" / "digits.npz" and packed.read(path, None).parts["all"].x.shape == (1797, 8, 8)

    def test_a_set_with_a_builder_keeps_its_rows(self, tmp_path):
        folder = tmp_path / "source"
        (folder / "binarized_mnist").mkdir(parents=True)
        sizes, random = {"train": 20, "valid": 5, "test": 6}, np.random.default_rng(0)
        images = {split: random.integers(0, 256, (n, 98)).astype("uint8") for split, n in sizes.items()}
        np.savez(folder / "binarized_mnist" / "binarized_mnist.npz", **images)
        data.pack("binarized_mnist", tmp_path, data_dir=folder)
        a, b = (data.load_arrays("binarized_mnist", data_dir=where) for where in (folder, tmp_path))
        assert (a.sha256, a.levels, a.description) == (b.sha256, b.levels, b.description)
        for split in ("train", "valid", "test"):
            np.testing.assert_array_equal(a.parts[split].x, b.parts[split].x)

    def test_files_need_no_packing(self, tmp_path):
        with pytest.raises(DataError, match=r"Expected the name of a data set; .*Received: rows.csv"):
            data.pack("rows.csv", tmp_path)
