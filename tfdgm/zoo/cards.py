"""card.json: what is known of a finished run, to be read. Imports no TensorFlow; `tfdgm.zoo.train` makes cards."""

import dataclasses
import textwrap
import typing

from tfdgm.from_outside import OutsideError, check
from tfdgm.printable import printable
from tfdgm.zoo import entries
from tfdgm.zoo.evaluation import Evaluation

# What a card's dicts must hold; they may hold more.
_Model = typing.TypedDict("_Model", {"class": str, "config": dict, "parameters": int})


class _Training(typing.TypedDict):
    epochs: int
    best_epoch: int
    hours: float
    seed: int


class _Published(typing.TypedDict):
    name: str
    value: float
    unit: str
    source: str
    reached: bool


class _Machine(typing.TypedDict):
    cpu: str
    cores: int
    accelerators: list[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """The data of a run; train, validation and test are numbers of rows, columns the names of a table's, where it has any."""

    name: str
    description: str
    sha256: str
    train: int
    validation: int
    test: int
    event_shape: tuple[int, ...]
    levels: int | list[int | None] | None
    condition_shape: tuple[int, ...] | None
    condition: str | list[str] | None = None
    columns: tuple[str, ...] | None = None
    weight: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card:
    """A card, with the keys of card.json as fields, in their order. Fields with a default are missing in older cards.

    Attributes:
      model: {"class", "config", "parameters"}.
      training: the recipe's section, with epochs as they were, best_epoch, hours, backend and more.
      kind, is_bound: of the model's log_prob.
      published: the recipe's section with "reached", or None.
      machine, versions: what it was trained on, and with.
      command: what repeats the run.
    """

    name: str
    model: _Model
    data: Data
    training: _Training
    is_bound: bool
    kind: str | None = None
    validation: Evaluation
    test: Evaluation
    published: _Published | None = None
    machine: _Machine
    versions: dict
    date: str
    command: str

    @classmethod
    def of(cls, name):
        """Of a zoo entry, by name or folder."""
        values = entries.card(name)
        try:
            return cls.from_dict(values)
        except OutsideError as error:
            raise entries.ZooError(f"The card of {name} is damaged: {error}") from None

    @classmethod
    def from_dict(cls, values):
        """From the content of a card.json; keys that no field has are left out. An OutsideError for what is no card."""
        check(values, cls, "the card")
        figures = {split: _taken(Evaluation, values[split]) for split in ("validation", "test")}
        return _taken(cls, {**values, "data": _taken(Data, values["data"]), **figures})

    def to_dict(self):
        """The content of card.json."""
        return dataclasses.asdict(self)

    def text(self):
        """The whole card, to be read by a person."""
        data, run, machine = self.data, self.training, self.machine
        bound = "an upper bound on the NLL, by random draws of dequantization noise" if self.is_bound else "exact"
        backend = run.get("backend", "tensorflow")  # Older cards do not say.
        on = [f"{machine['cpu']}, {machine['cores']} cores", *machine["accelerators"]]
        on += [f"by Keras's {backend} backend"] if backend != "tensorflow" else []
        condition = [data.condition] if isinstance(data.condition, str) else data.condition
        lines = [
            ("model", f"{self.model['class']}, {self.model['parameters']:,} weights"),
            *[(f"  {key}", f"{value}") for key, value in self.model["config"].items() if value is not None],
            ("data", f"{data.name}: {data.description}"),
            ("  columns", data.columns and textwrap.shorten(", ".join(data.columns), 120, placeholder=" ...")),
            ("  integers", _integers(data)),
            ("  condition", condition and ", ".join(condition)),
            ("  weight", data.weight and f"{data.weight}: NLLs are weighted means"),
            ("  split", f"{data.train:,} train, {data.validation:,} validation, {data.test:,} test rows"),
            ("  sha256", data.sha256),
            ("training", "{epochs} epochs, the best is {best_epoch}; {hours:.2f} hours; seed {seed}".format(**run)),
            ("  from", run.get("start")),
            ("  on", ", ".join(on)),
            ("  with", ", ".join(f"{name} {version}" for name, version in self.versions.items())),
            ("  date", self.date),
            ("NLL", f"in nats, mean ± standard error over rows; {bound}"),
            *[
                (f"  {split}", self.nll_of(of) + (f"  =  {of.bits_per_dim:.4f} bits/dim" if of.bits_per_dim is not None else ""))
                for split, of in (("validation", self.validation), ("test", self.test))
            ],
            ("published", self.against_published()),
            ("  source", self.published and self.published["source"]),
            ("again", self.command),
        ]
        lines = [(name, value) for name, value in lines if value]
        width = max(len(name) for name, _ in lines) + 2
        text = "\n".join([self.name, "=" * len(self.name), *[f"{name.ljust(width)}{value}" for name, value in lines]])
        return printable(text)

    def nll_of(self, evaluation):
        """ "88.12 ± 0.34", with "<=" in front where it is a bound."""
        return f"{'<= ' if self.is_bound else ''}{evaluation.nll:.2f} ± {evaluation.standard_error:.2f}"

    def against_published(self):
        """ "88.40 nats (MADE, ...): reached", or nothing."""
        if not self.published:
            return ""
        reached = "reached" if self.published["reached"] else "not reached"
        return f"{self.published['value']:g} {self.published['unit']} ({self.published['name']}): {reached}"


def table(cards, *, markdown=False):
    """One line a card: what it is, how large, how good, and the published figure beside it."""
    head = ("name", "model", "data", "weights", "test NLL, nats", "bits/dim", "published")
    rows = []
    for card in cards:
        what = (card.name, card.model["class"], card.data.name, f"{card.model['parameters']:,}")
        bits = f"{card.test.bits_per_dim:.3f}" if card.test.bits_per_dim is not None else ""
        rows.append((*what, card.nll_of(card.test), bits, card.against_published()))
    rows = [tuple(map(printable, row)) for row in rows]
    if markdown:
        lines = [head, ("---", "---", "---", "---:", "---:", "---:", "---"), *[(f"`{row[0]}`", *row[1:]) for row in rows]]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [head, tuple("-" * width for width in widths), *rows]
    align = (str.ljust, str.ljust, str.ljust, str.rjust, str.rjust, str.rjust, str.ljust)
    return "\n".join("  ".join(a(cell, w) for a, cell, w in zip(align, row, widths, strict=True)).rstrip() for row in lines)


def _integers(data):
    """Of a table with some columns of integers: which, and how a density takes them."""
    if not isinstance(data.levels, (list, tuple)):
        return None
    named = zip(data.columns, data.levels, strict=True)
    return f"{', '.join(f'{name} 0..{levels - 1}' for name, levels in named if levels)}, by uniform dequantization"


def _taken(cls, values):
    return cls(**{field.name: values[field.name] for field in dataclasses.fields(cls) if field.name in values})
