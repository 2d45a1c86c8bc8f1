"""Prompts as the UNet reads them: one CLIP text encoder (Stable Diffusion 1) or two (SDXL)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from clora_ext.config.precision import to_device
from clora_ext.config.settings import PromptSettings
from clora_ext.errors import CheckpointError
from clora_ext.families.model import Conditioning, SizeConditioning
from clora_ext.families.said import Said

__all__ = ["OneText", "Text", "TwoTexts", "collate", "load_tokenizer", "tokens", "tokens_cut"]

_HERE = Path(__file__).parent
_TOKENIZERS = {"demo": _HERE.parents[1] / "assets" / "demo_tokenizer", "clip": _HERE / "clip_tokenizer"}


def load_tokenizer(name: object, where: Path, longest: int | None = None) -> CLIPTokenizer:
    """A tokenizer that ships with clora; whoever asks again is given the same one.

    Args:
        name: of the tokenizer.
        where: the file that asks for it.
        longest: tokens that the encoder reads at once; None: as many as the tokenizer says.

    Raises:
        CheckpointError: none is called ``name``; names the file that asked for it.
    """
    folder = _TOKENIZERS.get(str(name))
    if folder is None:
        message = f"{where}: the tokenizer {name!r:.80} is not known"
        raise CheckpointError(message, fix=f"known are: {', '.join(_TOKENIZERS)}")
    return _loaded(folder, longest)


@cache  # reading CLIP's vocabulary takes a twentieth of a second
def _loaded(folder: Path, longest: int | None) -> CLIPTokenizer:
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    if longest is not None:
        tokenizer.model_max_length = min(tokenizer.model_max_length, longest)
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

    @property
    def prompts(self) -> PromptSettings:
        """How they are read."""
        ...

    @property
    def said(self) -> Said:
        """What they have said, however they read."""
        ...

    def reading(self, prompts: PromptSettings) -> "Text":
        """The same encoders that read in this way."""
        ...

    def drop(self) -> None:
        """Free the memory of the encoders: from now on no text is read but those of which all is kept."""
        ...

    def condition(
        self, prompts: Sequence[str], size_conditionings: Sequence[SizeConditioning]
    ) -> Conditioning:
        """See :meth:`clora_ext.families.model.Model.condition`."""
        ...


def collate(conditions: Sequence[Conditioning]) -> Conditioning:
    """Several pictures' conditions as one: CLIP's texts are all padded to one length; float32."""
    return {name: torch.cat([condition[name] for condition in conditions]).float() for name in conditions[0]}


def tokens_cut(tokenizer: CLIPTokenizer, prompt: str, parts: int) -> int:
    """How many tokens at the prompt's end are not read, when the text encoder is asked ``parts`` times."""
    return max(0, len(tokens(tokenizer, prompt)) - parts * _room(tokenizer))


def tokens(tokenizer: CLIPTokenizer, text: str) -> Sequence[int]:
    """The numbers of a text's tokens, without those that mark its beginning and end."""
    return _read(tokenizer, text)


@lru_cache(maxsize=4096)  # every run looks up the same hundreds of words several times
def _read(tokenizer: CLIPTokenizer, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False).input_ids)


def _room(tokenizer: CLIPTokenizer) -> int:
    """Tokens of a text that the encoder reads at once: two of its places mark beginning and end."""
    return int(tokenizer.model_max_length) - 2


def _tokens(
    tokenizer: CLIPTokenizer, prompts: Sequence[str], pad: int, parts: int, device: torch.device
) -> Tensor:
    """Token numbers (n * parts, tokens): of each prompt its parts, each marked, cut and padded.

    The padding is put in by number: as a tokenizer's setting, open_clip's "!" would also change how an
    exclamation mark in a prompt is read.
    """
    room, rows = _room(tokenizer), []
    for prompt in prompts:
        words = tokens(tokenizer, prompt)
        for start in range(0, parts * room, room):
            part = words[start : start + room]
            filled = [pad] * (room - len(part))
            rows.append([tokenizer.bos_token_id, *part, tokenizer.eos_token_id, *filled])
    return to_device(torch.tensor(rows), device)


def _joined(states: Tensor, parts: int) -> Tensor:
    """A prompt's parts side by side: (n * parts, tokens, width) to (n, parts * (tokens - 2) + 2, width).

    As sd-scripts joins them: the first mark of a beginning, what stands between the marks of every part, the
    last mark of an end. So every text has the same length, however short.
    """
    if parts == 1:
        return states
    each = states.reshape(-1, parts, *states.shape[1:])
    inner = each[:, :, 1:-1].flatten(1, 2)
    return torch.cat([each[:, 0, :1], inner, each[:, -1, -1:]], dim=1)


