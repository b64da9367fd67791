"""The guides of docs: every block of Python and every command in them runs as it stands, one after another in one folder."""

import json
import pathlib
import re
import shlex

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent
NOTEBOOK = json.loads((ROOT / "docs" / "demo.ipynb").read_text())
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a guide; returns the names that its Python leaves, and what was printed."""
    from tfdgm.cli.main import main

    def guide(name):
        monkeypatch.chdir(tmp_path)
        names = {}
        for language, block in BLOCK.findall((ROOT / "docs" / name).read_text()):
            if language == "python":
                exec(compile(block, name, "exec"), names)
                continue
            assert language == "bash"
            for line in block.splitlines():
                program, *arguments = shlex.split(line, comments=True)
                assert program == "tfdgm" and main(arguments) == 0, line
        return names, capsys.readouterr().out

    return guide


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:An excerpt stands in:UserWarning")
class TestGuides:
    def test_tables(self, run):
        names, printed = run("tables.md")
        assert "FAIL" not in printed and "nan" not in printed
        # The flow learns what the table was made of: log area is normal, and so is log price given it.
        entropy = np.log(2 * np.pi * np.e) + np.log(0.35) + np.log(0.2)
        for model in (names["baseline"], names["flow"]):
            assert model.evaluate(names["x"], verbose=0) == pytest.approx(entropy, abs=0.15)

    def test_keras(self, run):
        _, printed = run("keras.md")
        assert "nan" not in printed

    def test_tfp(self, run):
        names, printed = run("tfp.md")
        assert "nan" not in printed
        entropy = np.log(2 * np.pi * np.e) + np.log(0.4)
        assert names["history"][-1] == pytest.approx(entropy, abs=0.15)
        # x is normal with covariance A^T A, y its sum with noise: the posterior is normal with the mean S 1 y / (1^T S 1 + 0.01).
        a = np.array([[1, 0.9], [0, 0.4]])
        of_sum = a.T @ a @ np.ones(2)
        mean = of_sum / (of_sum.sum() + 0.01)
        for draws in (names["posterior"], names["approximate"]):
            np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.1)
            assert draws.sum(axis=1).std() < 0.2

    def test_questions(self, run, tmp_path):
        run("questions.md")
        assert (tmp_path / "grid.png").stat().st_size > 1000

    def test_the_notebook(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        names = {}
        for cell in NOTEBOOK["cells"]:
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), "demo.ipynb", "exec"), names)
        assert names["report"].passed and names["gain"].mean() > 0 and names["upright"].mean() > 0.8
        np.testing.assert_allclose(names["served"], names["again"].log_prob(names["x"][:3]), rtol=1e-5)
        assert "the flow wins by" in capsys.readouterr().out


def test_the_notebook_holds_no_outputs():
    assert NOTEBOOK["nbformat"] == 4 and len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in NOTEBOOK["cells"])


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
        assert (path.parent / link).exists(), link
