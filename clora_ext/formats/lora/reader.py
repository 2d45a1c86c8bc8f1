"""LoRA files of any dialect as changes of known sites, at exactly the strength that they are meant to have.

Nothing is skipped but embeddings that are bundled in, with a note: a tensor that has no place, half a pair or
a kind that cannot be read is refused by name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clora_ext.adapters.decomposed import DecomposedAdapter
from clora_ext.adapters.delta import Delta
from clora_ext.adapters.factors import Factors
from clora_ext.adapters.sites import Site
from clora_ext.errors import CheckpointError
from clora_ext.formats.checkpoint import Checkpoint

from .alpha import AlphaRule
from .contents import Algorithm, KindCount, algorithms_of, kind_of_adapter
from .dora import check_magnitude, with_magnitude
from .keys import Key, Role, bundled_embedding, is_adapter_name, parse_key
from .loha import check_loha, loha_rank, read_loha
from .lokr import check_lokr, lokr_rank, read_lokr
from .metadata import name_of, triggers_of
from .names import Dialect, NameTable, parts_of
from .pair import check_pair, pair_rank, read_pair
from .parts import Parts
from .refusal import listed, recognise_sites, refuse_other_kinds, refuse_other_model
from .strength import read_configs
from .whole import check_whole, read_whole

__all__ = ["Change", "LoraFile", "read_lora"]

Change = Delta | DecomposedAdapter
"""A change of one weight, or one that is fixed only when the weight is."""

_Names = dict[Role, str]


@dataclass(frozen=True, slots=True)
class _Reading:
    """How one kind of adapter is checked by its header, measured, and read."""

    check: Callable[[Parts], None]
    rank: Callable[[Parts], int | None]
    read: Callable[[Parts, AlphaRule], Delta]


_READINGS: Mapping[Algorithm, _Reading] = {
    "LoRA": _Reading(check_pair, pair_rank, read_pair),
    "LoHa": _Reading(check_loha, loha_rank, read_loha),
    "LoKr": _Reading(check_lokr, lokr_rank, read_lokr),
    "full": _Reading(check_whole, lambda parts: None, read_whole),
}


@dataclass(frozen=True, slots=True)
class LoraFile:
    """What a LoRA file holds.

    Attributes:
        changes: in the order of the model's sites, as matrices (out, in * kernel height * kernel width), of
            norms and biases (out, 1); float32. Whole changes stay in the file until they are asked for.
        kinds: what they are made of.
        parameters: how many numbers that is.
        dialect: whose names it uses.
        name: by its own account; may be empty.
        triggers: what to write into a prompt, by its own account.
        notes: what a user should know about how it was read.
    """

    changes: Mapping[Site, Change]
    kinds: tuple[KindCount, ...]
    parameters: int
    dialect: Dialect
    name: str
    triggers: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def factors(self) -> Mapping[Site, Factors]:
        """Those changes that are pairs of factors."""
        return {site: change for site, change in self.changes.items() if isinstance(change, Factors)}


def read_lora(path: Path, sites: Sequence[Site]) -> LoraFile:
    """The changes in a LoRA file.

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
    if not any(map(is_adapter_name, keys)):
        message = f"{path} is not a LoRA: none of its {len(file.names)} tensors is a factor"
        raise CheckpointError(message, fix="name a LoRA file; a whole model is not a LoRA")
    dialect, found = _assign(file, keys, sites)
    model = recognise_sites(sites)
    everything = [Parts(file, site, found[site], model) for site in _in_order(found, sites)]
    alphas = AlphaRule(read_configs(path, file.header.metadata, keys))
    for parts in everything:
        _algorithm(parts).check(parts)
        check_magnitude(parts, alphas.configs)
    changes: dict[Site, Change] = {}
    for parts in everything:
        change = with_magnitude(parts, _algorithm(parts).read(parts, alphas))
        changes |= _apart(parts, change, sites)
    kinds = _kinds(everything)
    metadata = file.header.metadata
    return LoraFile(
        changes,
        kinds,
        sum(parts.parameters() for parts in everything),
        dialect,
        name_of(metadata),
        triggers_of(metadata),
        _notes(file, kinds, alphas),
    )


def _in_order(found: Mapping[Site, _Names], sites: Sequence[Site]) -> list[Site]:
    """The sites of the file in the model's order, one that is several modules in the place of the first."""
    order = {site: number for number, site in enumerate(sites)}
    return sorted(found, key=lambda site: min(order[one] for one in parts_of(site, sites) or [site]))


