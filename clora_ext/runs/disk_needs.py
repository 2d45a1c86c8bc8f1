"""What a run will write to the disk."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import prod

from clora_ext.data import Dataset
from clora_ext.evolving.model import memory_part
from clora_ext.formats import kept_inputs
from clora_ext.formats.header import Header, read_header
from clora_ext.formats.memory import RESIDUAL, WEIGHT, memory_key, strategy_bytes
from clora_ext.strategies.base import keeps_memory

from .keep_delta import kept_bytes
from .layer_rank import layer_rank
from .learning_tables import learning_tables
from .lora_snapshots import snapshot_files
from .plan import Plan

__all__ = ["DiskNeeds", "disk_needs"]

_FLOAT = 4
_HALF = 2
_DIGEST = 32
_STATE = 3 * _FLOAT  # of a trained parameter: its value and AdamW's two moments
_PIXEL = 3
_HEADERS = 1 << 20  # bytes of names and metadata, manifest, small files


@dataclass(frozen=True, slots=True)
class DiskNeeds:
    """Bytes by what for. Earlier models are there already; those beyond ``--keep`` go at the end.

    Attributes:
        checkpoint: the new model.
        memory: what belongs to it: what rounding lost, and what the strategy keeps.
        training: the training state, which goes at the end; a new one is written before the old one goes.
        pictures: the contact sheet.
        lora: the trained LoRA outside of the project, where it is asked for.
        delta: the concept's change inside the project, likewise.
    """

    checkpoint: int
    memory: int
    training: int
    pictures: int
    lora: int
    delta: int

    @property
    def total(self) -> int:
        """All of them at once."""
        return sum(asdict(self).values())

    @property
    def stays(self) -> int:
        """What is still there at the end."""
        return self.total - self.training


def disk_needs(plan: Plan) -> DiskNeeds:
    """What the run of ``plan`` will write; reads headers only."""
    trains, output = isinstance(plan.material, Dataset), plan.lora_output
    copies = 1 if plan.resume_step else 2  # the one of the stopped run takes its room already
    sampling = plan.settings.sampling
    samples = 2 * sampling.of_sheet.sample_count if sampling.has_sheet else 0
    loras = 0 if output is None else 1 + sum(map(len, snapshot_files(plan, output).values()))
    number = _FLOAT if output is not None and output.dtype == "fp32" else _HALF
    pairs = plan.parameters - plan.magnitudes  # those are always in float32
    return DiskNeeds(
        checkpoint=sum(info.bytes for info in _current(plan).tensors.values()) + _HEADERS,
        memory=_memory(plan),
        training=_STATE * plan.parameters * copies if trains else 0,
        pictures=samples * _PIXEL * plan.sample_size**2,
        lora=loras * (number * pairs + _FLOAT * (plan.magnitudes + len(plan.targets)) + _HEADERS),
        delta=kept_bytes(plan),
    )


def _current(plan: Plan) -> Header:
    """The header of the model to go on from: of the base, if nothing has been learned yet."""
    context = plan.context
    return context.own_header if context.memory_file is None else read_header(context.current_file)


def _memory(plan: Plan) -> int:
    """Of every tensor that was or is taught, what its rounding loses; and what the strategy keeps."""
    current = _current(plan)
    earlier = None if plan.context.memory_file is None else read_header(plan.context.memory_file)
    taught = {*_changed(earlier), *(target.tensor for target in (*plan.targets, *learning_tables(plan)))}
    infos = [current.tensors[name] for name in taught if name in current.tensors]
    widths = {RESIDUAL: _HALF, WEIGHT: _FLOAT, None: 0}
    residuals = sum(widths[memory_part(info.dtype)] * prod(info.shape) for info in infos)
    own = 0 if earlier is None else strategy_bytes(earlier)
    if keeps_memory(plan.strategy):
        own = max(own, _FLOAT * sum(_strategy_numbers(plan)))
    if plan.strategy.keeps_inputs:
        own += kept_inputs.kept_bytes(plan.layers)
    return residuals + own + _DIGEST * len(current.tensors) + _HEADERS


def _changed(memory: Header | None) -> Iterator[str]:
    """Tensors of which a memory keeps something."""
    for name in () if memory is None else memory.tensors:
        tensor, _, part = name.rpartition(memory_key("", ""))
        if part in {RESIDUAL, WEIGHT}:
            yield tensor


def _strategy_numbers(plan: Plan) -> Iterator[int]:
    """How many numbers the strategy keeps of every layer."""
    for target in plan.targets:
        shapes = plan.strategy.memory_shapes(target.shape, layer_rank(target, plan.settings).rank)
        yield sum(prod(shape) for shape in shapes.values())
