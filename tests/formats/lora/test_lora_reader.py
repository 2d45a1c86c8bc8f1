"""LoRA files of every dialect, written here by hand, are read at exactly their strength."""

import json
import math
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each
from hypothesis import given
from hypothesis import strategies as st
from lora_dialects import DOTTED, save, tensors_of, under
from lora_sites import random_factors, sites_of, tiny

from clora_ext.adapters.factors import Factors
from clora_ext.adapters.sites import Site
from clora_ext.formats.lora.reader import read_lora
from clora_ext.formats.text import is_line

RANK, ALPHA = 4, 2.0
FAMILIES = ["sd1", "sdxl"]


@cache
def sites(family: str) -> list[Site]:
    return sites_of(tiny(family), everywhere=True)


def test_every_dialect_is_read_at_exactly_its_strength(tmp_path: Path) -> None:
    factors = {family: random_factors(sites(family), RANK, ALPHA) for family in FAMILIES}

    def check(case: tuple[str, str]) -> None:
        dialect, family = case
        file = save(tmp_path / "x.safetensors", tensors_of(dialect, factors[family]))
        read = read_lora(file, sites(family))
        assert read.dialect == DOTTED[dialect][0]
        assert list(read.factors) == sites(family)
        assert read.notes == ()
        assert {adapter.alpha for adapter in read.factors.values()} == {ALPHA}
        wrong = [
            site.module
            for site, adapter in factors[family].items()
            if not torch.equal(read.factors[site].delta(), adapter.delta())
        ]
        assert not wrong

    check_each(product(DOTTED, FAMILIES), check)


def test_without_alpha_the_rank_stands_for_it(tmp_path: Path) -> None:
    factors = random_factors(sites("sd1")[:9], RANK, ALPHA)

    def check(dialect: str) -> None:
        file = save(tmp_path / "x.safetensors", tensors_of(dialect, factors, alpha=False))
        read = read_lora(file, sites("sd1"))
        assert {adapter.alpha for adapter in read.factors.values()} == {float(RANK)}
        assert read.notes == ("9 of 9 layers say no alpha: read as alpha = rank",)

    check_each(DOTTED, check)


def test_the_matrix_of_a_convolution_is_its_convolution(tmp_path: Path) -> None:
    site = next(site for site in sites("sd1") if site.shape[2:] == (3, 3))
    factors = random_factors([site], RANK, ALPHA)
    tensors = tensors_of("kohya, SAI's blocks", factors)
    down, up, alpha = tensors.values()
    read = read_lora(save(tmp_path / "x.safetensors", tensors), sites("sd1")).factors[site]
    picture = torch.randn(1, site.shape[1], 6, 6)
    expected = torch.nn.functional.conv2d(torch.nn.functional.conv2d(picture, down, padding=1), up)
    actual = torch.nn.functional.conv2d(picture, read.delta().reshape(site.shape), padding=1)
    torch.testing.assert_close(actual, expected * (alpha.item() / RANK))


def test_a_kernel_of_one_by_one_may_be_written_or_left_out(tmp_path: Path) -> None:
    def check(case: tuple[str, tuple[int, ...]]) -> None:
        family, kernel = case
        site = next(site for site in sites(family) if site.module.endswith("proj_in"))
        adapter = random_factors([site], RANK, ALPHA)[site]
        stem = "lora_unet_" + under(site.original)
        tensors = {
            f"{stem}.lora_down.weight": adapter.down.reshape(*adapter.down.shape, *kernel),
            f"{stem}.lora_up.weight": adapter.up.reshape(*adapter.up.shape, *kernel),
            f"{stem}.alpha": torch.tensor([ALPHA]),
        }
        read = read_lora(save(tmp_path / "x.safetensors", tensors), sites(family))
        assert torch.equal(read.factors[site].delta(), adapter.delta())

    check_each(product(FAMILIES, [(), (1, 1)]), check)


