"""Photograph the page for the README: ``make screenshot COMFYUI_DIR=...``."""

import shutil
import tempfile
from pathlib import Path

from browser import ask_page, shot_of
from server import HERE, pack_in, running
from workflows import demo_model

ROOT = HERE.parents[1]
_SECONDS = 900


def main() -> None:
    """Teach the demo model the dog on ComfyUI's page."""
    pictures = sorted((ROOT / "examples" / "dog_images").glob("*.png"))[:4]
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        pack_in(base)
        (base / "input").mkdir()
        for picture in pictures:
            shutil.copy(picture, base / "input")
        with running(base) as comfy:
            graph = demo_model(tuple(picture.name for picture in pictures))
            workflow = ask_page(url=comfy.url, convert={"demo": graph})["demo"]
            found = shot_of(comfy.url, workflow, ROOT / "docs" / "images" / "comfyui.png", seconds=_SECONDS)
            print(found)


if __name__ == "__main__":
    main()
