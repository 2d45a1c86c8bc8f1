"""Training steps of clora beside diffusers' DreamBooth script and sd-scripts, in turn, on the same model.

    python tests/benchmarks/training.py --diffusers TREE --sd-scripts TREE

Each tree is the other project's source as it was fetched; --sd-scripts-libraries is a folder with the
versions of transformers and diffusers that sd-scripts asks for. The model is SD 1.5 with narrower levels
(--shapes published: with its own) and random weights. CPU seconds are compared, of one thread each, since
clocks say little on a busy machine.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
TIMED, NARROW = (Path(__file__).with_name(name) for name in ("timed_steps.py", "narrow_sd_scripts.py"))
SIDE, RANK, PICTURES = 128, 8, 6
WIDTHS = {"narrow": 128, "published": 320}
LONG = 500  # steps of a usual run


@dataclass(frozen=True, slots=True)
class Setting:
    """What all of them train.

    Attributes:
        work: folder of the model, the pictures, and what comes out.
        steps: how many.
        width: of the UNet's first level.
    """

    work: Path
    steps: int
    width: int

    @property
    def base(self) -> Path:
        """The model as a single file."""
        return self.work / "base.safetensors"

    @property
    def folder(self) -> Path:
        """The same as diffusers has it."""
        return self.work / "base"

    @property
    def pictures(self) -> Path:
        """A kohya folder inside another."""
        return self.work / "images" / "1_sks dog"

    @property
    def tokenizers(self) -> Path:
        """Where sd-scripts looks for CLIP's tokenizer before it asks the network."""
        return self.work / "tokenizers"

    def prepare(self) -> None:
        """Write all four."""
        sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
        import torch
        from PIL import Image
        from real_shapes import SD1_UNET, sd1_modules, write

        from clora_ext import families
        from clora_ext.config.precision import Precision
        from clora_ext.formats.checkpoint import Checkpoint

        torch.manual_seed(0)
        widths = tuple(self.width * times for times in (1, 2, 4, 4))
        write(self.base, sd1_modules(unet={**SD1_UNET, "block_out_channels": widths}))
        checkpoint = Checkpoint(self.base)
        here = Precision(torch.device("cpu"), torch.float32, "the processor")
        model = families.detect(checkpoint.header, self.base).load(checkpoint, here)
        model.save(
            self.folder,
            {"denoiser": torch.float32, "text_encoder": torch.float32, "vae": torch.float32},
        )
        self.pictures.mkdir(parents=True)
        for number in range(PICTURES):  # squares, of which all of them take the same
            image = Image.effect_noise((SIDE, SIDE), 40 + number).convert("RGB")
            image.save(self.pictures / f"{number}.png")
        clip = ROOT / "clora_ext" / "families" / "latent" / "clip_tokenizer"
        copied = shutil.copytree(clip, self.tokenizers / "openai_clip-vit-large-patch14")
        (copied / "tokenizer_config.json").write_text('{"model_max_length": 77}', encoding="ascii")


@dataclass(frozen=True, slots=True)
class Measured:
    """One run.

    Attributes:
        step: CPU seconds of a step, the median of those after the third.
        first: CPU seconds until the first step was done.
        whole: CPU seconds of the process.
        read: bytes that it has read, what is mapped into memory aside.
    """

    step: float
    first: float
    whole: float
    read: int


def clora(setting: Setting, out: Path, targets: str) -> list[str]:
    """A new project, with plain steps: other strategies ask the model more."""
    options = {
        "project": out / "project", "base": setting.base, "strategy": "merge", "targets": targets,
        "steps": setting.steps, "rank": RANK, "resolution": SIDE, "batch-size": 1, "learning-rate": 1e-4,
        "seed": 0,
    }  # fmt: skip
    command = str(Path(sys.executable).with_name("clora"))
    return [command, "add-concept", str(setting.pictures), *_arguments(options)]


def dreambooth(setting: Setting, out: Path, tree: Path) -> list[str]:
    """diffusers' own, which adapts attention."""
    options = {
        "pretrained_model_name_or_path": setting.folder, "instance_data_dir": setting.pictures,
        "instance_prompt": "sks dog", "output_dir": out / "lora", "max_train_steps": setting.steps,
        "rank": RANK, "resolution": SIDE, "train_batch_size": 1, "learning_rate": 1e-4, "lr_warmup_steps": 0,
        "seed": 0,
    }  # fmt: skip
    return [str(tree / "examples" / "dreambooth" / "train_dreambooth_lora.py"), *_arguments(options)]