def test_dtypes_are_widened_and_ranks_may_differ(tmp_path: Path) -> None:
    first, second = sites("sd1")[:2]
    factors = random_factors([first], 2) | random_factors([second], 7)
    dtypes = {first: torch.float16, second: torch.bfloat16}
    rounded = {
        site: Factors(adapter.down.to(dtypes[site]), adapter.up.to(dtypes[site]), 3.0)
        for site, adapter in factors.items()
    }
    read = read_lora(save(tmp_path / "x.safetensors", tensors_of("comfyui", rounded)), sites("sd1"))
    for site, adapter in rounded.items():
        assert read.factors[site].down.dtype == torch.float32
        assert torch.equal(read.factors[site].down, adapter.down.float())
    assert read.notes == ("ranks differ by layer, from 2 to 7",)


def test_an_alpha_of_zero_means_the_rank_and_an_integer_is_a_number(tmp_path: Path) -> None:
    factors = random_factors(sites("sd1")[:2], RANK)
    tensors = tensors_of("comfyui", factors)
    first, second = (name for name in tensors if name.endswith(".alpha"))
    tensors[first], tensors[second] = torch.tensor(0.0), torch.tensor(8)
    read = read_lora(save(tmp_path / "x.safetensors", tensors), sites("sd1"))
    assert [adapter.alpha for adapter in read.factors.values()] == [RANK, 8.0]
    assert read.notes == ("alpha is 0 in 1 of 2 layers: read as alpha = rank",)


def peft(site: Site, letter: str) -> str:
    return f"{site.component}.{site.module}.lora_{letter}.weight"


def config(**settings: Any) -> dict[str, str]:
    return {"lora_adapter_metadata": json.dumps({f"unet.{key}": value for key, value in settings.items()})}


CONFIGS: dict[str, tuple[dict[str, Any], list[float]]] = {
    "plain": ({"r": 4, "lora_alpha": 10}, [10, 10]),
    "a pattern": ({"lora_alpha": 10, "alpha_pattern": {"to_k": 3}}, [10, 3]),
    "a whole path": (
        {
            "lora_alpha": 10,
            "alpha_pattern": {r"^down_blocks\.0.attentions.0.transformer_blocks.0.attn1.to_q": 5},
        },
        [5, 10],
    ),
    "only the end of a name": ({"lora_alpha": 10, "alpha_pattern": {"o_k": 3, "^to_q": 5}}, [10, 10]),
    "rank-stabilised": ({"lora_alpha": 10, "use_rslora": True}, [10 * math.sqrt(RANK)] * 2),
    "nothing": ({"r": 4}, [RANK, RANK]),
}


def test_alpha_in_diffusers_metadata_counts(tmp_path: Path) -> None:
    queries, keys = (
        next(site for site in sites("sd1") if site.module.endswith(f"attn1.{leaf}"))
        for leaf in ("to_q", "to_k")
    )
    tensors = tensors_of("peft in diffusers", random_factors([queries, keys], RANK), alpha=False)

    def check(case: str) -> None:
        settings, alphas = CONFIGS[case]
        read = read_lora(save(tmp_path / "x.safetensors", tensors, config(**settings)), sites("sd1"))
        assert [read.factors[site].alpha for site in (queries, keys)] == pytest.approx(alphas)

    check_each(CONFIGS, check)


def test_one_components_configuration_is_not_anothers(tmp_path: Path) -> None:
    unet = sites("sd1")[0]
    encoder = next(site for site in sites("sd1") if site.component == "text_encoder")
    tensors = tensors_of("peft in diffusers", random_factors([unet, encoder], RANK), alpha=False)
    read = read_lora(save(tmp_path / "x.safetensors", tensors, config(lora_alpha=10)), sites("sd1"))
    assert (read.factors[unet].alpha, read.factors[encoder].alpha) == (10, RANK)


def test_pefts_own_files_take_alpha_from_the_file_beside_them(tmp_path: Path) -> None:
    site = sites("sd1")[0]
    adapter = random_factors([site], RANK)[site]
    tensors = {
        f"base_model.model.{site.module}.lora_A.default.weight": adapter.down.reshape(RANK, *site.shape[1:]),
        f"base_model.model.{site.module}.lora_B.default.weight": adapter.up.reshape(-1, RANK, 1, 1),
    }
    file = save(tmp_path / "adapter_model.safetensors", tensors)
    assert read_lora(file, sites("sd1")).factors[site].alpha == RANK
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 16}), encoding="utf-8")
    assert read_lora(file, sites("sd1")).factors[site].alpha == 16