def _apart(parts: Parts, change: Change, sites: Sequence[Site]) -> Mapping[Site, Change]:
    """The change by modules: one that several have together is cut by rows.

    Raises:
        CheckpointError: it cannot be cut.
    """
    pieces = parts_of(parts.site, sites)
    if not pieces:
        return {parts.site: change}
    if isinstance(change, DecomposedAdapter):
        message = f"{parts.file.path} is a DoRA of queries, keys and values together ({parts.site.module})"
        raise CheckpointError(message, fix="convert it to diffusers' names, or use a plain LoRA")
    return {one: change.rows(*one.rows) for one in pieces if one.rows is not None}


def _assign(
    file: Checkpoint, keys: Mapping[str, Key], sites: Sequence[Site]
) -> tuple[Dialect, dict[Site, _Names]]:
    """The dialect, and each site's tensors by role."""
    table = NameTable(sites)
    names = [name for name in file.names if bundled_embedding(name) is None]
    places = {
        name: table.find(keys[name].stem, keys[name].parameter) if name in keys else None for name in names
    }
    _refuse_unknown(file, [name for name, place in places.items() if place is None], keys, table, sites)
    examples: dict[Dialect, str] = {}
    found: dict[Site, _Names] = {}
    for name, place in places.items():
        assert place is not None  # noqa: S101 - refused above
        dialect, site = place
        examples.setdefault(dialect, name)
        roles = found.setdefault(site, {})
        role = keys[name].role
        if role in roles:
            message = f"{file.path}: {listed([roles[role], name])} are the same part of the same layer"
            raise CheckpointError(message, fix="the file holds several adapters; split it")
        roles[role] = name
    for site in found:
        both = [one for one in parts_of(site, sites) if one in found]
        if both:
            names = [next(iter(found[one].values())) for one in (site, both[0])]
            message = f"{file.path}: {listed(names)} change the same rows"
            raise CheckpointError(message, fix="the file holds several adapters; split it")
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
    refuse_other_model(file, recognise_sites(sites))
    shown = f"{len(names)} of {len(file.names)} tensors"
    if any(name in keys and table.is_ambiguous(keys[name].stem) for name in names):
        message = f"{file.path}: {shown} do not say which text encoder they belong to: {listed(names)}"
        raise CheckpointError(message, fix="export it with diffusers' or kohya's names")
    message = f"{file.path}: {shown} have no place in this model: {listed(names)}"
    raise CheckpointError(message, fix="check that it was trained on this kind of model")


def _algorithm(parts: Parts) -> _Reading:
    """How the site's adapter is read; half a pair is the pair's to refuse."""
    found = algorithms_of(parts.names.keys())
    if (
        len(found) > 1
        or {"diff", "w_norm"} <= parts.names.keys()
        or {"diff_b", "b_norm"} <= parts.names.keys()
    ):
        names = listed(list(parts.names.values()))
        message = (
            f"{parts.file.path} holds two changes of the {parts.site.parameter} of {parts.site.module}: "
        )
        raise CheckpointError(message + names, fix="the file holds several adapters; split it")
    return _READINGS[found[0] if found else "LoRA"]


def _kinds(everything: Sequence[Parts]) -> tuple[KindCount, ...]:
    """What the adapters are, each kind once."""
    ranks: dict[str, list[int | None]] = {}
    for parts in everything:
        ranks.setdefault(kind_of_adapter(parts.names.keys()), []).append(_algorithm(parts).rank(parts))
    counts = []
    for kind, found in ranks.items():
        known = [rank for rank in found if rank is not None]
        counts.append(KindCount(kind, len(found), (min(known), max(known)) if known else None))
    return tuple(counts)


def _notes(file: Checkpoint, kinds: Sequence[KindCount], alphas: AlphaRule) -> tuple[str, ...]:
    """What a user should know."""
    notes: list[str] = []
    layers = sum(one.count for one in kinds if one.kind != "full")
    if alphas.without_alpha:
        notes.append(f"{alphas.without_alpha} of {layers} layers say no alpha: read as alpha = rank")
    if alphas.zero_alpha:
        notes.append(f"alpha is 0 in {alphas.zero_alpha} of {layers} layers: read as alpha = rank")
    notes += [
        f"ranks differ by layer, from {one.ranks[0]} to {one.ranks[1]}"
        for one in kinds
        if one.kind == "LoRA" and one.ranks is not None and one.ranks[0] < one.ranks[1]
    ]
    triggers = sorted({trigger for name in file.names if (trigger := bundled_embedding(name)) is not None})
    if triggers:
        notes.append(f"embeddings that are bundled in are left out: {listed(triggers)}")
    if any("DoRA" in one.kind for one in kinds):
        notes.append("DoRA: its magnitudes are set over the model as it is now")
    return tuple(notes)
