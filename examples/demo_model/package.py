"""Packaging: the trained parts become the files that ship with clora."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from captions import RARE_TOKENS
from evaluate import load_snapshot
from pictures import SIZE
from sampling import Model
from scorer import CONFIG_KEY as SCORER_KEY
from trainer import say

from clora_ext.formats.checkpoint import Checkpoint, Source, content_hash, write_checkpoint
from clora_ext.formats.keys import SD1_TEXT_PREFIX, KeyTable, clip_table, unet_table, vae_table

MODEL_LIMIT, SCORER_LIMIT = 40_000_000, 15_000_000
"""Bytes that the two files may have."""

_TEXT_KEYS = (
    "vocab_size hidden_size projection_dim intermediate_size num_hidden_layers num_attention_heads "
    "max_position_embeddings hidden_act layer_norm_eps bos_token_id eos_token_id pad_token_id"
)


def package(work: Path, assets: Path) -> None:
    """Write model, tokenizer, scorer and attribution to ``assets`` and say their sizes and hashes."""
    model = load_snapshot(work / "snapshot")
    assets.mkdir(parents=True, exist_ok=True)
    _write_model(model, assets / "demo_model.safetensors")
    _write_scorer(work / "scorer.safetensors", assets / "demo_scorer.safetensors")
    shutil.copytree(work / "snapshot" / "tokenizer", assets / "demo_tokenizer", dirs_exist_ok=True)
    shutil.copyfile(Path(__file__).parent / "ATTRIBUTION.md", assets / "ATTRIBUTION.md")
    for name, limit in (("demo_model", MODEL_LIMIT), ("demo_scorer", SCORER_LIMIT)):
        file = assets / f"{name}.safetensors"
        size = file.stat().st_size
        if size > limit:
            raise ValueError(f"{file} has {size} bytes, more than {limit}")
        say(f"{file.name}: {size / 1e6:.1f} MB, content {content_hash(Checkpoint(file))}")


def configuration(model: Model) -> dict[str, object]:
    """What a reader needs to build the model: diffusers' configurations, the tokenizer, the resolution."""
    text = model.text_encoder.config.to_dict()
    return {
        "unet": _plain(model.unet.config),
        "vae": _plain(model.vae.config),
        "text_encoder": {key: text[key] for key in _TEXT_KEYS.split()},
        "scheduler": _plain(model.scheduler.config),
        "tokenizer": "demo",
        "resolution": SIZE,
        "rare_tokens": list(RARE_TOKENS),
    }


def _plain(config: Mapping[str, object]) -> dict[str, object]:
    """A diffusers configuration without its private entries and without what is not set."""
    return {key: value for key, value in config.items() if not key.startswith("_") and value is not None}


def _write_model(model: Model, file: Path) -> None:
    """One float16 file in Stable Diffusion 1's original layout."""
    text_state = {
        f"text_model.{name.removeprefix('text_model.')}": tensor
        for name, tensor in model.text_encoder.state_dict().items()
    }
    parts = (
        (unet_table(model.unet.config), model.unet.state_dict()),
        (vae_table(model.vae.config), model.vae.state_dict()),
        (clip_table("text_encoder", SD1_TEXT_PREFIX), text_state),
    )
    sources = {name: Source.of(tensor) for table, state in parts for name, tensor in _renamed(table, state)}
    write_checkpoint(file, sources, {"clora.config": json.dumps(configuration(model), sort_keys=True)})


def _renamed(table: KeyTable, state: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """Original names and float16 tensors; the autoencoder's attention is stored as 1 x 1 convolutions."""
    for name, tensor in state.items():
        if name.endswith("position_ids"):
            continue
        stored = tensor.half().contiguous()
        if table.component == "vae" and ".attentions." in name and stored.ndim > 1:
            stored = stored[..., None, None]
        yield table.to_original(name), stored


def _write_scorer(trained: Path, file: Path) -> None:
    """The scorer again, with a canonical header."""
    source = Checkpoint(trained)
    sources = {name: Source.copy(source, name) for name in source.names}
    write_checkpoint(file, sources, {SCORER_KEY: source.header.metadata[SCORER_KEY]})
