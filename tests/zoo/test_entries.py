import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import tfdgm
from tfdgm import zoo
from tfdgm.zoo import ZooError, entries


@pytest.fixture
def own_zoo(tmp_path, monkeypatch):
    """A zoo with two entries of a card alone, and a recipe that was never trained."""
    for name in ("maf_mine", "made_mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").write_text(json.dumps({"name": name}))
    (tmp_path / "iaf_mine").mkdir()
    (tmp_path / "iaf_mine" / "recipe.toml").write_text("")
    monkeypatch.setenv("TFDGM_ZOO_DIR", str(tmp_path))
    return tmp_path


class TestLookup:
    def test_names_are_the_entries_with_a_card(self, own_zoo):
        assert {"maf_mine", "made_mine"} <= set(zoo.names()) and "iaf_mine" not in zoo.names()

    def test_find_and_card(self, own_zoo):
        assert zoo.find("maf_mine") == own_zoo / "maf_mine"
        assert zoo.card("maf_mine") == zoo.card(str(own_zoo / "maf_mine")) == {"name": "maf_mine"}

    def test_unknown_names_the_nearest_and_all(self, own_zoo):
        with pytest.raises(ZooError, match=r"no zoo entry 'maf_min'. Did you mean 'maf_mine'\? Known: .*made_mine, .*maf_mine"):
            zoo.find("maf_min")

    def test_untrained_entries_say_so(self, own_zoo):
        with pytest.raises(ZooError, match="recipe is there, but no run yet"):
            zoo.find("iaf_mine")

    @pytest.mark.parametrize("name", ["", ".", "..", "../zoo/maf_mine", "a/b"])
    def test_paths_are_no_names(self, own_zoo, name):
        with pytest.raises(ZooError):
            zoo.find(name)

    def test_a_damaged_card(self, own_zoo):
        (own_zoo / "maf_mine" / "card.json").write_text("{")
        with pytest.raises(ZooError, match=r"card\.json is damaged"):
            zoo.card("maf_mine")

    def test_a_folder_without_a_card(self, tmp_path):
        with pytest.raises(ZooError, match="holds no card"):
            zoo.card(str(tmp_path / "nothing"))

    def test_the_repositorys_zoo_is_searched(self):
        assert "maf_digits" in entries.recipe_names()

    def test_needs_no_tensorflow(self):
        code = "import sys, tfdgm.zoo; tfdgm.zoo.names(); assert not {'tensorflow', 'keras'} & set(sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True)


class TestArtifacts:
    @pytest.mark.slow
    @pytest.mark.parametrize("name", zoo.names())
    def test_values_that_are_no_level_are_impossible(self, name):
        log_prob = tf.saved_model.load(str(zoo.find(name) / "1")).signatures["log_prob"]
        specs = log_prob.structured_input_signature[1]
        given = {key: np.zeros((1, *spec.shape[1:]), spec.dtype.as_numpy_dtype) for key, spec in specs.items()}
        assert np.isfinite(log_prob(**{key: tf.constant(value) for key, value in given.items()})["log_prob"]).all()
        given["x"].flat[0] = 10_000
        assert log_prob(**{key: tf.constant(value) for key, value in given.items()})["log_prob"].numpy() == -np.inf


class TestLoad:
    def test_a_runs_folder_and_its_version_are_the_same_model(self, finished):
        x = [[0.1, 0.2, 0.3]]
        assert float(tfdgm.load(finished).log_prob(x)[0]) == float(tfdgm.load(str(finished / "1")).log_prob(x)[0])

    @pytest.mark.slow
    def test_in_a_process_that_imported_nothing_else(self, finished):
        code = f"import tfdgm; print(type(tfdgm.load({str(finished)!r})).__name__)"
        assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"RealNVP\n"

    def test_a_name(self, finished, monkeypatch):
        monkeypatch.setenv("TFDGM_ZOO_DIR", str(finished.parent))
        assert tfdgm.load(finished.name).event_shape == (3,)

    def test_unknown(self, finished, monkeypatch):
        with pytest.raises(ZooError, match=r"no zoo entry or folder 'maf_digts'. Did you mean 'maf_digits'\?"):
            tfdgm.load("maf_digts")
        mistyped = finished.with_name("realnvp_row")
        with pytest.raises(ZooError, match=rf"folder '{mistyped}'. Did you mean '{finished}'\? Known: {finished}\.$"):
            tfdgm.load(mistyped)
        monkeypatch.chdir(finished.parent)
        with pytest.raises(ZooError, match=r"folder 'realnvp_row'. Did you mean 'realnvp_rows'\? Known: .*maf_digits"):
            tfdgm.load("realnvp_row")

    def test_a_run_that_is_not_finished(self, tmp_path):
        (tmp_path / "checkpoints").mkdir()
        with pytest.raises(ZooError, match="not finished: `tfdgm train"):
            tfdgm.load(tmp_path)

    def test_a_folder_of_something_else(self, tmp_path):
        with pytest.raises(tfdgm.serving.ArtifactError):
            tfdgm.load(tmp_path)
