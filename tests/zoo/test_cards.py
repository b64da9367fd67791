import copy
import json
import os
import pathlib
import subprocess
import sys

import pytest

from tfdgm.zoo import cards

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "zoo_table.py"


@pytest.fixture
def bound(card):
    """The card of a dequantized flow that missed a published figure."""
    card = copy.deepcopy(card)
    card.update(name="other", is_bound=True)
    card["test"].update(nll=100.0, standard_error=0.5, bits_per_dim=2.25)
    card["published"] = {"name": "A paper", "value": 88.4, "unit": "nats", "source": "nowhere", "reached": False}
    return card


class TestTable:
    def test_columns_line_up(self, card, bound):
        lines = cards.table([card, bound]).splitlines()
        assert len(lines) == 4
        column = lines[0].index("published")
        assert lines[3][column:] == "88.4 nats (A paper): not reached"
        assert "<= 100.00 ± 0.50" in lines[3] and "2.250" in lines[3]
        assert "<=" not in lines[2] and lines[2].startswith("realnvp_rows  RealNVP")

    def test_markdown(self, card, bound):
        lines = cards.table([card, bound], markdown=True).splitlines()
        assert all(line.count("|") == 8 for line in lines) and lines[2].startswith("| `realnvp_rows` |")

    def test_columns_of_the_data(self, card):
        assert "  columns       a, b, c\n" in cards.text(card)
        card["data"]["columns"] = [f"column_{i}" for i in range(500)]
        (line,) = (line for line in cards.text(card).splitlines() if line.startswith("  columns"))
        assert line.endswith(", ...") and 100 < len(line) < 140
        del card["data"]["columns"]  # As in cards of before.
        assert "columns" not in cards.text(card)

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


class TestText:
    def test_a_person_reads_all_of_it(self, card, bound):
        text = cards.text(card)
        for part in (card["data"]["sha256"], card["command"], card["machine"]["cpu"], "240 train", "reached", "exact"):
            assert part in text
        assert "upper bound" in cards.text(bound) and "2.2500 bits/dim" in cards.text(bound)

    def test_a_card_is_json(self, finished):
        assert json.loads((finished / "card.json").read_text())["name"] == "realnvp_rows"
