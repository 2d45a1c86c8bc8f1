"""A checkpoint that is hashed while it is read: the hash of one that is read for it, and one pass."""

from pathlib import Path

import pytest
import torch

from clora_ext.formats import spans
from clora_ext.formats.checkpoint import Checkpoint, Source, content_hash, write_checkpoint
from clora_ext.formats.hashed_reading import hashed_reading

TENSORS = {
    **{f"many.{number}": torch.full((3, 5), float(number)) for number in range(20)},
    "half": torch.arange(6, dtype=torch.float16).reshape(2, 3),
    "number": torch.tensor(7),
    "nothing": torch.zeros(0, 4),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_checkpoint(
        tmp_path / "x.safetensors", {name: Source.of(tensor) for name, tensor in TENSORS.items()}, {}
    )
    return tmp_path / "x.safetensors"


@pytest.mark.parametrize("share", [0, 7, len(TENSORS)])
def test_the_hash_is_the_same_however_much_was_read(file: Path, share: int) -> None:
    with hashed_reading(Checkpoint(file)) as checkpoint:
        for name in checkpoint.names[:share]:
            assert torch.equal(checkpoint.read(name).float(), TENSORS[name].float())
        assert checkpoint.content_hash() == content_hash(Checkpoint(file))


def test_no_byte_is_read_twice(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted, real = [], spans._read

    def counting(path: Path, opened: spans.FileIO, buffer: memoryview) -> int:
        counted.append(real(path, opened, buffer))
        return counted[-1]

    monkeypatch.setattr(spans, "_read", counting)
    with hashed_reading(Checkpoint(file)) as checkpoint:
        for name in checkpoint.names[5:]:
            checkpoint.read(name)
        checkpoint.content_hash()
    assert sum(counted) == sum(info.bytes for info in Checkpoint(file).header.tensors.values())


def test_a_changed_byte_is_another_hash(file: Path) -> None:
    written = content_hash(Checkpoint(file))
    with file.open("r+b") as opened:
        opened.seek(-3, 2)
        opened.write(b"?")
    for share in (0, len(TENSORS)):
        with hashed_reading(Checkpoint(file)) as checkpoint:
            for name in checkpoint.names[:share]:
                checkpoint.read(name)
            assert checkpoint.content_hash() != written
