"""Bytes leave every cache that the system lets one empty."""

import errno
import os
import sys
from pathlib import Path

import pytest

from clora_ext.formats.flush import flush
from clora_ext.project.storage import replace_text, sync_folder

fcntl = pytest.importorskip("fcntl")
FULL = 51  # F_FULLFSYNC in macOS's fcntl.h


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the system is asked for on a macOS; nothing is really flushed."""
    calls: list[str] = []

    def control(descriptor: int, command: int) -> int:
        assert command == FULL
        calls.append("drive")
        return 0

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", FULL, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", control)
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append("system"))
    return calls


def test_on_macos_the_drives_cache_is_emptied(asked: list[str], tmp_path: Path) -> None:
    replace_text(tmp_path / "manifest.json", "{}")
    assert sync_folder(tmp_path)
    assert asked == ["drive", "drive"]


def test_where_the_drive_cannot_the_system_is_asked(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, command: int) -> int:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    replace_text(tmp_path / "manifest.json", "{}")
    assert asked == ["system"]


def test_elsewhere_the_system_alone_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "fsync", calls.append)
    flush(7)
    assert calls == [7]