@dataclass(frozen=True)
class OneText:
    """A CLIP text encoder whose last states, or those of a layer before, normed, condition the UNet.

    Attributes:
        tokenizer: of the prompts.
        encoder: gives states (n, tokens, width).
        prompts: how they are read.
        said: what it has said.
    """

    tokenizer: CLIPTokenizer
    encoder: CLIPTextModel
    prompts: PromptSettings = field(default_factory=PromptSettings)
    said: Said = field(default_factory=Said, repr=False, compare=False)

    @property
    def encoders(self) -> Mapping[str, nn.Module]:
        """The one encoder."""
        return {"text_encoder": self.encoder}

    def reading(self, prompts: PromptSettings) -> "OneText":
        """The same encoder that reads in this way."""
        return replace(self, prompts=prompts)

    def drop(self) -> None:
        """See :meth:`Text.drop`."""
        nn.Module.to(self.encoder, "meta")

    def condition(
        self, prompts: Sequence[str], size_conditionings: Sequence[SizeConditioning]
    ) -> Conditioning:
        """``states`` (n, tokens, width); how pictures are cut is not told."""
        del size_conditionings
        (states,) = self.said.of(self.prompts, prompts, lambda texts: (self._read(texts),))
        return {"states": states}

    def _read(self, prompts: Sequence[str]) -> Tensor:
        """The prompts' states, (n, tokens, width)."""
        pad, parts = self.tokenizer.pad_token_id, self.prompts.parts
        return _joined(self._states(_tokens(self.tokenizer, prompts, pad, parts, self.encoder.device)), parts)

    def _states(self, numbers: Tensor) -> Tensor:
        """Of the layer that is read, after the last norm: (n, tokens, width)."""
        skip = self.prompts.clip_skip
        found = self.encoder(numbers, output_hidden_states=skip > 1)
        if skip == 1:
            last: Tensor = found[0]
            return last
        # transformers 5.6 and later have it in the model itself.
        inner = getattr(self.encoder, "text_model", self.encoder)
        normed: Tensor = inner.final_layer_norm(found.hidden_states[-skip])
        return normed


@dataclass(frozen=True)
class TwoTexts:
    """CLIP-L and open_clip's bigG, as SDXL reads them (arXiv 2307.01952, section 2.1).

    Attributes:
        tokenizer: of both.
        encoder: CLIP-L.
        encoder_2: bigG, with its projection.
        prompts: how they are read, but for the layer: SDXL was trained on the last but one.
        said: what they have said.
    """

    tokenizer: CLIPTokenizer
    encoder: CLIPTextModel
    encoder_2: CLIPTextModelWithProjection
    prompts: PromptSettings = field(default_factory=PromptSettings)
    said: Said = field(default_factory=Said, repr=False, compare=False)

    @property
    def encoders(self) -> Mapping[str, nn.Module]:
        """Both encoders."""
        return {"text_encoder": self.encoder, "text_encoder_2": self.encoder_2}

    def reading(self, prompts: PromptSettings) -> "TwoTexts":
        """The same encoders that read in this way."""
        return replace(self, prompts=prompts)

    def condition(
        self, prompts: Sequence[str], size_conditionings: Sequence[SizeConditioning]
    ) -> Conditioning:
        """The last but one states of both side by side, bigG's pooled text, and the cut's six numbers.

        The pooled text is that of a prompt's first part.
        """
        states, pooled = self.said.of(self.prompts, prompts, self._read)
        # A row is projected with others as it would be with all of them read at once: to the last bit.
        first = self.encoder_2.text_projection(pooled.flatten(0, 1))[:: self.prompts.parts]
        cuts = [[*cut.original, *cut.corner, *cut.size] for cut in size_conditionings]
        # In half precision 1083 pixels would be 1080.
        sizes = to_device(torch.tensor(cuts, dtype=torch.float32), states.device)
        return {"states": states, "pooled": first.to(states), "time_ids": sizes}

    def drop(self) -> None:
        """See :meth:`Text.drop`; bigG's projection stays, which is nothing beside it."""
        nn.Module.to(self.encoder, "meta")
        for name, part in self.encoder_2.named_children():
            if name != "text_projection":
                part.to("meta")

    def _read(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """States (n, tokens, width of both) of the prompts, and bigG's of their ends (n, parts, width)."""
        device, parts = self.encoder.device, self.prompts.parts
        pad = self.tokenizer.pad_token_id
        one = self.encoder(
            _tokens(self.tokenizer, prompts, pad, parts, device), output_hidden_states=True
        ).hidden_states[-2]
        # open_clip pads with 0, and bigG was trained so.
        two, ends = self._two(_tokens(self.tokenizer, prompts, 0, parts, device))
        states = torch.cat([_joined(one, parts), _joined(two, parts).to(one)], dim=-1)
        return states, ends.reshape(-1, parts, ends.shape[-1])

    def _two(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """BigG's last but one states, and what it projects."""
        projected: list[Tensor] = []
        watched = self.encoder_2.text_projection.register_forward_pre_hook(
            lambda module, given: projected.append(given[0])
        )
        try:
            states: Tensor = self.encoder_2(numbers, output_hidden_states=True).hidden_states[-2]
        finally:
            watched.remove()
        return states, projected[0]
