"""Photograph the page for README and docs: ``make screenshot COMFYUI_DIR=...``."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import launch  # noqa: F401 - before anything imports diffusers
import torch
from browser import ask_page, by_hand, shot_of
from graphs import numbered
from real_shapes import mini_sd1, write
from server import HERE, Comfy, pack_in, running
from workflows import BY_HAND, demo_model

ROOT = HERE.parents[1]
IMAGES = ROOT / "docs" / "images"
DOG = sorted((ROOT / "examples" / "dog_images").glob("*.png"))[:4]
_SECONDS = 900


def main() -> None:
    """Teach on ComfyUI's page: the demo model by a workflow, and a model of random weights by hand."""
    with tempfile.TemporaryDirectory() as folder, _server(Path(folder)) as comfy:
        graph = demo_model(tuple(picture.name for picture in DOG))
        workflow = ask_page(url=comfy.url, convert={"demo": numbered(graph)})["demo"]
        print(shot_of(comfy.url, workflow, IMAGES / "comfyui.png", seconds=_SECONDS))
        values = {"template": "1 first concept", "images": [str(picture) for picture in DOG]}
        print(by_hand(comfy.url, IMAGES / "first_concept.png", **values, texts=BY_HAND, seconds=_SECONDS))


@contextmanager
def _server(base: Path) -> Iterator[Comfy]:
    pack_in(base)
    (base / "input").mkdir()
    (base / "models" / "checkpoints").mkdir(parents=True)
    write(base / "models" / "checkpoints" / "mini.safetensors", mini_sd1(), torch.float16)
    for picture in DOG:
        shutil.copy(picture, base / "input")
    with running(base) as comfy:
        yield comfy


if __name__ == "__main__":
    main()
