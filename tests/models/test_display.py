import numpy as np
import pandas as pd
import PIL.Image
import pytest

import tfdgm
from tfdgm.distributions import Autoregressive

pytestmark = pytest.mark.usefixtures("eagerly")

M = tfdgm.models
X = np.random.default_rng(0).normal(size=(12, 2)).astype("float32")


@pytest.fixture(scope="module")
def flow():
    model = M.RealNVP((2,), num_layers=1, hidden_units=(4,), name="flow")
    model.compile("adam", run_eagerly=True)
    return model


class TestText:
    @pytest.mark.parametrize(
        ("make", "expected"),
        [
            (
                lambda: M.RealNVP((2,), num_layers=1, hidden_units=(4,), name="flow"),
                "<RealNVP name=flow, event_shape=(2,), levels=None, condition_shape=None, log_prob=exact>",
            ),
            (
                lambda: M.MAF((2,), levels=3, num_layers=1, hidden_units=(4,), condition_shape=(5,), name="m"),
                "<MAF name=m, event_shape=(2,), levels=3, condition_shape=(5,), log_prob=estimate>",
            ),
            (
                lambda: tfdgm.DensityModel.from_distribution(
                    Autoregressive(tfdgm.networks.MADE((4,), params_size=3), tfdgm.families.Categorical(3), end=2, missing=True)
                ),
                "<_FromDistribution name=from_distribution, event_shape=(4,), levels=3, end=2, missing=True, "
                "condition_shape=None, log_prob=exact>",
            ),
        ],
    )
    def test_repr(self, make, expected):
        assert repr(make()) == str(make()) == expected

    def test_repr_within_a_constructor(self):
        class Unfinished(tfdgm.DensityModel):
            def __init__(self):
                super().__init__(name="unfinished")
                self.seen = repr(self)

        assert Unfinished().seen == "<Unfinished name=unfinished>"

    @pytest.mark.parametrize(
        "make",
        [
            lambda: M.RealNVP((2,), num_layers=2, hidden_units=(4,), condition_shape=(3,)),
            lambda: M.GaussianMixture((2,), num_components=2),
            lambda: M.PixelCNN((3, 3), filters=2, num_layers=1),
        ],
    )
    def test_summary_adds_up(self, make):
        model, lines = make(), []
        model.summary(print_fn=lines.append)
        assert lines[0] == repr(model)
        numbers = [int(line.removesuffix("  not trained").split()[-1].replace(",", "")) for line in lines[1:-1]]
        total, trained, fixed = (
            sum(int(np.prod(w.shape)) for w in ws) for ws in (model.weights, model.trainable_weights, model.non_trainable_weights)
        )
        assert sum(numbers) == total == model.count_params()
        assert lines[-1].strip() == f"{total:,} numbers: {trained:,} trained, {fixed:,} not trained"

    def test_summary_shows_every_shape(self, capsys):
        M.MADE((3,), levels=2, hidden_units=(4,)).summary()
        said = capsys.readouterr().out
        assert "kernel (3, 4), bias (4,)" in said and "bias (3,)" in said

    def test_html_of_a_notebook(self):
        model = M.RealNVP((2,), num_layers=1, hidden_units=(4,), name="<b>")
        model.adapt(pd.DataFrame(X, columns=["a & b", "c"]))
        said = model._repr_html_()
        assert "<caption>RealNVP</caption>" in said and "<th>event_shape</th><td>(2,)</td>" in said
        assert "<td>a &amp; b, c</td>" in said and "<b>" not in said


class TestPictures:
    @pytest.mark.parametrize(("shape", "options"), [((4, 4), {}), ((3, 5, 3), {"levels": 4}), ((4, 4, 1), {"levels": 2})])
    def test_images_are_a_grid(self, shape, options):
        model = M.PixelCNN(shape, filters=6, head_filters=6, num_layers=1, **options)
        picture = model.plot_samples(4, seed=2)
        expected = tfdgm.training.pictures.image_grid(model.sample(4, seed=2), levels=model.levels)
        drawn = np.asarray(picture)
        np.testing.assert_array_equal(drawn[..., :3] if expected.ndim == 3 else drawn[..., 0], expected)
        with pytest.raises(ValueError, match="`data` is drawn beside vectors alone"):
            model.plot_samples(data=np.zeros((2, *shape)))

    @pytest.mark.parametrize(("size", "data"), [(1, None), (2, 30), (7, 30)])
    def test_vectors(self, size, data):
        model = M.GaussianMixture((size,), num_components=2)
        picture = model.plot_samples(data=None if data is None else np.random.default_rng(0).normal(size=(data, size)))
        colors = {color[:3] for _, color in picture.getcolors(1 << 20)}
        assert isinstance(picture, PIL.Image.Image) and picture.width > 400 and len(colors) > 5

    def test_of_one_condition(self):
        model = M.MADE((2,), levels=2, hidden_units=(4,), condition_shape=(1,))
        assert model.plot_samples(5, condition=[1.0])._repr_png_()
        with pytest.raises(ValueError, match="needs a `condition`"):
            model.plot_samples(5)

    def test_columns_of_numbers_for_names(self, flow):
        model = M.RealNVP((2,), num_layers=1, hidden_units=(4,))
        model.adapt(pd.DataFrame(X))
        picture = model.plot_samples(5)
        model.column_names = ("0", "1")
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(model.plot_samples(5)))

    def test_is_written_where_asked(self, flow, tmp_path):
        picture = flow.plot_samples(5, data=X, path=tmp_path / "new" / "samples.png")
        np.testing.assert_array_equal(np.asarray(PIL.Image.open(tmp_path / "new" / "samples.png")), np.asarray(picture))

    def test_history(self, flow, tmp_path):
        with pytest.raises(ValueError, match="call `fit` first"):
            flow.plot_history()
        for epochs in (1, 3):
            flow.fit(X, epochs=epochs, verbose=0)
            picture = flow.plot_history(tmp_path / "history.png")
            colors = {color[:3]: count for count, color in picture.getcolors(1 << 20)}
            assert colors[42, 111, 187] > 30  # A point, or a line.
        assert (tmp_path / "history.png").exists()


class TestTypos:
    @pytest.mark.parametrize(
        ("cls", "typo", "meant"),
        [
            (M.MAF, "num_layer", "num_layers"),
            (M.MADE, "hiden_units", "hidden_units"),
            (M.RealNVP, "layers", "num_layers"),
            (M.PixelCNN, "filter", "filters"),  # Whose arguments are its network's.
            (M.GaussianMixture, "components", "num_components"),
            (M.IAF, "dtypes", "dtype"),
        ],
    )
    def test_the_nearest_is_named(self, cls, typo, meant):
        with pytest.raises(
            TypeError, match=rf"There is no argument of {cls.__name__} '{typo}'. Did you mean '{meant}'\? Known: .*seed"
        ):
            cls((4, 4), **{typo: 2})

    def test_too_many_and_too_few(self):
        with pytest.raises(TypeError, match="MAF: missing a required argument: 'event_shape'"):
            M.MAF()
        with pytest.raises(TypeError, match="MAF: too many positional arguments"):
            M.MAF((3,), 2)
