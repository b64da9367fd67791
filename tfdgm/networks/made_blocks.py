import keras
import numpy as np
from keras import ops

from tfdgm.layers import is_exporting, take_row, take_rows, take_slice, update_slice
from tfdgm.networks.autoregressive_network import AutoregressiveNetwork, keep


class MADEBlocks:
    """A MADE's weights laid out for generation: `block_size` positions at a time, each activation computed once.

    A hidden unit of degree t depends on x_<t and is first needed by the parameters of position t, so it is computed there. Units
    are grouped by that position into groups of equal size (padded), so one `while_loop` serves all blocks. As in a blocked
    triangular solve, a block takes one large product with all that came before and small ones inside. Batch last: [unit, n].
    """

    def __init__(self, network: AutoregressiveNetwork, block_size: int, num_loops: int = 1):
        """num_loops: how many loops share the positions. Each reads only as much of the activations as there is by its end; two
        skip a quarter of the work, four three eighths, and each takes its time to trace and compile."""
        self.network, self.block_size = network, min(block_size, network.event_size)
        self.num_blocks = -(-network.event_size // self.block_size)
        self.num_positions = self.num_blocks * self.block_size
        self.ends = sorted({-(-self.num_blocks * i // num_loops) for i in range(1, num_loops + 1)})
        positions = np.arange(network.event_size)
        self.groups = [
            self._group(positions),
            *[self._group(degrees) for degrees in network.degrees],
            self._group(np.repeat(positions, network.params_size)),
        ]

    def _group(self, computed_at):
        """[num_positions, size]: which units are computed at each position; len(computed_at) stands for padding."""
        size = np.bincount(computed_at).max()
        groups = np.full((self.num_positions, size), len(computed_at))
        for position in range(self.num_positions):
            units = np.flatnonzero(computed_at == position)
            groups[position, : len(units)] = units
        return groups

    def split(self, u):
        """[D, n, ...] -> [num_blocks, block_size, n, ...], padded with the first rows again."""
        # With values that `emit` takes: 0 is no noise of a quantile, and an infinite x makes gradients NaN though it is cut off.
        u = ops.concatenate([u, u[: self.num_positions - self.network.event_size]], axis=0)
        return ops.reshape(u, (self.num_blocks, self.block_size, *ops.shape(u)[1:]))

    def generate(self, emit, inputs, order, weights, *, output_shapes=()):
        """As the network's `generate`, of inputs [D, n, ...] in the order of generation: (x [D, n], outputs [D, n, *shape]) in
        that order.

        order: int32 [D], the position that `emit` is told for each. weights: as of `weights`, of a network of this layout.
        """
        inputs = keras.tree.map_structure(self.split, inputs)
        order = ops.pad(order, [[0, self.num_positions - self.network.event_size]])
        n, size = ops.shape(keras.tree.flatten(inputs)[0])[2], self.block_size
        x, hidden = self.empty(n)
        apart = self.network.unit != 1  # Whether x is kept as it is emitted beside x as it is seen, the first of what is kept.

        def body(b, x, hidden, kept):
            inputs_b = keras.tree.map_structure(lambda u: take_row(u, b), inputs)

            def emit_j(j, params):
                inputs_j = keras.tree.map_structure(lambda u: u[j], inputs_b)
                x_j, outputs_j = emit(take_row(order, b * size + j), params, inputs_j)
                x_j = ops.cast(x_j, self.network.compute_dtype)
                return self.network.seen(x_j), [x_j, *outputs_j] if apart else outputs_j

            new, hidden = self.block(b, used, x, hidden, emit_j)
            x, *kept = keep([x, *kept], b * size, new)
            return b + 1, x, hidden, kept

        b, shapes = ops.convert_to_tensor(0), [(), *output_shapes] if apart else output_shapes
        kept = [ops.zeros((self.num_positions, n, *shape), self.network.compute_dtype) for shape in shapes]
        for end in self.ends:
            used, (x, *hidden) = self.up_to(end, weights, [x, *hidden])
            loop = (b, x, hidden, kept)
            b, x, hidden, kept = ops.while_loop(lambda b, *_: b < end, body, loop, maximum_iterations=end)  # noqa: B023
        x, *outputs = [u[: self.network.event_size] for u in (kept if apart else [x, *kept])]
        return x, outputs

    def weights(self, condition):
        """The kernel and bias of every layer in blocks, for `block`."""
        network = self.network
        layers = [*network.hidden, network.out]
        terms = [*network._condition_terms(condition), None]
        weights = []
        connections = list(zip(layers, self.groups[:-1], self.groups[1:], terms, strict=True))
        if network.direct is not None:
            connections.append((network.direct, self.groups[0], self.groups[-1], None))
        for layer, below, here, term in connections:
            kernel = ops.cast(layer.masked_kernel(), network.compute_dtype)  # Of half the precision in mixed training steps.
            kernel = take_rows(ops.pad(kernel, [[0, 1], [0, 1]]), below.ravel())
            kernel = take_rows(ops.transpose(kernel), here.ravel())
            bias = ops.cast(layer.bias, kernel.dtype) if layer.use_bias else ops.zeros((layer.mask.shape[1],), kernel.dtype)
            bias = bias[:, None]
            bias = bias if term is None else bias + ops.transpose(ops.cast(term, bias.dtype))
            bias = take_rows(ops.pad(bias, [[0, 1], [0, 0]]), here.ravel())
            rows = self.block_size * here.shape[1]
            kernel = ops.reshape(kernel, (self.num_blocks, rows, below.size))
            weights.append((kernel, ops.reshape(bias, (self.num_blocks, rows, -1))))
        return weights

    def empty(self, batch_size):
        """x [position, n] and the activations of every hidden layer [unit, n], before the first position."""
        x, *hidden = [ops.zeros((group.size, batch_size), self.network.compute_dtype) for group in self.groups[:-1]]
        return x, hidden

    def up_to(self, end, weights, states):
        """What the blocks before `end` need of the weights, and of the states (of at most as many blocks, padded with zeros)."""
        if end == self.num_blocks and states[0].shape[0] == self.num_positions:
            return weights, states
        sizes = [end * self.block_size * group.shape[1] for group in self.groups[:-1]]
        weights = [(kernel[:, :, :size], bias) for (kernel, bias), size in zip(weights, [*sizes, sizes[0]], strict=False)]
        states = [s[:size] for s, size in zip(states, sizes, strict=True)]
        return weights, [ops.pad(s, [[0, size - s.shape[0]], [0, 0]]) for s, size in zip(states, sizes, strict=True)]

    def block(self, b, weights, x, hidden, emit):
        """Block b: `emit(j, params [n, params_size]) -> (x [n] as it is seen, outputs)` for each position j of it.

        Returns ([x of the block [block_size, n], its outputs [block_size, n, *shape]], the new activations of all blocks).
        """
        states = [x, *hidden]
        sizes = [group.shape[1] for group in self.groups]
        far, near = [], []  # Of each layer: by position; by position and the position it depends on.
        below = [*zip(states, sizes[:-1], strict=True), (x, 1)]  # The last is for direct connections.
        for (kernel, bias), (state, size) in zip(weights, below, strict=False):
            kernel_b = take_row(kernel, b)
            far.append(ops.split(ops.matmul(kernel_b, state) + take_row(bias, b), self.block_size))
            width = self.block_size * size
            rows = ops.split(take_slice(kernel_b, [0, b * width], [None, width]), self.block_size)
            near.append([ops.split(row, self.block_size, axis=1) for row in rows])
        new, emitted = [[] for _ in states], []
        for j in range(self.block_size):
            for i in range(len(states)):
                y = far[i][j]
                if i == 0:
                    y = self._add_outer(y, near[0][j], new[0])
                else:
                    for kernel, known in zip(near[i][j], new[i], strict=False):
                        y = y + ops.matmul(kernel, known)
                if i == len(hidden):
                    if self.network.direct is not None:
                        y = self._add_outer(y + far[-1][j], near[-1][j], new[0])
                    params = self._transpose(y)
                    continue
                y = self.network.activation(y)
                new[i + 1].append(new[i][j] + y if self.network.residual and i else y)
            x_j, outputs = emit(j, params)
            new[0].append(x_j[None])
            emitted.append(outputs)
        hidden = list(hidden)
        for i, (size, values) in enumerate(zip(sizes[1:-1], new[1:], strict=True)):
            # The last first: it needs all of the block's products, so XLA need not keep a copy of what they read.
            for j, value in reversed(list(enumerate(values))):
                hidden[i] = update_slice(hidden[i], [(b * self.block_size + j) * size, 0], value)
        return [ops.concatenate(new[0], axis=0), *map(ops.stack, zip(*emitted, strict=True))], hidden

    @staticmethod
    def _transpose(y):
        """[params_size, n] -> [n, params_size]. As exported, oneDNN takes 0.1 ms to begin with a transposition."""
        return ops.stack(ops.unstack(y), axis=1) if is_exporting() and y.shape[0] <= 4 else ops.transpose(y)

    @staticmethod
    def _add_outer(y, columns, x):
        """y + columns x, for lists of columns and rows: elementwise, cheaper than a product so thin."""
        for column, x_k in zip(columns, x, strict=False):
            y = y + column * x_k
        return y
