import dataclasses
import json
import os
import typing

import pytest

from tfdgm.from_outside import OutsideError, check, is_plain, parse_json, read_text


@dataclasses.dataclass
class Inner:
    rows: int
    names: tuple[str, ...] | None = None


Outer = typing.TypedDict("Outer", {"class": str, "inner": Inner, "kind": typing.NotRequired[typing.Literal["a", "b"]]})
WHOLE = {"class": "x", "inner": {"rows": 3, "names": ["a"], "more": 1}, "kind": "b", "later": None}


class TestCheck:
    @pytest.mark.parametrize(
        ("value", "kind"),
        [
            (WHOLE, Outer),
            ({"class": "x", "inner": {"rows": 3}}, Outer),
            (3, int),
            (3, float),
            (float("nan"), float),
            (None, str | None),
            ([], list[str]),
            ((1, 2), list[int]),
            ([[1, None]], list[list[int | None]]),
            ({"a": 1}, dict),
            (object(), typing.Any),
        ],
    )
    def test_what_fits(self, value, kind):
        check(value, kind, "it")

    @pytest.mark.parametrize(
        ("value", "kind", "message"),
        [
            (True, int, "it must be int. Received: True"),
            (True, float, "it must be float"),
            (10**400, float, "it must be float. Received: 1000"),
            (3.0, int, "it must be int. Received: 3.0"),
            ("ab", list[str], "it must be list. Received: 'ab'"),
            ([1], list[str], r"it\[0\] must be str. Received: 1"),
            ([1], list[str] | None, r"it must be list\[str\] \| None. Received: \[1\]"),
            ("c", typing.Literal["a", "b"], r"it must be Literal\['a', 'b'\]. Received: 'c'"),
            ([], Outer, r"it must be dict. Received: \[\]"),
            ({}, Outer, "it must have class, inner. Received: nothing"),
            ({**WHOLE, "inner": {}}, Outer, r"it\.inner must have rows. Received: nothing"),
            ({**WHOLE, "inner": {"rows": "3"}}, Outer, r"it\.inner\.rows must be int. Received: '3'"),
            ({**WHOLE, "kind": 3}, Outer, r"it\.kind must be Literal"),
            ("x" * 10**6, int, "^it must be int. Received: 'x{79}...$"),
        ],
    )
    def test_what_does_not(self, value, kind, message):
        with pytest.raises(OutsideError, match=message):
            check(value, kind, "it")

    def test_plain_values(self):
        assert is_plain([None, True, 1, 2.5, "a", [(), ["b"]]])
        assert not is_plain([{}]) and not is_plain(object()) and not is_plain(b"a")


class TestReading:
    def test_the_text_of_a_file(self, tmp_path):
        (tmp_path / "a").write_text("ü\n")
        assert read_text(tmp_path / "a") == "ü\n"
        with pytest.raises(FileNotFoundError):
            read_text(tmp_path / "b")

    def test_what_is_no_text_or_has_no_end(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "binary").write_bytes(b"\xff")
        (tmp_path / "endless").symlink_to("/dev/zero")
        (tmp_path / "loop").symlink_to(tmp_path / "pipe")
        for name in ("pipe", "binary", "endless", "loop", "."):
            with pytest.raises(OutsideError, match="expected"):
                read_text(tmp_path / name)
        (tmp_path / "long").write_text("0123456789")
        with pytest.raises(OutsideError, match=r"expected 9 bytes at most. Received: 10"):
            read_text(tmp_path / "long", most_bytes=9)

    def test_json(self):
        assert parse_json(json.dumps(WHOLE), Outer) == WHOLE
        assert parse_json(b"[1]", list[int]) == [1]
        for text, message in (("{", "Expecting"), ("[" * 10**5, "too deeply"), ("1" * 10**5, "digits"), ("3", "must be dict")):
            with pytest.raises(OutsideError, match=message):
                parse_json(text, Outer)
