import copy
import datetime
import os
import pathlib

import pytest

from tfdgm.zoo import Recipe, RecipeError
from tfdgm.zoo.recipe import parse_value

SECTIONS = {"model": {"class": "MAF", "hidden_units": [8, 8]}, "data": {"source": "digits"}}


def changed(section, **values):
    sections = copy.deepcopy(SECTIONS)
    sections.setdefault(section, {}).update(values)
    return sections


class TestReading:
    def test_defaults_are_filled_in(self, tmp_path):
        file = tmp_path / "a.toml"
        file.write_text('[model]\nclass = "MAF"\n[data]\nsource = "digits"\n[training]\nepochs = 7\n')
        recipe = Recipe.read(file)
        assert recipe.model == {"class": "MAF"}
        assert recipe.data["batch_size"] == 256 and recipe.data["condition"] is None
        assert recipe.training["epochs"] == 7 and recipe.training["optimizer"] == "adam"
        assert recipe.published is None and recipe.name == "maf_digits"

    def test_a_folder_means_its_recipe(self, tmp_path):
        (tmp_path / "recipe.toml").write_text(Recipe(SECTIONS).to_toml())
        assert Recipe.read(tmp_path).sections == SECTIONS

    def test_the_name_of_a_file_is_not_part_of_its_data_name(self):
        for source, name in (
            ("some/where/Rows.csv", "rows"),
            ("parts/a*.csv", "parts"),
            ("parts/**/*.csv", "parts"),
            ("*", "files"),
        ):
            assert Recipe(changed("data", source=source)).name == f"maf_{name}"

    def test_not_toml(self, tmp_path):
        (tmp_path / "a.toml").write_text("[model\n")
        with pytest.raises(RecipeError, match=r"a\.toml is not TOML"):
            Recipe.read(tmp_path / "a.toml")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"\xff", "expected text in UTF-8"),
            (b"a = " + b"[" * 10**5, "is not TOML"),
            (b"a = " + b"1" * 10**5, "is not TOML"),
            (None, "expected a file. Received: a pipe or device"),
        ],
    )
    def test_what_is_no_recipe_in_other_ways(self, content, message, tmp_path):
        os.mkfifo(tmp_path / "a.toml") if content is None else (tmp_path / "a.toml").write_bytes(content)
        with pytest.raises(RecipeError, match=message):
            Recipe.read(tmp_path / "a.toml")

    def test_missing_file(self, tmp_path):
        with pytest.raises(RecipeError, match="There is no recipe"):
            Recipe.read(tmp_path / "a.toml")

    def test_an_unknown_name_suggests_the_nearest(self):
        with pytest.raises(RecipeError, match=r"no recipe 'maf_digit'\. Did you mean 'maf_digits'"):
            Recipe.read("maf_digit")

    @pytest.mark.parametrize("name", ["made_binarized_mnist", "maf_digits", "realnvp_digits"])
    def test_the_recipes_of_the_zoo(self, name):
        recipe = Recipe.read(name)
        assert recipe.name == name and pathlib.Path(recipe.path).parent.name == name


class TestWriting:
    def test_round_trip(self, tmp_path):
        sections = changed("training", learning_rate=1e-4, ema_momentum=0.999)
        sections["model"].update(residual=True, activation='say "swish" \\ ü')
        (tmp_path / "a.toml").write_text(Recipe(sections).to_toml())
        assert Recipe.read(tmp_path / "a.toml").sections == sections

    def test_a_file_stays_as_the_person_wrote_it(self, tmp_path):
        text = f"# why\n{Recipe(SECTIONS).to_toml()}"
        (tmp_path / "a.toml").write_text(text)
        assert Recipe.read(tmp_path / "a.toml").to_toml() == text


class TestOverrides:
    def test_values_are_set_and_the_rest_stays(self):
        recipe = Recipe(SECTIONS)
        new = recipe.with_overrides({"training.epochs": 3, "model.num_layers": 2})
        assert new.training["epochs"] == 3 and new.model == {**SECTIONS["model"], "num_layers": 2}
        assert recipe.sections == SECTIONS

    def test_unknown_section(self):
        with pytest.raises(RecipeError, match="Did you mean 'training'"):
            Recipe(SECTIONS).with_overrides({"trainig.epochs": 3})

    @pytest.mark.parametrize(
        "text,value",
        [
            ("3", 3),
            ("0.5", 0.5),
            ("1e-3", 1e-3),
            ("true", True),
            ("[64, 64]", [64, 64]),
            ("cosine", "cosine"),
            ('"3"', "3"),
            ("", ""),
            ("False", False),
            ("True", True),
            ("None", None),
            ("(64, 64)", [64, 64]),
            ("[True, None]", [True, None]),
            (".5", 0.5),
            ("2024-01-01", "2024-01-01"),
            ("rows/*.csv", "rows/*.csv"),
        ],
    )
    def test_values_of_a_command_line(self, text, value):
        assert parse_value(text) == value and type(parse_value(text)) is type(value)

    @pytest.mark.parametrize("text", ["[64,64", "{a = 1}", "(1", '"open'])
    def test_half_a_value(self, text):
        with pytest.raises(RecipeError, match=r"Expected a value of TOML or Python: 3, 0\.1, true, \[64, 64\]"):
            parse_value(text)

    def test_none_is_kept_in_a_file(self, tmp_path):
        recipe = Recipe(SECTIONS).with_overrides({"model.activation": None, "training.clipnorm": None, "model.each": [1, None]})
        (tmp_path / "a.toml").write_text(recipe.to_toml())
        assert Recipe.read(tmp_path / "a.toml").sections == recipe.sections
        assert recipe.model["activation"] is None and recipe.training["clipnorm"] is None
        with pytest.raises(RecipeError, match="epochs must be an integer"):
            recipe.with_overrides({"training.epochs": None})


