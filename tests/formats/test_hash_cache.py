"""A base's hash is remembered as long as its file is the same, and by nobody but its user."""

import json
import os
from hashlib import sha256
from itertools import product
from pathlib import Path

import pytest
from cases import check_each, empty_folder

from clora_ext.errors import CheckpointError
from clora_ext.formats import hash_cache
from clora_ext.formats.hash_cache import cached_sha256

OLD = 1_700_000_000_000_000_000  # nanoseconds: long ago, so that the file counts as settled


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of its own; gives the file."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    forget(monkeypatch)
    return tmp_path / "cache" / "clora" / "hashes.json"


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process."""
    monkeypatch.setattr(hash_cache, "_entries", {})


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return settled(tmp_path / "base.safetensors", b"base")


def settled(path: Path, content: bytes, time: int = OLD) -> Path:
    path.write_bytes(content)
    os.utime(path, ns=(time, time))
    return path


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def test_a_file_that_did_not_change_is_not_read_again(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cached_sha256(base) == digest(b"base")
    monkeypatch.setattr(hash_cache, "file_sha256", lambda path: pytest.fail(f"{path} was read again"))
    assert cached_sha256(base) == digest(b"base")
    forget(monkeypatch)
    assert cached_sha256(base) == digest(b"base")


def test_whatever_differs_the_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(case: tuple[str, str]) -> None:
        change, process = case
        base = settled(empty_folder(tmp_path) / "base.safetensors", b"base")
        cached_sha256(base)
        if process == "new process":
            forget(monkeypatch)
        if change == "size":
            settled(base, b"longer")
        elif change == "time":
            settled(base, b"ESAB", OLD + 1)
        else:
            os.replace(settled(base.with_name("other"), b"ESAB"), base)
        assert cached_sha256(base) == digest(base.read_bytes()) != digest(b"base")

    check_each(product(["size", "time", "inode"], ["same process", "new process"]), check)


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path, cache: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.write_bytes(b"first")
    assert cached_sha256(fresh) == digest(b"first")
    times = fresh.stat().st_mtime_ns
    settled(fresh, b"again", times)  # as on a disk whose clock is coarse
    assert cached_sha256(fresh) == digest(b"again")
    assert not cache.exists()


NONSENSE = [
    b"", b"\xff", b"null", b"[" * 100_000, b'{"version": 1}', b'{"version": 1, "files": [1]}',
    b'{"version": 2, "files": {"PATH": [4, 1700000000000000000, INODE, "HASH"]}}',
    b'{"version": 1, "files": {"PATH": [4, 1700000000000000000, INODE, "../"]}}',
    b'{"version": 1, "files": {"PATH": [4, 1700000000000000000, INODE]}}',
    b'{"version": 1, "files": {"PATH": {"0": 4}, "PATH": 3}}',
]  # fmt: skip


def test_nonsense_in_the_cache_is_passed_over(
    base: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.parent.mkdir(parents=True)

    def check(content: bytes) -> None:
        forget(monkeypatch)
        filled = content.replace(b"PATH", str(base).encode()).replace(b"HASH", b"0" * 64)
        cache.write_bytes(filled.replace(b"INODE", str(base.stat().st_ino).encode()))
        assert cached_sha256(base) == digest(b"base")
        assert list(json.loads(cache.read_text(encoding="utf-8"))["files"]) == [str(base)]

    check_each(NONSENSE, check)


@pytest.mark.skipif(os.name == "nt", reason="no such modes on Windows")
def test_what_others_could_have_written_is_not_believed(
    base: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = {"version": 1, "files": {str(base): [4, OLD, base.stat().st_ino, "0" * 64]}}
    cache.parent.mkdir(parents=True)

    def check(fault: str) -> None:
        forget(monkeypatch)
        cache.unlink(missing_ok=True)
        cache.write_text(json.dumps(planted), encoding="utf-8")
        assert cached_sha256(base) == "0" * 64  # this user's own word is taken
        forget(monkeypatch)
        if fault == "writable by others":
            cache.chmod(0o666)
        elif fault == "a link":
            cache.rename(cache.with_name("elsewhere"))
            cache.symlink_to("elsewhere")
        else:
            cache.unlink()
            os.mkfifo(cache)
        assert cached_sha256(base) == digest(b"base")

    check_each(["writable by others", "a link", "a pipe"], check)


def test_without_a_place_for_the_cache_hashes_are_taken_all_the_same(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cached_sha256(base) == digest(b"base")


def test_only_the_newest_are_kept_and_nothing_else_lies_there(tmp_path: Path, cache: Path) -> None:
    for number in range(hash_cache._MOST + 3):
        cached_sha256(settled(tmp_path / f"{number}", b"x"))
    kept = json.loads(cache.read_text(encoding="utf-8"))["files"]
    assert list(kept) == [str(tmp_path / f"{number}") for number in range(3, hash_cache._MOST + 3)]
    assert list(cache.parent.iterdir()) == [cache]


def test_a_missing_file_is_a_checkpoint_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot read"):
        cached_sha256(tmp_path / "none")
