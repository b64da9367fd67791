import numpy as np


def some_rows(batches, count):
    """An iterable of batches, dicts of arrays [n, ...] -> one such dict of up to `count` rows from all over the data, in order.

    Each row has a fixed pseudo-random number, and those of the smallest numbers stay (reservoir sampling).

    Raises:
      ValueError: where there are no rows.
    """
    random, parts, numbers = np.random.default_rng(0), [], np.zeros(0)
    for batch in batches:
        batch = {name: np.asarray(values) for name, values in batch.items() if values is not None}
        parts.append(batch)
        numbers = np.concatenate([numbers, random.uniform(size=len(batch["x"]))])
        if len(numbers) > 2 * count:
            parts, numbers = _smallest(parts, numbers, count)
    if not len(numbers):
        raise ValueError("The tf.data is empty: expected at least one batch.")
    return _smallest(parts, numbers, count)[0][0]


def _smallest(parts, numbers, count):
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if len(numbers) > count:
        kept = np.sort(np.argpartition(numbers, count)[:count])
        rows, numbers = {name: values[kept] for name, values in rows.items()}, numbers[kept]
    return [rows], numbers


def by_weight(rows, count=8192):
    """Rows with a "weight" [n] -> at least `count` rows without one, each as often as its share of the weights says.

    Systematic resampling (Kitagawa 1996): of equal weights, all rows equally often.
    """
    edges = np.cumsum(np.asarray(rows["weight"], np.float64))
    count = len(edges) * -(-count // len(edges))
    chosen = np.searchsorted(edges, (np.arange(count) + 0.5) / count * edges[-1])
    return {name: values[chosen] for name, values in rows.items() if name != "weight"}
