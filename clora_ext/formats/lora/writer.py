"""LoRA files, in the one dialect of a family that all programs apply at full strength.

Of Stable Diffusion that is kohya's.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from clora_ext.adapters.factors import Factors
from clora_ext.adapters.sites import Site
from clora_ext.errors import CheckpointError, UsageError, did_you_mean
from clora_ext.formats.checkpoint import Source, stored_chunks, write_checkpoint
from clora_ext.formats.header import encode_header, layout

from .keys import bundled_name
from .kinds import LoraKind, kind_of
from .metadata import Details, model_metadata, training_metadata
from .names import join

__all__ = ["WrittenLora", "kohya_name", "write_lora"]

_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
_RESERVED = ("ss_", "sshs_", "modelspec.")
# The window of the file that web interfaces' first hash was taken of.
_LEGACY_START, _LEGACY_END = 0x100000, 0x110000


@dataclass(frozen=True, slots=True)
class WrittenLora:
    """A LoRA file that was written.

    Attributes:
        path: of the file.
        bytes: its size.
        modules: how many layers it changes.
        content_hash: of its tensors, as :func:`clora_ext.formats.checkpoint.content_hash` gives it.
        model_hash: sha256 of everything behind the header, by which web interfaces know it.
        words: whose embeddings are bundled in.
    """

    path: Path
    bytes: int
    modules: int
    content_hash: str
    model_hash: str
    words: tuple[str, ...] = ()


def kohya_name(site: Site, kind: LoraKind) -> str:
    """What the site's layer is called in files for models of this kind: by sd-scripts, if it knows them.

    Raises:
        UsageError: models of this kind have no such component.
    """
    if site.component not in kind.prefixes:
        message = f"{kind.architecture} has no {site.component} ({site.module})"
        raise UsageError(message, fix="name the family that the model is of")
    return join(kind.prefixes[site.component], site.original if kind.original else site.module)


def write_lora(
    target: Path,
    factors: Mapping[Site, Factors],
    family: str,
    details: Details,
    *,
    magnitudes: Mapping[Site, Tensor] | None = None,
    embeddings: Mapping[str, Mapping[str, Tensor]] | None = None,
    dtype: str = "F16",
    on_tensor: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> WrittenLora:
    """Write adapters as a LoRA file. Equal input gives equal bytes.

    Args:
        target: the new file; its folder exists.
        factors: float32 adapters in matrix form, as :func:`clora_ext.formats.lora.reader.read_lora` gives.
        family: its name, such as ``sd1``.
        details: what the file tells about itself.
        magnitudes: of the outputs of sites that have them (DoRA), (out,) each: written in float32, whatever
            the dtype, because half of it would round the whole weight and not its change.
        embeddings: what text encoders read words as, by word and component, (vectors, width) each: bundled
            in as web interfaces read them, who then put them in the word's place.
        dtype: of the tensors: ``F16``, ``BF16`` or ``F32``.
        on_tensor: called after every tensor with (done, total, name); may raise to stop.

    Raises:
        UsageError: nothing to write, or an unknown family, dtype or reserved metadata.
        CheckpointError: values are not finite, do not fit the dtype or the site.
        StorageError: the disk is full or refuses.
    """
    kind = kind_of(family)
    _check(factors, details, dtype)
    if not kind.alpha:
        factors = {site: adapter.with_alpha(float(adapter.rank)) for site, adapter in factors.items()}
    sources: dict[str, Source] = {}
    for site, adapter in factors.items():
        sources |= _sources(site, adapter, kohya_name(site, kind), dtype, kind)
    for site, magnitude in (magnitudes or {}).items():
        sources[f"{kohya_name(site, kind)}.dora_scale"] = _magnitude(site, magnitude)
    for word, vectors in (embeddings or {}).items():
        sources |= _embedding(word, vectors, kind, dtype)
    training = training_metadata(details, kind, *_network(factors, dtype), decomposed=bool(magnitudes))
    model_hash, legacy_hash = _hashes(sources, training)
    metadata = {
        **details.extra,
        **training,
        **model_metadata(details, kind),
        "sshs_model_hash": model_hash,
        "sshs_legacy_hash": legacy_hash,
    }
    content = write_checkpoint(target, sources, metadata, on_tensor=on_tensor)
    words = tuple(embeddings or ())
    return WrittenLora(target, target.stat().st_size, len(factors), content, model_hash, words)


def _check(factors: Mapping[Site, Factors], details: Details, dtype: str) -> None:
    """Refuse a call that cannot give a file."""
    if not factors:
        raise UsageError("there is no adapter to write", fix="teach a concept first")
    if dtype not in _DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}", fix=did_you_mean(dtype, tuple(_DTYPES)))
    taken = [key for key in details.extra if key.startswith(_RESERVED)]
    if taken:
        raise UsageError(f"the metadata key {taken[0]!r} is reserved", fix="use a prefix of your own")
    for site, adapter in factors.items():
        if (adapter.up.shape[0], adapter.down.shape[1]) != site.matrix or adapter.rank == 0:
            message = f"an adapter of {adapter.up.shape[0]} x {adapter.down.shape[1]} is given for {site}"
            raise CheckpointError(message, fix="report this: it is a bug in clora")


def _sources(site: Site, adapter: Factors, name: str, dtype: str, kind: LoraKind) -> dict[str, Source]:
    """The tensors of one layer: two, or three with alpha."""
    rank, kernel = adapter.rank, site.shape[2:]
    stored = _storable(adapter, _DTYPES[dtype])
    shapes = dict(
        zip(kind.endings, ((rank, *site.shape[1:]), (site.shape[0], rank, *(1 for _ in kernel))), strict=True)
    )
    parts = dict(zip(kind.endings, (stored.down, stored.up), strict=True))
    sources = {
        f"{name}.{part}": Source(dtype, shape, _reshaped(parts[part], shape))
        for part, shape in shapes.items()
    }
    if not kind.alpha:
        return sources
    alpha = torch.tensor(stored.alpha, dtype=torch.float64)
    return {**sources, f"{name}.alpha": Source(dtype, (), lambda: alpha)}


def _magnitude(site: Site, magnitude: Tensor) -> Source:
    """The tensor of one layer's magnitudes, as LyCORIS has it with ``wd_on_output``."""
    shape = (site.shape[0], *(1 for _ in site.shape[1:]))
    return Source("F32", shape, _reshaped(magnitude, shape))


