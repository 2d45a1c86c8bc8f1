"""Ways to fold a LoRA into a model; run as a program, one of them is measured in a process of its own."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_shapes import ALPHA, UNETS, lora_key, unet_tensors


@dataclass(frozen=True)
class Job:
    """What to fold.

    Attributes:
        kind: of the model, a key of ``UNETS``.
        folder: with ``base``, ``lora1``, ``lora2`` and, for a later concept, ``current`` and ``memory``.
        out: folder of the result, which is ``checkpoint.safetensors`` there.
    """

    kind: str
    folder: Path
    out: Path

    def file(self, name: str) -> Path:
        """One of the inputs."""
        return self.folder / f"{name}.safetensors"

    @property
    def result(self) -> Path:
        """The model that is written."""
        return self.out / "checkpoint.safetensors"


Run = Callable[[], None]


def clora(job: Job, strategy: str, *, later: bool, exact: bool = True) -> Run:
    """The engine's fold of the first or of a later concept."""
    from clora_ext import strategies
    from clora_ext.adapters.sites import Target
    from clora_ext.evolving.fold import TrainedConcept, fold
    from clora_ext.evolving.model import Evolving
    from clora_ext.formats.checkpoint import Checkpoint

    names = json.loads((job.folder / "layers.json").read_text())
    base = Checkpoint(job.file("base"))
    current = Checkpoint(job.file("current")) if later else base
    memory = Checkpoint(job.file("memory")) if later and exact else None
    targets = {}
    for name in names.values():
        out_features, in_features = base.info(name).shape
        targets[name] = Target("unet", name, name, (out_features, in_features))
    trained = LoraFile(Checkpoint(job.file("lora2" if later else "lora1")), names)
    concept = TrainedConcept(strategies.load(strategy), strategy, targets, trained)

    def run() -> None:
        fold(
            Evolving(base, current, memory),
            concept,
            job.result,
            job.out / "memory.safetensors",
            {},
            lambda _: None,
        )

    return run


class LoraFile(Mapping[str, Any]):
    """The factors in a LoRA file by tensor name, read when they are asked for."""

    def __init__(self, lora: Any, names: Mapping[str, str]) -> None:
        self._lora = lora
        self._keys = {name: key for key, name in names.items()}

    def __getitem__(self, name: str) -> Any:
        from clora_ext.adapters.factors import Factors

        key = self._keys[name]
        down, up = (self._lora.read_float(f"{key}.lora_{part}.weight") for part in ("down", "up"))
        return Factors(down, up, float(self._lora.read(f"{key}.alpha")))

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def diffusers_fuse(job: Job) -> Run:
    """diffusers: load the UNet and the LoRA, fuse, save."""
    from safetensors.torch import load_file, save_file

    tensors, unet = _loaded_unet(job)

    def run() -> None:
        unet_ = unet()
        lora = load_file(job.file("lora1"))
        state, alphas = {}, {}
        for name in tensors.taught:
            key, module = lora_key(job.kind, name, tensors), f"unet.{name.removesuffix('.weight')}"
            state[f"{module}.lora_A.weight"] = lora[f"{key}.lora_down.weight"]
            state[f"{module}.lora_B.weight"] = lora[f"{key}.lora_up.weight"]
            alphas[f"{module}.alpha"] = ALPHA
        unet_.load_lora_adapter(state, prefix="unet", network_alphas=alphas)
        unet_.fuse_lora()
        unet_.unload_lora()
        save_file({tensors.originals[n]: t for n, t in unet_.state_dict().items()}, job.result)

    return run


def peft_merge(job: Job) -> Run:
    """peft: load the UNet, put adapters around its layers, fill, merge and unload them, save."""
    import torch
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file, save_file

    tensors, unet = _loaded_unet(job)

    def run() -> None:
        lora = load_file(job.file("lora1"))
        layers = [name.removesuffix(".weight") for name in tensors.taught]
        rank = next(tensor.shape[0] for name, tensor in lora.items() if "lora_down" in name)
        config = LoraConfig(r=rank, lora_alpha=int(ALPHA), target_modules=layers, init_lora_weights=False)
        model = get_peft_model(unet(), config)
        for layer in layers:
            module = model.base_model.model.get_submodule(layer)
            key = lora_key(job.kind, f"{layer}.weight", tensors)
            module.lora_A["default"].weight.data = lora[f"{key}.lora_down.weight"]
            module.lora_B["default"].weight.data = lora[f"{key}.lora_up.weight"]
        merged = model.merge_and_unload()
        assert not any(isinstance(p, torch.nn.ParameterDict) for p in merged.modules())
        save_file({tensors.originals[n]: t for n, t in merged.state_dict().items()}, job.result)

    return run


