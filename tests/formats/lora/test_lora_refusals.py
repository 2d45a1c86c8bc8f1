"""What cannot be read exactly is refused, by name and with the reason."""

import json
import math
from itertools import product
from pathlib import Path

import pytest
import torch
from cases import check_each
from hypothesis import given
from hypothesis import strategies as st
from lora_sites import golden_names, published, sites_of
from refused_files import DOTTED, RANK, STEM, lettered, pair, refusal, sites
from safetensors.torch import save_file
from torch import Tensor

from clora_ext.adapters.sites import Site
from clora_ext.errors import CheckpointError
from clora_ext.formats.lora.reader import read_lora


def test_the_pair_that_the_refusals_start_from_is_read(tmp_path: Path) -> None:
    save_file(pair(), tmp_path / "x.safetensors")
    assert len(read_lora(tmp_path / "x.safetensors", sites()).factors) == 1


OTHER_KINDS = {
    "OFT": f"{STEM}.oft_blocks",
    "IA3": f"{STEM}.on_input",
    "IA3, which": f"{DOTTED}.ia3_l",
    "GLoRA": f"{STEM}.a1.weight",
    "T-LoRA": f"{STEM}.lambda_layer",
    "AdaLoRA": f"{DOTTED}.lora_E",
    "LoRA with biases": f"{DOTTED}.lora_B.bias",
    "a LoRA of embeddings": "text_encoder.text_model.embeddings.token_embedding.lora_embedding_A",
    "scalar": f"{STEM}.scalar",
    "replaces weights": f"{STEM}.set_weight",
    "another shape": f"{STEM}.reshape_weight",
}


def test_other_kinds_are_refused_by_name(tmp_path: Path) -> None:
    def check(kind: str) -> None:
        error = refusal(tmp_path, pair() | {OTHER_KINDS[kind]: torch.ones(1)})
        assert kind in error.message
        assert OTHER_KINDS[kind] in error.message

    check_each(OTHER_KINDS, check)


def test_a_checkpoint_is_no_lora(tmp_path: Path) -> None:
    weight = {"model.diffusion_model.out.2.weight": torch.ones(3)}
    assert "is not a LoRA: none of its 1 tensors" in refusal(tmp_path, weight).message
    assert "is not a LoRA" in refusal(tmp_path, {}).message
    assert "is not a LoRA" in refusal(tmp_path, {f"{STEM}.alpha": torch.tensor(1.0)}).message


def test_unknown_tensors_are_named_and_counted(tmp_path: Path) -> None:
    unknown = {f"lora_unet_extra_{number}.lora_up.weight": torch.ones(1) for number in range(6)}
    message = refusal(tmp_path, pair() | unknown | {"stray": torch.ones(1)}).message
    assert "7 of 9 tensors have no place in this model" in message
    assert "'lora_unet_extra_0.lora_up.weight'" in message
    assert message.endswith("and 3 more")


def test_hostile_names_are_shown_harmlessly(tmp_path: Path) -> None:
    message = refusal(tmp_path, pair() | {"\x1b[2J" + "x" * 5000: torch.ones(1)}).message
    assert message.isprintable()
    assert len(message) < 400


def test_a_lora_for_another_model_is_refused_with_its_name(tmp_path: Path) -> None:
    for file, model in (("sdxl", "sd1"), ("sd1", "sdxl")):
        tensors: dict[str, Tensor] = {}
        for name in golden_names(file):
            tensors |= pair(name)
        message = refusal(tmp_path, tensors, sites(model)).message
        assert f"is a LoRA for {file.upper()}, the model is {model.upper()}" in message


