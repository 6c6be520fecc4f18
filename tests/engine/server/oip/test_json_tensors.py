"""JSON's numbers, cut out and read apart, against Python's own parser."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift.server.errors import InvalidRequest, RequestError, TooLarge
from gearshift.server.limits import Limits
from gearshift.server.oip import json_tensors
from gearshift.server.oip.json_tensors import JsonText, number_text

LIMITS = Limits()


def only_numbers(text: str) -> np.ndarray:
    parsed = JsonText(text.encode(), LIMITS)
    return parsed.numbers(parsed.value["data"])


@pytest.mark.parametrize("piece", [1, 7, 2**16])
def test_nested_numbers_come_in_order(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_tensors, "PIECE", piece)
    tensor = np.random.default_rng(3).normal(size=(2, 3, 5, 7)).astype(np.float32)
    for text in (json.dumps(tensor.tolist()), json.dumps(tensor.tolist(), indent=1)):
        numbers = only_numbers(f'{{"data" :  {text}, "shape": [2, 3, 5, 7]}}')
        np.testing.assert_array_equal(numbers.astype(np.float32), tensor.ravel())


@pytest.mark.parametrize("piece", [4, 12, 2**16])
@given(
    values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1),
    columns=st.integers(1, 4),
)
def test_written_numbers_are_read_exactly(piece: int, values: list[float], columns: int) -> None:
    tensor = np.array(values * columns, np.float32).reshape(-1, columns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_tensors, "PIECE", piece)
        text = b"".join(number_text(tensor)).decode()
        np.testing.assert_array_equal(json.loads(f"[{text}]"), tensor.ravel())
        again = only_numbers(f'{{"data": [{text}]}}').astype(np.float32)
    assert again.tobytes() == tensor.tobytes()


def test_numbers_that_json_has_not_are_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        list(number_text(np.array([1.0, np.nan], np.float32)))


def test_several_tensors_keep_apart() -> None:
    text = '{"inputs": [{"data": [1, 2]}, {"data": [[3.5]], "name": "x"}], "a": {"data": [4]}}'
    parsed = JsonText(text.encode(), LIMITS)
    first, second = parsed.value["inputs"]
    assert parsed.numbers(first["data"]).tolist() == [1, 2]
    assert parsed.numbers(second["data"]).tolist() == [3.5]
    assert second["name"] == "x"
    assert parsed.numbers(parsed.value["a"]["data"]).tolist() == [4]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(['"data": [1, 2]', '\\"data": [1]', "[1, 2]", "data"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("data"), inner),
    max_leaves=12,
)


@given(value=JSON)
def test_everything_but_number_arrays_is_as_pythons_parser_reads_it(value: Any) -> None:
    parsed = JsonText(json.dumps(value).encode(), LIMITS)

    def same(ours: Any, theirs: Any) -> bool:
        if isinstance(theirs, list) and isinstance(ours, str):
            return flat(theirs) == parsed.numbers(ours).tolist()
        if isinstance(theirs, list):
            return len(ours) == len(theirs) and all(map(same, ours, theirs))
        if isinstance(theirs, dict):
            return ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in theirs)
        return bool(ours == theirs)

    try:
        assert same(parsed.value, value)
    except InvalidRequest:
        # An array under "data" that is not one of numbers was asked for its numbers.
        assert not all(type(n) in (int, float) for n in flat(value))


def flat(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [leaf for inner in value for leaf in flat(inner)]
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in flat(inner)] or [None]
    return [value]


@pytest.mark.parametrize(
    "data",
    [
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1][2]",
        "[1],[2]",
        "[[1]",
        "[1]]",
        "[[1],[2]",
        "[NaN]",
        "[Infinity]",
        "[-Infinity, 1]",
        "[null]",
        "[true]",
        "[1, null]",
        "[01]",
        "[1e]",
        "[.5]",
        "[1,,2]",
        '["1"]',
        "[{}]",
        "[[1], {}]",
        "[\x00]",
        "[1",
        "5",
        '"5"',
        "null",
        "{}",
    ],
)
def test_what_is_no_array_of_numbers_is_refused(data: str) -> None:
    with pytest.raises(InvalidRequest):
        only_numbers(f'{{"data": {data}}}')


def test_whole_numbers_beyond_64_bits_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="other"):
        only_numbers(f'{{"data": [{10**30}, "x"]}}'.replace(', "x"', ""))


def test_marks_cannot_be_guessed() -> None:
    parsed = JsonText(b'{"data": "0"}', LIMITS)
    for mark in ("0", "-0", 0, None, ["x"], {}):
        with pytest.raises(InvalidRequest):
            parsed.numbers(mark)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[" + ",".join(['{"data": [1]}'] * 17) + "]", "16 tensors"),
        ('{"a": "' + "x" * LIMITS.json_bytes + '"}', "numbers of tensors aside"),
        ("[" * 40 + "]" * 40, "deep"),
        ('{"data": ' + "[" * 2**20 + "1" + "]" * 2**20 + "}", "brackets"),
    ],
)
def test_too_much_is_refused(text: str, word: str) -> None:
    with pytest.raises(TooLarge, match=word):
        only_numbers(text)


@given(
    text=st.binary(max_size=200) | st.text(alphabet='"data:[]{},1 \\', max_size=80).map(str.encode)
)
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    try:
        JsonText(text, LIMITS)
    except RequestError:
        with pytest.raises((ValueError, RecursionError)):
            json.loads(text.decode("utf-8", "strict"), parse_constant=int)
