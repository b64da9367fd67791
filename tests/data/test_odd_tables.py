"""Tables as other programs write them: read as pandas reads them, or refused in a line that says what helps."""

import decimal
import gzip
import io
import re
import warnings

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from tfdgm import data
from tfdgm.data import tables

AB = "a,b\n1,2\n3.5,4\n"
FRAME = pd.DataFrame({"a": [1.0, 3.5, -2.0], "b": [2, 4, 6]})


def text(of, encoding="utf-8"):
    return lambda path: path.write_bytes(of.encode(encoding))


def parquet(**columns):
    return lambda path: pyarrow.parquet.write_table(pyarrow.table(columns), path)


def rows(path, **options):
    return np.concatenate(list(data.stream(path, 2, **options)))


def read(path, **options):
    """(rows, columns) by `stream` and by `load_arrays`, which must agree."""
    streamed = rows(path, **options)
    content = data.load_arrays(path, dtype="float64", valid_fraction=0.0, test_fraction=0.0, **options)
    part = content.parts["train"]
    np.testing.assert_array_equal(part.x[np.sort(part.rows)], streamed)
    return streamed, content.columns


#: File's name, what writes it, options, the arguments of pandas.read_csv (or the frame itself), and what is said.
READ = {
    "semicolons": ("a.csv", text('"fixed acidity";"pH"\n7.4;3.5\n7;3\n'), {}, {"sep": ";"}, None),
    "decimal commas": ("a.csv", text("a;b\n1,5;2,5\n-3;4,25\n"), {}, {"sep": ";", "decimal": ","}, None),
    "decimal commas without a header": (
        "a.csv",
        text("1,5;2,5\n3,5;4\n"),
        {},
        {"sep": ";", "decimal": ",", "header": None},
        None,
    ),
    "quoted decimal commas": ("a.csv", text('a,b\n"1,5","2,25"\n3,4\n'), {}, {"decimal": ","}, None),
    "one column of decimal commas": ("a.csv", text("a\n1,5\n2,25\n"), {"decimal": ","}, {"sep": ";", "decimal": ","}, None),
    "one column with a space in its name": ("a.csv", text("fixed acidity\n7.4\n7\n"), {}, {}, None),
    "one column of a tsv": ("a.tsv", text("a\n1,5\n2,25\n"), {}, {"sep": "\t", "decimal": ","}, None),
    "spaces after commas": ("a.csv", text("a, b, c\n1, 2, 3\n4, 5, 6\n"), {}, {}, None),
    "a no-break space in a name": ("a.csv", text("20\u00a0°C,b\n1,2\n"), {}, {}, None),
    "tabs": ("a.csv", text("a\tb\n1\t2\n3\t4\n"), {}, {"sep": "\t"}, None),
    "tsv": ("a.TSV", text("a\tb\n1\t2\n3\t4\n"), {}, {"sep": "\t"}, None),
    "bars": ("a.csv", text("a|b\n1|2\n3|4\n"), {}, {"sep": "|"}, None),
    "savetxt as it comes": ("a.csv", lambda path: np.savetxt(path, FRAME), {}, {"sep": " ", "header": None}, None),
    "savetxt's header": (
        "a.csv",
        lambda path: np.savetxt(path, FRAME, delimiter=",", header="made by hand\na,b"),
        {},
        {"skiprows": [0], "names": ["a", "b"], "comment": "#"},
        None,
    ),
    "Excel's first line": ("a.csv", text("sep=;\r\na;b\r\n1;2\r\n3;4\r\n"), {}, {"sep": ";", "skiprows": 1}, None),
    "a delimiter that is said": ("a.csv", text("a;b\n1;2\n"), {"delimiter": ";"}, {"sep": ";"}, None),
    "a tab that is said in words": ("a.csv", text("a b\tc\n1\t2\n"), {"delimiter": "\\t"}, {"sep": "\t"}, None),
    "text with the other delimiter": ("a.csv", text("a;t\n1,5;x, y\n2;z\n"), {"keep": ["a"]}, {"sep": ";", "decimal": ","}, None),
    "gzip": ("a.csv.gz", lambda path: path.write_bytes(gzip.compress(AB.encode())), {}, {}, None),
    "gzip by another name": (
        "a.csv",
        lambda path: path.write_bytes(gzip.compress(AB.encode())),
        {},
        {"compression": "gzip"},
        None,
    ),
    "gzip's name without it": ("a.csv.gz", text(AB), {}, {"compression": None}, None),
    "gzip of UTF-16": (
        "a.csv.gz",
        lambda path: path.write_bytes(gzip.compress(AB.encode("utf-16"))),
        {},
        {"encoding": "utf-16"},
        None,
    ),
    "UTF-16 with its mark": ("a.csv", text(AB, "utf-16"), {}, {"encoding": "utf-16"}, None),
    "UTF-16 of Excel, with tabs": (
        "a.csv",
        text("a\tb\n1,5\t2\n", "utf-16"),
        {},
        {"encoding": "utf-16", "sep": "\t", "decimal": ","},
        None,
    ),
    "UTF-16 without its mark": ("a.csv", text(AB, "utf-16-be"), {}, {"encoding": "utf-16-be"}, None),
    "UTF-32": ("a.csv", text(AB, "utf-32"), {}, {"encoding": "utf-32"}, None),
    "UTF-8 with its mark": ("a.csv", text(AB, "utf-8-sig"), {"encoding": "utf-8"}, {}, None),
    "cp1252 that is said": ("a.csv", text("20 °C,b\n1,2\n", "cp1252"), {"encoding": "cp1252"}, {"encoding": "cp1252"}, None),
    "no-break spaces": ("a.csv", text("a,b\n1,2\n3\u00a0,\u00a04\n"), {}, pd.DataFrame({"a": [1, 3], "b": [2, 4]}), None),
    "old Macs' lines": ("a.csv", text("a,b\r1,2\r3,4\r"), {}, {"lineterminator": "\r"}, None),
    "no end of the last line": ("a.csv", text("a,b\n1,2\n3,4"), {}, {}, None),
    "lines of spaces": ("a.csv", text("a,b\n1,2\n  \n3,4\n \n"), {}, {}, None),
    "a cell with a line break": ("a.csv", text('a,t\n1,"x\ny"\n2,z\n'), {"ignore": ["t"]}, {}, None),
    "a numbered header": (
        "a.csv",
        text("0,1,2\n1,2,3\n4,5,6\n"),
        {},
        {},
        r"line 1, 0,1,2, is taken for a header; header=False \(--noheader\)",
    ),
    "a numbered header of one column": ("a.csv", text("0\n0.5\n0.25\n"), {}, {}, "line 1, 0, is taken for a header"),
    "a numbered row": ("a.csv", text("0,1,2\n1,2,3\n"), {"header": False}, {"header": None}, None),
    "a header of years": ("a.csv", text("2019,2020\n1,2\n"), {"header": True}, {}, None),
    "pandas's index": ("a.csv", FRAME.to_csv, {}, {"index_col": 0}, "the first column, '', is taken for an index, and left out"),
    "pandas's index of numbered columns": (
        "a.csv",
        lambda path: pd.DataFrame([[0.5, 1.5], [2.5, 3.5]]).to_csv(path),
        {},
        {"index_col": 0},
        "the first column",
    ),
    "pandas's index, saved twice": (
        "a.csv",
        lambda path: pd.read_csv(io.StringIO(FRAME.to_csv())).to_csv(path, index=False),
        {},
        {"index_col": 0},
        "the first column, 'Unnamed: 0', is taken for an index",
    ),
    "an index that is asked for": ("a.csv", FRAME.to_csv, {"keep": ["", "a"]}, {"usecols": [0, 1]}, None),
    "a delimiter at the end": (
        "a.csv",
        text("a;b;\n1;2;\n3;4;\n"),
        {},
        {"sep": ";", "usecols": ["a", "b"]},
        "column 3 has neither a name nor values",
    ),
    "yes and no": ("a.csv", text("a,b\n1.5,True\n2,False\n3,true\n"), {}, {}, None),
    "thousands": ("a.csv", text('a,b\n"1,234.5",1\n"12,345,678",2\n'), {}, {"thousands": ","}, None),
    "thousands and decimal commas": (
        "a.csv",
        text("a;b\n1.234,5;1\n2.345;2\n"),
        {},
        {"sep": ";", "decimal": ",", "thousands": "."},
        None,
    ),
    "thousands that are said": ("a.csv", text('a,b\n"1,234",1\n'), {"decimal": "."}, {"thousands": ","}, None),
    "apostrophes between thousands": ("a.csv", text("a,b\n1'234'567.5,1\n"), {}, {"thousands": "'"}, None),
    "columns in an order": ("a.csv", text("a,b,c\n1,2,3\n"), {"keep": ["c", "a"]}, {}, None),
    "dates that are left out": ("a.csv", text("day,a\n2020-01-01,1\n2020-01-02,2\n"), {"ignore": ["day"]}, {}, None),
    "a name twice": ("a.csv", text("a,a,b\n1,2,3\n"), {}, pd.DataFrame([[1, 2, 3]], columns=["a", "a", "b"]), None),
    "parquet: an index that is a range": ("a.parquet", FRAME.to_parquet, {}, FRAME, None),
    "parquet: a filtered frame": (
        "a.parquet",
        FRAME.loc[[2, 0, 1]].to_parquet,
        {},
        FRAME.loc[[2, 0, 1]],
        "column '__index_level_0__' is the index",
    ),
    "parquet: a named index": (
        "a.parquet",
        FRAME.set_index(pd.Index([7, 5, 6], name="id")).to_parquet,
        {},
        FRAME,
        "column 'id' is the index",
    ),
    "parquet: two indices": (
        "a.parquet",
        FRAME.assign(k=[1, 2, 3], day=pd.to_datetime(["2020-01-01"] * 3)).set_index(["k", "day"]).to_parquet,
        {},
        FRAME,
        "is the index",
    ),
    "parquet: an index that is asked for": (
        "a.parquet",
        FRAME.set_index(pd.Index([7, 5, 6], name="id")).to_parquet,
        {"keep": ["b", "id"]},
        FRAME.assign(id=[7, 5, 6])[["b", "id"]],
        None,
    ),
    "parquet: nullable": (
        "a.parquet",
        FRAME.assign(c=[True, False, True]).convert_dtypes().to_parquet,
        {},
        FRAME.assign(c=[1, 0, 1]),
        None,
    ),
    "parquet: pandas on pyarrow": ("a.parquet", FRAME.convert_dtypes(dtype_backend="pyarrow").to_parquet, {}, FRAME, None),
    "parquet: decimals": (
        "a.parquet",
        parquet(a=[decimal.Decimal("1.50"), decimal.Decimal("-2.25")], h=pyarrow.array([0.5, 1], pyarrow.float16())),
        {},
        pd.DataFrame({"a": [1.5, -2.25], "h": [0.5, 1.0]}),
        None,
    ),
    "parquet: times that are left out": (
        "a.parquet",
        FRAME.assign(day=pd.to_datetime(["2020-01-01"] * 3), name="x").to_parquet,
        {"ignore": ["day", "name"]},
        FRAME,
        None,
    ),
    "parquet: a point in a name": (
        "a.parquet",
        parquet(**{"a.b": [1.0], "a": [2.0], "c": [3.0]}),
        {"keep": ["c", "a"]},
        pd.DataFrame({"c": [3.0], "a": [2.0]}),
        None,
    ),
    "parquet: metadata that are no JSON": (
        "a.parquet",
        lambda path: pyarrow.parquet.write_table(pyarrow.table({"a": [1.0]}).replace_schema_metadata({"pandas": "{"}), path),
        {},
        pd.DataFrame({"a": [1.0]}),
        None,
    ),
}