MODELS = {
    "lora_unet_double_blocks_0_img_attn_proj": "Flux",
    "transformer.single_transformer_blocks.0.attn.to_q": "Flux",
    "transformer.transformer_blocks.1.attn.to_q": "a diffusion transformer",
    "lora_unet_joint_blocks_0_x_block_attn_proj": "a diffusion transformer",
    "unet.down_blocks.2.attentions.0.transformer_blocks.9.attn1.to_q": "SDXL",
    "lora_te2_text_model_encoder_layers_0_mlp_fc1": "SDXL",
    "text_encoders.clip_g.transformer.text_model.encoder.layers.0.mlp.fc1": "SDXL",
}


def test_other_models_are_recognised(tmp_path: Path) -> None:
    def check(stem: str) -> None:
        message = refusal(tmp_path, pair(stem)).message
        assert f"is a LoRA for {MODELS[stem]}, the model is SD1" in message

    check_each(MODELS, check)


def test_models_that_share_names_are_told_apart_by_the_width_of_the_text(tmp_path: Path) -> None:
    narrow = sites_of(published("sd1"))
    for width, model in ((1024, "SD2"), (2048, "SDXL")):
        wide = pair(STEM.replace("attn1_to_q", "attn2_to_k"), width)
        assert f"is a LoRA for {model}, the model is SD1" in refusal(tmp_path, wide, narrow).message


def test_half_a_pair_is_refused(tmp_path: Path) -> None:
    layer = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    for missing in ("down", "up"):
        tensors = pair(alpha=torch.tensor(1.0))
        del tensors[f"{STEM}.lora_{missing}.weight"]
        assert f"the {missing} factor of {layer} is missing" in refusal(tmp_path, tensors).message


def test_an_alpha_without_factors_is_refused(tmp_path: Path) -> None:
    lonely = {f"{STEM.replace('to_q', 'to_k')}.alpha": torch.tensor(1.0)}
    assert "the down and the up factor" in refusal(tmp_path, pair() | lonely).message


SHAPES = {
    "in": {"lora_down.weight": torch.ones(RANK, 9)},
    "out": {"lora_up.weight": torch.ones(9, RANK)},
    "ranks": {"lora_up.weight": torch.ones(8, RANK + 1)},
    "no rank": {"lora_up.weight": torch.ones(8, 0), "lora_down.weight": torch.ones(0, 8)},
    "turned": {"lora_up.weight": torch.ones(RANK, 8)},
    "kernel": {"lora_down.weight": torch.ones(RANK, 8, 3, 3)},
    "flat": {"lora_down.weight": torch.ones(16)},
    "number": {"lora_down.weight": torch.tensor(1.0)},
    "line": {"lora_up.weight": torch.ones(8, RANK, 1)},
}


def test_shapes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    def check(case: str) -> None:
        error = refusal(tmp_path, pair(**SHAPES[case]))
        assert "do not fit the layer's weight [8, 8]" in error.message

    check_each(SHAPES, check)


def test_mixed_dialects_are_refused(tmp_path: Path) -> None:
    mixed = pair() | pair("unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_k")
    assert "mixes the names of kohya and diffusers" in refusal(tmp_path, mixed).message


def test_two_adapters_for_one_layer_are_refused(tmp_path: Path) -> None:
    for stem in ("lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q", DOTTED):
        assert "are the same part of the same layer" in refusal(tmp_path, pair() | pair(stem)).message


def test_two_adapters_of_peft_are_refused(tmp_path: Path) -> None:
    tensors = {f"{DOTTED}.lora_A.{name}.weight": torch.ones(RANK, 8) for name in ("default", "style")}
    assert "the file holds several adapters" in refusal(tmp_path, tensors).fix


def test_a_name_that_could_be_of_either_text_encoder_is_refused(tmp_path: Path) -> None:
    stem = "base_model.model.text_model.encoder.layers.0.mlp.fc1"
    tensors = {f"{stem}.lora_A.weight": torch.ones(RANK, 12), f"{stem}.lora_B.weight": torch.ones(20, RANK)}
    assert "do not say which text encoder" in refusal(tmp_path, tensors, sites("sdxl")).message
    assert len(read_lora(tmp_path / "x.safetensors", sites("sd1")).factors) == 1


