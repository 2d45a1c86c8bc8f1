"""How much each strategy learns and keeps of three concepts: a study in one order, as one small table.

    python examples/measure_forgetting.py --output demo-output/forgetting [--strategies mask merge ...]

The study behind it lies in the output folder, and goes on when the same command is given again; `clora study
report` tells more of it. Two marks give the scale:

- floor: the base model, asked with the same prompts and noises;
- ceiling: the autoencoder's renderings of the held-out pictures themselves.

learned: the share of the way from floor to ceiling that a concept has covered right after it was taught.
kept: the share of that gain which is still there after the last concept.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from clora_ext import Settings, strategies
from clora_ext.events import Event, Note
from clora_ext.study.measured import Measured
from clora_ext.study.results import StudyFolder
from clora_ext.study.run import Source, run_study

HERE = Path(__file__).parent
FOLDERS = {"dog_images": ("sks", "dog"), "pastel_style": ("zwz", "style"), "robot_toy": ("sbu", "robot toy")}
Summary = Mapping[str, Mapping[str, float]]


def study(names: list[str], settings: Mapping[str, float], seed: int) -> str:
    """The study file: the three folders in one order, judged by their held-out pictures."""
    lines = ['title = "Three concepts"', "[settings]", *(f"{name} = {one}" for name, one in settings.items())]
    lines += ["[grid]", f"seeds = [{seed}]", "isolated = false"]
    for folder, (token, class_name) in FOLDERS.items():
        lines += ["[[concepts]]", f'name = "{folder}"', f'folder = "{folder}"']
        lines += [f'references = "held_out/{folder}"', f'token = "{token}"', f'class_name = "{class_name}"']
    for name in names:
        lines += ["[[strategies]]", f'name = "{name}"']
    return "\n".join(lines)


def summary(measured: Measured, strategy: str) -> Summary:
    """learned and kept by concept."""
    (run,) = measured.runs(strategy)
    matrix, found = measured.matrix(run), {}
    for number, name in enumerate(run.concepts):
        floor, _, ceiling = measured.concept_scores(name)
        gain = matrix.learned[number] - floor
        kept = (matrix.final[number] - floor) / gain
        found[name] = {"learned": float(gain / (ceiling - floor)), "kept": float(kept)}
    return found


def table(results: Mapping[str, Summary]) -> str:
    """A Markdown table, one row a strategy."""
    head = [f"learned: {name}" for name in FOLDERS] + [f"kept: {name}" for name in list(FOLDERS)[:-1]]
    lines = [f"| strategy | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for name, by_concept in results.items():
        values = [by_concept[folder]["learned"] for folder in FOLDERS]
        values += [by_concept[folder]["kept"] for folder in list(FOLDERS)[:-1]]
        lines.append(f"| {name} | {' | '.join(f'{100 * value:.0f} %' for value in values)} |")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """What the caller wants."""
    usual = Settings()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("demo-output/forgetting"))
    parser.add_argument("--strategies", nargs="+", default=list(strategies.recommended()))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--steps", type=int, default=usual.schedule.steps)
    parser.add_argument("--rank", type=int, default=usual.adapter.rank)
    parser.add_argument("--learning-rate", type=float, default=usual.optimizer.learning_rate)
    parser.add_argument("--batch-size", type=int, default=usual.data.batch_size)
    parser.add_argument("--seed", type=int, default=usual.seed)
    return parser.parse_args()


def tell(event: Event) -> None:
    """Print what is done next."""
    if isinstance(event, Note):
        print(event.text, flush=True)


def main() -> None:
    """Measure every strategy and write table and figures."""
    options = arguments()
    settings = {name: getattr(options, name) for name in ("steps", "rank", "learning_rate", "batch_size")}
    source = Source(study(options.strategies, settings, options.seed), __file__, HERE, "forgetting")
    folder = options.output / "study"
    schedule = run_study(source, folder, tell, workers=options.workers)
    measured = Measured(schedule, StudyFolder(folder), "demo")
    results = {name: summary(measured, name) for name in options.strategies}
    matrices = {run.strategy: measured.matrix(run).as_dict() for run in schedule.runs}
    report = {"scores": matrices, "summary": results}
    (options.output / "figures.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
