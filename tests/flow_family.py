"""What tests of models of flow matching need to know of a family; each has it in a file of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clora_ext.adapters.sites import Site

Parts = dict[str, Any]
Shapes = Mapping[str, tuple[int, ...]]
Names = Callable[[Site], str]
Order = tuple[int, ...]


@dataclass(frozen=True)
class Size:
    """One of the sizes in which a family is published, each a family of its own to clora.

    Attributes:
        name: of the family, and of the golden list of its transformer.
        architecture: modelspec's name.
        encoder: name of the text encoder's file, and its golden list.
        transformer: makes diffusers' module.
        text: the text encoder's configuration.
        counts: layers of the attention, of what "transformer" teaches, and of all that a LoRA may change.
    """

    name: str
    architecture: str
    encoder: tuple[str, str]
    transformer: Callable[[], nn.Module]
    text: Mapping[str, Any]
    counts: tuple[int, int, int]


@dataclass(frozen=True)
class Published:
    """The published model, by hand and by diffusers.

    Attributes:
        sizes: in which there is one.
        vae: name of its file, its golden list, and diffusers' module.
        by_hand: diffusers' name of parameters, the authors' name, and which part of how many it is.
        swapped: those of them whose halves are stored exchanged.
        cut: a layer of the first size whose rows are a part: its name, rows, shape, and the authors' name;
            None: there is none.
        relatives: golden lists of models that are refused, and what is said.
        made_of_it: tensors of models that look like it and are refused, and what is said.
        variants: name of a file, the variant that it is, whether the name says so.
        advised: words of what is said of the first of those, and what is suggested.
        layouts: what is behind the golden list's name, and before the names of its tensors, that is known.
    """

    sizes: Sequence[Size]
    vae: tuple[str, str, Callable[[], nn.Module]]
    by_hand: Mapping[str, tuple[str, tuple[int, int]]]
    swapped: Sequence[str]
    cut: tuple[str, tuple[int, int], tuple[int, int], str] | None
    relatives: Mapping[str, str]
    made_of_it: Callable[[], Sequence[tuple[Shapes, str]]]
    variants: Sequence[tuple[str, str, bool]]
    advised: tuple[Sequence[str], Mapping[str, Any]]
    layouts: Sequence[tuple[str, str]] = (
        ("", ""), ("", "model.diffusion_model."), ("", "model."), ("_diffusers", ""),
    )  # fmt: skip


@dataclass(frozen=True)
class Own:
    """What the programs that the family comes with do with the same tiny model.

    Attributes:
        pipeline: diffusers' class.
        scheduler: what its scheduler is told.
        sizes: height and width of latents to answer.
        latent_shape: of a picture of 32 x 32 pixels.
        answer: by the tiny model's parts, of latents at times on a condition.
        misplaced: tensors whose parts are taken from another tensor or in another order, case by case.
        latents: mean and deviation of pictures, by the pipeline.
        painted: pictures of latents, likewise, -1 to 1.
        asked: tokens that ``a dog`` is read as.
        tokens: sha256 of those of all captions as JSON, by ComfyUI 0.33's tokenizer.
        cut: how many tokens of 600 unusual letters are not read.
        states: of texts, one by one, without what they are filled up with where the transformer sees none.
        draw: a picture by a pipeline: negative prompt, steps, seed, width and height; guidance is 4, as
            clora counts it.
        negative: what the family is asked not to draw.
        distilled: the variant of which its pipeline is told that it is distilled, and the guidance that is
            left of 4 then; None: there is none.
    """

    pipeline: Any
    scheduler: Mapping[str, Any]
    sizes: Sequence[tuple[int, int]]
    latent_shape: tuple[int, int, int]
    answer: Callable[[Parts, Tensor, Tensor, Any], Tensor]
    misplaced: Sequence[Mapping[str, tuple[str, Order]]]
    latents: Callable[[Any, Tensor], tuple[Tensor, Tensor]]
    painted: Callable[[Any, Tensor], Tensor]
    asked: Sequence[int]
    tokens: str
    cut: int
    states: Callable[[Any, list[str]], Sequence[Tensor]]
    draw: Callable[[Any, str, str, int, int, tuple[int, int]], Any]
    negative: str
    distilled: tuple[str, float] | None = None


@dataclass(frozen=True)
class Loras:
    """How LoRA files for the family look.

    Attributes:
        dialects: by program, what clora calls it and the name of a layer's factors up to their endings.
        fused: the same of programs that adapt queries, keys and values as one.
        others: authors' names of layers that only those reach.
        thirds: endings of the layers' names, by their place in such a tensor.
        whole: name of such a tensor of the published model, its dialect, and shape; None: there is none.
        mixed: a program that names layers alone and one that does not, as one file can mix them; likewise.
        strange: name and shape of a layer of another model, and what is said of it.
        written: the dialect that clora writes.
        stem: what stands before a layer's name there.
        parts: what a layer has there.
        known: a name there.
        loader: diffusers' own reader.
    """

    dialects: Mapping[str, tuple[str, Names]]
    fused: Mapping[str, tuple[str, Names]]
    others: Sequence[str]
    thirds: Sequence[tuple[str, ...]]
    whole: tuple[str, str, tuple[int, int]] | None
    mixed: tuple[str, str] | None
    strange: Sequence[tuple[str, tuple[int, int], str]]
    written: str
    stem: str
    parts: Sequence[str]
    known: str
    loader: Any


@dataclass(frozen=True)
class FlowFamily:
    """A family.

    Attributes:
        name: of the family, and of the tiny one.
        blocks: what names of the layers that are taught have in common.
        tiny: how many of them the tiny model has.
        taught: their endings, by the authors' names.
        published: see there.
        own: see there.
        loras: see there.
    """

    name: str
    blocks: str
    tiny: int
    taught: frozenset[str]
    published: Published
    own: Own
    loras: Loras

    def layers(self, sites: Sequence[Site]) -> list[Site]:
        """The matrices in its blocks: those that are taught, at the least."""
        return [site for site in sites if self.blocks in f".{site.module}" and len(site.shape) == 2]


def under(path: str) -> str:
    """A name as kohya's programs write it."""
    return path.replace(".", "_")


def plain(module: nn.Module) -> dict[str, Any]:
    """Its configuration, as JSON has it."""
    found: dict[str, Any] = dict(module.config)  # type: ignore[arg-type]
    shown = {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}
    return {key: value for key, value in shown.items() if not key.startswith("_")}


def on_meta(make: Callable[[], nn.Module]) -> nn.Module:
    """A module without weights."""
    with torch.device("meta"):
        return make()


QWEN3 = {
    "vocab_size": 151936, "num_hidden_layers": 36, "num_key_value_heads": 8, "head_dim": 128,
    "num_attention_heads": 32, "rms_norm_eps": 1e-6, "rope_theta": 1e6, "max_position_embeddings": 40960,
}  # fmt: skip
QWEN3_4B = {**QWEN3, "hidden_size": 2560, "intermediate_size": 9728}
QWEN3_8B = {**QWEN3, "hidden_size": 4096, "intermediate_size": 12288}
