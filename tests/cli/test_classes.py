"""A folder of images of several sizes, with a folder for each class: the same classes by every command."""

import json

import matplotlib.image
import numpy as np
import PIL.Image
import pytest

import tfdgm

pytestmark = pytest.mark.usefixtures("eagerly")


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pets")
    for name, level in (("cat", 40), ("dog", 200)):
        (folder / name).mkdir()
        for i in range(6):
            image = np.random.default_rng(i).normal(level, 9, size=(8 + i, 8, 3)).astype(np.uint8)
            PIL.Image.fromarray(image).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def run(pets, tmp_path_factory):
    """A run of a MADE over 2 x 2 grey images."""
    from tfdgm.cli.main import main

    folder = tmp_path_factory.mktemp("runs") / "pets"
    flags = ["--condition=label", "--size=2x2", "--nocolor", "--epochs=1", "--set=model.hidden_units=[4]"]
    assert main(["train", "--model=MADE", "--data", str(pets), *flags, "--output", str(folder)]) == 0
    return folder


def test_classes_in_card_artifact_and_picture(run):
    assert tfdgm.load(run).class_names == ("cat", "dog")
    card = json.loads((run / "card.json").read_text())
    assert card["model"]["config"]["class_names"] == ["cat", "dog"] and card["data"]["event_shape"] == [2, 2, 1]
    side = round(800 / (10 * 3))
    assert matplotlib.image.imread(run / "samples.png").shape[:2] == (15 + 31 * side, 31 * side)


def test_sample_by_name(cli, fails, run, tmp_path):
    for text, name in (("dog", "a"), ("1", "b"), ("0,1", "c")):
        assert cli("sample", run, "--condition", text, "--num=9", "--out", tmp_path / f"{name}.npy").code == 0
    a, b, c = (np.load(tmp_path / f"{name}.npy") for name in "abc")
    assert (a == b).all() and (a == c).all()
    assert (a == np.asarray(tfdgm.load(run).sample(9, seed=1, condition=[0.0, 1.0]))).all()
    line = fails("sample", run, "--out", tmp_path / "d.npy", code=2)
    assert "needs --condition: 2 numbers, or a class 0..1: cat, dog" in line
    assert "0..1: cat, dog. Received: cow" in fails("sample", run, "--condition=cow", "--out", tmp_path / "d.npy", code=2)


def test_new_folders_are_read_as_in_training(cli, fails, run, pets, tmp_path):
    """Without cats, a dog is still the second class."""
    (tmp_path / "new" / "dog").mkdir(parents=True)
    (tmp_path / "new" / "notes.txt").write_text("old")
    image = PIL.Image.open(pets / "dog" / "3.png")
    image.save(tmp_path / "new" / "dog" / "0.png")
    grey = np.asarray(image.convert("L").resize((2, 2), PIL.Image.Resampling.BICUBIC))[..., None]
    expected = tfdgm.load(run).log_prob(grey[None].astype(int), condition=[0.0, 1.0])
    out = tmp_path / "s.npy"
    for flags in ([], ["--condition=label"], ["--condition=dog"]):
        result = cli("score", run, tmp_path / "new", "--out", out, "--overwrite", *flags)
        assert result.code == 0 and result.err.count("1 other file left out: notes.txt") == 1
        np.testing.assert_array_equal(np.load(out), expected)
    assert cli("score", run, tmp_path / "new" / "dog", "--out", out, "--overwrite", "--condition=dog").code == 0
    np.testing.assert_array_equal(np.load(out), expected)
    assert f"{float(expected[0]):.4f}" in cli("evaluate", run, "--data", tmp_path / "new", "--split=train").out
    (tmp_path / "new" / "cow").mkdir()
    image.save(tmp_path / "new" / "cow" / "0.png")
    (tmp_path / "new" / "notes.txt").unlink()
    assert "There is no class 'cow'" in fails("score", run, tmp_path / "new", "--out", out, "--overwrite")
