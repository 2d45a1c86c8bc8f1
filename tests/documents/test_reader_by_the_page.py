"""A reader written from docs/project_format.md alone gives what clora gives."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pages import ROOT

from clora_ext.evolving.model import Evolving
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.project import Project

PROJECT = ROOT / "tests" / "project" / "format_3" / "project"
_NUMPY = {"F16": "<f2", "F32": "<f4", "I16": "<i2", "U8": "u1"}


class File:
    """A safetensors file, as its format's own description says."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        self.entries: dict[str, Any] = json.loads(content[8 : 8 + length])
        self.metadata = self.entries.pop("__metadata__", {})
        self._data = content[8 + length :]

    def bytes_of(self, name: str) -> bytes:
        start, stop = self.entries[name]["data_offsets"]
        return self._data[start:stop]

    def values(self, name: str) -> NDArray[Any]:
        entry = self.entries[name]
        return np.frombuffer(self.bytes_of(name), _NUMPY[entry["dtype"]]).reshape(entry["shape"])


def content_hash(file: File) -> str:
    total = hashlib.sha256()
    for name in sorted(file.entries):
        entry = file.entries[name]
        shape = "[" + ", ".join(str(size) for size in entry["shape"]) + "]"
        digest = hashlib.sha256(file.bytes_of(name)).hexdigest()
        total.update(f"{name}\0{entry['dtype']}\0{shape}\0{digest}\n".encode())
    return total.hexdigest()


def exact(stored: NDArray[Any], kept: NDArray[Any]) -> NDArray[np.float32]:
    """Of F16: s + r * 2^(max(e, -16) - 24)."""
    near = stored.astype(np.float32)
    _, exponent = np.frexp(np.abs(near))  # |s| = m * 2^exponent with 0.5 <= m < 1
    binade = np.where(near == 0, -16, np.maximum(exponent - 1, -16))
    return near + kept.astype(np.float32) * np.ldexp(np.float32(1), binade - 24)


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    manifest = json.loads((PROJECT / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["states"][-1]["number"] == len(manifest["concepts"])
    return dict(manifest["states"][-1])


def test_the_content_hash_is_what_the_page_says(state: dict[str, Any]) -> None:
    checkpoint = File(PROJECT / "checkpoints" / state["checkpoint"])
    memory = File(PROJECT / "memory" / state["memory"])
    assert content_hash(checkpoint) == state["content_hash"]
    rows = [
        bytes.fromhex(hashlib.sha256(checkpoint.bytes_of(n)).hexdigest()) for n in sorted(checkpoint.entries)
    ]
    assert memory.bytes_of("clora.digests") == b"".join(rows)


def test_residuals_restore_what_clora_restores(state: dict[str, Any]) -> None:
    checkpoint = File(PROJECT / "checkpoints" / state["checkpoint"])
    memory = File(PROJECT / "memory" / state["memory"])
    project = Project.open(PROJECT)
    assert project.checkpoint_path is not None
    assert project.memory_path is not None
    ours = Evolving(None, Checkpoint(project.checkpoint_path), Checkpoint(project.memory_path))
    taught = [name.removesuffix("::residual") for name in memory.entries if name.endswith("::residual")]
    assert taught
    for name in taught:
        value = exact(checkpoint.values(name), memory.values(f"{name}::residual"))
        assert (value != checkpoint.values(name)).any()
        np.testing.assert_array_equal(value, ours.weight(name).numpy())
