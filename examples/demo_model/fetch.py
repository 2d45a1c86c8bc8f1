"""Fetching the artwork: three npm packages, each checked against its pinned hash."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from trainer import say

PACKAGES: Mapping[str, tuple[str, str]] = {
    "emoji-datasource-google": (
        "emoji-datasource-google@16.0.0",
        "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    ),
    "emoji-datasource-twitter": (
        "emoji-datasource-twitter@16.0.0",
        "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
    ),
    "fluent-emoji-3d": (
        "@lobehub/fluent-emoji-3d@1.1.0",
        "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
    ),
}
"""Folder name to npm package with version, and the sha256 of its archive."""


def fetch(packages: Path) -> None:
    """Bring every package that is not there into its folder under ``packages``; needs ``npm``."""
    for folder, (package, expected) in PACKAGES.items():
        if not (packages / folder).exists():
            say(f"fetching {package}")
            _fetch_one(packages / folder, package, expected)


def _fetch_one(target: Path, package: str, expected: str) -> None:
    """Pack into a temporary folder, check, unpack, and rename into place."""
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not installed; it fetches the emoji packages")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        room = Path(name)
        subprocess.run(  # noqa: S603 - names and versions stand above
            [npm, "pack", package, "--pack-destination", str(room)],
            check=True,
            capture_output=True,
        )
        archive = next(room.glob("*.tgz"))
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != expected:
            raise ValueError(f"{package}: the archive's sha256 is {found}, expected is {expected}")
        with tarfile.open(archive) as opened:
            opened.extractall(room, filter="data")
        (room / "package").rename(target)
