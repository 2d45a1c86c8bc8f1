"""LoRA files and the layers of a model: which adapter sits where, what was learned as one adapter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from clora_ext.data import Concept
from clora_ext.errors import CheckpointError, UsageError
from clora_ext.events import FoldStep, Sink, Stage
from clora_ext.families.base import Target
from clora_ext.formats.header import read_header
from clora_ext.formats.lora.metadata import Details
from clora_ext.formats.lora.site import Component, Site
from clora_ext.ground import Ground

if TYPE_CHECKING:
    from clora_ext.evolving.model import Evolving
    from clora_ext.formats.lora.reader import LoraFile
    from clora_ext.formats.lora.writer import WrittenLora
    from clora_ext.tensors import Factors

__all__ = ["Extracted", "check_new_file", "extract", "read_layers", "site_of", "write_layers"]

_PLAN_KEY = "clora.made_by"
_UNET = "model.diffusion_model."
_ENDING = ".safetensors"


def site_of(target: Target) -> Site:
    """The target as LoRA files know it."""
    out_features, in_features = target.shape
    shape: tuple[int, ...] = target.shape
    if target.kernel is not None:
        height, width = target.kernel
        shape = (out_features, in_features // (height * width), height, width)
    inside = target.tensor.removeprefix(_UNET).removesuffix(".weight")
    original = inside if target.component == "unet" else target.module
    return Site(cast("Component", target.component), target.module, original, shape)


def check_new_file(target: Path, *, overwrite: bool = False, plan: str = "") -> None:
    """Make sure that a LoRA can be written to ``target``.

    Args:
        target: the new file.
        overwrite: whether a file that is there may be replaced.
        plan: fingerprint of the run: what it left there before it was killed may be replaced.

    Raises:
        UsageError: its name or what is there does not allow it.
    """
    if target.suffix != _ENDING:
        raise UsageError(f"{target} does not end in {_ENDING}", fix=f"name it {target}{_ENDING}")
    if target.exists() and not overwrite and not (plan and _made_by(target) == plan):
        raise UsageError(f"{target} exists", fix="choose another name")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"the folder of {target} does not exist", fix="make it first")


def _made_by(file: Path) -> str:
    """Fingerprint of the run that wrote a LoRA; empty if none is named."""
    try:
        return read_header(file).metadata.get(_PLAN_KEY, "")
    except CheckpointError:
        return ""  # somebody else's file


def read_layers(file: Path, ground: Ground) -> "tuple[LoraFile, dict[Target, Factors]]":
    """A LoRA file and its adapters by the model's layers, float32, in the order of the layers' names.

    Raises:
        CheckpointError: it is no LoRA for this model; see :func:`clora_ext.formats.lora.reader.read_lora`.
    """
    from clora_ext.formats.lora.reader import read_lora

    sites = {site_of(target): target for target in ground.family.modules(ground.header)}
    lora = read_lora(file, list(sites))
    return lora, {sites[site]: factors for site, factors in lora.factors.items()}


def write_layers(
    file: Path,
    layers: "Mapping[Target, Factors]",
    ground: Ground,
    concepts: Sequence[Concept],
    sink: Sink,
    *,
    plan: str = "",
) -> "WrittenLora":
    """Write adapters as a kohya LoRA file in fp16.

    Args:
        file: the new file.
        layers: the adapters.
        ground: of the model that they are for.
        concepts: what they draw; their triggers stand in the file, the newest first.
        sink: told of every tensor.
        plan: fingerprint of the run that trained them, noted in the file; see :func:`check_new_file`.

    Raises:
        CheckpointError: values do not fit fp16.
        StorageError: the disk is full or refuses.
    """
    from clora_ext.formats.lora.writer import write_lora

    sink(Stage("export", str(file)))
    triggers = [concept.trigger for concept in reversed(concepts)]
    details = Details(
        name=file.stem,
        trigger=triggers[0] if triggers else "",
        description=f"Taught by clora: {', '.join(triggers)}",
        base_name=ground.base_file.name,
        base_hash=ground.base.sha256,
        resolution=ground.family.resolution(ground.header),
        tags={"clora": dict.fromkeys(triggers, 1)},
        extra={_PLAN_KEY: plan} if plan else {},
    )
    return write_lora(
        file,
        {site_of(target): factors for target, factors in layers.items()},
        ground.family.name,
        details,
        on_tensor=lambda done, total, name: sink(FoldStep(done, total, name)),
    )


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was learned since the base, as adapters.

    Attributes:
        layers: an adapter for every layer that has changed.
        captured: share of the change's squared norm that they hold, in [0, 1]; 1 if nothing has changed.
    """

    layers: "Mapping[Target, Factors]"
    captured: float


def extract(evolving: "Evolving", ground: Ground, rank: int, sink: Sink) -> Extracted:
    """The adapters of a given rank that come closest to everything learned since the base.

    A randomised singular value decomposition of W - W0, layer by layer, with a fixed seed.

    Raises:
        UsageError: the rank is below 1.
    """
    import torch

    from clora_ext.tensors import leading_factors

    if rank < 1:
        raise UsageError(f"rank must be at least 1, not {rank}", fix="choose 64, for example")
    targets = _changeable(evolving, ground)
    sink(Stage("extract", f"rank {rank} of {len(targets)} layers"))
    layers: dict[Target, Factors] = {}
    whole = held = 0.0
    for index, target in enumerate(targets):
        change = evolving.layer(target, "").earlier
        energy = float(change.double().square().sum())
        if energy:
            rng = torch.Generator().manual_seed(index)
            layers[target], share = leading_factors(change, rank, rng)
            whole, held = whole + energy, held + share * energy
        sink(FoldStep(index + 1, len(targets), target.name))
    return Extracted(layers, held / whole if whole else 1.0)


def _changeable(evolving: "Evolving", ground: Ground) -> list[Target]:
    """The layers that may have been taught; of tensors in float32 the memory keeps nothing, so all may."""
    taught = set(evolving.taught)
    return [
        target
        for target in ground.family.modules(ground.header)
        if target.tensor in taught or evolving.current.info(target.tensor).dtype == "F32"
    ]
