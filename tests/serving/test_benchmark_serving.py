import pathlib
import runpy
import sys

import pytest

pytest.importorskip("tensorflow_serving")

TOOL = pathlib.Path(__file__).parents[2] / "tools" / "benchmark_serving.py"


@pytest.mark.slow
def test_a_short_run_writes_the_table(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- benchmark_serving -->\nold\n<!-- /benchmark_serving -->\nafter\n")
    monkeypatch.setattr(sys, "argv", [str(TOOL), "--requests", "24", "--write", str(page)])
    main = runpy.run_path(str(TOOL))["main"]
    main.__globals__.update(LAYERS=1, UNITS=16)
    assert main() == 0
    lines = page.read_text().splitlines()
    assert lines[0] == "before" and lines[-1] == "after" and "old" not in lines
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith(("| log_prob", "| sample"))]
    assert [(row[0], row[2], row[3]) for row in rows] == [
        (call, n, clients) for call in ("log_prob", "sample") for n in ("1", "64") for clients in ("1", "8", "64")
    ]
    for row in rows:
        p50, p95, p99 = (float(cell.removesuffix(" ms")) for cell in row[4:7])
        assert 0 < p50 <= p95 <= p99 and float(row[7].replace(",", "")) > 0 and row[8] == "0"
    assert any(line.startswith("24 requests, 0 errors") for line in lines)
