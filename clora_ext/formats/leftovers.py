"""Tensors that training programs and converters leave in a checkpoint and that no module reads.

Buffers that are computed again, moving averages, losses, the half of CLIP or of a language model that looks
at pictures: they belong to nothing that clora teaches or draws with, and travel byte for byte. Needs no
torch.
"""

import re
from collections.abc import Mapping

__all__ = ["is_leftover"]

# Whatever the component: CLIP's numbered positions in each place where they were seen, its temperature,
# open_clip's causal mask, the VAE's losses, moving averages.
_ANYWHERE = r"(?:.*\.)?position_ids|logit_scale|attn_mask|loss\..*|(?:model_)?ema\..*"
_ALSO: Mapping[str, str] = {
    # CLIP-L's projection is no part of what Stable Diffusion reads; some programs save it, either way round.
    # A language model's head only writes; here it reads, and words alone.
    "text_encoder": (
        r"text_projection(?:\.weight)?|visual_projection\.weight|vision_model\..*|(?:model\.)?lm_head\.weight"
        r"|visual\..*"
    ),
    # open_clip's projection is `text_projection`, and is read; a second one may lie beside it.
    "text_encoder_2": r"text_projection\.weight|visual\..*",
    "vae": r"logvar|quantize\..*|bn\.num_batches_tracked",
    # Of Z-Image; no program reads it.
    "transformer": r"norm_final\.weight",
}
_NAMES = {component: re.compile(rf"(?:{_ANYWHERE}|{also})") for component, also in _ALSO.items()}
_OTHERS = re.compile(rf"(?:{_ANYWHERE})")


def is_leftover(component: str, name: str) -> bool:
    """Whether a tensor of the component is a left-over.

    Args:
        component: such as ``text_encoder``.
        name: of the tensor inside the component, without its prefix.

    >>> [is_leftover(one, "text_projection") for one in ("text_encoder", "text_encoder_2")]
    [True, False]
    """
    return _NAMES.get(component, _OTHERS).fullmatch(name) is not None
