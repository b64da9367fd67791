import pathlib
import re

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


class TestReadme:
    @pytest.mark.slow
    def test_its_python_runs_as_it_stands(self, tmp_path, monkeypatch, capsys):
        blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
        assert len(blocks) == 1
        monkeypatch.chdir(tmp_path)
        names = {}
        exec(compile(blocks[0], "README.md", "exec"), names)
        assert names["digits"].shape == (16, 28, 28)
        # The data is normal with covariance A^T A, which the flow should nearly reach: entropy log(2 pi e) + log det A.
        entropy = np.log(2 * np.pi * np.e) + np.log(0.4)
        assert names["flow"].evaluate(names["x"], verbose=0) == pytest.approx(entropy, abs=0.2)
        assert (tmp_path / "my_flow" / "1" / "saved_model.pb").exists()
        assert "FAIL" not in capsys.readouterr().out

    @pytest.mark.slow
    def test_the_python_on_images_draws_its_pictures(self, tmp_path, monkeypatch):
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "images.md").read_text(), flags=re.DOTALL)
        assert len(blocks) == 1
        # With a smaller network than the zoo's: compiling that takes a minute.
        loaded, small = 'tfdgm.load("gated_pixelcnn_binarized_mnist")', {"filters": 8, "num_layers": 1, "head_filters": 8}
        assert loaded in blocks[0]
        made = f"tfdgm.models.GatedPixelCNN((28, 28), levels=2, **{small})"
        monkeypatch.chdir(tmp_path)
        names = {}
        exec(compile(blocks[0].replace(loaded, made), "images.md", "exec"), names)
        assert {path.stem for path in tmp_path.glob("*.png")} == {"completed", "receptive_field", "bits", "between"}
        assert (names["completed"][:, :14] == names["x"][:8, :14]).all()

    def test_the_python_on_events_prints_scores(self, capsys):
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "events.md").read_text(), flags=re.DOTALL)
        assert len(blocks) == 1
        names = {}
        exec(compile(blocks[0], "events.md", "exec"), names)
        printed = capsys.readouterr().out
        assert "nan" not in printed and "inf" not in printed
        assert names["model"].log_prob([[0, 2, 1, 2, 2, 2]], known=[[1] * 6]).numpy() == -np.inf  # It goes on after its end.

    def test_the_commands_it_names_exist(self):
        from tfdgm.cli.main import COMMANDS

        named = set(re.findall(r"^tfdgm (\w+)", README, flags=re.MULTILINE))
        assert len(named) == 8
        assert named == set(COMMANDS)

    def test_it_shows_the_tables_that_tools_write(self):
        for mark in ("zoo", "benchmark", "benchmark_images"):
            table = re.search(f"<!-- {mark} -->\n(.*?)<!-- /{mark} -->", README, flags=re.DOTALL)
            assert table and table.group(1).count("|") > 10
