"""Measure how much each strategy learns and keeps, on the demo model, with the offline scorer.

    python examples/measure_forgetting.py --output demo-output/forgetting [--strategies mask merge ...]

Three concepts are taught one after another. After each, 32 pictures a concept are drawn, by prompts that no
training caption says and with the same noises for every model, and compared with held-out pictures of the
concept on the same background: the mean cosine of the scorer's image vectors. Two marks give the scale:

- floor: the base model, asked with the same prompts and noises;
- ceiling: the VAE's reconstructions of the held-out pictures themselves.

learned: the share of the way from floor to ceiling that a concept has covered right after it was taught.
kept: the share of that gain which is still there after the last concept.

The first concept is the same for every strategy, bit for bit, so it is taught once: by `naive`, whose memory
(its adapter) no other strategy reads.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clora_ext import Pictures, Project, Request, Settings, add_concept, strategies
from clora_ext.config.precision import pick_precision
from clora_ext.data import Concept, name_concept
from clora_ext.families import detect
from clora_ext.families.base import Model
from clora_ext.families.hub import DEMO_MODEL
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.scoring.demo import DemoScorer, load_demo_scorer

HERE = Path(__file__).parent
FOLDERS = ("dog_images", "pastel_style", "robot_toy")
PICTURES, FIRST_SEED = 32, 101
STEPS, GUIDANCE, SIZE = 20, 4.0, 64


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and the held-out pictures that its drawings are compared with, (n, 3, 64, 64) in [-1, 1]."""

    prompt: str
    references: Tensor


def pixels(image: Image.Image) -> Tensor:
    """An RGB picture as (3, 64, 64) in [-1, 1]."""
    array = np.asarray(image.convert("RGB").resize((SIZE, SIZE)), dtype=np.float32)
    return torch.from_numpy(array).permute(2, 0, 1) / 127.5 - 1


def questions(folder: str, concept: Concept) -> list[Question]:
    """The held-out prompts of a concept; pictures that share a prompt are its references together."""
    files: dict[str, list[Path]] = {}
    for file in sorted((HERE / "held_out" / folder).glob("*.png")):
        text = file.with_suffix(".txt").read_text(encoding="utf-8").strip()
        prompt = text.replace("{token}", concept.token).replace("{class}", concept.class_name)
        files.setdefault(prompt, []).append(file)
    return [Question(p, torch.stack([pixels(Image.open(f)) for f in found])) for p, found in files.items()]


def load(file: Path) -> Model:
    """A checkpoint, ready to draw."""
    checkpoint = Checkpoint(file)
    return detect(checkpoint.header, file).load(checkpoint, pick_precision())


@torch.no_grad()
def likeness(scorer: DemoScorer, pictures: Tensor, references: Tensor) -> float:
    """Mean cosine of every picture with every reference."""
    return float((scorer.encode(pictures) @ scorer.encode(references).T).mean())


