"""Room is taken before a file is written, where the system can; elsewhere nothing is lost."""

import ctypes
import errno
from pathlib import Path

import pytest
import torch

from clora_ext.errors import StorageError
from clora_ext.formats import allocate as module
from clora_ext.formats.allocate import allocate
from clora_ext.formats.checkpoint import Checkpoint, Source, write_checkpoint

NUMBERS = torch.arange(1 << 20, dtype=torch.int32)


def write(folder: Path) -> Path:
    write_checkpoint(folder / "numbers.safetensors", {"numbers": Source.of(NUMBERS)}, {})
    return folder / "numbers.safetensors"


def refusing(code: int) -> object:
    """A system that cannot take the room."""

    def fallocate(descriptor: int, mode: int, start: int, size: int) -> int:
        ctypes.set_errno(code)
        return -1

    return lambda: fallocate


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "fallocate64"), reason="needs Linux")
def test_the_room_is_taken_at_once(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.write(b"begin")
        file.flush()
        allocate(file.fileno(), 1 << 20)
    found = (tmp_path / "file").stat()
    assert found.st_size == 1 << 20
    assert found.st_blocks * 512 >= 1 << 20
    assert (tmp_path / "file").read_bytes()[:6] == b"begin\0"


def test_a_full_disk_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_fallocate", refusing(errno.ENOSPC))
    with pytest.raises(StorageError, match="no space left"):
        write(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_system_that_cannot_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = write(tmp_path).read_bytes()
    for code in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINTR):
        monkeypatch.setattr(module, "_fallocate", refusing(code))
        assert write(tmp_path).read_bytes() == taken
    assert torch.equal(Checkpoint(tmp_path / "numbers.safetensors").read("numbers"), NUMBERS)
