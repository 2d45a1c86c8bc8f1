"""What the shapes in a header do not tell of a family: the JSON file beside its module. Needs no torch."""

import json
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["family_data"]


@cache
def family_data(name: str) -> dict[str, Any]:
    """Of the family ``name``. Not to be changed."""
    file = Path(__file__).parent / f"{name}.json"
    data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return data
