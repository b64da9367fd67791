import dataclasses
import importlib.util
import inspect
import json
import os
import pathlib
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from contracts.cases import CASES

import tfdgm
from tfdgm.data.content import Content, Part
from tfdgm.training import AutoregressiveTrainer, Batches
from tfdgm.zoo import Recipe, RecipeError
from tfdgm.zoo.any_backend_trainer import NETWORKS, AnyBackendTrainer, build_model
from tfdgm.zoo.cards import Card
from tfdgm.zoo.exporting import export_run

SCRIPT = pathlib.Path(__file__).with_name("without_tensorflow.py")
#: The models that train under any backend. Of MADE and PixelCNN, other cases say what the binary ones do.
NETWORK_CASES = {
    name: case for name, case in CASES.items() if case.cls.__name__ in NETWORKS and name not in ("made_binary", "pixelcnn_binary")
}

backends = pytest.mark.parametrize(
    "backend",
    [
        pytest.param(name, marks=pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed"))
        for name in ("jax", "torch")
    ],
)


def start(backend, *arguments):
    """A process with that backend and without TensorFlow."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "0"}
    environment["PYTHONPATH"] = str(pathlib.Path(tfdgm.__file__).parents[1])
    if arguments[0] == "gradients":
        environment["JAX_ENABLE_X64"] = "1"
    # Fewer passes over what is computed a few times: half the time.
    environment["XLA_FLAGS"] = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def output_of(process, code=0):
    said, _ = process.communicate(timeout=300)
    assert process.returncode == code, said
    return said


class TestNetworks:
    def test_each_has_a_case(self):
        assert {case.cls.__name__ for case in NETWORK_CASES.values()} == set(NETWORKS)

    @pytest.mark.slow
    @backends
    def test_losses_and_gradients_are_those_of_tensorflow(self, backend, tmp_path):
        # In float64, with dropout, whose masks are the same everywhere. One process for all networks: starting it takes longest.
        sent, expected = {}, {}
        for name, case in NETWORK_CASES.items():
            dropout = {"dropout": 0.2} if "dropout" in inspect.signature(case.cls.__init__).parameters else {}
            model = case.make(seed=1, dtype="float64", **dropout)
            trainer = AutoregressiveTrainer(model.distribution.network, model.distribution.family)
            arguments = {k: v for k, v in model.get_config().items() if k not in ("name", "event_shape", "condition_shape")}
            recipe = {"model": {"class": case.cls.__name__, **arguments}, "data": {"source": "none"}}
            weights = [np.array(w) for w in trainer.weights]
            sent[name] = {"recipe": recipe, "x": case.x, "condition": case.condition, "weights": weights}
            with tf.GradientTape() as tape:
                condition = None if case.condition is None else case.condition.astype("float64")
                loss = -tf.reduce_mean(model(case.x, condition=condition, training=True))
            gradient = tape.gradient(loss, [w.value for w in trainer.trainable_weights], unconnected_gradients="zero")
            expected[name] = float(loss), [g.numpy() for g in gradient]
        (tmp_path / "in.pkl").write_bytes(pickle.dumps(sent))
        output_of(start(backend, "gradients", tmp_path / "in.pkl", tmp_path / "out.pkl"))
        received = pickle.loads((tmp_path / "out.pkl").read_bytes())
        for name, (loss, gradient) in expected.items():
            # XLA's tanh is right to 1e-8 only; without it, all agree to 1e-14.
            np.testing.assert_allclose(received[name][0], loss, rtol=1e-6, err_msg=name)
            largest = max(np.abs(g).max() for g in gradient)
            assert largest > 1e-3
            for a, b in zip(received[name][1], gradient, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * largest, err_msg=name)


class TestBatches:
    part = Part(np.arange(10)[:, None], np.arange(10.0)[:, None], np.array([9, 1, 3, 5, 7]))

    def rows(self, batches, count):
        found = [batches[i][0] for i in range(count)]
        assert all(b["x"].shape == (2, 1) and (b["x"] == b["condition"]).all() for b in found)
        return [b["x"][b["weight"] == 1].ravel().tolist() for b in found]

    def test_one_pass_in_order(self):
        batches = Batches(self.part, 2)
        assert batches.num_batches == 3 and self.rows(batches, 3) == [[9, 1], [3, 5], [7]]

    def test_each_epoch_has_all_rows_in_an_order_of_its_own(self):
        found = self.rows(Batches(self.part, 2, seed=0), 9)
        epochs = [[*a, *b, *c] for a, b, c in (found[:3], found[3:6], found[6:])]
        assert all(sorted(epoch) == [1, 3, 5, 7, 9] for epoch in epochs) and epochs[0] != epochs[1]

    def test_it_goes_on_anywhere(self):
        assert self.rows(Batches(self.part, 2, seed=0, first_step=4), 5) == self.rows(Batches(self.part, 2, seed=0), 9)[4:]

    def test_a_batch_larger_than_the_split(self):
        batch = Batches(self.part, 8)[0][0]
        assert batch["x"].shape == (8, 1) and batch["weight"].tolist() == [1] * 5 + [0] * 3


class TestTrainerOfARecipe:
    what = Content("images", {"train": Part(np.zeros((9, 4, 4), "uint8"))}, 3, "", "")

    def build(self, what=what, training=None, **arguments):
        return build_model(Recipe({"model": arguments, "data": {"source": "x"}, "training": training or {}}), what)

    def test_shape_levels_and_precision(self):
        trainer = self.build(training={"precision": "mixed_bfloat16", "seed": 4}, **{"class": "GatedPixelCNN", "filters": 4})
        assert trainer.network.event_shape == (4, 4) and trainer.family.levels == 3 and trainer.network.seed == 4
        assert trainer.precision == "mixed_bfloat16" and trainer.network.compute_dtype == "float32"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"class": "PixelCN"}, "no image model 'PixelCN'. Did you mean 'PixelCNN'"),
            ({"class": "MADE"}, "no image model 'MADE'"),
            ({"class": "PixelCNN", "filter": 3}, "no argument of PixelCNN 'filter'. Did you mean 'filters'"),
            ({"class": "PixelCNN", "filters": 3}, "PixelCNN could not be built.*multiple of 2"),
        ],
    )
    def test_errors(self, arguments, message):
        with pytest.raises(RecipeError, match=message):
            self.build(**arguments)

    def test_real_values(self):
        with pytest.raises(RecipeError, match=r"take integers\. Received: images, which is real-valued"):
            self.build(dataclasses.replace(self.what, levels=None), **{"class": "PixelCNN"})

    @pytest.mark.parametrize("wrong", [{"strategy": "mirrored"}, {"tensorboard": True}])
    def test_what_needs_tensorflow(self, wrong):
        with pytest.raises(RecipeError, match="--strategy and --tensorboard need TensorFlow"):
            AnyBackendTrainer(None, None, **{"strategy": "auto", "tensorboard": False, **wrong})


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """120 images of 4x4 in 3 levels, drawn from few, with labels as conditions."""
    random = np.random.default_rng(0)
    label = random.integers(0, 2, 120)
    x = random.integers(0, 3, (2, 4, 4))[label]
    x[:, :, 0] = random.integers(0, 3, (120, 4))
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, x=x.astype("uint8"), label=np.eye(2, dtype="float32")[label])
    return path


@pytest.fixture(scope="module")
def recipe(images):
    """A recipe.toml with everything in it that a backend could do otherwise."""
    path = images.with_name("recipe.toml")
    path.write_text(
        f"""
[model]
class = "GatedPixelCNN"
filters = 4
num_layers = 1
first_kernel_size = 3
head_filters = 4
dropout = 0.1
[data]
source = "{images}"
condition = "label"
batch_size = 25
[training]
epochs = 5
optimizer = "adamw"
learning_rate = 0.01
weight_decay = 0.01
schedule = "cosine"
warmup_epochs = 1
clipnorm = 1.0
ema_momentum = 0.9
precision = "mixed_bfloat16"
[published]
name = "a paper"
value = 100.0
unit = "nats"
source = "nowhere"
"""
    )
    return path


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory):
    """The folders of a run that was stopped within an epoch, killed, and finished; of an unbroken one; and of the killed one."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    broken, whole = (tmp_path_factory.mktemp("runs") / name for name in ("broken", "whole"))
    at_once = start("jax", "tfdgm", "train", recipe, "--output", whole)
    said = output_of(start("jax", "tfdgm", "train", recipe, "--output", broken, "--stop_after=0"))
    assert "Asked to stop: the state after epoch 0 and 1 steps is saved" in said
    said = output_of(start("jax", "killed", "train", recipe, "--output", broken), code=-9)
    assert "Going on after epoch 0 of 5 and 1 of 4 steps" in said and not (broken / "record.json").exists()
    killed = shutil.copytree(broken, broken.with_name("killed"))
    said = output_of(start("jax", "tfdgm", "train", broken))
    assert "Going on after epoch 3 of 5." in said and f"`tfdgm export {broken}` tests it" in said
    output_of(at_once)
    return broken, whole, killed


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run."""
    return shutil.copytree(finished[0], tmp_path / "run")


@pytest.mark.slow
class TestRun:
    @pytest.mark.slow
    def test_what_it_leaves(self, finished):
        assert {path.name for path in finished[0].iterdir()} == {"recipe.toml", "record.json", "weights.weights.h5", "last"}

    def test_a_broken_run_ends_as_an_unbroken_one(self, finished):
        broken, whole = (json.loads((folder / "record.json").read_text()) for folder in finished[:2])
        np.testing.assert_allclose(broken["history"]["val_loss"], whole["history"]["val_loss"], rtol=1e-6)
        # Of the epoch that was stopped within, only the rest counts.
        np.testing.assert_allclose(broken["history"]["loss"][1:], whole["history"]["loss"][1:], rtol=1e-6)
        assert broken["best_loss"] == min(broken["history"]["val_loss"]) < broken["history"]["val_loss"][0] - 0.1
        assert {**broken["recipe"], "x": 0} == {**whole["recipe"], "x": 0} and broken["backend"] == "jax"

    def test_it_is_not_overwritten(self, run, recipe):
        with pytest.raises(RecipeError, match="holds a finished run"):
            tfdgm.zoo.train(recipe, run)

    def test_tensorflow_does_not_go_on_with_it(self, finished, recipe):
        with pytest.raises(tfdgm.training.CheckpointError, match="backend: there 'jax', here None"):
            tfdgm.zoo.train(recipe, finished[2], verbose=0, report=lambda line: None)


@pytest.mark.slow
class TestExport:
    @pytest.mark.slow
    def test_the_entry(self, run):
        record = json.loads((run / "record.json").read_text())
        with pytest.raises(tfdgm.zoo.ZooError, match="was trained without TensorFlow: `tfdgm export"):
            tfdgm.load(run)
        card = export_run(run, report=lambda line: None)
        assert {path.name for path in run.iterdir()} == {"recipe.toml", "card.json", "curves.png", "samples.png", "1", "last"}
        assert json.loads((run / "card.json").read_text()) == json.loads(json.dumps(card))
        np.testing.assert_allclose(card["validation"]["nll"], record["best_loss"], rtol=1e-5)
        model = tfdgm.load(run)
        splits = tfdgm.data.load(Recipe.read(run).source, condition="label")
        scores = np.concatenate([model.log_prob(**batch) for batch in splits.test]).astype("float64")
        np.testing.assert_allclose(card["test"]["nll"], -scores.mean(), rtol=1e-6)
        assert model.sample(2, seed=1, condition=np.eye(2)).shape == (2, 4, 4) and int(model.adapted.numpy()) == 1
        assert card["training"]["backend"] == "jax" and card["training"]["best_epoch"] == record["best_epoch"]
        assert "jax" in card["versions"] and "tensorflow" in card["versions"] and card["published"]["reached"]
        assert "cores, by Keras's jax backend" in Card.from_dict(card).text()
        assert card["command"].startswith("KERAS_BACKEND=jax tfdgm train ") and card["command"].endswith("export run_again")

    def test_what_does_not_belong_together_is_refused(self, run):
        text = (run / "record.json").read_text()
        for there, here, error, message in (
            ('"epochs": 5', '"epochs": 6', RecipeError, "another recipe"),
            ('"sha256": "', '"sha256": "0', RecipeError, "not the data of the run: expected sha256 0"),
            ('"best_loss": ', '"best_loss": 1', ArithmeticError, "does not compute here what it computed there"),
        ):
            assert there in text
            (run / "record.json").write_text(text.replace(there, here, 1))
            with pytest.raises(error, match=message):
                export_run(run, report=lambda line: None)
        assert not (run / "card.json").exists() and (run / "weights.weights.h5").exists()
