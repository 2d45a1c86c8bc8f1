"""Prompts as the UNet reads them: one CLIP text encoder (Stable Diffusion 1) or two (SDXL)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from clora_ext.config.precision import to_device
from clora_ext.errors import CheckpointError
from clora_ext.families.base import Conditioning, SizeConditioning

__all__ = ["OneText", "Text", "TwoTexts", "collate", "load_tokenizer", "tokens", "tokens_cut"]

_HERE = Path(__file__).parent
_TOKENIZERS = {"demo": _HERE.parents[1] / "assets" / "demo_tokenizer", "clip": _HERE / "clip_tokenizer"}


def load_tokenizer(name: object, where: Path) -> CLIPTokenizer:
    """A tokenizer that ships with clora.

    Raises:
        CheckpointError: none is called ``name``; names the file that asked for it.
    """
    folder = _TOKENIZERS.get(str(name))
    if folder is None:
        message = f"{where}: the tokenizer {name!r:.80} is not known"
        raise CheckpointError(message, fix=f"known are: {', '.join(_TOKENIZERS)}")
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    return tokenizer


class Text(Protocol):
    """Everything that turns prompts into conditioning."""

    @property
    def tokenizer(self) -> CLIPTokenizer:
        """Of the prompts."""
        ...

    @property
    def encoders(self) -> Mapping[str, nn.Module]:
        """The text encoders by component."""
        ...

    def condition(
        self, prompts: Sequence[str], size_conditionings: Sequence[SizeConditioning]
    ) -> Conditioning:
        """See :meth:`clora_ext.families.base.Model.condition`."""
        ...


def collate(conditions: Sequence[Conditioning]) -> Conditioning:
    """Several pictures' conditions as one: CLIP's texts are all padded to one length, so they are stacked."""
    return {name: torch.cat([condition[name] for condition in conditions]) for name in conditions[0]}


def tokens_cut(tokenizer: CLIPTokenizer, prompt: str) -> int:
    """How many tokens at the prompt's end do not fit into the text encoder."""
    return max(0, len(tokenizer(prompt).input_ids) - tokenizer.model_max_length)


def tokens(tokenizer: CLIPTokenizer, text: str) -> Sequence[int]:
    """The numbers of a text's tokens, without those that mark its beginning and end."""
    read: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return read


def _tokens(tokenizer: CLIPTokenizer, prompts: Sequence[str], pad: int, device: torch.device) -> Tensor:
    """Token numbers (n, tokens), cut and padded to the tokenizer's length.

    The padding is put in by number: as a tokenizer's setting, open_clip's "!" would also change how an
    exclamation mark in a prompt is read.
    """
    length = tokenizer.model_max_length
    read = tokenizer(list(prompts), max_length=length, truncation=True).input_ids
    return to_device(torch.tensor([ids + [pad] * (length - len(ids)) for ids in read]), device)


@dataclass(frozen=True)
class OneText:
    """A CLIP text encoder whose last states, normed, condition the UNet.

    Attributes:
        tokenizer: of the prompts.
        encoder: gives states (n, tokens, width).
    """

    tokenizer: CLIPTokenizer
    encoder: CLIPTextModel

    @property
    def encoders(self) -> Mapping[str, nn.Module]:
        """The one encoder."""
        return {"text_encoder": self.encoder}

    def condition(
        self, prompts: Sequence[str], size_conditionings: Sequence[SizeConditioning]
    ) -> Conditioning:
        """``states`` (n, tokens, width); how pictures are cut is not told."""
        del size_conditionings
        pad = self.tokenizer.pad_token_id
        states: Tensor = self.encoder(_tokens(self.tokenizer, prompts, pad, self.encoder.device))[0]
        return {"states": states}


@dataclass(frozen=True)
class TwoTexts:
    """CLIP-L and open_clip's bigG, as SDXL reads them (arXiv 2307.01952, section 2.1).

    Attributes:
        tokenizer: of both.
        encoder: CLIP-L.
        encoder_2: bigG, with its projection.
    """

    tokenizer: CLIPTokenizer
    encoder: CLIPTextModel
    encoder_2: CLIPTextModelWithProjection

    @property
    def encoders(self) -> Mapping[str, nn.Module]:
        """Both encoders."""
        return {"text_encoder": self.encoder, "text_encoder_2": self.encoder_2}

    def condition(
        self, prompts: Sequence[str], size_conditionings: Sequence[SizeConditioning]
    ) -> Conditioning:
        """The last but one states of both side by side, bigG's pooled text, and the cut's six numbers."""
        device = self.encoder.device
        one = self.encoder(
            _tokens(self.tokenizer, prompts, self.tokenizer.pad_token_id, device), output_hidden_states=True
        )
        # open_clip pads with 0, and bigG was trained so.
        two = self.encoder_2(_tokens(self.tokenizer, prompts, 0, device), output_hidden_states=True)
        states = torch.cat([one.hidden_states[-2], two.hidden_states[-2].to(one.hidden_states[-2])], dim=-1)
        cuts = [[*cut.original, *cut.corner, *cut.size] for cut in size_conditionings]
        return {
            "states": states,
            "pooled": two.text_embeds.to(states),
            # In half precision 1083 pixels would be 1080.
            "time_ids": to_device(torch.tensor(cuts, dtype=torch.float32), device),
        }