@pytest.mark.parametrize("case", READ)
def test_read_as_by_pandas(tmp_path, case):
    name, write, options, by, said = READ[case]
    path = tmp_path / name
    write(path)
    expected = by
    if isinstance(by, dict):
        expected = pd.read_csv(path, skipinitialspace=True, **by).rename(columns={"Unnamed: 0": ""})
        expected = expected[options["keep"]] if "keep" in options else expected.drop(columns=options.get("ignore", []))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        x, columns = read(path, **options)
    np.testing.assert_array_equal(x, expected.to_numpy(dtype=float))
    has_names = not isinstance(by, dict) or by.get("header", "infer") is not None
    assert columns == (tuple(map(str, expected.columns)) if has_names else None)
    what_is_said = " ".join(str(warning.message) for warning in caught)
    assert re.search(said, what_is_said) if said else not what_is_said


#: File's name, what writes it, options, and what the line says.
REFUSED = {
    "a comma that may be either": (
        "a.csv",
        text('a,b\n"1,234",1\n"5,678",2\n'),
        {},
        r"'1,234', with decimals after the comma \(--decimal=,\) or with thousands",
    ),
    "both marks for decimals": (
        "a.csv",
        text("a;b\n1,5;2\n2.5;2\n"),
        {},
        r"line 2, column 1 \(a\).*'1,5', not a number; --decimal=, reads it",
    ),
    "a decimal comma further down": (
        "a.csv",
        text("a;b\n" + "1;2\n" * 200 + "1,5;2\n"),
        {},
        r"line 202, column 1 \(a\).*--decimal=, reads it",
    ),
    "a numbered line of integers": ("a.csv", text("0,1\n1,1\n"), {}, r"line 1: 0,1 may be a row, .*\(--header, --noheader\)"),
    "numbers and names": ("a.csv", text("name,2019\n1,2\n"), {}, r"line 1, column 1: 'name' is not a number.*\(--header\)"),
    "cp1252": ("a.csv", text("20 °C,b\n1,2\n", "cp1252"), {}, r"expected text in UTF-8.*byte 0xb0.*--encoding=cp1252"),
    "cp1252 further down": (
        "a.csv",
        text("a,b\n" + "1,2\n" * 9000 + "1,2 °\n", "cp1252"),
        {},
        r"line 9002, column 2.*in UTF-8 \(--encoding\)",
    ),
    "another encoding than is said": ("a.csv", text("ä,b\n1,2\n", "utf-8"), {"encoding": "ascii"}, "expected text in ASCII"),
    "columns of text": (
        "a.csv",
        text("day,a,who\n2020-01-01,1,me\n2020-01-02,2,you\n"),
        {},
        r"columns 'day', 'who': expected numbers. Received: '2020-01-01', not a number; 'me', .*--ignore=day,who",
    ),
    "dates of parquet": (
        "a.parquet",
        FRAME.assign(day=pd.to_datetime(["2020-01-01"] * 3), name="x").to_parquet,
        {},
        r"columns 'day', 'name': expected numbers. Received: timestamp\[us\]; (large_)?string.*--ignore=day,name",
    ),
    "a missing decimal": ("a.parquet", parquet(a=[decimal.Decimal("1.50"), None]), {}, "row 1, column 0 .*nan is not finite"),
    "a missing nullable": (
        "a.parquet",
        pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}).to_parquet,
        {},
        "row 1, column 0",
    ),
    "a column to ignore that is not there": ("a.csv", text(AB), {"ignore": ["A"]}, "no column 'A' to ignore. Did you mean 'a'"),
    "a column to keep that is not there": (
        "a.csv",
        text("price,b\n1,2\n"),
        {"keep": ["pric"]},
        "no column 'pric'. Did you mean 'price'",
    ),
    "columns to ignore without names": (
        "a.csv",
        text("1,2\n3,4\n"),
        {"ignore": ["a"]},
        r"2 columns without names. Expected: a; see header",
    ),
    "all columns ignored": ("a.csv", text(AB), {"ignore": ["a", "b"]}, "no column is left"),
    "a condition twice in the header": (
        "a.csv",
        text("a,a,b\n1,2,3\n"),
        {"condition": "a"},
        "'a' for the condition is not one: columns 1 and 2",
    ),
    "a condition twice in parquet": (
        "a.parquet",
        lambda path: pyarrow.parquet.write_table(pyarrow.Table.from_arrays([pyarrow.array([1.0])] * 3, ["b", "a", "b"]), path),
        {"condition": "b"},
        "columns 1 and 3",
    ),
    "a column to ignore twice in the header": (
        "a.csv",
        text("a,a,b\n1,2,3\n"),
        {"ignore": ["a"]},
        "'a' to ignore is not one: columns 1 and 2",
    ),
    "a condition named twice": ("a.csv", text(AB), {"condition": ["b", "b"]}, "a condition of different columns"),
    "a condition that is ignored": ("a.csv", text(AB), {"condition": "b", "ignore": ["b"]}, "none of them in ignore"),
    "Excel": (
        "a.csv",
        lambda path: path.write_bytes(b"PK\x03\x04" + bytes(40)),
        {},
        "Received: a zip archive, or a sheet of Excel",
    ),
    "parquet by another name": ("a.csv", FRAME.to_parquet, {}, "expected text. Received: parquet"),
    "gzip that ends too soon": (
        "a.csv.gz",
        lambda path: path.write_bytes(gzip.compress(bytes(range(48, 58)) * 99)[:20]),
        {},
        "a.csv.gz is damaged",
    ),
    "a line without an end": ("a.csv", text("1" * 2**22), {}, "line 1: expected less than 4,194,304 characters"),
    "steering of the terminal": ("a.csv", text("a\x1b[31m,b\n1,2\nx,3\n"), {}, r"column 1 \(a\\x1b\[31m\)"),
    "a missing value": ("a.csv", text("a,b\n1,\n2,3\n"), {}, r"line 2, column 2 \(b\).*an empty cell"),
    "rows of another width": (
        "a.csv",
        text("a;b\n1;2\n1;2;3\n"),
        {},
        r"line 3: expected 2 columns as in the first line, divided by ';' \(--delimiter\)",
    ),
    "one column of decimal commas": ("a.csv", text("a\n1,5\n2,5\n"), {}, "line 2: expected 1 columns.*--decimal=, takes commas"),
    "thousands further down": ("a.csv", text("a,b\n" + "1,2\n" * 200 + '"1,234",2\n'), {}, "--decimal=. or --decimal=, reads it"),
    "a quote alone": ("a.csv", text('"'), {}, "a.csv is empty"),
    "a header of an array that is cut": (
        "a.npy",
        lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': ('<f8',"),
        {},
        "a.npy is damaged",
    ),
    "percent": ("a.csv", text("a,b\n1%,2\n3,4\n"), {}, "'1%', not a number"),
    "underscores": ("a.csv", text("a,b\n1_000,2\n3,4\n"), {}, "'1_000', not a number"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_a_line(tmp_path, case):
    name, write, options, message = REFUSED[case]
    write(tmp_path / name)
    with pytest.raises(data.DataError, match=message) as raised:
        data.load_arrays(tmp_path / name, **options)
    assert len(str(raised.value).splitlines()) == 1 and "\x1b" not in str(raised.value)
    if "condition" not in options:
        with pytest.raises(data.DataError, match=message):
            rows(tmp_path / name, **options)


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"header": 1}, "Expected header to be True or False. Received: header=1"),
            ({"keep": "a"}, "Expected keep to be a list of different names. Received: keep='a'"),
            ({"keep": []}, "keep to be a list"),
            ({"ignore": ["a", "a"]}, "ignore to be a list of different names"),
            ({"keep": ["a"], "ignore": ["a"]}, "A column is in keep or in ignore, not in both. Received: a"),
            ({"delimiter": ";;"}, "delimiter to be one character"),
            ({"delimiter": "a"}, "delimiter to be one character"),
            ({"decimal": ";"}, "decimal to be '.' or ','"),
            ({"encoding": "utf-9"}, "encoding to be the name of an encoding"),
            ({"encoding": "base64"}, "encoding to be the name of an encoding"),
            ({"size": [32]}, r"size to be \(height, width\)"),
            ({"size": [0, 3]}, r"size to be \(height, width\)"),
            ({"fit": "squeeze"}, "fit to be 'resize' or 'crop'"),
            ({"color": "red"}, "color to be True or False"),
            ({"columms": ["a"]}, "There is no option of reading files 'columms'"),
        ],
    )
    def test_refused(self, tmp_path, options, message):
        (tmp_path / "a.csv").write_text(AB)
        with pytest.raises(data.DataError, match=message):
            data.load_arrays(tmp_path / "a.csv", **options)
        with pytest.raises(data.DataError, match=message):
            data.stream(tmp_path / "a.csv", 10, **options)