ALPHAS = (
    torch.tensor(-1.0), torch.tensor(float("nan")), torch.tensor(float("inf")), torch.ones(2),
    torch.tensor(True), torch.ones(0), torch.tensor(-3),
)  # fmt: skip


def test_an_unusable_alpha_is_refused(tmp_path: Path) -> None:
    def check(alpha: Tensor) -> None:
        assert f"{STEM}.alpha" in refusal(tmp_path, pair(alpha=alpha)).message

    check_each(ALPHAS, check)


def test_two_adapters_of_one_weight_are_refused(tmp_path: Path) -> None:
    for other in ("hada_w1_a", "lokr_w1", "diff"):
        message = refusal(tmp_path, pair(**{other: torch.ones(8, 8)})).message
        assert "holds two changes of the weight of mid_block.attentions.0" in message


def test_a_norm_takes_no_factors(tmp_path: Path) -> None:
    norm = Site("unet", "conv_norm_out", "out.0", (8,))
    for parts in (
        {"lora_down.weight": (2,), "lora_up.weight": (8, 2)},
        {"lokr_w1": (8, 1), "lokr_w2": (1, 1)},
    ):
        tensors = {f"lora_unet_conv_norm_out.{part}": torch.ones(shape) for part, shape in parts.items()}
        assert "do not fit the layer's weight [8]" in refusal(tmp_path, tensors, [norm]).message


def test_a_matrix_that_is_whole_and_in_factors_is_refused(tmp_path: Path) -> None:
    whole = {"lokr_w1": torch.ones(2, 2), "lokr_w2": torch.ones(4, 4)}
    for extra in ("lokr_w1_a", "lokr_t2"):
        tensors = {f"{STEM}.{part}": tensor for part, tensor in (whole | {extra: torch.ones(2, 2)}).items()}
        assert "whole and in factors" in refusal(tmp_path, tensors).message


def test_a_magnitude_is_there_once_and_where_it_is_promised(tmp_path: Path) -> None:
    twice = pair(dora_scale=torch.ones(8, 1), lora_magnitude_vector=torch.ones(8))
    assert "has two magnitudes" in refusal(tmp_path, twice).message
    promised = {"lora_adapter_metadata": json.dumps({"unet.use_dora": True, "unet.lora_alpha": 1})}
    assert "holds no magnitude of mid_block" in refusal(tmp_path, lettered(DOTTED), metadata=promised).message


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    def check(case: tuple[str, float]) -> None:
        part, value = case
        tensors = pair()
        tensors[f"{STEM}.lora_{part}.weight"][1, 1] = value
        message = refusal(tmp_path, tensors).message
        assert "not finite" in message
        assert f"lora_{part}" in message

    check_each(product(("down", "up"), (math.nan, math.inf, -math.inf)), check)


def test_coarse_dtypes_are_refused(tmp_path: Path) -> None:
    def check(dtype: torch.dtype) -> None:
        tensors = {name: tensor.to(dtype) for name, tensor in pair().items()}
        assert "too coarse" in refusal(tmp_path, tensors).message

    check_each((torch.float8_e4m3fn, torch.float8_e5m2, torch.int8), check)


@given(
    st.dictionaries(
        st.lists(
            st.sampled_from(
                [
                    STEM,
                    ".lora_up.weight",
                    ".lora_down.weight",
                    ".lora_A",
                    ".alpha",
                    ".default",
                    "unet.",
                    "_lora",
                    "\n",
                    "é",
                ]
            ),
            max_size=5,
        ).map("".join),
        st.lists(st.integers(0, 9), max_size=5),
        max_size=5,
    )
)
def test_any_file_gives_adapters_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, shapes: dict[str, list[int]]
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.safetensors"
    save_file({name: torch.ones(shape) for name, shape in shapes.items()}, file)
    try:
        read_lora(file, sites())
    except CheckpointError as error:
        assert str(file) in error.message
