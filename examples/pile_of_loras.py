"""One pile of LoRAs against one model: the same three concepts, prompts and noises, on the demo model.

    python examples/pile_of_loras.py

- alone: three LoRA files, each trained over the base as any trainer does; each draws its own concept.
- stacked: the same three files together, each at weight 1, as a user interface adds them up.
- one model: the three concepts taught one after another by `clora add-concept` with its default strategy.

Writes `demo-output/pile/`: the projects, the LoRA files and `pile.png`. What is there is not done again. At
the end it prints how like the held-out pictures 32 drawings or more of each concept are, on the scale of
`measure_forgetting.py`: 0 % is the base model, 100 % the autoencoder's rendering of those pictures.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from PIL import Image, ImageDraw, ImageFont

from clora_ext import GenerateRequest, Project, generate
from clora_ext.config.precision import pick_precision
from clora_ext.families import detect
from clora_ext.families.hub import DEMO_MODEL
from clora_ext.families.model import Model
from clora_ext.formats.composed import open_model
from clora_ext.scoring import open_scorer
from clora_ext.study.concept import Question, find_concept
from clora_ext.study.file import ConceptEntry, Evaluation
from clora_ext.study.judging import Judge, Scores, draw, rendered

HERE = Path(__file__).parent
OUTPUT = HERE.parent / "demo-output" / "pile"
STACKED, ONE = OUTPUT / "stacked", OUTPUT / "one-model"
TITLES = ("each LoRA file alone", "all three files stacked", "one model, taught one by one")
CELL, PER_CELL, GAP, LEFT, TOP = 96, 3, 14, 200, 30
SIZE = 64


@dataclass(frozen=True, slots=True)
class Concept:
    """One of the three: its folder, its trigger, and a prompt that no training caption says."""

    folder: str
    token: str
    class_name: str
    prompt: str

    @property
    def alone(self) -> Path:
        """The project that has learned this concept only."""
        return OUTPUT / "alone" / self.folder

    @property
    def lora(self) -> Path:
        """What it has learned, as a file."""
        return OUTPUT / f"{self.folder}.safetensors"


CONCEPTS = (
    Concept("dog_images", "sks", "dog", "sks dog, green background"),
    Concept("pastel_style", "zwz", "style", "zwz style fox, green background"),
    Concept("robot_toy", "sbu", "robot toy", "sbu robot toy, pink background"),
)


def main() -> None:
    """Teach, stack, draw; what was done before is left as it is."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for concept in CONCEPTS:
        if not learned(concept.alone):
            teach(concept, concept.alone, "--strategy", "merge", "--export-lora", str(concept.lora))
    for concept in CONCEPTS[learned(STACKED) :]:
        stack = ("--project", str(STACKED), "--strategy", "merge", "--weight", "1", "--token", concept.token)
        clora("add-lora", *stack, str(concept.lora))
    for concept in CONCEPTS[learned(ONE) :]:
        teach(concept, ONE)
    sheet().save(OUTPUT / "pile.png", optimize=True)
    print(f"\nThe picture: {OUTPUT / 'pile.png'}", flush=True)
    print_likeness()


def learned(project: Path) -> int:
    """Concepts that the project holds."""
    return len(Project.open(project).concepts) if Project.exists(project) else 0


def teach(concept: Concept, project: Path, *options: str) -> None:
    """Teach the concept to the project's model; by the default strategy, unless the options say otherwise."""
    names = ("--project", str(project), "--token", concept.token)
    clora("add-concept", *names, *options, str(HERE / concept.folder))


def clora(*words: str) -> None:
    """Run the command that a user would type."""
    print(f"\n$ clora {' '.join(words)}", flush=True)
    run = "import sys; from clora_ext.cli.app import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", run, *words], check=True)  # noqa: S603 - our own command


def models(concept: Concept) -> tuple[Path, Path, Path]:
    """The projects that draw the concept, one for each column."""
    return concept.alone, STACKED, ONE


def drawings(column: int, row: int) -> list[Path]:
    """The concept's prompt, drawn with the same noises by the model of each column."""
    concept = CONCEPTS[row]
    files = [OUTPUT / f"drawings-{column}" / f"{concept.folder}-{n}.png" for n in range(1, PER_CELL + 1)]
    if not all(file.exists() for file in files):
        target = files[0].with_name(f"{concept.folder}.png")
        generate(models(concept)[column], GenerateRequest(concept.prompt, count=PER_CELL, seed=7), target)
    return files


def sheet() -> Image.Image:
    """Rows: concepts; columns: alone, stacked, one model. In 256 colours, which keep the file small."""
    width = PER_CELL * CELL + GAP
    picture = Image.new("RGB", (LEFT + 3 * width, TOP + 3 * (CELL + GAP)), "white")
    pen, font, small = ImageDraw.Draw(picture), ImageFont.load_default(15), ImageFont.load_default(12)
    for column, title in enumerate(TITLES):
        pen.text((LEFT + column * width, 6), title, fill="black", font=font)
    for row, concept in enumerate(CONCEPTS):
        top = TOP + row * (CELL + GAP)
        pen.text((6, top + 16), concept.lora.name, fill="black", font=font)
        pen.text((6, top + 42), concept.prompt, fill="black", font=small)
        for column in range(3):
            for place, file in enumerate(drawings(column, row)):
                with Image.open(file) as image:
                    shown = image.resize((CELL, CELL), Image.Resampling.LANCZOS)
                picture.paste(shown, (LEFT + column * width + place * CELL, top))
    return picture.quantize(256, kmeans=3)


def print_likeness() -> None:
    """How like its held-out pictures each concept is drawn, for each column."""
    judge, base = Judge([open_scorer("demo")]), load(DEMO_MODEL)
    for concept in CONCEPTS:
        asked = questions(concept)
        floor = mean(judge.score(asked, drawn(base, asked)))
        top = mean(judge.score(asked, [rendered(base, one, SIZE) for one in asked]))
        for title, project in zip(TITLES, models(concept), strict=True):
            found = mean(judge.score(asked, drawn(load(Project.open(project).model_file()), asked)))
            print(f"{concept.folder}, {title}: {100 * (found - floor) / (top - floor):.0f} %", flush=True)


def load(file: Path) -> Model:
    """A checkpoint, ready to draw."""
    checkpoint = open_model(file)
    return detect(checkpoint.header, file).load(checkpoint, pick_precision())


def questions(concept: Concept) -> tuple[Question, ...]:
    """The held-out prompts of a concept, each with its pictures."""
    entry = ConceptEntry(concept.folder, concept.token, concept.class_name, concept.folder)
    return find_concept(entry, HERE / concept.folder, HERE / "held_out" / concept.folder).questions


def drawn(model: Model, asked: tuple[Question, ...]) -> list[list[Image.Image]]:
    """Every prompt with the same eight noises."""
    return [draw(model, one.prompt, Evaluation(), SIZE) for one in asked]


def mean(scores: Scores) -> float:
    """Over all drawings, by the one scorer."""
    (by_prompt,) = scores.values()
    return fmean(value for row in by_prompt for value in row)


if __name__ == "__main__":
    main()
