"""What runs through the command begin with: pictures, quick options, a project that has learned."""

from dataclasses import dataclass
from pathlib import Path

from calling import Called
from PIL import Image

FAST = ["--steps", "3", "--rank", "2", "--batch-size", "2", "--sample-steps", "2", "--sample-count", "1"]


def pictures(folder: Path, seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    for number in range(2):
        Image.new("RGB", (40, 40), (seed, 90 * number, 9)).save(folder / f"{number}.png")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@dataclass(frozen=True)
class Taught:
    folder: Path
    called: Called
