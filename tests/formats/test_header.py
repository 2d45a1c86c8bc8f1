"""Headers: ours against the safetensors library, and why hostile ones are refused."""

import json
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import check_each
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from clora_ext.errors import CheckpointError
from clora_ext.formats.header import encode_header, layout, read_header


def write(
    path: Path, header: object, data: bytes = b"", length: int | None = None, *, blanks: bool = True
) -> Path:
    """``blanks``: between the parts of the JSON, where programs write none."""
    separators = None if blanks else (",", ":")
    body = header if isinstance(header, bytes) else json.dumps(header, separators=separators).encode()
    path.write_bytes(struct.pack("<Q", len(body) if length is None else length) + body + data)
    return path


def entry(start: int = 0, end: int = 4, dtype: str = "F32", shape: Any = (1,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def test_what_the_library_writes_is_read(tmp_path: Path) -> None:
    tensors = {
        "b": np.zeros((2, 3), np.float32),
        "a": np.ones(5, np.float16),
        "empty": np.zeros((0, 4), np.float32),
    }
    save_file(tensors, tmp_path / "x.safetensors", metadata={"k": "v"})
    header = read_header(tmp_path / "x.safetensors")
    assert header.metadata == {"k": "v"}
    assert {n: (i.dtype, i.shape) for n, i in header.tensors.items()} == {
        "b": ("F32", (2, 3)), "a": ("F16", (5,)), "empty": ("F32", (0, 4)),
    }  # fmt: skip


def test_tensors_are_laid_out_as_by_the_library(tmp_path: Path) -> None:
    tensors = {"z": np.zeros(3, np.float32), "a": np.ones(5, np.float16), "m": np.zeros(2, np.int64)}
    save_file(tensors, tmp_path / "x.safetensors")
    theirs = read_header(tmp_path / "x.safetensors").tensors
    ours = layout({"a": ("F16", (5,)), "m": ("I64", (2,)), "z": ("F32", (3,))})
    assert dict(theirs) == ours


def test_encoding_is_canonical() -> None:
    one = encode_header(layout({"a": ("F16", (5,)), "b": ("F32", (3,))}), {"x": "1", "y": "2"})
    two = encode_header(layout({"b": ("F32", (3,)), "a": ("F16", (5,))}), {"y": "2", "x": "1"})
    assert one == two
    assert len(one) % 8 == 0
    assert one[8:10] == b'{"'


HOSTILE: list[tuple[str, Any, bytes]] = [
    ("overlap", {"a": entry(0, 4), "b": entry(2, 6)}, b"\0" * 6),
    ("overlap", {"a": entry(0, 4), "b": entry(0, 4)}, b"\0" * 4),
    ("gap", {"a": entry(0, 4), "b": entry(8, 12)}, b"\0" * 12),
    ("cut off", {"a": entry(0, 4)}, b"\0" * 3),
    ("belong to no tensor", {"a": entry(0, 4)}, b"\0" * 5),
    ("unknown dtype", {"a": entry(dtype="PICKLE")}, b"\0" * 4),
    ("does not take", {"a": entry(shape=(2,))}, b"\0" * 4),
    ("impossible shape", {"a": entry(shape=(-1,))}, b"\0" * 4),
    ("impossible shape", {"a": entry(shape=(True,))}, b"\0" * 4),
    ("impossible offsets", {"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, b""),
    ("is not described", {"a": {"dtype": "F32"}}, b""),
    ("is not described as safetensors", {"a": 3}, b""),
    ("is not text", {"__metadata__": {"k": 3}}, b""),
    ("metadata is not text", {"__metadata__": ["k"]}, b""),
    ("not a table", [1, 2], b""),
    ("not valid JSON", b"{", b""),
    ("appears twice", b'{"__metadata__": {}, "__metadata__": {}}', b""),
    ("is not valid JSON", b"\xff\xfe", b""),
    ("the header is not a table", b"[" * 200_000, b""),
    ("not described as safetensors does (maximum", b'{"a":' + b"[" * 200_000, b""),
    ("(there is more", b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} {}', b"\0" * 4),
    ("impossible shape [922", {"a": entry(shape=(2**63,))}, b"\0" * 4),
    ("impossible shape [1, 1", {"a": entry(shape=(1,) * 17)}, b"\0" * 4),
    ("impossible offsets [0, 922", {"a": entry(0, 2**63)}, b"\0" * 4),
]


def test_hostile_headers_are_refused(tmp_path: Path) -> None:
    def check(case: tuple[str, Any, bytes]) -> None:
        reason, header, data = case
        for blanks in (True, False):
            file = write(tmp_path / "x.safetensors", header, data, blanks=blanks)
            with pytest.raises(CheckpointError, match=r"x\.safetensors") as caught:
                read_header(file)
            assert reason in caught.value.message
            assert caught.value.fix

    check_each(HOSTILE, check)


def _tensor(shape: str) -> str:
    return f'{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":[0,4]}}}}'


# Headers of about n characters, and what is said of them: once it took minutes, or megabytes of words.
LONG: dict[str, tuple[Callable[[int], str], str]] = {
    "one side of n digits": (lambda n: _tensor(f"[{'9' * n}]"), "is not described"),
    "sides of many digits": (lambda n: _tensor(f"[{(4000 * '9' + ',') * (n // 4001)}1]"), "is not described"),
    "many sides": (lambda n: _tensor(f"[{','.join('1' * (n // 2))}]"), "is not described"),
    "a name of n letters": (lambda n: '{"' + "a" * n + '":3}', "is not described"),
    "a dtype of n letters": (lambda n: '{"a":{"dtype":"' + "F" * n + '"}}', "is not described"),
    "nested lists": (lambda n: '{"a":' + "[" * n, "is not described"),
    "metadata that is a list": (lambda n: '{"__metadata__":[' + "[]," * (n // 3), "metadata is not text"),
    "many tensors": (
        lambda n: "{" + ",".join([_tensor("[0]")[1:-1]] * (n // 50)) + "}", "tensors, 50,000 are allowed"
    ),
    "many words": (
        lambda n: '{"__metadata__":{' + ",".join(f'"{i}":""' for i in range(n // 12)) + "}}", "10,000 entries"
    ),
    "blanks": (lambda n: '{"a"' + " " * n + "3}", "not valid JSON"),
}  # fmt: skip


def test_long_hostile_headers_are_refused_at_their_first_fault(tmp_path: Path) -> None:
    """Of megabytes, only reading them takes time; what is said of them fits on a screen."""
    size = 4_000_000

    def check(kind: str) -> None:
        make, words = LONG[kind]
        file = write(tmp_path / "x.safetensors", make(size).encode(), b"\0" * 4)
        began = time.process_time()
        with pytest.raises(CheckpointError, match=words) as caught:
            read_header(file)
        assert time.process_time() - began < 3  # seconds; the worst took 28 with half as many bytes
        assert len(str(caught.value)) < 1000

    check_each(LONG, check)


def test_the_usual_spelling_and_any_other_say_the_same(tmp_path: Path) -> None:
    tensors = {
        "a": entry(0, 24, "F32", (2, 3)),
        "b": entry(24, 34, "F16", (5,)),
        "scalar": entry(34, 42, "I64", ()),
        "empty": entry(42, 42, "F8_E4M3", (0, 4)),
        "many": entry(42, 43, "U8", (1,) * 16),
    }
    one, two = (
        read_header(write(tmp_path / f"{blanks}.safetensors", tensors, b"\0" * 43, blanks=blanks))
        for blanks in (True, False)
    )
    assert one.tensors == two.tensors
    assert {name: [*info.shape] for name, info in two.tensors.items()} == {
        name: one["shape"] for name, one in tensors.items()
    }


def test_a_huge_length_allocates_nothing(tmp_path: Path) -> None:
    def check(length: int) -> None:
        with pytest.raises(CheckpointError, match="claims"):
            read_header(write(tmp_path / "x.safetensors", b"{}", length=length))

    check_each([2**63, 2**64 - 1, 100_000_001, 50], check)


FOREIGN: dict[str, tuple[bytes, str]] = {
    "README.md": (b"# clora\n\nOne model, many concepts: \xc3\xa9\n" * 200, "is a text file"),
    "cut.txt": ("\u20ac".encode() * 2000, "is a text file"),
    "page.safetensors": (b"\n<!DOCTYPE html><html><body>404", "is a web page"),
    "lfs.safetensors": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "is a Git LFS pointer"),
    "a.png": (b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "is a PNG picture"),
    "a.jpg": (b"\xff\xd8\xff\xe0" + b"\0" * 30, "is a JPEG picture"),
    "a.webp": (b"RIFF\x10\0\0\0WEBPVP8 ", "is a WebP picture"),
    "a.heic": (b"\0\0\0\x18ftypheic" + b"\0" * 9, "is a HEIC picture"),
    "model.gguf": (b"GGUF\x03\0\0\0" + b"\0" * 30, "is a GGUF file"),
    "models.zip": (b"PK\x03\x04" + b"\0" * 22 + b"\x05\0\0\0a.txt", "is a zip archive"),
    "model.zip": (b"PK\x03\x04" + b"\0" * 22 + b"\x10\0\0\0archive/data.pkl", "is a pickle checkpoint"),
    "a.gz": (b"\x1f\x8b\x08" + b"\0" * 30, "is a gzip archive"),
    "empty.safetensors": (b"", "is empty"),
}


def test_files_of_other_kinds_are_called_what_they_are(tmp_path: Path) -> None:
    def check(name: str) -> None:
        content, words = FOREIGN[name]
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=words) as caught:
            read_header(tmp_path / name)
        assert "harm" not in str(caught.value)
        assert caught.value.fix

    check_each(FOREIGN, check)


def test_pickles_are_refused_with_the_reason(tmp_path: Path) -> None:
    def check(start: bytes) -> None:
        (tmp_path / "model.ckpt").write_bytes(start + b"\0" * 100)
        with pytest.raises(CheckpointError, match="pickle") as caught:
            read_header(tmp_path / "model.ckpt")
        assert "safetensors" in caught.value.fix

    check_each([b"PK\x03\x04", b"\x80\x02}", b"\x80\x04\x95"], check)


def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path: Path) -> None:
    def check(length: int) -> None:
        empty = json.dumps({"__metadata__": {"k": ""}})
        header = {"__metadata__": {"k": "x" * (length - len(empty))}}
        assert len(json.dumps(header)) == length
        assert read_header(write(tmp_path / "x.safetensors", header)).metadata == header["__metadata__"]

    check_each([0x280, 0x380, 0x480, 0x580, 0x10280], check)


def test_files_too_short_for_a_header_are_refused(tmp_path: Path) -> None:
    def check(content: bytes) -> None:
        (tmp_path / "x.safetensors").write_bytes(content)
        with pytest.raises(CheckpointError):
            read_header(tmp_path / "x.safetensors")

    check_each([b"", b"1234", b"\0" * 8], check)


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a folder"):
        read_header(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        read_header(tmp_path / "none.safetensors")


@given(st.binary(max_size=200))
def test_any_bytes_give_a_header_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(content)
    try:
        read_header(path)
    except CheckpointError as error:
        assert str(path) in error.message
