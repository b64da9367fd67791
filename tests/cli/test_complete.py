import matplotlib.image
import numpy as np
import pytest

import tfdgm

pytestmark = pytest.mark.usefixtures("eagerly")


def cells(path, model_side, parts):
    """The images of a picture, [strips, parts, h, w, 3], from 0 to 1: one column of strips, each of parts with a line between."""
    image = matplotlib.image.imread(path)[..., :3]
    side = image.shape[1] // (parts * (model_side + 1) - 1 + 6)
    image = image[::side, ::side]
    strips = [image[top : top + model_side] for top in range(3, image.shape[0] - 3, model_side + 3)]
    lefts = range(3, image.shape[1] - 3, model_side + 1)
    return np.array([[strip[:, left : left + model_side] for left in lefts] for strip in strips])


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """30 images of 4x4 pixels, and a PixelCNN and a right-to-left MADE for them, exported."""
    folder = tmp_path_factory.mktemp("complete")
    np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 5, (30, 4, 4)))
    small = {"filters": 8, "num_layers": 1, "first_kernel_size": 3, "head_filters": 8}
    tfdgm.models.PixelCNN((4, 4), levels=5, **small).export(folder / "pixelcnn" / "1")
    tfdgm.models.MADE((4, 4), levels=5, hidden_units=(8,), input_order="right-to-left").export(folder / "made" / "1")
    return folder


class TestComplete:
    @pytest.mark.slow
    def test_before_and_after(self, cli, rows, tmp_path):
        given = ("--data", rows / "images.npy", "--split=train", "--rows=1", "--num=2", "--samples=9", "--seed=3")
        result = cli("complete", rows / "pixelcnn", *given, "--out", tmp_path / "a.png")
        assert result.code == 0 and not result.err
        assert result.out == f"2 images, 1 of 4 rows kept, 9 completions each: {tmp_path / 'a.png'}\n"
        drawn = cells(tmp_path / "a.png", 4, 11)
        assert drawn.shape == (2, 11, 4, 4, 3)
        images = np.load(rows / "images.npy")[..., None] / 4
        for before, masked, *after in drawn:
            assert (np.abs(images - before).max(axis=(1, 2, 3)) < 1 / 255).sum() == 1  # One of the images given.
            np.testing.assert_array_equal(masked[:1], before[:1])
            np.testing.assert_allclose(masked[1:] * 255, np.broadcast_to([42, 111, 187], (3, 4, 3)), atol=1e-3)
            assert all((image[:1] == before[:1]).all() for image in after)
            assert len({image.tobytes() for image in after}) == 9
        # What is drawn is what `complete` draws.
        x = np.round(np.repeat(drawn[:, 0, ..., 0], 9, axis=0) * 4).astype(int)
        completed = tfdgm.load(rows / "pixelcnn").complete(x, np.arange(4)[:, None] + np.zeros(4) < 1, 3)
        np.testing.assert_array_equal(np.round(drawn[:, 2:, ..., 0] * 4).reshape(-1, 4, 4), completed)

    def test_half_of_the_rows_by_default(self, cli, rows, tmp_path):
        result = cli("complete", rows / "pixelcnn", "--data", rows / "images.npy", "--num=2", "--out", tmp_path / "a.png")
        assert result.out == f"2 images, 2 of 4 rows kept, 1 completions each: {tmp_path / 'a.png'}\n"

    def test_repeats_with_the_seed(self, cli, rows, tmp_path):
        for name, seed in (("a", 3), ("b", 3), ("c", 4)):
            given = ("--data", rows / "images.npy", "--split=train", "--rows=2", f"--seed={seed}")
            assert cli("complete", rows / "pixelcnn", *given, "--out", tmp_path / f"{name}.png").code == 0
        a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
        assert a == b != c

    @pytest.mark.slow
    def test_images_spread_over_what_the_model_was_trained_on(self, cli, run_folder, tmp_path):
        assert cli("complete", run_folder, "--rows=4", "--num=3", "--samples=7", "--out", tmp_path / "a.png").code == 0
        drawn = np.round(cells(tmp_path / "a.png", 8, 9)[:, 0, ..., 0] * 16)
        test = np.concatenate([batch["x"].numpy() for batch in tfdgm.data.load("digits").test])
        np.testing.assert_array_equal(drawn, test[:: len(test) // 3][:3])

    def test_another_order_warns_in_one_line(self, cli, rows, tmp_path):
        given = ("--data", rows / "images.npy", "--rows=2", "--num=2", "--out", tmp_path / "a.png")
        result = cli("complete", rows / "made", *given)
        assert result.code == 0 and len(result.err.strip().splitlines()) == 1
        assert result.err.startswith("tfdgm: warning: In 2 of 2 rows, known positions come after unknown ones")
        candidates = cli("complete", rows / "made", *given, "--num_candidates=50")
        assert candidates.code == 0 and "after unknown ones" not in candidates.err


class TestUsage:
    def test_errors(self, fails, rows, vector_model, tmp_path):
        png = ("--out", tmp_path / "a.png")
        assert "ends in .png. Received: nothing" in fails("complete", rows / "pixelcnn", code=2)
        assert "ends in .png. Received: a.npy" in fails("complete", rows / "pixelcnn", "--out=a.npy", code=2)
        assert "Expected MODEL" in fails("complete", *png, code=2)
        assert "--data is needed" in fails("complete", rows / "pixelcnn", "--rows=1", *png, code=2)
        assert "height of an image, 4. Received: 5" in fails("complete", rows / "pixelcnn", "--rows=5", *png, code=2)
        assert "Events of shape (3,) are no images" in fails("complete", vector_model / "model", *png, code=2)
        np.save(tmp_path / "vectors.npy", np.arange(30).reshape(10, 3) % 5)
        line = fails("complete", rows / "pixelcnn", "--rows=1", "--data", tmp_path / "vectors.npy", *png)
        assert "Expected rows of event_shape=(4, 4). Received: (3,)" in line
        assert not (tmp_path / "a.png").exists()

    def test_a_flow(self, fails, rows, tmp_path):
        tfdgm.models.MAF((4, 4), levels=5, num_layers=1, hidden_units=(4,)).export(tmp_path / "maf" / "1")
        line = fails("complete", tmp_path / "maf", "--rows=9", "--data", rows / "images.npy", "--out", tmp_path / "a.png", code=2)
        assert "Only an autoregressive model" in line and "a MAF." in line
