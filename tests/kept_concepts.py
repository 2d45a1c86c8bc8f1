"""Concepts of a tiny model whose change is kept, or not; and what the model then is."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from small_runs import SETTINGS, another, with_settings
from torch import Tensor

from clora_ext import Project, Request
from clora_ext.runs.context import open_evolving

MERGE = SETTINGS.with_values(strategy="merge", learning_rate=1e-2, steps=3, sample_count=1)


def weights(project: Path) -> Mapping[str, Tensor]:
    """The exact value of every tensor of the model that is a number."""
    evolving = open_evolving(Project.open(project))
    infos = {name: evolving.current.info(name) for name in evolving.current.names}
    return {name: evolving.weight(name) for name, info in infos.items() if info.dtype.startswith("F")}


def kept(request: Request, strategy: str = "merge") -> Request:
    settings = MERGE.with_values(strategy=strategy)
    return replace(request, settings=settings, token="sks", keep_delta=True, keep=5)


def then(request: Request, name: str, strategy: str = "merge", **others: object) -> Request:
    """Another concept, which is not kept."""
    later = replace(another(request, name), token=name[:3], keep_delta=False, **others)  # type: ignore[arg-type]  # of the request
    return with_settings(later, strategy=strategy)


def deltas(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in (folder / "deltas").iterdir()}
