"""Files with the names and shapes of published models, and no weights: they take no room on the disk."""

from collections.abc import Mapping
from pathlib import Path

from clora_ext.formats.flow_keys import (
    FLOW_PREFIX,
    FLOW_VAE_PREFIX,
    QWEN3_06B_PREFIX,
    QWEN3_4B_PREFIX,
    QWEN3_8B_PREFIX,
    QWEN3VL_4B_PREFIX,
)
from clora_ext.formats.header import Header, encode_header, layout

GOLDEN = Path(__file__).parent / "formats" / "golden"


def published_shapes(golden: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a published file."""
    lines = (GOLDEN / f"{golden}.txt").read_text(encoding="utf-8").splitlines()
    parts = [line.split(" ") for line in lines]
    return {name: tuple(map(int, shape)) for name, *shape in parts}


def z_image_header() -> Header:
    """Of a file of everything that belongs to Z-Image."""
    return _everything({FLOW_PREFIX: "z_image", QWEN3_4B_PREFIX: "qwen3_4b", FLOW_VAE_PREFIX: "flux1_vae"})


def klein_header(name: str) -> Header:
    """Of a file of everything that belongs to a Flux.2 klein."""
    text = {"flux2_klein_4b": {QWEN3_4B_PREFIX: "qwen3_4b"}, "flux2_klein_9b": {QWEN3_8B_PREFIX: "qwen3_8b"}}
    return _everything({FLOW_PREFIX: name, **text[name], FLOW_VAE_PREFIX: "flux2_vae"})


def anima_header() -> Header:
    """Of a file of everything that belongs to Anima."""
    parts = {FLOW_PREFIX: "anima", QWEN3_06B_PREFIX: "qwen3_06b", FLOW_VAE_PREFIX: "qwen_image_vae"}
    return _everything(parts)


def krea2_header() -> Header:
    """Of a file of everything that belongs to Krea 2."""
    found = _everything(
        {FLOW_PREFIX: "krea2", QWEN3VL_4B_PREFIX: "qwen3vl_4b", FLOW_VAE_PREFIX: "qwen_image_vae"}
    )
    old = f"{QWEN3VL_4B_PREFIX}model."
    renamed = {f"{old}language_model.": old, f"{old}visual.": f"{QWEN3VL_4B_PREFIX}visual."}
    tensors = dict(found.tensors)
    for before, after in renamed.items():
        tensors = {
            after + name.removeprefix(before) if name.startswith(before) else name: info
            for name, info in tensors.items()
        }
    return Header(tensors)


def _everything(parts: Mapping[str, str]) -> Header:
    shapes = {
        prefix + name: ("BF16", shape)
        for prefix, golden in parts.items()
        for name, shape in published_shapes(golden).items()
    }
    return Header(layout(shapes))


def published_file(file: Path, golden: str, *, prefix: str = "", dtype: str = "BF16") -> Path:
    """A file with these tensors, ``prefix`` before their names, all of them zeros; give ``file``."""
    return hollow_file(
        file, {prefix + name: shape for name, shape in published_shapes(golden).items()}, dtype
    )


def hollow_file(file: Path, shapes: Mapping[str, tuple[int, ...]], dtype: str = "BF16") -> Path:
    """A file with such tensors, all of them zeros that the file system need not keep; give ``file``."""
    tensors = layout({name: (dtype, shape) for name, shape in shapes.items()})
    head = encode_header(tensors, {})
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as opened:
        opened.write(head)
        opened.truncate(len(head) + sum(info.bytes for info in tensors.values()))
    return file
