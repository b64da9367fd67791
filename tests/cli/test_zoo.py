import json

import pytest

pytestmark = pytest.mark.usefixtures("eagerly")


class TestZoo:
    def test_the_table(self, cli, run_folder, monkeypatch):
        monkeypatch.setenv("TFDGM_ZOO_DIR", str(run_folder.parent))
        test = json.loads((run_folder / "card.json").read_text())["test"]
        line = next(line for line in cli("zoo").out.splitlines() if line.startswith("made_digits "))
        assert "MADE" in line and f"{test['nll']:.2f} ± {test['standard_error']:.2f}" in line

    def test_a_card(self, cli, run_folder, monkeypatch):
        monkeypatch.setenv("TFDGM_ZOO_DIR", str(run_folder.parent))
        out = cli("zoo", "made_digits").out
        assert out.startswith("made_digits\n===") and "sha256" in out and "bits/dim" in out and "exact" in out

    def test_the_card_of_a_folder(self, cli, run_folder):
        assert cli("zoo", run_folder).out.startswith("made_digits\n===")

    def test_an_unknown_name(self, fails, run_folder, monkeypatch):
        monkeypatch.setenv("TFDGM_ZOO_DIR", str(run_folder.parent))
        assert "no zoo entry 'made_digit'. Did you mean 'made_digits'" in fails("zoo", "made_digit")

    def test_a_damaged_card_does_not_hide_the_others(self, cli, tmp_path, monkeypatch):
        # Of a zoo with no trained run of its own, beside which the repository's is listed.
        for name, content in (("broken", "{"), ("none", "null"), ("half", '{"name": "half"}')):
            (tmp_path / name).mkdir()
            (tmp_path / name / "card.json").write_text(content)
        monkeypatch.setenv("TFDGM_ZOO_DIR", str(tmp_path))
        result = cli("zoo")
        assert result.code == 0 and "\nmaf_digits " in result.out
        for name in ("broken", "none", "half"):
            (line,) = (line for line in result.err.splitlines() if name in line)
            assert line.startswith("tfdgm: warning: ") and "damaged" in line and f"\n{name} " not in result.out

    def test_an_untrained_recipe(self, fails, tmp_path, monkeypatch):
        (tmp_path / "iaf_mine").mkdir()
        (tmp_path / "iaf_mine" / "recipe.toml").write_text("")
        monkeypatch.setenv("TFDGM_ZOO_DIR", str(tmp_path))
        assert "no run yet" in fails("zoo", "iaf_mine")
