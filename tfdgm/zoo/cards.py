"""card.json as text. Imports no TensorFlow; a card is made by `tfdgm.zoo.train`."""

import textwrap


def table(cards, *, markdown=False):
    """One line a card: what it is, how large, how good, and the published figure beside it."""
    head = ("name", "model", "data", "weights", "test NLL, nats", "bits/dim", "published")
    rows = [
        (
            card["name"],
            card["model"]["class"],
            card["data"]["name"],
            f"{card['model']['parameters']:,}",
            figure(card, "test"),
            f"{card['test']['bits_per_dim']:.3f}" if card["test"]["bits_per_dim"] is not None else "",
            published(card),
        )
        for card in cards
    ]
    if markdown:
        lines = [head, ("---", "---", "---", "---:", "---:", "---:", "---"), *[(f"`{row[0]}`", *row[1:]) for row in rows]]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [head, tuple("-" * width for width in widths), *rows]
    align = (str.ljust, str.ljust, str.ljust, str.rjust, str.rjust, str.rjust, str.ljust)
    return "\n".join("  ".join(a(cell, w) for a, cell, w in zip(align, row, widths, strict=True)).rstrip() for row in lines)


def figure(card, split):
    """ "88.12 ± 0.34", with "<=" in front where it is a bound."""
    result = card[split]
    return f"{'<= ' if card['is_bound'] else ''}{result['nll']:.2f} ± {result['standard_error']:.2f}"


def published(card):
    """ "88.40 nats (MADE, ...): reached", or nothing."""
    entry = card.get("published")
    if not entry:
        return ""
    return f"{entry['value']:g} {entry['unit']} ({entry['name']}): {'reached' if entry['reached'] else 'not reached'}"


def text(card):
    """The whole card, to be read by a person."""
    data, model, run = card["data"], card["model"], card["training"]
    bound = "an upper bound on the NLL, by random draws of dequantization noise" if card["is_bound"] else "exact"
    columns = [data["columns"]] if data.get("columns") else []  # Older cards do not say.
    bits = {split: card[split]["bits_per_dim"] for split in ("validation", "test")}
    lines = [
        ("model", f"{model['class']}, {model['parameters']:,} weights"),
        *[(f"  {key}", f"{value}") for key, value in model["config"].items() if value is not None],
        ("data", f"{data['name']}: {data['description']}"),
        *[("  columns", textwrap.shorten(", ".join(names), 120, placeholder=" ...")) for names in columns],
        *[("  condition", ", ".join([names] if isinstance(names, str) else names)) for names in [data.get("condition")] if names],
        ("  split", f"{data['train']:,} train, {data['validation']:,} validation, {data['test']:,} test rows"),
        ("  sha256", data["sha256"]),
        ("training", f"{run['epochs']} epochs, the best is {run['best_epoch']}; {run['hours']:.2f} hours; seed {run['seed']}"),
        ("  on", f"{card['machine']['cpu']}, {card['machine']['cores']} cores{_accelerators(card)}{_backend(run)}"),
        ("  with", ", ".join(f"{name} {version}" for name, version in card["versions"].items())),
        ("  date", card["date"]),
        ("NLL", f"in nats, mean ± standard error over rows; {bound}"),
        *[
            (f"  {split}", figure(card, split) + (f"  =  {bits[split]:.4f} bits/dim" if bits[split] is not None else ""))
            for split in ("validation", "test")
        ],
    ]
    if card.get("published"):
        lines += [("published", published(card)), ("  source", card["published"]["source"])]
    lines.append(("again", card["command"]))
    width = max(len(name) for name, _ in lines) + 2
    return "\n".join([card["name"], "=" * len(card["name"]), *[f"{name.ljust(width)}{value}" for name, value in lines]])


def _backend(run):
    backend = run.get("backend", "tensorflow")  # Older cards do not say.
    return "" if backend == "tensorflow" else f", by Keras's {backend} backend"


def _accelerators(card):
    return "".join(f", {name}" for name in card["machine"]["accelerators"])
