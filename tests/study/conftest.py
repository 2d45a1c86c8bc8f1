"""A small study of a tiny real model: two concepts, two orders, two strategies."""

from pathlib import Path

import pytest
from tiny_model import write_tiny_model

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


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its file, with the base beside it; not to be changed by a test."""
    folder = tmp_path_factory.mktemp("study")
    write_tiny_model(folder / "tiny.safetensors")
    (folder / "tiny.toml").write_text(STUDY, encoding="utf-8")
    return folder / "tiny.toml"