class TestColumnsOfATrainedModel:
    """`columns` are the names of x in training."""

    def test_what_was_left_out_in_training_may_be_missing(self, tmp_path):
        (tmp_path / "a.csv").write_text("b,a\n1,2\n")
        np.testing.assert_array_equal(rows(tmp_path / "a.csv", ignore=["id"], columns=["a", "b"]), [[2, 1]])

    def test_the_error_of_a_further_column_says_what_leaves_it_out(self, tmp_path):
        (tmp_path / "a.csv").write_text("a,b,id\n1,2,3\n")
        with pytest.raises(data.DataError, match=r"a column 'id', which is not expected.*--ignore=id"):
            rows(tmp_path / "a.csv", columns=["a", "b"])

    def test_an_index_that_was_modelled_is_read(self, tmp_path):
        FRAME.to_csv(tmp_path / "a.csv")
        expected = pd.read_csv(tmp_path / "a.csv").to_numpy()
        np.testing.assert_array_equal(rows(tmp_path / "a.csv", columns=["", "a", "b"]), expected)

    def test_files_without_names_are_read_by_places(self, tmp_path):
        (tmp_path / "a.csv").write_text("1,2\n")
        np.testing.assert_array_equal(rows(tmp_path / "a.csv", keep=["a", "b"], columns=["a", "b"]), [[1, 2]])