def _embedding(word: str, vectors: Mapping[str, Tensor], kind: LoraKind, dtype: str) -> dict[str, Source]:
    """The tensors of a bundled embedding."""
    return {
        bundled_name(word, kind.embeddings[component]): Source(
            dtype, tuple(table.shape), _reshaped(table, tuple(table.shape))
        )
        for component, table in vectors.items()
    }


def _reshaped(tensor: Tensor, shape: tuple[int, ...]) -> Callable[[], Tensor]:
    """Gives the tensor in its stored shape when it is asked for."""
    return lambda: tensor.reshape(shape)


def _storable(adapter: Factors, dtype: torch.dtype) -> Factors:
    """The same delta with an alpha and with magnitudes that the dtype can hold."""
    scaled = adapter.with_alpha(_storable_alpha(adapter, dtype))
    return _balanced(scaled) if dtype == torch.float16 else scaled


def _storable_alpha(adapter: Factors, dtype: torch.dtype) -> float:
    """alpha if the dtype holds it exactly, else the nearest that it holds; ``up`` makes up for the rest.

    An alpha of 0 is never stored: readers take it for the rank.
    """
    rounded = float(torch.tensor(adapter.alpha, dtype=dtype))
    normal = torch.finfo(dtype).tiny <= rounded < math.inf
    return rounded if normal else float(torch.tensor(float(adapter.rank), dtype=dtype))


def _balanced(adapter: Factors) -> Factors:
    """The same delta, bit for bit, with a power of two moved so that both factors have like magnitudes.

    Below 6e-5 float16 loses precision, and a trained ``up``, which starts at zero, often lies there.
    """
    down, up = float(adapter.down.abs().max()), float(adapter.up.abs().max())
    if not (down > 0 and up > 0 and math.isfinite(down * up)):
        return adapter
    power = 2.0 ** round(math.log2(down / up) / 2)
    return Factors(adapter.down / power, adapter.up * power, adapter.alpha)


def _network(factors: Mapping[Site, Factors], dtype: str) -> tuple[str, str]:
    """Rank and alpha of all layers as sd-scripts writes them."""
    ranks = {str(adapter.rank) for adapter in factors.values()}
    alphas = {str(_storable_alpha(adapter, _DTYPES[dtype])) for adapter in factors.values()}
    rank, alpha = (texts.pop() if len(texts) == 1 else "Dynamic" for texts in (ranks, alphas))
    return rank, alpha


def _hashes(sources: Mapping[str, Source], training: Mapping[str, str]) -> tuple[str, str]:
    """Web interfaces' two hashes: of everything behind the header, and the first eight digits of the old one.

    The old one is of 64 KiB of the file as it was before any metadata but sd-scripts' was added; a file that
    is shorter than its start has the hash of nothing.
    """
    tensors = layout({name: (source.dtype, source.shape) for name, source in sources.items()})
    header = encode_header(tensors, training)
    model, legacy = sha256(), sha256(header[_LEGACY_START:_LEGACY_END])
    position = len(header)
    for chunk in (chunk for name in tensors for chunk in stored_chunks(name, sources[name])):
        model.update(chunk)
        legacy.update(chunk[max(0, _LEGACY_START - position) : max(0, _LEGACY_END - position)])
        position += len(chunk)
    return model.hexdigest(), legacy.hexdigest()[:8]