def _loaded_unet(job: Job) -> tuple[Any, Callable[[], Any]]:
    """Names and shapes, and a function that loads the UNet in float16."""
    import torch
    from diffusers import UNet2DConditionModel
    from safetensors.torch import load_file

    tensors = unet_tensors(job.kind)

    def unet() -> Any:
        with torch.device("meta"):
            unet = UNet2DConditionModel(**UNETS[job.kind])
        stored = load_file(job.file("base"))
        unet.load_state_dict({n: stored[o] for n, o in tensors.originals.items()}, assign=True)
        return unet

    return tensors, unet


def mecha(job: Job, *, larger: bool) -> Run:
    """sd-mecha: base + LoRA, or base + the larger of the LoRA and what the current model has learned."""
    import logging

    import sd_mecha
    import torch
    from sd_mecha import Parameter, Return, merge_method
    from sd_mecha.extensions.builtin.merge_methods.linear import add_difference

    logging.disable(logging.WARNING)
    config = {"sd15": "sd1-ldm", "sdxl": "sdxl-sgm"}[job.kind]

    @merge_method
    def larger_change(
        a: Parameter(torch.Tensor, "delta"),  # type: ignore[valid-type]
        b: Parameter(torch.Tensor, "delta"),  # type: ignore[valid-type]
    ) -> Return(torch.Tensor, "delta"):  # type: ignore[valid-type]
        return torch.where(a.abs() >= b.abs(), a, b)

    def run() -> None:
        base = sd_mecha.model(str(job.file("base")), config)
        lora = sd_mecha.convert(sd_mecha.model(str(job.file("lora2" if larger else "lora1"))), base)
        change = lora
        if larger:
            change = larger_change(lora, sd_mecha.model(str(job.file("current")), config) - base)
        recipe = add_difference(base, change, alpha=1.0)
        sd_mecha.merge(recipe, fallback_model=base, output=str(job.result), threads=2, check_extra_keys=False)

    return run


CONTENDERS: Mapping[str, Callable[[Job], Run]] = {
    "clora merge, first": lambda job: clora(job, "merge", later=False),
    "clora merge, later": lambda job: clora(job, "merge", later=True),
    "clora mask, later": lambda job: clora(job, "mask", later=True),
    "clora mask, later, no memory": lambda job: clora(job, "mask", later=True, exact=False),
    "diffusers fuse_lora": diffusers_fuse,
    "peft merge_and_unload": peft_merge,
    "sd-mecha add": lambda job: mecha(job, larger=False),
    "sd-mecha larger": lambda job: mecha(job, larger=True),
}


def anonymous() -> int:
    """Bytes of the process's memory that are no file's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status names no RssAnon")


@contextmanager
def peak() -> Iterator[list[int]]:
    """A list that grows by samples of :func:`anonymous`, a hundred in a second."""
    samples = [anonymous()]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            samples.append(anonymous())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()
        samples.append(anonymous())


def measure(name: str, job: Job) -> dict[str, float]:
    """Seconds, processor seconds, the part of them spent forcing the file to the disk, and memory."""
    import os
    import resource

    import torch

    torch.empty(1)
    empty = anonymous()
    began = time.process_time()
    run = CONTENDERS[name](job)
    imports = time.process_time() - began
    synced = 0.0
    real = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal synced
        start = time.perf_counter()
        real(descriptor)
        synced += time.perf_counter() - start

    os.fsync = fsync  # type: ignore[assignment]
    with peak() as memory:
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "wall": wall,
        "sync": synced,
        "cpu": cpu,
        "imports_cpu": imports,
        "anon": max(memory),
        "above_torch": max(memory) - empty,
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


if __name__ == "__main__":
    _, chosen, kind, folder, out = sys.argv
    print(json.dumps(measure(chosen, Job(kind, Path(folder), Path(out)))))
