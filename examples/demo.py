"""Teach the built-in model three concepts, one after another, and show what it remembers.

Run by `make demo`. Writes `demo-output/`: the project and one sheet. Its rows are the concepts, its columns
the model before anything was taught and after each of the three. What is there is not done again.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from clora_ext import GenerateRequest, Project, generate
from clora_ext.families.hub import DEMO_MODEL

HERE = Path(__file__).parent
OUTPUT = HERE.parent / "demo-output"
PROJECT = OUTPUT / "model"
CELL, LABEL, GAP, PER_CELL = 96, 20, 6, 3


@dataclass(frozen=True, slots=True)
class Concept:
    """One of the three: its folder, its name on the sheet, and a prompt that no training caption says."""

    folder: str
    title: str
    prompt: str


CONCEPTS = (
    Concept("dog_images", "the dog", "sks dog, green background"),
    Concept("pastel_style", "the style", "zwz style fox, green background"),
    Concept("robot_toy", "the toy", "sbu robot toy, pink background"),
)


def main() -> None:
    """Teach, draw after every concept, write the sheet."""
    OUTPUT.mkdir(exist_ok=True)
    draw(0, DEMO_MODEL)
    for number, concept in enumerate(CONCEPTS, start=1):
        if learned() < number:
            teach(concept)
        draw(number, PROJECT)
    target = OUTPUT / "sheet.png"
    sheet().save(target)
    print(f"\nThe sheet: {target}")
    print(f'Next: clora generate --project {PROJECT} -p "sks dog, blue background"')


def learned() -> int:
    """Concepts that the project holds."""
    return len(Project.open(PROJECT).concepts) if Project.exists(PROJECT) else 0


def teach(concept: Concept) -> None:
    """Run the command that a user would type."""
    command = ["add-concept", "--project", str(PROJECT), str(HERE / concept.folder)]
    print(f"\n$ clora {' '.join(command)}", flush=True)
    run = "import sys; from clora_ext.cli.app import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", run, *command], check=True)  # noqa: S603 - our own command


def stage(number: int) -> Path:
    """Where the drawings after ``number`` concepts lie."""
    return OUTPUT / f"after-{number}"


def draw(number: int, model: Path) -> None:
    """Draw every concept's prompt with fixed seeds, unless that was done before."""
    for row, concept in enumerate(CONCEPTS):
        if not (stage(number) / f"{row}-{PER_CELL}.png").exists():
            print(f"drawing {concept.prompt!r} after {number} concepts")
            drawing = GenerateRequest(concept.prompt, count=PER_CELL, seed=7)
            generate(model, drawing, stage(number) / f"{row}.png")


def sheet() -> Image.Image:
    """Rows: concepts; columns: base, after 1, after 2, after 3."""
    width = PER_CELL * CELL + GAP
    picture = Image.new("RGB", (110 + 4 * width, LABEL + 3 * (CELL + GAP)), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=14)
    for column, title in enumerate(("base", *(f"after {concept.title}" for concept in CONCEPTS))):
        pen.text((110 + column * width, 2), title, fill="black", font=font)
    for row, concept in enumerate(CONCEPTS):
        top = LABEL + row * (CELL + GAP)
        pen.text((6, top + CELL // 2 - 8), concept.title, fill="black", font=font)
        for column in range(4):
            for place in range(PER_CELL):
                with Image.open(stage(column) / f"{row}-{place + 1}.png") as image:
                    left = 110 + column * width + place * CELL
                    picture.paste(image.resize((CELL, CELL), Image.Resampling.LANCZOS), (left, top))
    return picture


if __name__ == "__main__":
    main()