def test_an_alpha_of_any_shape_is_one_number(tmp_path: Path) -> None:
    site = sites("sd1")[0]
    adapter = random_factors([site], RANK, ALPHA)
    for shape in ((), (1,), (1, 1), (1, 1, 1, 1)):
        tensors = tensors_of("kohya, SAI's blocks", adapter)
        tensors = {n: t.reshape(shape) if n.endswith("alpha") else t for n, t in tensors.items()}
        read = read_lora(save(tmp_path / "x.safetensors", tensors), sites("sd1"))
        assert read.factors[site].alpha == ALPHA


def test_bundled_embeddings_are_told_and_left_out(tmp_path: Path) -> None:
    """OneTrainer's names and those of A1111's bundles."""
    tensors = tensors_of("comfyui", random_factors(sites("sd1")[:1]))
    plain = read_lora(save(tmp_path / "1.safetensors", tensors), sites("sd1"))
    tensors |= {
        "bundle_emb.sks.clip_l": torch.ones(2, 8),
        "bundle_emb.\x1bbad.string_to_param.*": torch.ones(1),
    }
    read = read_lora(save(tmp_path / "2.safetensors", tensors), sites("sd1"))
    assert read.changes.keys() == plain.changes.keys()
    assert read.notes == ("embeddings that are bundled in are left out: '\\x1bbad', 'sks'",)


def test_names_and_trigger_words_are_found(tmp_path: Path) -> None:
    tensors = tensors_of("comfyui", random_factors(sites("sd1")[:1]))
    tags = {"10_sks dog": {"sks dog": 12, "grass": 5}, "1_reg": {"grass": 9, "sky": 1}}
    metadata = {"ss_output_name": "rex", "modelspec.title": "Rex", "ss_tag_frequency": json.dumps(tags)}
    read = read_lora(save(tmp_path / "1.safetensors", tensors, metadata), sites("sd1"))
    assert (read.name, read.triggers) == ("rex", ("grass", "sks dog", "sky"))
    metadata = {"modelspec.title": "Rex", "modelspec.trigger_phrase": "sks dog, photo"}
    read = read_lora(save(tmp_path / "2.safetensors", tensors, metadata), sites("sd1"))
    assert (read.name, read.triggers) == ("Rex", ("sks dog, photo",))


HOSTILE_TAGS = [
    "[" * 50_000,
    "3",
    '{"a": 3}',
    '{"a": {"b": "c", "d": true, "e": -1}}',
    json.dumps({"a": {"\x1b[2J": 3}}),
    '{"a": {"b": 1e999}}',
]


def test_hostile_metadata_is_only_text(tmp_path: Path) -> None:
    tensors = tensors_of("comfyui", random_factors(sites("sd1")[:1]))
    hostile = "\x1b]0;owned\x07\u202egpj.exe\n" + "x" * 9999

    def check(tags: str) -> None:
        metadata = {"ss_tag_frequency": tags, "ss_output_name": hostile}
        read = read_lora(save(tmp_path / "x.safetensors", tensors, metadata), sites("sd1"))
        assert all(text.isprintable() and len(text) <= 200 for text in (read.name, *read.triggers))
        assert read.name.startswith("]0;owned gpj.exe x")

    check_each(HOSTILE_TAGS, check)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_metadata_text_is_shown_on_one_printable_line(
    tmp_path_factory: pytest.TempPathFactory, name: str, tag: str
) -> None:
    tensors = tensors_of("comfyui", random_factors(sites("sd1")[:1]))
    metadata = {"ss_output_name": name, "ss_tag_frequency": json.dumps({"1_x": {tag: 1}})}
    file = save(tmp_path_factory.getbasetemp() / "any.safetensors", tensors, metadata)
    read = read_lora(file, sites("sd1"))
    assert all(
        is_line(text) and text == text.strip() for text in (*filter(None, [read.name]), *read.triggers)
    )
