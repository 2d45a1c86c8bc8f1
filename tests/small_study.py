"""A study that takes seconds: two concepts, two orders and two strategies, on a tiny model."""

import json
from pathlib import Path
from typing import Any

STUDY = """
title = "A tiny study"
base = "tiny.safetensors"

[settings]
steps = 3
rank = 2
batch_size = 2
warmup_steps = 1
targets = "attention"

[evaluation]
noises = 2
steps = 2
drift_prompts = ["a tiger"]

[grid]
orders = [["dog", "robot"], ["robot", "dog"]]

[[concepts]]
name = "dog"
drawn = "dog"
token = "sks"
class_name = "dog"

[[concepts]]
name = "robot"
drawn = "robot"
token = "sbu"
class_name = "robot toy"

[[strategies]]
name = "merge"

[[strategies]]
name = "mask"

[[forecasts]]
figure = "plasticity"
strategy = "merge"
above = -100.0
"""

ONE_ORDER = STUDY.replace('[["dog", "robot"], ["robot", "dog"]]', '[["dog", "robot"]]').replace(
    'drift_prompts = ["a tiger"]', ""
)


def measured(folder: Path) -> dict[str, dict[str, Any]]:
    """Every result, without what it cost and when it was made."""
    found = {}
    for file in sorted((folder / "results").glob("*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        found[file.stem] = {name: value for name, value in content.items() if name not in {"cost", "made"}}
    return found


def small(place: Path, base: Path, text: str = ONE_ORDER) -> Path:
    """A study file of its own, with the base beside it."""
    place.mkdir(exist_ok=True)
    (place / base.name).hardlink_to(base)
    file = place / "small.toml"
    file.write_text(text, encoding="utf-8")
    return file


def children(parent: int) -> list[int]:
    """Workers: the processes that import clora."""
    import psutil

    found = psutil.Process(parent).children()
    return [one.pid for one in found if "spawn_main" in " ".join(one.cmdline())]
