import matplotlib.image
import numpy as np
import pytest

from tfdgm.training import pictures


class TestImageGrid:
    def test_places_each_image_with_its_levels(self):
        x = np.arange(3)[:, None, None] * np.ones((1, 2, 2), int)
        grid = pictures.image_grid(x, levels=3, columns=2, pixels=1)
        assert grid.shape == (7, 7)
        assert (grid[1:3, 1:3] == 0).all()
        assert (grid[1:3, 4:6] == 128).all()
        assert (grid[4:6, 1:3] == 255).all()
        assert (grid[4:6, 4:6] == 64).all()  # No fourth image.

    def test_pixels_are_squares(self):
        small = pictures.image_grid(np.eye(4)[None], levels=2, pixels=1)
        assert (pictures.image_grid(np.eye(4)[None], levels=2, pixels=3) == small.repeat(3, 0).repeat(3, 1)).all()

    def test_real_values_span_their_own_range(self):
        grid = pictures.image_grid(np.array([[[-3.0, 1.0]]]), pixels=1, gap=0)
        assert grid.tolist() == [[0, 255]]

    def test_one_value_alone_is_no_division_by_zero(self):
        assert (pictures.image_grid(np.ones((1, 2, 2)), pixels=1, gap=0) == 0).all()

    def test_colours_stay_apart(self):
        x = np.zeros((1, 2, 2, 3), int)
        x[..., 1] = 255
        grid = pictures.image_grid(x, levels=256, pixels=1, gap=0)
        assert grid.shape == (2, 2, 3) and (grid == x[0]).all()

    def test_one_channel_is_grey(self):
        assert pictures.image_grid(np.zeros((5, 2, 2, 1))).ndim == 2

    @pytest.mark.parametrize("shape", [(100, 8, 8), (100, 28, 28), (16, 64, 64)])
    def test_default_size_is_some_800_wide(self, shape):
        assert 500 < pictures.image_grid(np.zeros(shape)).shape[1] < 1200

    def test_captions(self):
        x = np.random.default_rng(0).integers(256, size=(5, 2, 3, 3))
        options = {"levels": 256, "columns": 2, "pixels": 20}
        plain = pictures.image_grid(x, **options)
        grid = pictures.image_grid(x, **options, captions=["cat", "a long name, longer than its image", "dog"])
        strip = 15
        assert grid.shape == (len(plain) + 2 * strip, *plain.shape[1:])
        np.testing.assert_array_equal(grid[strip : strip + 60], plain[:60])
        np.testing.assert_array_equal(grid[60 + 2 * strip :], plain[60:])
        first, second = grid[:strip, :, 0] > 200, grid[strip + 60 : 60 + 2 * strip, :, 0] > 200
        assert first[:, 20:80].any() and first[:, 100:160].any() and not first[:, 80:100].any() and not first[:, 160:].any()
        assert second[:, 20:80].any() and not second[:, 80:].any()
        grey = pictures.image_grid(x[..., 0], **options, captions=["cat"])
        assert grey.ndim == 2 and (grey[:strip, :80] == grid[:strip, :80, 0]).all()


class TestCompletions:
    def test_each_image_its_known_part_and_its_completions(self):
        x, known = np.array([[[0, 1]], [[1, 1]]]), np.array([[1, 0]])
        completed = np.array([[[[0, 0]], [[0, 1]]], [[[1, 0]], [[1, 1]]]])
        grid = pictures.completions(x, known, completed, levels=2, columns=1, pixels=1)
        assert grid.shape == (2 * (1 + 3) + 3, 4 * 3 - 1 + 6, 3)
        black, white, blue, grey = [0] * 3, [255] * 3, [42, 111, 187], [64] * 3
        assert grid[3, 3:-3].tolist() == [black, white, grey, black, blue, grey, black, black, grey, black, white]
        assert grid[7, 3:-3].tolist() == [white, white, grey, white, blue, grey, white, black, grey, white, white]

    def test_colours_and_one_channel(self):
        x = np.random.default_rng(0).integers(0, 256, (3, 2, 2, 3))
        grid = pictures.completions(x, np.ones((2, 2, 3)), x[:, None], levels=256, columns=3, pixels=1)
        np.testing.assert_array_equal(grid[3:5, 3:5], x[0])
        np.testing.assert_array_equal(grid[3:5, 6:8], x[0])
        grey = pictures.completions(x[..., 0], np.ones((2, 2)), x[:, None, ..., 0], levels=256)
        one = pictures.completions(x[..., :1], np.ones((2, 2, 1)), x[:, None, ..., :1], levels=256)
        np.testing.assert_array_equal(one, grey)

    def test_real_values_share_one_range(self):
        grid = pictures.completions(np.array([[[0.0, 1.0]]]), np.array([[1, 1]]), np.array([[[[-1.0, 3.0]]]]), pixels=1)
        assert grid[3, 3:-3, 0].tolist() == [64, 128, 64, 64, 128, 64, 0, 255]


