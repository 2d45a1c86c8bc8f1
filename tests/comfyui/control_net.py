"""A ControlNet with random weights for a checkpoint in Stable Diffusion 1's own layout, in its own layout."""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

__all__ = ["write_control_net"]

_UNET = "model.diffusion_model."
_SHARED = ("time_embed.", "input_blocks.", "middle_block.")
# Channels of the layers that read the picture, each behind the one before it; the last gives the UNet's own.
_HINT = (3, 16, 16, 32, 32, 96, 96, 256)


def write_control_net(base: Path, target: Path) -> Path:
    """The encoder of the checkpoint's UNet, with random layers behind its blocks and before its first."""
    unet = {
        name.removeprefix(_UNET): weight for name, weight in load_file(base).items() if name.startswith(_UNET)
    }
    shared = {name: weight for name, weight in unet.items() if name.startswith(_SHARED)}
    torch.manual_seed(0)
    made = {f"control_model.{name}": weight for name, weight in [*shared.items(), *_added(shared)]}
    save_file({name: weight.clone().contiguous() for name, weight in made.items()}, target)
    return target


def _added(shared: dict[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    blocks = 1 + max(int(name.split(".")[1]) for name in shared if name.startswith("input_blocks."))
    width = shared["input_blocks.0.0.weight"].shape[0]
    for block in range(blocks):
        yield from _convolution(f"zero_convs.{block}.0", _channels(shared, f"input_blocks.{block}."))
    yield from _convolution("middle_block_out.0", _channels(shared, "middle_block."))
    for layer, (inside, out) in enumerate(zip(_HINT, [*_HINT[1:], width], strict=True)):
        yield from _convolution(f"input_hint_block.{2 * layer}", out, inside, 3)


def _channels(shared: dict[str, torch.Tensor], block: str) -> int:
    """How many channels a block gives: a residual block, a smaller picture, or the first convolution."""
    names = (f"{block}0.{layer}bias" for layer in ("out_layers.3.", "op.", ""))
    return next(int(shared[name].shape[0]) for name in names if name in shared)


def _convolution(
    name: str, out: int, inside: int | None = None, side: int = 1
) -> Iterator[tuple[str, torch.Tensor]]:
    yield f"{name}.weight", torch.randn(out, inside or out, side, side).half() * 0.05
    yield f"{name}.bias", torch.zeros(out).half()
