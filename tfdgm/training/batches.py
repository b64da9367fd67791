import keras
import numpy as np

from tfdgm.data.content import Part


class Batches(keras.utils.PyDataset):
    """A split in batches for `AutoregressiveTrainer`, without `tf.data`. All have one size: what is missing in the last one is
    filled up with rows of weight 0.

    With a seed it has no end: epoch after epoch, shuffled anew. The order within an epoch depends on its number and the seed
    alone, so a training that is interrupted goes on as if it had not been.

    Args:
      part: a `tfdgm.data.content.Part`.
      batch_size: rows in a batch.
      seed: of the order, or None for one pass in the part's own order.
      first_step: batches that are passed over, counted from the first epoch's first.
    """

    def __init__(self, part: Part, batch_size: int, *, seed: int | None = None, first_step: int = 0):
        super().__init__()
        self.part, self.batch_size, self.seed, self.first_step = part, batch_size, seed, first_step
        self.steps = -(-len(part.rows) // batch_size)
        self._epoch, self._order = None, np.arange(len(part.rows))

    @property
    def num_batches(self) -> int | None:
        return self.steps if self.seed is None else None

    def __getitem__(self, index):
        epoch, step = divmod(self.first_step + index, self.steps)
        if self.seed is not None and epoch != self._epoch:
            self._epoch, self._order = epoch, np.random.default_rng((self.seed, epoch)).permutation(len(self.part.rows))
        taken = self._order[step * self.batch_size : (step + 1) * self.batch_size]
        weight = (np.arange(self.batch_size) < len(taken)).astype("float32")
        rows = self.part.rows[np.resize(taken, self.batch_size)]
        batch = {"x": self.part.x[rows], "weight": weight}
        if self.part.condition is not None:
            batch["condition"] = self.part.condition[rows]
        return (batch,)