class TestErrors:
    @pytest.mark.parametrize(
        "sections,message",
        [
            (changed("traning", epochs=3), "no section 'traning'. Did you mean 'training'"),
            (changed("training", epoch=3), r"\[training\]: There is no key 'epoch'. Did you mean 'epochs'\? Known: accum"),
            (changed("data", sorce="x"), "Did you mean 'source'"),
            (changed("training", epochs=0), "epochs must be an integer of at least 1. Received: 0"),
            (changed("training", epochs=2.5), "integer"),
            (changed("training", epochs=True), "integer"),
            (changed("training", patience="3"), "integer"),
            (changed("training", learning_rate=0), "above 0"),
            (changed("training", learning_rate=float("nan")), "above 0"),
            (changed("training", learning_rate="fast"), "must be a number. Received: 'fast'"),
            (changed("training", ema_momentum=1.5), "between 0 and 1"),
            (changed("training", weight_decay=-1.0), "at least 0"),
            (changed("training", warmup_epochs=-0.5), "at least 0"),
            (changed("training", optimizer="adm"), "no choice 'adm'. Did you mean 'adam'"),
            (changed("training", schedule="step"), "Known: constant, cosine"),
            (changed("data", source=3), "source must be a string"),
            (changed("published", value=3.0), r"\[published\] must have name, unit, source"),
            ({"data": {"source": "digits"}}, r"\[model\] must have class"),
            ({"model": {"class": "MAF"}}, r"\[data\] must have source"),
            ({**SECTIONS, "training": 3}, r"expected \[training\] with keys"),
            (changed("training", epsilon=-1), "epsilon must be a number above 0, .* Received: -1"),
            (changed("training", epsilon=0), "epsilon must be a number above 0"),
            (changed("training", epsilon=float("nan")), "epsilon must be a number above 0"),
            (changed("training", warmup_epochs=1e300), r"warmup_epochs must be at least 0, and 1e\+06 at most"),
            (changed("training", warmup_epochs=float("nan")), "warmup_epochs must be at least 0"),
            (changed("training", weight_decay=float("inf")), "weight_decay must be at least 0"),
            (changed("training", learning_rate=10**400), "learning_rate must be a number above 0, and finite in float32"),
            (changed("training", clipnorm=1e300), "clipnorm must be a number above 0, and finite in float32"),
            (changed("training", epochs=10**30), r"epochs must be below 2\*\*31"),
            (changed("training", seed=-1), "seed must be an integer of at least 0"),
            (changed("training", optimizer={"class_name": "Adam"}), "optimizer must be a plain value"),
            (changed("data", batch_size=2**40), r"batch_size must be below 2\*\*31"),
            (changed("data", valid_fraction=-0.1), "valid_fraction must be at least 0, and 1 at most"),
            (changed("data", test_fraction=float("nan")), "test_fraction must be at least 0, and 1 at most"),
            (changed("data", condition={"a": 1}), r"condition must be a plain value.* Received: {'a': 1}"),
            (changed("data", condition=[1, 2]), r"condition must be str \| list\[str\]"),
            (changed("data", condition=3), r"condition must be str \| list\[str\]"),
            (changed("data", header="yes"), r"header must be bool \| None. Received: 'yes'"),
            (changed("data", ignore=[1]), r"ignore\[0\] must be str"),
            (changed("model", activation={"class_name": "TextVectorization"}), "activation must be a plain value"),
            (changed("model", hidden_units=[datetime.date(2020, 1, 1)]), "hidden_units must be a plain value"),
            (changed("published", name=3, value=1.0, unit="nats", source="x"), "name must be a string"),
            (changed("published", name="x", value=float("nan"), unit="nats", source="x"), "value must be finite"),
            (["model"], "Expected a dict"),
        ],
    )
    def test_one_message_that_says_what_came(self, sections, message):
        with pytest.raises(RecipeError, match=message):
            Recipe(sections)
