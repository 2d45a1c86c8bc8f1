"""What files ask of clora, as tests write them."""

from pathlib import Path
from typing import Any

from clora_ext.kohya.asked import Asked, asked_by
from clora_ext.kohya.check import Checked, check
from clora_ext.kohya.finding import errors

__all__ = ["RATE", "asked", "checked", "said"]

RATE = "learning_rate = 1e-4\n"
"""Without which nothing is trained."""


def asked(folder: Path, train: str = "", data: str = "", **flags: Any) -> Asked:
    """Of a training file, a dataset file and flags; none of them is wrong."""
    files = []
    for name, text in (("train.toml", train), ("data.toml", data)):
        if text:
            (folder / name).write_text(text, encoding="utf-8")
            files.append(folder / name)
    checked = check(files)
    assert not errors(checked.findings), [one.sentence for one in errors(checked.findings)]
    return asked_by(checked, flags)


def checked(folder: Path, text: str, name: str = "train.toml") -> Checked:
    """One file of this text, checked."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return check([path])


def said(found: Checked) -> dict[str, tuple[str, str]]:
    """The last finding about each key: its verdict and message."""
    return {one.key: (one.verdict, one.message) for one in found.findings}
