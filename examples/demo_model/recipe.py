"""The demo model's recipe, step by step: `python recipe.py STEP --work DIR`; see README.md."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

# Before torch is loaded: threads that spin while they wait starve each other on shared cores.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

import torch
from diffusion import train_diffusion
from fetch import fetch
from tokenizer import write_tokenizer
from train_scorer import train_scorer
from trainer import Schedule
from vae import train_vae

SEED = 20241004
"""The named seed that every step starts from."""

DEFAULTS = {"vae": (1700, 800, 1e-3), "diffusion": (40_000, 10_000, 1e-3), "scorer": (3000, 1500, 1e-3)}
"""Trainings: steps, those of them in which the rate decays, and the rate."""


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=["fetch", "tokenizer", *DEFAULTS])
    parser.add_argument("--work", type=Path, default=Path("build/demo_model"), help="folder for everything")
    parser.add_argument("--steps", type=int, help="training: all steps, those of earlier sittings included")
    parser.add_argument("--decay", type=int, help="training: the last steps, in which the rate falls to zero")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    work: Path = options.work
    packages = work / "packages"
    if options.step == "fetch":
        fetch(packages)
    elif options.step == "tokenizer":
        write_tokenizer(work / "tokenizer")
    else:
        steps, decay, rate = DEFAULTS[options.step]
        schedule = Schedule(options.steps or steps, decay if options.decay is None else options.decay, rate)
        train = {"vae": train_vae, "diffusion": train_diffusion, "scorer": train_scorer}[options.step]
        train(packages, work, schedule, SEED)


if __name__ == "__main__":
    main()
