"""Rounds of measurements: each contender beside a plain copy of the same model, in turn."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import model_shapes

CONTENDERS = Path(__file__).parent / "contenders.py"
Row = dict[str, Any]


def prepare(kind: str, folder: Path) -> None:
    """The model, two LoRAs, and the model after a first concept; kept if they are there."""
    from contenders import Job, clora

    folder.mkdir(parents=True, exist_ok=True)
    tensors = model_shapes.unet_tensors(kind)
    layers = {model_shapes.lora_key(kind, n, tensors): tensors.originals[n] for n in tensors.taught}
    (folder / "layers.json").write_text(json.dumps(layers))
    if not (folder / "base.safetensors").exists():
        model_shapes.write_model(kind, folder / "base.safetensors")
    for number in (1, 2):
        model_shapes.write_lora(kind, folder / f"lora{number}.safetensors", number)
    if not (folder / "current.safetensors").exists():
        clora(Job(kind, folder, folder), "merge", later=False)()
        # `fold` has named them as every result is named; the memory is in its place already.
        (folder / "checkpoint.safetensors").rename(folder / "current.safetensors")


def emptied(out: Path) -> None:
    """Nothing there, and nothing waiting to be written to the disk."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    os.sync()


def copy(source: Path, out: Path) -> Row:
    """`cp`, and how long the disk then takes."""
    emptied(out)
    wall = time.perf_counter()
    process = subprocess.Popen(["cp", str(source), str(out / "copy")])  # noqa: S607 - the one on the path
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    wall = time.perf_counter() - wall
    synced = time.perf_counter()
    descriptor = os.open(out / "copy", os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    return {"wall": wall, "sync": time.perf_counter() - synced, "cpu": usage.ru_utime + usage.ru_stime}


def contender(name: str, kind: str, folder: Path, out: Path, extra: str) -> Row:
    """One contender in a process of its own."""
    emptied(out)
    paths = [extra, str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(CONTENDERS), name, kind, str(folder), str(out)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        last = run.stderr.strip().splitlines() or [f"ended by signal or status {run.returncode}"]
        return {"failed": last[-1]}
    row: Row = json.loads(run.stdout.strip().splitlines()[-1])
    return row


def rounds(
    names: Sequence[str], kind: str, work: Path, count: int, extra: str = ""
) -> Iterator[tuple[str, Row, Row]]:
    """(name, its measurement, that of the copy just before), ``count`` times for each name, in turn."""
    folder, out = work / kind, work / "out"
    for _ in range(count):
        for name in names:
            beside = copy(folder / "base.safetensors", out)
            row = contender(name, kind, folder, out, extra)
            result = out / "checkpoint.safetensors"
            if result.exists():
                row["bytes"] = sum(file.stat().st_size for file in out.iterdir())
                keep = work / f"{kind}-{name.replace(' ', '_').replace(',', '')}.safetensors"
                shutil.move(result, keep)
            yield name, row, beside
    shutil.rmtree(out, ignore_errors=True)


def differing(kind: str, work: Path, one: str, other: str) -> tuple[int, int]:
    """Of how many numbers the results of two contenders differ in their bits, and of how many there are."""
    import torch

    from clora_ext.formats.checkpoint import Checkpoint

    files = [work / f"{kind}-{name.replace(' ', '_').replace(',', '')}.safetensors" for name in (one, other)]
    first, second = map(Checkpoint, files)
    different = total = 0
    for name in first.names:
        a, b = (checkpoint.read(name).reshape(-1).view(torch.int16) for checkpoint in (first, second))
        different += int((a != b).sum())
        total += a.numel()
    return different, total


def middle(rows: Sequence[Row], key: str) -> float:
    """The median."""
    return median(row[key] for row in rows)
