"""What a training costs, and what of that goes together. Needs no torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from .knob import Knob

__all__ = ["ComputeSettings", "compute_problems"]


@dataclass(frozen=True, slots=True)
class ComputeSettings:
    """What the same training costs."""

    gradient_checkpointing: Annotated[
        bool,
        Knob("Compute activations twice instead of keeping them: slower, with less memory."),
    ] = False
    fp8_base: Annotated[
        bool,
        Knob(
            "Keep the UNet's weights in 8 bits (float8 e4m3) while it is trained, in half the memory, with "
            "gradient checkpointing. The LoRA is folded into the exact ones."
        ),
    ] = False
    offload_base: Annotated[
        bool,
        Knob(
            "Keep the UNet's weights in the machine's memory and copy each to the GPU while its layer "
            "computes, with gradient checkpointing: slower, for what does not fit otherwise."
        ),
    ] = False
    shard: Annotated[
        bool,
        Knob(
            "Share the UNet's weights out over the processes that train together (FSDP2): each keeps its "
            "part, and has all of a block's while that computes."
        ),
    ] = False
    torch_compile: Annotated[
        bool,
        Knob(
            "Compile the UNet's transformer blocks (torch.compile): the first steps take minutes, later ones "
            "less; needs a C++ compiler, on a GPU Triton. Rounds otherwise."
        ),
    ] = False

    @property
    def recomputes(self) -> bool:
        """Whether activations are computed twice: else every copy of a weight would be kept."""
        return self.gradient_checkpointing or self.copies_weights

    @property
    def copies_weights(self) -> bool:
        """Whether layers compute with copies of the weights that are kept."""
        return self.fp8_base or self.offload_base


def compute_problems(compute: ComputeSettings, *, dora: bool) -> Iterator[str]:
    """What does not go together, in words.

    Args:
        compute: that is asked for.
        dora: whether magnitudes are trained beside the LoRA.
    """
    kept = {"--fp8-base": compute.fp8_base, "--offload-base": compute.offload_base}
    for option in (name for name, asked in kept.items() if asked and dora):
        yield f"--dora needs norms of whole weights, {option} copies one at a time: leave one out"
    if compute.shard and dora:
        yield "--dora needs norms of whole weights, with --shard a process has parts: leave one out"
    if compute.shard and compute.offload_base:
        yield "--shard keeps weights on the GPUs, --offload-base in the machine's memory: leave one out"
    if compute.shard and compute.torch_compile:
        yield "--torch-compile compiles blocks, which --shard changes: leave one out"
