"""Checks of an `AutoregressiveNetwork`."""

import functools

import numpy as np
import tensorflow as tf

from tfdgm.networks import AutoregressiveNetwork
from tfdgm.tasks.check import Check, worst, worst_of
from tfdgm.tasks.subject import MOST_DIMENSIONS
from tfdgm.traced import traced

_COMPILED_FROM = 128  # positions; to trace fewer takes longer than to compute them op by op.
_BATCH = 256  # The most inputs of one call, but that one row takes as many as it has places.


def checks(subject):
    """Of every autoregressive network: its masks, and what it generates by; the worst of them."""
    networks = subject.distribution.networks
    own = [n for n in networks if getattr(n.generate, "__func__", None) is not AutoregressiveNetwork.generate]
    tolerance = subject.tolerances.network
    leaks = functools.partial(mask_leaks, rows=8) if subject.size <= MOST_DIMENSIONS else cut_leaks
    kinds = [
        ("mask leaks", networks, leaks),
        ("generate = call", own, functools.partial(generation_equals_call, by_steps=False, tolerance=tolerance)),
        ("step = call", networks, functools.partial(generation_equals_call, by_steps=True, tolerance=tolerance)),
    ]
    condition = None if subject.condition is None else tf.constant(subject.condition[:1], subject.exact.compute_dtype)
    for name, measured, measure in kinds:
        if not measured:
            yield Check.skip(name, "all networks generate by steps" if networks else "no autoregressive network")
            continue
        given = [None if network.condition_shape is None else condition for network in measured]
        found = [measure(name, network, c, seed=subject.seed) for network, c in zip(measured, given, strict=True)]
        yield worst_of(found, "networks")


def mask_leaks(name, network, condition=None, *, rows=3, seed=0):
    """How many pairs (input i, output t) with t not after i in the network's order are connected.

    Each input is perturbed in turn and the outputs are compared with those of the unperturbed input in the same place of an
    equal batch, so that outputs without a connection stay equal to the last bit: the tolerance is 0.
    """
    moved = connections(network, condition, rows=rows, seed=seed)
    rank = np.argsort(network.order)
    allowed = rank[None, :] > rank[:, None]
    leaks = np.argwhere(moved & ~allowed)
    detail = f"{int((moved & allowed).sum())} of {int(allowed.sum())} allowed connections seen"
    if len(leaks):
        detail = f"input {leaks[0][0]} reaches the parameters of position {leaks[0][1]}"
    return Check(name, len(leaks), 0, detail)


def cut_leaks(name, network, condition=None, *, seed=0):
    """As `mask_leaks`, of networks over many inputs, in two passes: how many outputs change and should not, at up to 256 cuts.

    At the cut t all inputs from the t-th on are other numbers, and the parameters of positions up to t must stay as they are, to
    1e-5 of 1 + |parameter|: two runs of one large convolution may round differently.
    """
    size, random = network.event_size, np.random.default_rng(seed)
    rank = np.argsort(network.order)
    cuts = random.permutation(network.num_positions)[:_BATCH, None]
    kept, other = random.normal(size=(2, size)) * network.unit
    given = _given(condition, len(cuts))
    function = traced(lambda x: network(x, **given))

    def outputs(rows):
        x = tf.constant(rows.reshape(-1, *network.event_shape), network.compute_dtype)
        return function(x).numpy().reshape(len(rows), network.num_positions, -1)

    expected = outputs(np.tile(kept, (len(cuts), 1)))
    rank_of_input = np.repeat(rank, size // len(rank))
    difference = np.abs(outputs(np.where(rank_of_input < cuts, kept, other)) - expected)
    moved = ~(difference <= 1e-5 * (1 + np.abs(expected))).all(axis=-1)
    leaks = np.argwhere(moved & (rank <= cuts))
    detail = f"parameters that see what comes later, over {len(cuts)} of {len(rank)} cuts"
    return Check(name, len(leaks), 0, detail + (f"; one at position {leaks[0][1]}" if len(leaks) else ""))


def connections(network, condition=None, *, rows=3, seed=0):
    """Which outputs move when one input does: bool [D inputs, D outputs], by flat index of the position."""
    size, count, random = network.event_size, network.num_positions, np.random.default_rng(seed)
    together = max(1, min(rows, _BATCH // size))
    given = _given(condition, together * size)
    function = traced(lambda x: network(x, **given))
    moved = np.zeros((size, count), bool)
    for _ in range(0, rows, together):
        x = np.repeat(random.normal(size=(together, 1, size)), size, axis=1)
        other = x + np.eye(size) * random.choice([-1, 1], (together, size, 1)) * random.uniform(1, 3, (together, size, 1))
        outputs = []
        for inputs in (x, other):
            inputs = tf.constant(inputs.reshape(-1, *network.event_shape) * network.unit, network.compute_dtype)
            outputs.append(function(inputs).numpy().reshape(together, size, count, -1))
        moved |= (outputs[0] != outputs[1]).any(axis=(0, -1))
    return moved.reshape(count, -1, count).any(axis=1)


def generation_equals_call(name, network, condition=None, *, by_steps, tolerance, rows=3, seed=0):
    """How far the parameters met while x is generated (here: a given x) are from those of `call` at that x.

    by_steps: one `step` a position, or the network's own `generate`. x is standard normal, or of a network of levels between the
    first and the last. The difference is relative to max(1, |params|).
    """
    random = np.random.default_rng(seed)
    shape = (rows, *network.event_shape)
    x = random.normal(size=shape) if network.levels is None else random.uniform(0, network.unit, shape)
    x = tf.constant(x, network.compute_dtype)
    given = _given(condition, rows)

    def run():
        generate = network.generate_by_steps if by_steps else network.generate
        shapes = [(network.params_size,)]
        back, [params] = generate(lambda position, params, x_t: (x_t, [params]), x, given.get("condition"), output_shapes=shapes)
        return back, params, network(x, **given)

    if network.event_size > _COMPILED_FROM:
        run = traced(run)
    back, params, expected = (np.asarray(value, np.float64) for value in run())
    error = np.abs(params - expected) / np.maximum(1, np.abs(expected))
    if not (back == x.numpy()).all():  # What was emitted must come back in its place.
        error = np.inf
    return Check(name, worst(error), tolerance, f"largest relative difference over {rows} rows")


def _given(condition, n):
    if condition is None:
        return {}
    return {"condition": tf.repeat(tf.convert_to_tensor(condition)[:1], n, axis=0)}
