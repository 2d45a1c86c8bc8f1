"""One ComfyUI for all tests here, and one small model of Stable Diffusion 1.5's shape that was taught."""

from collections.abc import Iterator
from pathlib import Path

import launch  # noqa: F401 - before anything imports diffusers
import pytest
import torch
from real_shapes import mini_sd1, write
from server import TREE, Comfy, running
from small_runs import pictures
from taught import FAST, Taught

from clora_ext import Pictures, Request, add_concept, export_checkpoint, export_lora, export_to


@pytest.fixture(scope="session")
def tree() -> Path:
    """ComfyUI's own source tree."""
    path = Path(TREE)
    assert (path / "main.py").is_file(), "these tests need COMFYUI_DIR: make test-comfyui COMFYUI_DIR=..."
    return path


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Taught:
    """Two concepts on random weights, text encoder too; exported whole, extracted, and the second kept."""
    folder = tmp_path_factory.mktemp("taught")
    base = write(folder / "base.safetensors", mini_sd1(), torch.float16)
    project, kept = folder / "model", folder / "kept.safetensors"
    add_concept(Request(Pictures(pictures(folder / "dog_images")), project, base=base, settings=FAST))
    second = pictures(folder / "toy_images", seed=1)
    add_concept(Request(Pictures(second, export_lora=kept), project, settings=FAST))
    checkpoint, extracted = folder / "taught.safetensors", folder / "extracted.safetensors"
    export_checkpoint(project, checkpoint)
    export_lora(project, extracted, rank=8)
    return Taught(base, project, checkpoint, extracted, kept)


@pytest.fixture(scope="session")
def comfy(tree: Path, taught: Taught, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comfy]:
    """A running ComfyUI with the taught model in its folders, put there by ``clora export --to comfyui``."""
    base = tmp_path_factory.mktemp("comfyui")
    (base / "models" / "checkpoints").mkdir(parents=True)
    (base / "models" / "loras").mkdir()
    export_to(taught.project, "comfyui", base, name="taught")
    for file in (taught.extracted, taught.kept):
        (base / "models" / "loras" / file.name).symlink_to(file)
    (base / "models" / "checkpoints" / "base.safetensors").symlink_to(taught.base)
    with running(base, "--disable-all-custom-nodes") as server:
        yield server
