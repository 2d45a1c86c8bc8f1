"""Prompts as the transformer reads them: states of a language model that is asked a template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AddedToken, PreTrainedTokenizerBase, Qwen2Tokenizer, Qwen3Model

from clora_ext.config.precision import to_device
from clora_ext.families.model import Conditioning
from clora_ext.families.said import Said

__all__ = ["Reading", "Text", "collate", "load_reading", "states_of"]

_FOLDER = Path(__file__).parent / "qwen_tokenizer"
_WORDS_FOLDER = Path(__file__).parent / "t5_tokenizer"

# Behind the vocabulary, in this order; those from <tool_call> on are words that a text may have, too.
_SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
_WORDS = (
    "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
    "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>",
)  # fmt: skip
_QWEN_AND_T5 = "qwen and t5"
_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a family has its language model asked.

    Attributes:
        tokenizer: Qwen's.
        template: with ``{}`` where the text stands.
        longest: tokens that are read at the most, those of the template included.
        layers: whose states are read side by side, counted as Python counts; 0 is what the first one reads.
        padded: whether the transformer was trained on texts that are all filled up to the longest, and sees
            what they are filled with.
        left_out: tokens at the beginning, all of the template, whose states nobody reads; they do not count.
        kept: tokens at the end, all of the template, that are read also where a text is cut.
        words: T5's tokenizer, where what stands behind the language model is asked about each of its tokens;
            None: nothing stands there.
    """

    tokenizer: Qwen2Tokenizer
    template: str
    longest: int
    layers: tuple[int, ...]
    padded: bool
    left_out: int = 0
    kept: int = 0
    words: PreTrainedTokenizerBase | None = None

    def asked(self, text: str) -> list[int]:
        """The numbers of the tokens that are read."""
        found, most = self._all(text), self.left_out + self.longest
        return found if len(found) <= most else found[: most - self.kept] + found[len(found) - self.kept :]

    def asked_words(self, text: str) -> list[int]:
        """The numbers of the text's tokens that what stands behind the language model is asked about.

        The last is the mark of the end, also where the text is cut.
        """
        found = self._all_words(text)
        return found if len(found) <= self.longest else [*found[: self.longest - 1], found[-1]]

    def plain(self, text: str) -> Sequence[int]:
        """The numbers of the text's own tokens, as they are behind another word: there most words are one."""
        found: list[int] = self.tokenizer(f" {text}", add_special_tokens=False).input_ids
        return found

    def cut(self, text: str) -> int:
        """How many tokens at the end are not read."""
        read = max(len(self._all(text)) - self.left_out, len(self._all_words(text)))
        return max(0, read - self.longest)

    def states(self, text: str) -> int:
        """How many states the transformer is given."""
        if self.words is not None:
            return len(self.asked_words(text))
        return self.longest if self.padded else len(self.asked(text))

    def _all(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer(
            self.template.replace("{}", text), add_special_tokens=False
        ).input_ids
        return found or [self.tokenizer.pad_token_id]  # a language model cannot be asked nothing

    def _all_words(self, text: str) -> list[int]:
        found: list[int] = [] if self.words is None else self.words(text).input_ids
        return found


def load_reading(text: Mapping[str, Any]) -> Reading:
    """What a family's data say."""
    layers, padded = tuple(text["layers"]), bool(text["padded"])
    words = _word_tokenizer() if text["tokenizer"] == _QWEN_AND_T5 else None
    ends = int(text.get("left_out", 0)), int(text.get("kept", 0))
    return Reading(_tokenizer(), text["template"], text["longest"], layers, padded, *ends, words)


@cache  # reading the vocabulary takes half a second
def _tokenizer() -> Qwen2Tokenizer:
    """Qwen's own, the same for all of its models from the second to the third."""
    tokenizer: Qwen2Tokenizer = Qwen2Tokenizer.from_pretrained(_FOLDER, local_files_only=True)
    added = [AddedToken(one, normalized=False, special=True) for one in _SPECIAL]
    added += [AddedToken(one, normalized=False, special=False) for one in _WORDS]
    tokenizer.add_tokens(added)
    tokenizer.eos_token = "<|im_end|>"  # noqa: S105 - named before, it would take the first place
    tokenizer.chat_template = _CHAT
    return tokenizer


@cache
def _word_tokenizer() -> PreTrainedTokenizerBase:
    """T5's own, of the first version and of all that were made from it."""
    import transformers

    kind: Any = transformers.T5TokenizerFast  # type: ignore[attr-defined] # in later releases another's name
    found: PreTrainedTokenizerBase = kind.from_pretrained(_WORDS_FOLDER, local_files_only=True)
    return found


@dataclass(frozen=True)
class Text:
    """A language model whose states condition the transformer.

    Attributes:
        reading: how it is asked.
        encoder: the language model.
        conditioner: turns what it says into as many states as T5 has tokens; None: the transformer reads the
            language model itself.
        said: what they have said.
    """

    reading: Reading
    encoder: Qwen3Model
    conditioner: nn.Module | None = None
    said: Said = field(default_factory=Said, repr=False, compare=False)

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """All that read."""
        return (self.encoder,) if self.conditioner is None else (self.encoder, self.conditioner)

    @cached_property
    def whole(self) -> nn.Module:
        """All that read as one, always the same."""
        return self.encoder if self.conditioner is None else nn.ModuleList(self.networks)

    def condition(self, prompts: Sequence[str]) -> Conditioning:
        """``states`` (n, tokens, width), and ``mask`` (n, tokens), 1 where the transformer sees a token.

        Each text is read alone, so that what it says does not depend on its neighbours.
        """
        return collate([self._one(prompt) for prompt in prompts])

    def _one(self, prompt: str) -> Conditioning:
        (states,) = self.said.of(None, [prompt], lambda texts: (self._states(*texts),))
        return {"states": states, "mask": torch.ones(states.shape[:2], device=states.device)}

    def _states(self, prompt: str) -> Tensor:
        """Of one text, (1, tokens, width)."""
        asked = self.reading.asked(prompt)
        filling = self.reading.longest - len(asked) if self.reading.padded else 0
        numbers = torch.tensor([asked + [self.reading.tokenizer.pad_token_id] * filling])
        device = next(self.encoder.parameters()).device
        mask = (torch.arange(numbers.shape[1]) < len(asked)).long()[
            None
        ]  # no token looks at what is filled up
        found = self.encoder(
            to_device(numbers, device),
            attention_mask=to_device(mask, device) if filling else None,
            output_hidden_states=True,
            use_cache=False,
        )
        states = torch.cat([found.hidden_states[layer] for layer in self.reading.layers], dim=-1)
        states = states[:, self.reading.left_out :]
        if self.conditioner is None:
            return states
        words = torch.tensor([self.reading.asked_words(prompt)])
        conditioned: Tensor = self.conditioner(states, to_device(words, states.device))
        return conditioned[:, : words.shape[1]]  # behind them stand zeros


def collate(conditions: Sequence[Conditioning]) -> Conditioning:
    """Several pictures' conditions as one, float32: texts are padded with zeros to the longest one."""
    longest = max(int(condition["states"].shape[1]) for condition in conditions)
    return {
        name: torch.cat([_padded(condition[name], longest) for condition in conditions]).float()
        for name in ("states", "mask")
    }


def _padded(tensor: Tensor, longest: int) -> Tensor:
    """Zeros behind the second dimension."""
    missing = longest - tensor.shape[1]
    if not missing:
        return tensor
    return torch.cat([tensor, tensor.new_zeros(tensor.shape[0], missing, *tensor.shape[2:])], dim=1)


def states_of(condition: Conditioning) -> list[Tensor]:
    """Each picture's states, (tokens, width), without what they were padded with."""
    lengths = [int(length) for length in condition["mask"].sum(dim=1).tolist()]
    return [states[:length] for states, length in zip(condition["states"], lengths, strict=True)]