def sd_scripts(setting: Setting, out: Path, tree: Path, *caching: str) -> list[str]:
    """kohya's, which adapts all layers of the transformer blocks."""
    options = {
        "pretrained_model_name_or_path": setting.base, "train_data_dir": setting.pictures.parent,
        "output_dir": out / "lora", "save_model_as": "safetensors", "max_train_steps": setting.steps,
        "network_module": "networks.lora", "network_dim": RANK, "network_alpha": RANK, "resolution": SIDE,
        "train_batch_size": 1, "learning_rate": 1e-4, "mixed_precision": "no", "seed": 1,
        "max_data_loader_n_workers": 0, "tokenizer_cache_dir": setting.tokenizers,
    }  # fmt: skip
    switches = ["--network_train_unet_only", "--sdpa", *caching]
    program = [str(tree / "train_network.py"), *_arguments(options), *switches]
    return program if setting.width == WIDTHS["published"] else [str(NARROW), str(setting.width), *program]


def _arguments(options: Mapping[str, object]) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def measure(program: Sequence[str], out: Path, libraries: Path | None, work: Path) -> Measured:
    """Run it in a process and a folder of its own.

    Raises:
        RuntimeError: it failed; the end of what it said.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    paths = [str(libraries)] if libraries is not None else [str(ROOT)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "XDG_CACHE_HOME": str(work / "cache"),
        "ACCELERATE_USE_CPU": "true",
    }
    times = out / "times"
    command = [sys.executable, str(TIMED), str(times), *program]
    done = subprocess.run(
        command, cwd=Path(program[0]).parent, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError("\n".join((done.stdout + done.stderr).splitlines()[-12:]))
    noted = [json.loads(line) for line in times.read_text(encoding="ascii").splitlines()]
    *steps, end = [spent for spent, *_ in noted]
    taken = [after - before for before, after in pairwise(steps)]
    return Measured(median(taken[2:]), steps[0], end, noted[-1][2])


def main(arguments: Sequence[str]) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--diffusers", "--sd-scripts"):
        parser.add_argument(name, type=_whole, required=True, help="source tree")
    parser.add_argument("--sd-scripts-libraries", type=_whole, help="folder of what it asks for")
    parser.add_argument("--shapes", choices=list(WIDTHS), default="narrow", help="of the UNet")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args(arguments)
    work = Path(tempfile.mkdtemp(prefix="clora-training-"))
    setting = Setting(work, chosen.steps, WIDTHS[chosen.shapes])
    out = work / "out"
    libraries = chosen.sd_scripts_libraries
    programs: Mapping[str, tuple[list[str], Path | None]] = {
        "clora, attention": (clora(setting, out, "attention"), None),
        "diffusers, attention": (dreambooth(setting, out, chosen.diffusers), None),
        "clora, transformer": (clora(setting, out, "transformer"), None),
        "sd-scripts, transformer": (sd_scripts(setting, out, chosen.sd_scripts), libraries),
        "sd-scripts, transformer, latents cached": (
            sd_scripts(setting, out, chosen.sd_scripts, "--cache_latents"), libraries,
        ),
    }  # fmt: skip
    rows: dict[str, list[Measured]] = {name: [] for name in programs}
    try:
        setting.prepare()
        for _ in range(chosen.rounds):
            for name, (program, own) in programs.items():
                rows[name].append(measure(program, out, own, work))
                print(name, rows[name][-1], flush=True)
        size = setting.base.stat().st_size
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print("\n".join([*table(rows), *outside(rows, chosen.steps, size)]))


def _whole(path: str) -> Path:
    """From the root: the programs run in folders of their own."""
    return Path(path).absolute()


def table(rows: Mapping[str, Sequence[Measured]]) -> list[str]:
    """Medians, and each peer's step beside that of clora with the same layers in the same round."""
    lines = [
        "| trainer, layers | a step | times clora's step | first step done | whole run |",
        "|---|---|---|---|---|",
    ]
    for name, found in rows.items():
        ours = rows[f"clora, {name.split(', ')[1]}"]
        ratio = median(one.step / beside.step for one, beside in zip(found, ours, strict=True))
        step, first, whole = (
            median(getattr(one, part) for one in found) for part in ("step", "first", "whole")
        )
        lines.append(f"| {name} | {step:.3f} s | {ratio:.2f} | {first:.1f} s | {whole:.1f} s |")
    return lines


def outside(rows: Mapping[str, Sequence[Measured]], steps: int, size: int) -> list[str]:
    """What clora does beside its steps, as a share of a run of :data:`LONG` steps, and what it has read."""
    lines = []
    for name, found in rows.items():
        if name.startswith("clora"):
            rest = median(one.whole - steps * one.step for one in found)
            share = median(1 - LONG * one.step / (one.whole + (LONG - steps) * one.step) for one in found)
            passes = median(one.read / size for one in found)
            lines.append(
                f"{name}: {rest:.1f} s beside the steps, {100 * share:.1f} % of a run of {LONG}; "
                f"{passes:.2f} times the base's {size:,} bytes read, by the programs' own files too"
            )
    return lines


if __name__ == "__main__":
    main(sys.argv[1:])
