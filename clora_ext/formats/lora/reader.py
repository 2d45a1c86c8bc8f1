"""LoRA files of any dialect as adapters of known sites, at exactly the strength that they are meant to have.

Nothing is skipped: a tensor that has no place, half a pair or a kind that cannot be read is refused by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from clora_ext.adapters.factors import Factors
from clora_ext.adapters.sites import Site
from clora_ext.errors import CheckpointError
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.text import quoted

from .metadata import name_of, triggers_of
from .names import Dialect, Key, NameTable, Role, parse_key
from .refusal import listed, recognise_file, recognise_sites, refuse_other_kinds
from .strength import Configs, checked_alpha, read_configs

__all__ = ["LoraFile", "read_lora"]

_FACTORS = frozenset({"F64", "F32", "F16", "BF16"})
_NUMBERS = _FACTORS | {"I64", "I32", "I16", "I8", "U8"}  # diffusers' converter writes alpha as an integer
_DAMAGED = "the file is damaged; download or export it again"

_Names = dict[Role, str]


@dataclass(frozen=True, slots=True)
class LoraFile:
    """What a LoRA file holds.

    Attributes:
        factors: float32 adapters in matrix form, in the order of the model's sites: ``down`` (rank,
            in * kernel height * kernel width), ``up`` (out, rank).
        dialect: whose names it uses.
        name: by its own account; may be empty.
        triggers: what to write into a prompt, by its own account.
        notes: what a user should know about how it was read.
    """

    factors: Mapping[Site, Factors]
    dialect: Dialect
    name: str
    triggers: tuple[str, ...]
    notes: tuple[str, ...]


def read_lora(path: Path, sites: Sequence[Site]) -> LoraFile:
    """The adapters in a LoRA file.

    An alpha that is missing or 0 means the rank (sd-scripts' rule), unless PEFT's configuration in the
    metadata or beside the file says otherwise.

    Args:
        path: a safetensors file.
        sites: of the model that it is for.

    Raises:
        CheckpointError: not a LoRA, one of a kind that cannot be read, for another model, or damaged; the
            message names the tensors.
    """
    file = Checkpoint(path)
    refuse_other_kinds(path, file.names)
    keys = {name: key for name in file.names if (key := parse_key(name)) is not None}
    if not any(key.role != "alpha" for key in keys.values()):
        message = f"{path} is not a LoRA: none of its {len(file.names)} tensors is a factor"
        raise CheckpointError(message, fix="name a LoRA file; a whole model is not a LoRA")
    dialect, found = _assign(file, keys, sites)
    ordered = {site: found[site] for site in sites if site in found}
    _check_pairs(file, ordered, sites)
    reader = _Reader(file, read_configs(path, file.header.metadata, keys))
    factors = {site: reader.factors(site, names) for site, names in ordered.items()}
    metadata = file.header.metadata
    notes = _notes(ordered, factors, reader)
    return LoraFile(factors, dialect, name_of(metadata), triggers_of(metadata), notes)


def _assign(
    file: Checkpoint, keys: Mapping[str, Key], sites: Sequence[Site]
) -> tuple[Dialect, dict[Site, _Names]]:
    """The dialect, and each site's tensors by role."""
    table = NameTable(sites)
    places = {name: table.find(keys[name].stem) if name in keys else None for name in file.names}
    _refuse_unknown(file, [name for name, place in places.items() if place is None], keys, table, sites)
    examples: dict[Dialect, str] = {}
    found: dict[Site, _Names] = {}
    for name, place in places.items():
        assert place is not None  # noqa: S101 - refused above
        dialect, site = place
        examples.setdefault(dialect, name)
        names = found.setdefault(site, {})
        role = keys[name].role
        if role in names:
            message = f"{file.path}: {listed([names[role], name])} are the same part of the same layer"
            raise CheckpointError(message, fix="the file holds several adapters; split it")
        names[role] = name
    if len(examples) > 1:
        message = (
            f"{file.path} mixes the names of {' and '.join(examples)}: {listed(list(examples.values()))}"
        )
        raise CheckpointError(message, fix="it was put together from several files; use them one by one")
    return next(iter(examples)), found


def _refuse_unknown(
    file: Checkpoint, names: Sequence[str], keys: Mapping[str, Key], table: NameTable, sites: Sequence[Site]
) -> None:
    """Refuse tensors that have no place in the model."""
    if not names:
        return
    _refuse_other_model(file, sites)
    shown = f"{len(names)} of {len(file.names)} tensors"
    if any(name in keys and table.is_ambiguous(keys[name].stem) for name in names):
        message = f"{file.path}: {shown} do not say which text encoder they belong to: {listed(names)}"
        raise CheckpointError(message, fix="export it with diffusers' or kohya's names")
    message = f"{file.path}: {shown} have no place in this model: {listed(names)}"
    raise CheckpointError(message, fix="check that it was trained on this kind of model")


def _refuse_other_model(file: Checkpoint, sites: Sequence[Site]) -> None:
    """Refuse a file that is recognisably for another kind of model."""
    theirs, ours = recognise_file(file.header.tensors), recognise_sites(sites)
    if theirs is not None and ours is not None and theirs != ours:
        message = f"{file.path} is a LoRA for {theirs}, the model is {ours}"
        raise CheckpointError(message, fix=f"use a LoRA that was trained on {ours}")


def _check_pairs(file: Checkpoint, found: Mapping[Site, _Names], sites: Sequence[Site]) -> None:
    """Every site has both factors, and they fit it and each other."""
    for site, names in found.items():
        missing = [role for role in ("down", "up") if role not in names]
        if missing:
            message = (
                f"{file.path}: the {' and the '.join(missing)} factor of {site.module} is missing, "
                f"there is only {listed(list(names.values()))}"
            )
            raise CheckpointError(message, fix=_DAMAGED)
        down, up = file.info(names["down"]), file.info(names["up"])
        rank = down.shape[0] if down.shape else 0
        wanted = (rank, *_trimmed(site.shape)[1:]), (site.shape[0], rank)
        if rank == 0 or (_trimmed(down.shape), _trimmed(up.shape)) != wanted:
            _refuse_other_model(file, sites)
            message = (
                f"{file.path}: {quoted(names['down'])} {list(down.shape)} and {quoted(names['up'])} "
                f"{list(up.shape)} do not fit the layer's weight {list(site.shape)}"
            )
            raise CheckpointError(message, fix="check that it was trained on this kind of model")


def _trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without a kernel of 1 x 1, which some files write and others leave out."""
    return shape[:2] if shape[2:] == (1, 1) else shape


class _Reader:
    """Reads tensors and counts where alpha came from."""

    def __init__(self, file: Checkpoint, configs: Configs) -> None:
        self._file = file
        self._configs = configs
        self.without_alpha = 0
        self.zero_alpha = 0

    def factors(self, site: Site, names: _Names) -> Factors:
        """One site's adapter, float32."""
        down = self._factor(names["down"]).flatten(start_dim=1)
        up = self._factor(names["up"]).flatten(start_dim=1)
        return Factors(down, up, self._alpha(site, names, int(down.shape[0])))

    def _factor(self, name: str) -> Tensor:
        """One checked factor, float32."""
        dtype = self._file.info(name).dtype
        if dtype not in _FACTORS:
            message = (
                f"{self._file.path}: tensor {quoted(name)} is {dtype}, too coarse, or not a number format"
            )
            raise CheckpointError(message, fix="use an fp16, bf16 or fp32 version of the LoRA")
        factor = self._file.read_float(name)
        if not torch.isfinite(factor).all():
            message = f"{self._file.path}: tensor {quoted(name)} has values that are not finite"
            raise CheckpointError(message, fix="the training broke down; use an earlier version of the LoRA")
        return factor

    def _alpha(self, site: Site, names: _Names, rank: int) -> float:
        """alpha by the file, its configuration, or the rule."""
        name = names.get("alpha")
        if name is None:
            configured = self._configs.alpha(site, rank)
            if configured is not None:
                return configured
            self.without_alpha += 1
            return float(rank)
        where = f"{self._file.path}: tensor {quoted(name)}"
        info = self._file.info(name)
        if info.shape not in {(), (1,)} or info.dtype not in _NUMBERS:
            message = f"{where} is {info.dtype} of shape {list(info.shape)}, alpha is one number"
            raise CheckpointError(message, fix=_DAMAGED)
        alpha = checked_alpha(self._file.read(name).item(), where)
        if alpha == 0:
            self.zero_alpha += 1
            return float(rank)
        return alpha


def _notes(found: Mapping[Site, _Names], factors: Mapping[Site, Factors], reader: _Reader) -> tuple[str, ...]:
    """What a user should know."""
    notes: list[str] = []
    if reader.without_alpha:
        notes.append(f"{reader.without_alpha} of {len(found)} layers say no alpha: read as alpha = rank")
    if reader.zero_alpha:
        notes.append(f"alpha is 0 in {reader.zero_alpha} of {len(found)} layers: read as alpha = rank")
    ranks = {adapter.rank for adapter in factors.values()}
    if len(ranks) > 1:
        notes.append(f"ranks differ by layer, from {min(ranks)} to {max(ranks)}")
    return tuple(notes)
