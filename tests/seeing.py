"""The half of a small Qwen3-VL that sees pictures, put beside the half that reads words."""

from pathlib import Path

from safetensors.torch import load_file
from torch import nn
from transformers import Qwen3VLVisionConfig, Qwen3VLVisionModel

from clora_ext.formats.checkpoint import Source, write_checkpoint


def sight(width: int) -> nn.Module:
    """What a language model sees pictures with, as small as can be."""
    config = Qwen3VLVisionConfig(
        depth=1, hidden_size=16, intermediate_size=16, num_heads=2, out_hidden_size=width,
        deepstack_visual_indexes=[0], num_position_embeddings=4, patch_size=2,
    )  # fmt: skip
    found: nn.Module = Qwen3VLVisionModel(config)
    return found


def see(file: Path) -> None:
    """Make of a language model the half of one that sees pictures, too, as it is published."""
    read = load_file(file)
    names = {name: name.replace("model.", "model.language_model.", 1) for name in read}
    seeing = sight(read["model.norm.weight"].shape[0]).state_dict()
    whole = {names[name]: one for name, one in read.items()}
    whole |= {f"model.visual.{name}": one.to(read["model.norm.weight"].dtype) for name, one in seeing.items()}
    write_checkpoint(file, {name: Source.of(one.contiguous()) for name, one in whole.items()}, {})
