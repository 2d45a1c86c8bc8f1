"""A real ComfyUI loads what clora writes: whole, at full strength, and draws with it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from graphs import text_to_image, text_to_image_with_lora
from PIL import Image
from real_shapes import random_checkpoint, sd1_header
from server import HARMLESS, HERE, Comfy
from small_runs import pictures
from taught import FAST, Taught

from clora_ext import Pictures, Request, Settings, add_concept, export_checkpoint, export_to

pytestmark = pytest.mark.comfyui


def drawn(comfy: Comfy, graph: dict[str, dict[str, object]]) -> np.ndarray:
    (file,) = comfy.pictures(comfy.run(graph))
    return np.asarray(Image.open(file).convert("RGB"), dtype=np.float32)


def test_an_exported_checkpoint_draws_and_misses_nothing(comfy: Comfy) -> None:
    picture = drawn(comfy, text_to_image("taught.safetensors", "sks dog"))
    assert picture.shape == (64, 64, 3)
    assert picture.std() > 1
    assert comfy.trouble() == []


def test_it_draws_something_else_than_its_base(comfy: Comfy) -> None:
    # A prompt of its own: what ComfyUI 0.8 has drawn already, it does not tell of again.
    graphs = [text_to_image(f"{name}.safetensors", "a sks dog") for name in ("taught", "base")]
    taught, base = (drawn(comfy, graph) for graph in graphs)
    assert np.abs(taught - base).max() > 2


def test_a_model_of_full_size_draws_too(comfy: Comfy, tmp_path: Path) -> None:
    base = random_checkpoint(tmp_path / "base.safetensors", sd1_header())
    settings = Settings.of(
        steps=1, warmup_steps=0, rank=4, batch_size=1, resolution=64, sample_count=1, sample_steps=2
    )
    images = pictures(tmp_path / "dog_images")
    add_concept(Request(Pictures(images), tmp_path / "model", base=base, settings=settings))
    export_to(tmp_path / "model", "comfyui", comfy.base, name="full")
    assert drawn(comfy, text_to_image("full.safetensors", "sks dog")).std() > 1
    assert comfy.trouble() == []


@pytest.mark.parametrize("name", ["extracted", "kept"])
def test_our_loras_apply_whole(comfy: Comfy, name: str) -> None:
    drawn(comfy, text_to_image_with_lora("base.safetensors", f"{name}.safetensors", "sks dog"))
    assert comfy.trouble() == []


def test_a_word_that_learned_its_own_row_is_read_as_an_embedding(
    comfy: Comfy, taught: Taught, tmp_path: Path
) -> None:
    """On the base, a LoRA with the words of docs/lora_files.md draws as the checkpoint does."""
    models, file = comfy.base / "models", tmp_path / "row.safetensors"
    source = Pictures(pictures(tmp_path / "dog_images"), export_lora=file)
    settings = FAST.with_values(learning_rate=0.02, warmup_steps=0)
    add_concept(Request(source, tmp_path / "model", base=taught.base, settings=settings))
    export_checkpoint(tmp_path / "model", models / "checkpoints" / "row.safetensors")
    (models / "embeddings").mkdir(exist_ok=True)
    for folder in ("loras", "embeddings"):
        shutil.copy(file, models / folder / "row.safetensors")
    whole = drawn(comfy, text_to_image("row.safetensors", "a picture of sks dog"))

    def distance(prompt: str) -> float:
        graph = text_to_image_with_lora("base.safetensors", "row.safetensors", prompt)
        return float(np.abs(drawn(comfy, graph) - whole).mean())

    by_name, by_row = distance("a picture of sks dog"), distance("a picture of embedding:row dog")
    print(by_name, by_row)
    assert by_row < 0.2 * by_name


def test_its_modules_give_our_numbers(tree: Path, taught: Taught) -> None:
    found = figures(tree, taught.checkpoint)
    print(found)
    assert {name: value for name, value in found["difference"].items() if value > 1e-4} == {}
    assert [line for line in found["lines"] if not any(word in line for word in HARMLESS)] == []


@pytest.mark.parametrize("name", ["extracted", "kept"])
def test_a_lora_changes_every_layer_by_exactly_its_delta(tree: Path, taught: Taught, name: str) -> None:
    found = figures(tree, taught.base, getattr(taught, name))
    print(found)
    assert found["applied"] == found["layers"] > 0
    assert found["worst"] < 1e-6
    assert [line for line in found["lines"] if not any(word in line for word in HARMLESS)] == []


def figures(tree: Path, checkpoint: Path, lora: Path | None = None) -> dict[str, object]:
    """What ``parity.py`` measures, in a process of its own: ComfyUI wants one."""
    command = [
        sys.executable,
        str(HERE / "parity.py"),
        str(tree),
        str(checkpoint),
        *([str(lora)] if lora else []),
    ]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found
