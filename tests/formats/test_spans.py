"""Bytes in files: parts of spans, and copies by the system or by hand."""

import os
from io import FileIO
from pathlib import Path

import pytest
from cases import check_each
from hypothesis import given
from hypothesis import strategies as st

from clora_ext.errors import CheckpointError
from clora_ext.formats import spans as module
from clora_ext.formats.spans import Span, part, reading

SPANS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=6)


@given(SPANS, st.data())
def test_a_part_of_spans_is_that_part_of_their_bytes(
    places: list[tuple[int, int]], data: st.DataObject
) -> None:
    here = Path("a")
    spans = [Span(here, start, length) for start, length in places]
    whole = [span.start + i for span in spans for i in range(span.length)]
    start = data.draw(st.integers(0, len(whole)))
    length = data.draw(st.integers(0, len(whole) - start))
    found = part(spans, start, length)
    assert [span.start + i for span in found for i in range(span.length)] == whole[start : start + length]
    assert all(span.length for span in found)


@pytest.fixture
def scattered(tmp_path: Path) -> tuple[list[Span], bytes]:
    """Three stretches of two files, the first longer than what is read at once."""
    first, second = os.urandom(module._CHUNK + 999), os.urandom(500)
    (tmp_path / "first").write_bytes(first)
    (tmp_path / "second").write_bytes(second)
    spans = [
        Span(tmp_path / "first", 7, module._CHUNK + 100),
        Span(tmp_path / "second", 0, 500),
        Span(tmp_path / "first", 3, 0),
    ]
    return spans, first[7 : module._CHUNK + 107] + second


def copied(spans: list[Span], target: Path) -> bytes:
    target.write_bytes(b"before")
    with reading() as files, FileIO(target, "r+") as file:
        file.seek(6)
        files.copy(spans, file)
    content = target.read_bytes()
    assert content.startswith(b"before")
    return content[6:]


def test_bytes_of_several_files_are_read_and_copied(
    scattered: tuple[list[Span], bytes], tmp_path: Path
) -> None:
    spans, expected = scattered
    with reading() as files:
        assert b"".join(bytes(chunk) for chunk in files.chunks(spans)) == expected
    assert copied(spans, tmp_path / "target") == expected


def test_bytes_are_read_and_written_where_the_system_does_not_copy_them(
    scattered: tuple[list[Span], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other systems have no such call; file systems refuse it, at once or after some bytes."""
    spans, expected = scattered

    def check(copies: int) -> None:
        calls = []

        def refuse(source: int, target: int, count: int, offset_src: int) -> int:
            calls.append(count)
            if len(calls) <= copies:
                return os.write(target, os.pread(source, 10, offset_src))
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(module.os, "copy_file_range", refuse, raising=False)
        assert copied(spans, tmp_path / "target") == expected
        assert calls

    check_each([0, 1], check)
    monkeypatch.delattr(module.os, "copy_file_range")
    assert copied(spans, tmp_path / "target") == expected


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"123")
    spans = [Span(tmp_path / "short", 1, 5)]
    with reading() as files, pytest.raises(CheckpointError, match="cut off"):
        files.read_into(spans, memoryview(bytearray(5)))
    with pytest.raises(CheckpointError, match="cut off"):
        copied(spans, tmp_path / "target")
    with reading() as files, pytest.raises(CheckpointError, match="cannot read"):
        list(files.chunks([Span(tmp_path / "gone", 0, 1)]))
