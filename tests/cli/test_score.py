import resource

import numpy as np
import pytest

import tfdgm


@pytest.fixture
def expected(vector_model):
    return np.asarray(tfdgm.load(vector_model / "model").log_prob(np.load(vector_model / "rows.npy")))


class TestScore:
    def test_one_score_a_row_in_order(self, cli, vector_model, expected, tmp_path):
        result = cli("score", vector_model / "model", vector_model / "rows.csv", "--out", tmp_path / "s.csv")
        assert result.code == 0 and "5,000 scores" in result.out
        assert (tmp_path / "s.csv").read_text().startswith("log_prob\n")
        np.testing.assert_allclose(np.loadtxt(tmp_path / "s.csv", skiprows=1), expected, rtol=1e-6)

    def test_npy(self, cli, vector_model, expected, tmp_path):
        assert cli("score", vector_model / "model", vector_model / "rows.npy", "--out", tmp_path / "s.npy").code == 0
        scores = np.load(tmp_path / "s.npy")
        assert scores.dtype == np.float32 and (scores == expected).all()

    @pytest.mark.parametrize("kind", ["csv", "npy"])
    def test_scores_that_are_not_finite(self, cli, vector_model, tmp_path, kind):
        x = np.load(vector_model / "rows.npy")
        x[[20, 4990]] = 1e38
        np.save(tmp_path / "x.npy", x)
        out = tmp_path / f"s.{kind}"
        result = cli("score", vector_model / "model", tmp_path / "x.npy", "--out", out)
        assert result.code == 0 and "warning: 2 of 5,000 scores are -inf or NaN, the first that of row 20," in result.err
        out.unlink()
        result = cli("score", vector_model / "model", tmp_path / "x.npy", "--out", out, "--fail_on_nonfinite")
        assert result.code == 1 and "error: 2 of 5,000 scores are -inf or NaN" in result.err and out.is_file()

    def test_a_glob_in_the_order_of_names(self, cli, vector_model, expected, tmp_path):
        x = np.load(vector_model / "rows.npy")
        np.save(tmp_path / "part-2.npy", x[30:50])
        np.save(tmp_path / "part-1.npy", x[:30])
        assert cli("score", vector_model / "model", f"{tmp_path}/part-*.npy", "--out", tmp_path / "s.npy").code == 0
        np.testing.assert_allclose(np.load(tmp_path / "s.npy"), expected[:50], rtol=1e-6)

    def test_flat_rows_for_a_model_of_images(self, cli, run_folder, tmp_path):
        x = np.random.default_rng(0).integers(0, 17, size=(5, 64))
        np.savetxt(tmp_path / "x.csv", x, delimiter=",", fmt="%d")
        assert cli("score", run_folder, tmp_path / "x.csv", "--out", tmp_path / "s.npy").code == 0
        expected = tfdgm.load(run_folder).log_prob(x.reshape(5, 8, 8))
        np.testing.assert_allclose(np.load(tmp_path / "s.npy"), expected, rtol=1e-5)

    @pytest.mark.slow
    def test_conditions_are_taken_from_the_columns_that_they_were_trained_on(self, cli, fails, tmp_path):
        rows = np.random.default_rng(0).normal(size=(300, 4)).astype("float32")
        np.savetxt(tmp_path / "t.csv", rows, delimiter=",", header="age,x,height,y", comments="", fmt="%.9g")
        run, out = tmp_path / "run", tmp_path / "s.npy"
        small = ["--model=MAF", "--set=model.hidden_units=[4]", "--set=model.num_layers=1", "--epochs=1"]
        data = f"--data={tmp_path}/t.csv"
        assert cli("train", *small, data, "--condition=height, age", "--output", run).code == 0
        model = tfdgm.load(run)
        assert model.event_shape == (2,) and model.condition_shape == (2,)

        expected = model.log_prob(rows[:, [1, 3]], rows[:, [2, 0]])
        out = [out, "--overwrite"]
        for flags in ([], ["--condition=height,age"]):
            assert cli("score", run, tmp_path / "t.csv", "--out", *out, *flags).out.startswith("300 scores")
            np.testing.assert_allclose(np.load(out[0]), expected, rtol=1e-5)
        assert "300 rows" in cli("evaluate", run, data, "--split=all").out

        swapped = ["--condition=age,height", "--out", *out]  # The same names mean the same.
        assert cli("score", run, tmp_path / "t.csv", *swapped).code == 0
        np.testing.assert_allclose(np.load(out[0]), expected, rtol=1e-5)
        evaluated = {cli("evaluate", run, data, *flags).out for flags in ([], ["--condition=age,height"])}
        assert len(evaluated) == 1 and "nats" in evaluated.pop()
        moved = "--condition must have 'age' at its place in training: height,age. Received: age,x"
        assert moved in fails("score", run, tmp_path / "t.csv", "--out", *out, "--condition=age,x", code=2)
        assert moved in fails("evaluate", run, data, "--condition=age,x", code=2)

        np.save(tmp_path / "x.npy", rows[:, [1, 3]])
        assert cli("score", run, tmp_path / "x.npy", "--out", *out, "--condition=0.5,2").code == 0
        np.testing.assert_allclose(np.load(out[0]), model.log_prob(rows[:, [1, 3]], np.float32([0.5, 2])), rtol=1e-5)
        line = fails("score", run, tmp_path / "x.npy", "--out", *out)
        assert "a condition is read from a column of a table" in line and "--condition=NUMBERS" in line
        assert "no column 'weight' for the condition" in fails(
            "score", run, tmp_path / "t.csv", "--out", *out, "--condition=weight"
        )

    def test_every_batch_has_one_size(self, cli, vector_model, tmp_path, monkeypatch):
        sizes = []
        log_prob = tfdgm.DensityModel.log_prob
        monkeypatch.setattr(tfdgm.DensityModel, "log_prob", lambda m, x, c: sizes.append(len(x)) or log_prob(m, x, c))
        cli("score", vector_model / "model", vector_model / "rows.npy", "--out", tmp_path / "s.npy")
        assert sizes == [4096, 4096]