def score(model: Model, scorer: DemoScorer, asked: Sequence[Question]) -> float:
    """Mean likeness of 32 drawings."""
    seeds = range(FIRST_SEED, FIRST_SEED + PICTURES // len(asked))
    values = []
    for question in asked:
        drawn = model.sample(
            question.prompt,
            negative="",
            seeds=seeds,
            steps=STEPS,
            guidance=GUIDANCE,
            size=SIZE,
            on_step=lambda done, total: None,
        )
        values.append(likeness(scorer, torch.stack([pixels(image) for image in drawn]), question.references))
    return sum(values) / len(values)


@torch.no_grad()
def ceiling(model: Model, scorer: DemoScorer, asked: Sequence[Question]) -> float:
    """Mean likeness of the VAE's reconstructions of the references with the references."""
    values = []
    for question in asked:
        mean, _ = model.encode_images(question.references)
        again = model.vae.decode(mean / model.vae.config.scaling_factor).sample.clamp(-1, 1)  # type: ignore[attr-defined]
        values.append(likeness(scorer, again.cpu(), question.references))
    return sum(values) / len(values)


def teach(
    folder: str, settings: Settings, project: Path, asked: Mapping[str, list[Question]], scorer: DemoScorer
) -> dict[str, float]:
    """Teach one concept; the scores of all concepts taught so far."""
    add_concept(Request(Pictures(HERE / folder), project, settings=settings))
    opened = Project.open(project)
    model = load(opened.checkpoint_path or DEMO_MODEL)
    row = {name: score(model, scorer, asked[name]) for name in FOLDERS[: opened.number]}
    scores = "  ".join(f"{name} {value:.3f}" for name, value in row.items())
    print(f"  {settings.strategy}, after {folder}: {scores}", flush=True)
    return row


def run(
    settings: Settings,
    work: Path,
    asked: Mapping[str, list[Question]],
    scorer: DemoScorer,
    names: Sequence[str],
) -> dict[str, list[dict[str, float]]]:
    """Teach all three by every strategy in ``names``; its scores after each concept."""
    start = work / "first"
    first = teach(FOLDERS[0], settings.with_values(strategy="naive"), start, asked, scorer)
    rows = {}
    for name in names:
        shutil.copytree(start, work / name)
        own = settings.with_values(strategy=name)
        rows[name] = [first, *(teach(folder, own, work / name, asked, scorer) for folder in FOLDERS[1:])]
    return rows


def summary(
    rows: Sequence[Mapping[str, float]], floor: Mapping[str, float], top: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """learned and kept by concept."""
    result = {}
    for place, name in enumerate(FOLDERS):
        gain = rows[place][name] - floor[name]
        learned = gain / (top[name] - floor[name])
        result[name] = {"learned": learned, "kept": (rows[-1][name] - floor[name]) / gain}
    return result


def table(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """A Markdown table, one row a strategy."""
    head = [f"learned: {name}" for name in FOLDERS] + [f"kept: {name}" for name in FOLDERS[:-1]]
    lines = [f"| strategy | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for name, by_concept in results.items():
        values = [by_concept[folder]["learned"] for folder in FOLDERS]
        values += [by_concept[folder]["kept"] for folder in FOLDERS[:-1]]
        lines.append(f"| {name} | {' | '.join(f'{100 * value:.0f} %' for value in values)} |")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """What the caller wants."""
    defaults = Settings()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("demo-output/forgetting"))
    parser.add_argument("--strategies", nargs="+", default=list(strategies.names()))
    parser.add_argument("--steps", type=int, default=defaults.schedule.steps)
    parser.add_argument("--rank", type=int, default=defaults.adapter.rank)
    parser.add_argument("--learning-rate", type=float, default=defaults.optimizer.learning_rate)
    parser.add_argument("--batch-size", type=int, default=defaults.data.batch_size)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    return parser.parse_args()


def main() -> None:
    """Measure every strategy and write table and figures."""
    options = arguments()
    options.output.mkdir(parents=True)
    scorer = load_demo_scorer()
    asked, taken = {}, []
    for folder in FOLDERS:
        concept = name_concept(HERE / folder, token=None, class_name=None, taken=taken)
        taken.append(concept.token)
        asked[folder] = questions(folder, concept)
    base = load(DEMO_MODEL)
    floor = {name: score(base, scorer, asked[name]) for name in FOLDERS}
    top = {name: ceiling(base, scorer, asked[name]) for name in FOLDERS}
    print("floor", floor, "ceiling", top, flush=True)
    settings = Settings.of(
        steps=options.steps,
        rank=options.rank,
        learning_rate=options.learning_rate,
        batch_size=options.batch_size,
        seed=options.seed,
    )
    print(settings, flush=True)
    raw = run(settings, options.output, asked, scorer, options.strategies)
    results = {name: summary(rows, floor, top) for name, rows in raw.items()}
    report = {"floor": floor, "ceiling": top, "scores": raw, "summary": results}
    (options.output / "figures.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