class TestConditions:
    @pytest.mark.parametrize("suffix", ["csv", "parquet"])
    def test_beside_columns_that_are_kept(self, tmp_path, suffix):
        frame = FRAME.assign(c=[7, 8, 9], day="x")
        path = tmp_path / f"a.{suffix}"
        frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
        for options in ({"keep": ["b", "a"]}, {"ignore": ["day"], "columns": ["b", "a"]}):
            content = data.load_arrays(path, condition="c", valid_fraction=0.0, test_fraction=0.0, **options)
            part = content.parts["train"]
            assert content.columns == ("b", "a")
            np.testing.assert_array_equal(part.x, frame[["b", "a"]].to_numpy())
            np.testing.assert_array_equal(part.condition, frame[["c"]].to_numpy())


class TestSeveralFiles:
    def test_of_several_suffixes(self, tmp_path):
        (tmp_path / "1.csv").write_text(AB)
        (tmp_path / "2.csv.gz").write_bytes(gzip.compress(AB.encode()))
        (tmp_path / "3.tsv").write_text(AB.replace(",", "\t"))
        np.testing.assert_array_equal(rows(tmp_path), pd.concat([pd.read_csv(tmp_path / "1.csv")] * 3).to_numpy())

    def test_names_of_partitions_are_said(self, tmp_path):
        for year in (2019, 2020):
            (tmp_path / f"year={year}").mkdir()
            FRAME.to_parquet(tmp_path / f"year={year}" / "part.parquet")
        for source in (tmp_path, tmp_path / "*" / "*.parquet"):
            with pytest.warns(
                UserWarning, match="what folders are named after is no column, and left out: year, as in year=2019"
            ):
                assert len(rows(source)) == 6
            with pytest.warns(UserWarning, match="year=2019"):
                data.load_arrays(source)
        assert len(rows(tmp_path / "year=2019")) == 3  # Where one is named, nothing is left out.

    def test_cells_for_which_pyarrow_is_too_strict_far_down(self, tmp_path, monkeypatch):
        monkeypatch.setattr("tfdgm.data.csv_files._BLOCK_BYTES", 256)
        (tmp_path / "a.csv").write_text("a,b\n" + "".join(f"{i},{-i}\n" for i in range(500)) + "True,7\u00a0\n1,2\n")
        expected = [[i, -i] for i in range(500)] + [[1, 7], [1, 2]]
        np.testing.assert_array_equal(rows(tmp_path / "a.csv"), expected)


class TestSuffix:
    @pytest.mark.parametrize(
        ("path", "suffix"), [("a.CSV", ".csv"), ("b/a.csv.GZ", ".csv.gz"), ("a.npy.gz", ".npy.gz"), ("a", ""), ("a.b/c", "")]
    )
    def test_suffix(self, path, suffix):
        assert tables.suffix_of(path) == suffix
