"""The demo model's recipe, step by step: `python recipe.py STEP --work DIR`; see README.md."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path

# Before torch is loaded: threads that spin while they wait starve each other on shared cores.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads do not survive a fork

import torch
from decoder import train_decoder
from diffusion import train_diffusion
from evaluate import evaluate
from fetch import fetch
from package import package
from train_scorer import train_scorer
from trainer import Schedule
from vae import train_vae

SEED = 20241004
"""The named seed that every step starts from."""

TRAININGS: Mapping[str, tuple[Callable[[Path, Path, Schedule, int], None], Schedule]] = {
    "vae": (train_vae, Schedule(steps=1700, decay=800, rate=1e-3)),
    "decoder": (train_decoder, Schedule(steps=4_000, decay=3_000, rate=1e-3)),
    "diffusion": (train_diffusion, Schedule(steps=7_700, decay=2_000, rate=1e-3)),
    "scorer": (train_scorer, Schedule(steps=1500, decay=600, rate=1e-3)),
}
"""Each training with its default schedule."""

STEPS = ("fetch", *TRAININGS, "evaluate", "package")


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--work", type=Path, default=Path("build/demo_model"), help="folder for everything")
    parser.add_argument("--assets", type=Path, default=Path("clora_ext/assets"), help="package: where to")
    parser.add_argument("--steps", type=int, help="training: all steps, those of earlier runs included")
    parser.add_argument("--decay", type=int, help="training: the last steps, in which the rate falls to zero")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    packages = options.work / "packages"
    if options.step == "fetch":
        fetch(packages)
    elif options.step == "evaluate":
        evaluate(packages, options.work, SEED)
    elif options.step == "package":
        package(options.work, options.assets)
    else:
        train, usual = TRAININGS[options.step]
        steps = usual.steps if options.steps is None else options.steps
        decay = usual.decay if options.decay is None else options.decay
        train(packages, options.work, Schedule(steps, decay, usual.rate), SEED)


if __name__ == "__main__":
    main()
