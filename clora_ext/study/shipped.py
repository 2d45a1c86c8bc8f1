"""The studies that clora ships, by name."""

from pathlib import Path

__all__ = ["SHIPPED", "shipped_study"]

_FOLDER = Path(__file__).parent / "studies"
SHIPPED = tuple(sorted(file.stem for file in _FOLDER.glob("*.toml")))
"""Their names."""


def shipped_study(name: str) -> str:
    """The text of the study file ``name``."""
    return (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")
