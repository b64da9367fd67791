import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import pytest

from tfdgm.zoo import ZooError
from tfdgm.zoo.cards import Card, table
from tfdgm.zoo.evaluation import Evaluation

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "zoo_table.py"


@pytest.fixture
def card(finished):
    return Card.of(finished)


@pytest.fixture
def bound(card):
    """The card of a dequantized flow that missed a published figure."""
    published = {"name": "A paper", "value": 88.4, "unit": "nats", "source": "nowhere", "reached": False}
    return dataclasses.replace(card, name="other", is_bound=True, test=Evaluation(100.0, 0.5, 2.25, 30), published=published)


class TestTable:
    def test_columns_line_up(self, card, bound):
        lines = table([card, bound]).splitlines()
        assert len(lines) == 4
        column = lines[0].index("published")
        assert lines[3][column:] == "88.4 nats (A paper): not reached"
        assert "<= 100.00 ± 0.50" in lines[3] and "2.250" in lines[3]
        assert "<=" not in lines[2] and lines[2].startswith("realnvp_rows  RealNVP")

    def test_markdown(self, card, bound):
        lines = table([card, bound], markdown=True).splitlines()
        assert all(line.count("|") == 8 for line in lines) and lines[2].startswith("| `realnvp_rows` |")

    def test_columns_of_the_data(self, card):
        assert "  columns       a, b, c\n" in card.text()
        data = dataclasses.replace(card.data, columns=[f"column_{i}" for i in range(500)])
        (line,) = (line for line in dataclasses.replace(card, data=data).text().splitlines() if line.startswith("  columns"))
        assert line.endswith(", ...") and 100 < len(line) < 140

    def test_cards_of_before(self, card, tmp_path):
        there = card.to_dict()
        del there["kind"], there["published"], there["data"]["columns"], there["data"]["condition"], there["training"]["backend"]
        (tmp_path / "card.json").write_text(json.dumps({**there, "later": 1}))
        before = Card.of(tmp_path)
        assert "columns" not in before.text() and "published" not in before.text() and before.kind is None
        assert table([before]).startswith("name") and before.test == card.test
        (tmp_path / "card.json").write_text('{"name": "half a card"}')
        with pytest.raises(ZooError, match="damaged"):
            Card.of(tmp_path)

    def test_the_tool_writes_between_the_marks(self, finished, tmp_path):
        readme = tmp_path / "README.md"
        readme.write_text("before\n<!-- zoo -->\nold\n<!-- /zoo -->\nafter\n")
        environment = {**os.environ, "TFDGM_ZOO_DIR": str(finished.parent), "PYTHONPATH": str(TOOL.parents[1])}
        for _ in range(2):  # The second time changes nothing.
            subprocess.run([sys.executable, TOOL, "--write", readme], check=True, env=environment)
            text = readme.read_text()
            assert text.startswith("before\n<!-- zoo -->\n| name |") and text.endswith("|\n<!-- /zoo -->\nafter\n")
            assert "`realnvp_rows`" in text and "old" not in text and text.count("| name |") == 1
        readme.write_text("no marks")
        assert subprocess.run([sys.executable, TOOL, "--write", readme], env=environment).returncode == 2
        assert readme.read_text() == "no marks"


def without(*keys):
    return lambda card: {key: value for key, value in card.items() if key not in keys}


def within(section, **values):
    return lambda card: {**card, section: {**card[section], **values}}


DAMAGED = {
    "list": (lambda card: [], "the card must be dict. Received: \\[\\]"),
    "none": (lambda card: None, "the card must be dict. Received: None"),
    "text": (lambda card: "x", "the card must be dict"),
    "empty": (lambda card: {}, "the card must have name, model, data, training, is_bound, validation, test"),
    "no_test": (without("test"), "the card must have test"),
    "no_data": (lambda card: {**card, "data": None}, "the card.data must be dict. Received: None"),
    "columns_number": (within("data", columns=3), "data.columns must be .*str.* Received: 3"),
    "columns_numbers": (within("data", columns=[1, 2, 3]), "data.columns must be .*str"),
    "condition": (within("data", condition={"a": 1}), "data.condition must be str"),
    "rows": (within("data", train="many"), "data.train must be int. Received: 'many'"),
    "nll_none": (within("test", nll=None), "test.nll must be float. Received: None"),
    "nll_huge": (within("test", nll=10**400), "test.nll must be float"),
    "hours": (within("training", hours="1"), "training.hours must be float"),
    "no_epochs": (lambda card: {**card, "training": {"seed": 1}}, "training must have best_epoch, epochs, hours"),
    "weights": (within("model", parameters=None), "model.parameters must be int"),
    "config": (within("model", config=[1]), "model.config must be dict"),
    "machine": (lambda card: {**card, "machine": {}}, "machine must have accelerators, cores, cpu"),
    "accelerators": (within("machine", accelerators="GPU"), "machine.accelerators must be list"),
    "published": (lambda card: {**card, "published": {"value": 3}}, "published must be "),
    "versions": (lambda card: {**card, "versions": ["keras"]}, "versions must be dict"),
    "name": (lambda card: {**card, "name": ["a"]}, "name must be str"),
    "is_bound": (lambda card: {**card, "is_bound": "no"}, "is_bound must be bool"),
}
CARD = pathlib.Path(__file__).resolve().parents[2] / "zoo" / "maf_digits" / "card.json"


class TestDamage:
    @pytest.mark.parametrize(("damage", "message"), DAMAGED.values(), ids=DAMAGED)
    def test_says_what_is_wrong(self, damage, message, tmp_path):
        (tmp_path / "card.json").write_text(json.dumps(damage(json.loads(CARD.read_text()))))
        with pytest.raises(ZooError, match=f"The card of .* is damaged: .*{message}"):
            Card.of(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"{", b"[" * 10**5, b"\xff", None])
    def test_what_is_no_json(self, content, tmp_path):
        os.mkfifo(tmp_path / "card.json") if content is None else (tmp_path / "card.json").write_bytes(content)
        with pytest.raises(ZooError, match=r"card\.json is damaged"):
            Card.of(tmp_path)

    def test_whatever_is_taken_can_be_printed(self, tmp_path):
        card = json.loads(CARD.read_text())
        for key in ("validation", "test"):
            card[key] = {"nll": float("nan"), "standard_error": float("inf"), "bits_per_dim": None, "rows": -1}
        (tmp_path / "card.json").write_text(json.dumps({**card, "versions": {}, "published": None, "date": ""}))
        assert "nan" in Card.of(tmp_path).text() and "nan" in table([Card.of(tmp_path)])


class TestText:
    def test_a_person_reads_all_of_it(self, card, bound):
        for part in (card.data.sha256, card.command, card.machine["cpu"], "240 train", "reached", "exact"):
            assert part in card.text()
        assert "upper bound" in bound.text() and "2.2500 bits/dim" in bound.text()

    def test_a_card_is_json(self, finished, card):
        values = json.loads((finished / "card.json").read_text())
        assert values["name"] == "realnvp_rows" and values == card.to_dict() and list(values) == list(card.to_dict())
