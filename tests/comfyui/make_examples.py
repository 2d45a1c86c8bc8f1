"""Make the example workflows and their thumbnails: ``make example-workflows COMFYUI_DIR=...``."""

import json
import shutil
import tempfile
from pathlib import Path

from browser import ask_page, shot_of
from graphs import numbered
from PIL import Image
from server import HERE, pack_in, running
from workflows import EXAMPLES

TARGET = HERE.parents[1] / "example_workflows"
# The graph without the page's bars.
_CANVAS = (70, 80, 1590, 980)
_THUMBNAIL = (760, 450)


def main() -> None:
    """Have ComfyUI's own page turn prompts into workflows, and photograph each."""
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        pack_in(base)
        (base / "input").mkdir()
        dog = min((HERE.parents[1] / "examples" / "dog_images").glob("*.png"))
        shutil.copy(dog, base / "input" / "example.png")
        with running(base) as comfy:
            made = ask_page(
                url=comfy.url, convert={name: numbered(make()) for name, make in EXAMPLES.items()}
            )
            for name, workflow in made.items():
                text = json.dumps(workflow, indent=1, ensure_ascii=False)
                (TARGET / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
                shot = base / "shot.png"
                shot_of(comfy.url, workflow, shot)
                with Image.open(shot) as page:
                    small = page.convert("RGB").crop(_CANVAS).resize(_THUMBNAIL, Image.Resampling.LANCZOS)
                    small.save(TARGET / f"{name}.jpg", quality=85)
                print(name)


if __name__ == "__main__":
    main()
