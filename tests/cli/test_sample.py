import matplotlib.image
import numpy as np
import pytest

import tfdgm

pytestmark = pytest.mark.usefixtures("eagerly")


class TestSample:
    def test_a_grid_of_images(self, cli, run_folder, tmp_path):
        result = cli("sample", run_folder, "--num", "6", "--out", tmp_path / "grid.png")
        assert result.code == 0 and str(tmp_path / "grid.png") in result.out
        image = matplotlib.image.imread(tmp_path / "grid.png")[..., 0]
        side = round(800 / (3 * 9))  # Pixels of one pixel.
        assert image.shape == ((2 * 9 + 1) * side, (3 * 9 + 1) * side)
        first = np.asarray(tfdgm.load(run_folder).sample(1, seed=1))[0]
        drawn = image[side : 9 * side : side, side : 9 * side : side]
        np.testing.assert_allclose(drawn, first / 16, atol=1 / 255)

    def test_a_table_of_integers(self, cli, run_folder, tmp_path):
        assert cli("sample", run_folder, "--num=5", "--seed=7", "--out", tmp_path / "a.csv").code == 0
        rows = np.loadtxt(tmp_path / "a.csv", delimiter=",", dtype=int)
        assert (rows.reshape(5, 8, 8) == np.asarray(tfdgm.load(run_folder).sample(5, seed=7))).all()

    def test_arrays_repeat_with_the_seed(self, cli, vector_model, tmp_path):
        for name, seed in (("a", 3), ("b", 3), ("c", 4)):
            assert cli("sample", vector_model / "model", "--num=9", f"--seed={seed}", "--out", tmp_path / f"{name}.npy").code == 0
        a, b, c = (np.load(tmp_path / f"{name}.npy") for name in "abc")
        assert a.shape == (9, 3) and (a == b).all() and not (a == c).any()

    def test_vectors_are_no_pictures(self, fails, vector_model, tmp_path):
        line = fails("sample", vector_model / "model", "--out", tmp_path / "a.png", code=2)
        assert "Events of shape (3,) are no images" in line and not (tmp_path / "a.png").exists()

    def test_a_condition_where_there_is_none(self, fails, vector_model, tmp_path):
        line = fails("sample", vector_model / "model", "--condition=3", "--out", tmp_path / "a.npy", code=2)
        assert "takes no --condition" in line


class TestCondition:
    def test_classes_and_numbers(self, cli, fails, tmp_path):
        model = tfdgm.models.MADE((2,), levels=2, hidden_units=(4,), condition_shape=(3,))
        model.export(tmp_path / "m" / "1")
        for text, name in (("2", "a"), ("0, 0, 1", "b")):
            assert cli("sample", tmp_path / "m", "--condition", text, "--num=20", "--out", tmp_path / f"{name}.npy").code == 0
        expected = np.asarray(model.sample(20, seed=1, condition=[0.0, 0.0, 1.0]))
        assert (np.load(tmp_path / "a.npy") == expected).all() and (np.load(tmp_path / "b.npy") == expected).all()
        for text in ("3", "1,2", "red"):
            line = fails("sample", tmp_path / "m", "--condition", text, "--out", tmp_path / "c.npy", code=2)
            assert "expects 3 numbers, or a class 0..2" in line
        assert "needs --condition" in fails("sample", tmp_path / "m", "--out", tmp_path / "c.npy", code=2)