class TestInterpolations:
    def test_a_row_for_each_pair(self):
        between = np.array([[0.5, 1.0], [2.0, 0.0]])[..., None, None]
        grid = pictures.interpolations(np.zeros((2, 1, 1)), between, np.full((2, 1, 1), 2), levels=3, pixels=1)
        assert grid[1::2, 1::2].tolist() == [[0, 64, 128, 255], [0, 255, 0, 255]]


class TestReceptiveField:
    def test_position_seen_and_unseen(self):
        grid = pictures.receptive_field((2, 3), (1, 1), {(0, 1), (1, 0)}, pixels=1)
        grey, blue, orange, black = [138] * 3, [42, 111, 187], [224, 123, 57], [0] * 3
        assert grid[1:3, 1:4].tolist() == [[grey, blue, grey], [blue, orange, black]]

    def test_channels_side_by_side(self):
        grid = pictures.receptive_field((1, 2, 3), (0, 1, 1), {(0, 1, 0)}, pixels=1)
        grey, blue, orange, black = [138] * 3, [42, 111, 187], [224, 123, 57], [0] * 3
        assert grid[1, [1, 2, 4, 5, 7, 8]].tolist() == [grey, blue, grey, orange, grey, black]


class TestSaveImage:
    def test_every_pixel_as_given(self, tmp_path):
        image = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
        pictures.save_image(tmp_path / "new folder" / "a.png", image)
        read = matplotlib.image.imread(tmp_path / "new folder" / "a.png")
        assert (np.round(read[..., 0] * 255) == image).all()

    def test_an_error_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "a.png"
        path.write_bytes(b"old")
        with pytest.raises((ValueError, TypeError)):
            pictures.save_image(path, np.zeros((2, 2, 7), np.uint8))
        assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


class TestIsImage:
    @pytest.mark.parametrize(
        "shape,expected", [((8, 8), True), ((8, 8, 1), True), ((8, 8, 3), True), ((8, 8, 2), False), ((64,), False)]
    )
    def test_by_shape(self, shape, expected):
        assert pictures.is_image(shape) == expected


class TestFigures:
    def test_heat_maps(self, tmp_path):
        values = np.zeros((3, 4, 4))
        values[1, 2, 3] = 5.0
        pictures.heat_maps(tmp_path / "bits.png", values, np.ones((3, 4, 4), int), levels=2, columns=1)
        image = matplotlib.image.imread(tmp_path / "bits.png")[..., :3]
        third = image.shape[0] // 3
        bright = [(part[:, : image.shape[1] * 3 // 4].min(axis=-1) > 0.6).mean() for part in np.split(image[: 3 * third], 3)]
        dark = [(part.max(axis=-1) < 0.05).mean() for part in np.split(image[: 3 * third], 3)]
        assert bright[0] > 0.3 and min(dark) > 0.2 and dark[1] < dark[0]  # White images, black maps, one place in one map.
        pictures.heat_maps(tmp_path / "colours.png", np.ones((1, 4, 4, 3)))
        assert (tmp_path / "colours.png").stat().st_size > 1000

    def test_curves(self, tmp_path):
        history = {"loss": [9.0, 3.0, 2.0], "val_loss": [9.5, 4.0, float("nan")]}
        pictures.curves(tmp_path / "curves.png", history, best_epoch=2, title="t")
        image = matplotlib.image.imread(tmp_path / "curves.png")
        assert image.shape[:2] == (462, 770) and image[..., :3].std() > 0.01

    @pytest.mark.slow
    @pytest.mark.parametrize("size", [1, 2, 6, 43])
    def test_vectors(self, tmp_path, size):
        random = np.random.default_rng(0)
        pictures.vectors(tmp_path / "v.png", random.normal(size=(50, size)), random.normal(size=(60, size)), title="t")
        image = matplotlib.image.imread(tmp_path / "v.png")
        assert image.shape[1] >= 500 and image[..., :3].std() > 0.01

    def test_vectors_have_the_names_of_columns(self, tmp_path, monkeypatch):
        figures = []
        monkeypatch.setattr(pictures, "_save", lambda path, figure: figures.append(figure))
        x = np.random.default_rng(0).normal(size=(50, 2))
        for names in (None, ["age", "height of the person in metres"]):
            pictures.vectors(tmp_path / "v.png", x, x, names=names)
        labels = [[(a.get_xlabel(), a.get_ylabel()) for a in figure.axes] for figure in figures]
        assert labels[0] == [("x0", ""), ("", ""), ("x0", "x1"), ("x1", "")]
        assert labels[1] == [("age", ""), ("", ""), ("age", "height of the..."), ("height of the...", "")]

    def test_constant_data(self, tmp_path):
        pictures.vectors(tmp_path / "v.png", np.zeros((5, 2)), np.zeros((5, 2)))
        assert (tmp_path / "v.png").stat().st_size > 1000
