"""Checks of a model against its own SavedModel, through TensorFlow alone and loaded back."""

import dataclasses
import math
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

import tfdgm.models
from tfdgm import serving
from tfdgm.serving.artifact import read_description
from tfdgm.tasks.autoregressive_checks import draws_of_call
from tfdgm.tasks.check import Check, worst_of
from tfdgm.tasks.sample_checks import same_sample
from tfdgm.tasks.score_checks import same_scores
from tfdgm.tasks.subject import tolerances_of

_ROWS = 40  # of a sample, which compiles as the report's 64 do.


def checks(subject, artifact):
    """Of a SavedModel of the model, exported here (True) or lying in the folder `artifact`; none where it is False."""
    if artifact is False:
        return
    model, x, condition = subject.model, subject.x, subject.condition
    with tempfile.TemporaryDirectory() as folder:
        if artifact is True:
            path = pathlib.Path(folder) / "1"
            model.export(path)
        else:
            path = serving.find_saved_model(artifact)
        yield from saved_model(model, x, condition, path, tolerances_of(model).score)
        yield loaded_back(subject.scores_by, model, path)


def saved_model(model, rows, condition, path, tolerance):
    """Checks of every signature of the SavedModel at `path` against `model`, through TensorFlow alone."""
    try:
        signatures, sampler = serving.load_graph(path), read_description(path)["sampler"]
    except serving.ArtifactError as error:
        yield Check("SavedModel: signatures", math.inf, 0, str(error).replace(f" at {path}", "")[:160])
        return
    missing = sorted({"serving_default", "log_prob", "sample", *model.distribution.functions()} - signatures.keys())
    yield Check("SavedModel: signatures", len(missing), 0, f"missing: {', '.join(missing) or 'none'}")
    served = _Served(model, tf.constant(rows, model.distribution.dtype), condition, signatures, sampler, tolerance)
    for check in (served.log_prob, served.sample, served.encode, served.decode, served.complete):
        name = f"SavedModel: {check.__name__}"
        try:
            yield check(name)
        except (tf.errors.OpError, ValueError, TypeError, KeyError) as error:  # Another model's graph takes other inputs.
            yield Check(name, math.inf, tolerance, f"it fails: {str(error).splitlines()[0][:80]}")


@dataclasses.dataclass
class _Served:
    """A model beside the signatures of its SavedModel; a check for each."""

    model: tfdgm.models.DensityModel
    x: tf.Tensor
    condition: np.ndarray | None
    signatures: dict
    sampler: str | None
    tolerance: float

    def given(self, n):
        """The condition of n rows, where the model takes one."""
        if self.condition is None:
            return {}
        return {"condition": tf.constant(np.resize(self.condition, (n, *self.condition.shape[1:])), self.model.compute_dtype)}

    def log_prob(self, name):
        x, given = self.x, self.given(len(self.x))
        known = {"known": tf.ones_like(x, tf.int32)} if self.model.event.missing else {}
        expected = self.model.log_prob(x, **given)
        scores = [self.signatures[s](x=x, **known, **given)["log_prob"] for s in ("log_prob", "serving_default")]
        checks = [same_scores(name, score, expected, self.tolerance, "signature, model") for score in scores]
        return worst_of(checks, "signatures")

    def sample(self, name):
        if self.sampler:
            return Check.skip(name, f"exported to draw from {self.sampler}")
        given = self.given(_ROWS)
        sample = self.signatures["sample"](seed=_seeds(_ROWS), **given)["x"]
        return self._same(name, self.model.sample(_ROWS, seed=1, **given), sample, "model.sample")

    def encode(self, name):
        if "encode" not in self.model.distribution.functions():
            return Check.skip(name, "no flow")
        given = self.given(len(self.x))
        z, log_det = self.model.encode(self.x, **given)
        encoded = self.signatures["encode"](x=self.x, **given)
        expected, received = (_joined(*pair) for pair in ((z, log_det), (encoded["z"], encoded["log_det"])))
        return self._same(name, expected, received, "model.encode")

    def decode(self, name):
        if "decode" not in self.model.distribution.functions():
            return Check.skip(name, "no flow")
        given = self.given(len(self.x))
        z = self.model.encode(self.x, **given)[0]
        return self._same(name, self.model.decode(z, **given), self.signatures["decode"](z=z, **given)["x"], "model.decode")

    def complete(self, name):
        """Rows of which the signature completes the second half, in the network's order, against the known half and, beyond it,
        what the family draws by the same noise from the parameters that `call` gives at the completed rows."""
        distribution = self.model.distribution
        if not (distribution.is_autoregressive and "complete" in distribution.functions()):
            return Check.skip(name, "no autoregressive model of x itself")
        order, x = distribution.network.order, self.x[:_ROWS]
        known = np.zeros((len(x), len(order)), bool)
        known[:, order[: len(order) // 2]] = True
        known = known.reshape(x.shape)
        given, seeds = self.given(len(x)), _seeds(len(x))
        completed = self.signatures["complete"](x=x, known=tf.cast(known, x.dtype), seed=seeds, **given)["x"]
        drawn = draws_of_call(distribution, completed, given.get("condition"), distribution.draw_noise(seeds))
        return self._same(name, np.where(known, x, drawn), completed, "draws of call")

    def _same(self, name, expected, received, what):
        return same_sample(name, expected, received, 100 * self.tolerance, f"signature, {what}")


def _seeds(n):
    """Those of `model.sample(n, seed=1)`."""
    return tf.constant([[1, i] for i in range(n)], tf.int32)


def _joined(*parts):
    """Arrays [n, ...] as rows of all their numbers."""
    return np.concatenate([np.reshape(part, (len(part), -1)) for part in parts], axis=1)


def loaded_back(score, model, path):
    """How many rows the model that `serving.load` makes of the SavedModel at `path` scores otherwise than `model`.

    score: model -> the scores of the rows by its distribution.
    """
    name = "load: log_prob"
    try:
        if read_description(path)["config"] is None:
            return Check.skip(name, "exported by from_distribution: its distribution is not in the artifact")
        again = serving.load(path)
    except serving.ArtifactError as error:
        return Check(name, math.inf, 0, str(error).replace(f" at {path}", "")[:160])
    different = np.asarray(score(again)) != np.asarray(score(model))
    return Check(name, int(different.sum()), 0, f"rows of {len(different)} that are not equal bit for bit")
