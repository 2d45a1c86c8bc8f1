"""A project's model with everything that is known of it before the first byte is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from clora_ext import families
from clora_ext.errors import ProjectError, UsageError, did_you_mean
from clora_ext.events import Sink
from clora_ext.evolving.model import Evolving
from clora_ext.families.base import Family
from clora_ext.families.components import Role, denoiser_of
from clora_ext.families.computed_weights import ComputedWeights
from clora_ext.formats.checkpoint import Source
from clora_ext.formats.header import layout
from clora_ext.formats.prediction import Prediction
from clora_ext.formats.spans import reading
from clora_ext.project import Base, Project
from clora_ext.runs.context import open_evolving

from .atomic import PlannedFile
from .card import Card, make_card
from .dtypes import DTYPES
from .metadata import make_metadata
from .names import check_name, safe_name
from .tensors import model_bytes, model_sources, with_markers, write_model
from .thumbnail import data_url, drawings, preview

__all__ = ["ExportBundle", "make_bundle"]


@dataclass(frozen=True, slots=True)
class ExportBundle:
    """A project's model, ready to be written.

    Attributes:
        name: of its files, without an ending.
        is_named: whether the user chose that name.
        card: what it says of itself.
        preview: PNG of what it draws; None: nothing was drawn.
        family: of the model.
        base: what it was made from; needs not be there any more.
        evolving: the model.
        roles: of the exported tensors, by name; None: a left-over, which no component reads.
        sources: the exported tensors by name.
        metadata: of the exported checkpoint, but for the hash of its bytes.
        is_alone: whether that is the denoiser alone, as its base is published.
        sink: told of every tensor; may raise Cancelled to stop.
    """

    name: str
    is_named: bool
    card: Card
    preview: bytes | None
    family: Family
    base: Base
    evolving: Evolving
    roles: Mapping[str, Role | None]
    sources: Mapping[str, Source]
    metadata: Mapping[str, str]
    sink: Sink
    is_alone: bool = False

    def checkpoint(self, target: Path) -> PlannedFile:
        """The whole model as one file."""

        def write(path: Path) -> str:
            return write_model(path, self.sources, self.metadata, self.sink)

        return PlannedFile(target, model_bytes(self.sources, self.metadata), write)

    def weights(self) -> Mapping[str, Tensor]:
        """The taught parameters' exact values as their tensors hold them, float32 matrices, by name."""
        taught = set(self.evolving.changed_tensors)
        everything = self.family.parameters(self.evolving.current.header)
        rows = {one.name: (one.tensor, *one.stored_rows) for one in everything if one.tensor in taught}

        def exact(name: str) -> Tensor:
            with reading() as files:
                return self.evolving.rows(*rows[name], files)

        return ComputedWeights(rows, exact)

    @property
    def own_files(self) -> tuple[Path, ...]:
        """What an export must never replace: the base and the project's state."""
        parts = (self.evolving.current, self.evolving.memory)
        return (self.base.main.place, *(part.path for part in parts if part is not None))


def make_bundle(
    project: Path,
    dtype: str | None,
    name: str | None,
    sink: Sink,
    place: Path | None = None,
    *,
    everything: bool = False,
) -> ExportBundle:
    """Read all that an export needs; writes nothing.

    All of a taught model lies in its project; only one that has learned nothing is its base.

    Args:
        project: its folder.
        dtype: as for :func:`clora_ext.export.export_checkpoint`.
        name: of the files.
        sink: told what happens.
        place: where the base lies now; None: where it was.
        everything: whether what lies in files of its own belongs to the export, too.

    Raises:
        UsageError: unknown dtype, or a name that is no file name everywhere.
        ProjectError: there is no project; or it has learned nothing, and its base is gone or another model.
        CheckpointError: its checkpoint cannot be read.
    """
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}", fix=did_you_mean(dtype, tuple(DTYPES)))
    title = None if name is None else check_name(name)
    opened = Project.open(project)
    evolving, base = open_evolving(opened, place), opened.base
    if base is None:
        raise ProjectError(f"{project} holds no model yet", fix="teach a first concept")
    header = evolving.current.header
    family = families.detect(header, evolving.current.path)
    card = make_card(base, opened.held, family, header, title)
    chosen = _chosen(evolving, family, everything=everything)
    exported = _exported(evolving, family, chosen, dtype, card.prediction)
    pictures = drawings([opened.sheets_dir / one.sheet for one in opened.held if one.sheet])
    tensors = layout({key: (source.dtype, source.shape) for key, source in exported.sources.items()})
    return ExportBundle(
        name=title or safe_name(project.resolve().name),
        is_named=title is not None,
        card=card,
        preview=preview(pictures),
        family=family,
        base=base,
        evolving=evolving,
        roles=exported.roles,
        sources=exported.sources,
        metadata=make_metadata(card, base, opened.held, header.metadata, data_url(pictures), tensors),
        sink=sink,
        is_alone=exported.is_alone,
    )


@dataclass(frozen=True, slots=True)
class _Exported:
    """Tensors under the names that they are exported by."""

    sources: Mapping[str, Source]
    roles: Mapping[str, Role | None]
    is_alone: bool


def _chosen(evolving: Evolving, family: Family, *, everything: bool) -> Mapping[str, Role | None]:
    """What each tensor that belongs to an export is read by.

    Raises:
        CheckpointError: all is asked for, and a part is nowhere.
    """
    current = evolving.current
    roles = family.roles(current.header)
    if not everything:
        return {name: roles[name] for name in current.own_names}
    if family.lacking(current.header):
        family.check_loading(current.header, current.path)  # says what is missing, and how to name it
    return roles


def _exported(
    evolving: Evolving,
    family: Family,
    chosen: Mapping[str, Role | None],
    dtype: str | None,
    prediction: Prediction,
) -> _Exported:
    """The chosen tensors; a denoiser alone without the prefix that it has in a whole checkpoint."""
    usual = "bf16" if prediction.kind == "flow" else "fp16"  # transformers of flows overflow in fp16
    sources = with_markers(model_sources(evolving, chosen, dtype, usual), prediction)
    roles = {name: chosen.get(name) for name in sources}
    prefix = denoiser_of(family.components).prefix
    is_alone = all(name.startswith(prefix) for name, role in roles.items() if role)
    cut = {prefix: ""} if is_alone else family.written_prefixes
    return _Exported(
        sources={_renamed(name, cut): source for name, source in sources.items()},
        roles={_renamed(name, cut): role for name, role in roles.items()},
        is_alone=is_alone,
    )


def _renamed(name: str, prefixes: Mapping[str, str]) -> str:
    """With another prefix, where it has one of these."""
    for here, there in prefixes.items():
        if name.startswith(here):
            return there + name.removeprefix(here)
    return name