class TestErrors:
    @pytest.mark.parametrize(
        "text,message",
        [
            ("1,2,3\n1,two,3\n", "line 2"),
            ("1,2,3\n1,2\n", "line 2"),
            ("", "x.csv"),
            ("a,b,c\n", "x.csv"),
            ("1,2,3\n1,nan,3\n", "line 2"),
            ("1,2\n3,4\n", "Expected rows of event_shape=(3,). Received: (2,)"),
        ],
    )
    def test_bad_rows_leave_the_old_scores(self, fails, vector_model, tmp_path, text, message):
        (tmp_path / "x.csv").write_text(text)
        (tmp_path / "s.csv").write_text("old")
        line = fails("score", vector_model / "model", tmp_path / "x.csv", "--out", tmp_path / "s.csv", "--overwrite")
        assert message in line
        assert (tmp_path / "s.csv").read_text() == "old"
        assert {p.name for p in tmp_path.iterdir()} == {"x.csv", "s.csv"}

    @pytest.mark.parametrize("source", ["x.csv", "*.csv", ""])
    def test_out_is_among_the_inputs(self, fails, vector_model, tmp_path, source):
        (tmp_path / "x.csv").write_text("1,2,3\n" * 3)
        line = fails("score", vector_model / "model", tmp_path / source, "--out", tmp_path / "." / "x.csv", code=2)
        assert "--out would replace a file that is to be scored" in line
        assert (tmp_path / "x.csv").read_text() == "1,2,3\n" * 3

    def test_images_of_another_shape_with_as_many_pixels(self, fails, run_folder, tmp_path):
        np.save(tmp_path / "wide.npy", np.zeros((30, 4, 16), int))
        for command in (["score", run_folder, tmp_path / "wide.npy", "--out", tmp_path / "s.csv"],
                        ["evaluate", run_folder, "--data", tmp_path / "wide.npy"]):  # fmt: skip
            assert "Expected rows of event_shape=(8, 8). Received: (4, 16)" in fails(*command)

    def test_missing_input(self, fails, vector_model, tmp_path):
        assert "none.csv" in fails("score", vector_model / "model", tmp_path / "none.csv", "--out", tmp_path / "s.csv")

    @pytest.mark.parametrize("name", ["s.csv", "s.npy"])
    def test_a_full_disk(self, fails, vector_model, tmp_path, name):
        (tmp_path / name).write_text("old")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        try:
            line = fails("score", vector_model / "model", vector_model / "rows.npy", "--out", tmp_path / name, "--overwrite")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert "File too large" in line
        assert (tmp_path / name).read_text() == "old" and [p.name for p in tmp_path.iterdir()] == [name]
