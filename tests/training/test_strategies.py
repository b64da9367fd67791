import json
import pathlib
import subprocess
import sys

import keras
import pytest
from contracts.cases import CASES

from tfdgm.training import ClusterError, StrategyError, is_chief, make_strategy

#: Every kind of model, and every way that noise, conditions and data-dependent weights enter.
KINDS = [
    "made_binary",
    "maf",
    "maf_levels_act_norm",
    "iaf",
    "realnvp",
    "pixelcnn_binary",
    "gated_pixelcnn",
    "pixelrnn_row",
    "pixelrnn_diagonal",
    "pixelcnn_plus_plus",
    "pixelsnail",
    "image_transformer_rgb",
    "multiscale_pixelcnn",
    "gaussian_mixture",
]
CLUSTER = {"worker": ["a:1", "b:1"]}


@pytest.fixture(scope="module")
def replicas():
    """What tests/training/replicas.py prints."""
    script = pathlib.Path(__file__).with_name("replicas.py")
    done = subprocess.run([sys.executable, str(script), *KINDS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.slow
class TestTwoReplicas:
    """Two replicas give what one gives with the same global batches, an uneven one included, after 20 steps."""

    @pytest.mark.parametrize("name", [*KINDS, "stock_tfp", "weights", "dropout", "condition, clipped_and_averaged", "spoiled"])
    def test_equals_one(self, replicas, name):
        assert replicas[name]["weights"] < 1e-8, replicas[name]
        if name != "spoiled":  # The mean loss of an epoch with a spoiled step is not finite.
            assert replicas[name]["loss"] < 1e-5, replicas[name]  # Keras adds it up in float32.
            assert replicas[name]["moved"] > 0.01  # It did train.

    def test_a_step_that_is_not_finite_is_skipped_by_all_and_counted_once(self, replicas):
        assert replicas["spoiled"]["skipped"] == [1, 1]
        assert replicas["maf"]["skipped"] == [0, 0]


class TestMakeStrategy:
    def test_default_is_one_replica(self, monkeypatch):
        monkeypatch.delenv("TF_CONFIG", raising=False)
        assert make_strategy("default").num_replicas_in_sync == make_strategy("auto").num_replicas_in_sync == 1

    def test_mirrored_takes_this_machines_devices_and_is_made_once(self):
        strategy = make_strategy("mirrored")
        assert strategy.extended.worker_devices and make_strategy("mirrored") is strategy

    def test_unknown(self):
        with pytest.raises(StrategyError, match=r"one of default, mirrored, multi_worker, tpu, auto\. Received: 'horovod'"):
            make_strategy("horovod")

    def test_workers_need_addresses(self, monkeypatch):
        monkeypatch.delenv("TF_CONFIG", raising=False)
        with pytest.raises(StrategyError, match="needs the environment's TF_CONFIG"):
            make_strategy("multi_worker")

    @pytest.mark.parametrize("text", ["{", "[]", "3"])
    def test_damaged_config(self, monkeypatch, text):
        monkeypatch.setenv("TF_CONFIG", text)
        with pytest.raises(ClusterError, match="TF_CONFIG"):
            make_strategy("auto")

    @pytest.mark.parametrize(
        "config, chief",
        [
            (None, True),
            ({"cluster": CLUSTER, "task": {"type": "worker", "index": 0}}, True),
            ({"cluster": CLUSTER, "task": {"type": "worker", "index": 1}}, False),
            ({"cluster": {"chief": ["c:1"], **CLUSTER}, "task": {"type": "worker", "index": 0}}, False),
            ({"cluster": {"chief": ["c:1"], **CLUSTER}, "task": {"type": "chief", "index": 0}}, True),
        ],
    )
    def test_who_writes(self, monkeypatch, config, chief):
        if config is None:
            monkeypatch.delenv("TF_CONFIG", raising=False)
        else:
            monkeypatch.setenv("TF_CONFIG", json.dumps(config))
        assert is_chief() is chief


class TestAccumulation:
    def test_is_refused_on_several_replicas(self, monkeypatch):
        # Keras fails in the middle of a step, with an error about merge_call.
        model = CASES["maf"].make()
        monkeypatch.setattr(type(model.distribute_strategy), "num_replicas_in_sync", 2)
        with pytest.raises(ValueError, match="cannot accumulate gradients on several replicas"):
            model.compile(keras.optimizers.Adam(gradient_accumulation_steps=4))
