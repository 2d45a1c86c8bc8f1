"""LoRA files of Z-Image: read in every dialect, fused or not; written so that diffusers takes all of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each
from diffusers import ZImageTransformer2DModel
from diffusers.loaders import ZImageLoraLoaderMixin
from lora_sites import random_factors
from published_files import published_file
from safetensors.torch import load_file, save_file
from tiny_flow import modules, write_tiny_flow
from torch import Tensor

from clora_ext import families
from clora_ext.adapters.factors import Factors
from clora_ext.adapters.sites import Site
from clora_ext.errors import CheckpointError
from clora_ext.formats.lora.metadata import Details
from clora_ext.formats.lora.names import NameTable
from clora_ext.formats.lora.reader import read_lora
from clora_ext.formats.lora.writer import write_lora
from clora_ext.formats.models import model_header

FAMILY = families.load("z_image")
Names = Callable[[Site], str]


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> list[Site]:
    """All layers of a tiny model, and norms and biases."""
    file = write_tiny_flow(tmp_path_factory.mktemp("flow")).transformer
    return [target.site for target in FAMILY.parameters(model_header(file))]


def layers(sites: list[Site]) -> list[Site]:
    return [site for site in sites if site.module.startswith("layers.") and len(site.shape) == 2]


def under(path: str) -> str:
    return path.replace(".", "_")


# By hand, from files of the programs; the last but one ending is of the factor that reads.
DIALECTS: dict[str, tuple[str, Names]] = {
    "ai-toolkit": ("comfyui", lambda site: f"diffusion_model.{site.module}.lora_"),
    "diffusers": ("diffusers", lambda site: f"transformer.{site.module}.lora_"),
    "PEFT": ("diffusers", lambda site: f"base_model.model.{site.module}.lora_"),
    "musubi-tuner": ("kohya", lambda site: f"lora_unet_{under(site.module)}.lora_"),
    "OneTrainer": ("onetrainer", lambda site: f"lora_transformer_{under(site.module)}.lora_"),
}
FUSED: dict[str, tuple[str, Names]] = {
    "sd-scripts": ("kohya", lambda site: f"lora_unet_{under(site.original)}.lora_"),
    "ComfyUI": ("comfyui", lambda site: f"diffusion_model.{site.original}.lora_"),
}


def written(file: Path, factors: dict[Site, Factors], name: Names, ends: tuple[str, str]) -> Path:
    tensors: dict[str, Tensor] = {}
    for site, one in factors.items():
        stem = name(site)
        tensors |= {f"{stem}{ends[0]}.weight": one.down, f"{stem}{ends[1]}.weight": one.up}
        tensors[f"{stem.removesuffix('.lora_')}.alpha"] = torch.tensor(one.alpha)
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, file)
    return file


def test_every_dialect_is_read(sites: list[Site], tmp_path: Path) -> None:
    factors = random_factors(layers(sites))

    def check(case: str) -> None:
        dialect, name = DIALECTS[case]
        ends = ("down", "up") if dialect == "kohya" else ("A", "B")
        found = read_lora(written(tmp_path / "x.safetensors", factors, name, ends), sites)
        assert found.dialect == dialect
        assert list(found.changes) == layers(sites)
        for site, change in found.factors.items():
            torch.testing.assert_close(change.delta(), factors[site].delta())

    check_each(DIALECTS, check)


def test_one_adapter_of_queries_keys_and_values_is_cut_by_rows(sites: list[Site], tmp_path: Path) -> None:
    wholes = {
        site.original: Site("transformer", site.original, site.original, (3 * site.shape[0], site.shape[1]))
        for site in layers(sites)
        if site.rows
    }
    others = [site for site in layers(sites) if not site.rows]
    factors = random_factors([*wholes.values(), *others])

    def check(case: str) -> None:
        dialect, name = FUSED[case]
        found = read_lora(written(tmp_path / "x.safetensors", factors, name, ("down", "up")), sites)
        assert found.dialect == dialect
        assert set(found.changes) == set(layers(sites))
        for site, change in found.factors.items():
            if site.rows is None:
                torch.testing.assert_close(change.delta(), factors[site].delta())
                continue
            part = factors[wholes[site.original]].delta()[slice(*site.rows)]
            torch.testing.assert_close(change.delta(), part)
            assert (change.rank, change.alpha) == (4, 2.0)
            assert site.module.endswith(("to_q", "to_k", "to_v")[site.rows[0] // site.shape[0]])

    check_each(FUSED, check)


def test_a_layer_named_alone_and_with_others_is_refused(sites: list[Site], tmp_path: Path) -> None:
    queries = next(site for site in layers(sites) if site.module.endswith("0.attention.to_q"))
    whole = Site("transformer", queries.original, queries.original, (96, 32))
    factors = random_factors([queries, whole])
    file = written(tmp_path / "x.safetensors", factors, DIALECTS["ai-toolkit"][1], ("A", "B"))
    with pytest.raises(CheckpointError, match="change the same rows"):
        read_lora(file, sites)


def test_every_name_of_the_published_model_has_one_reading(tmp_path: Path) -> None:
    header = model_header(published_file(tmp_path / "x.safetensors", "z_image"))
    found = [target.site for target in FAMILY.modules(header)]
    table = NameTable(found)
    names = {site: [name(site).removesuffix(".lora_") for _, name in DIALECTS.values()] for site in found}
    assert len(names) == 276
    for site, stems in names.items():
        assert [place and place[1] for place in map(table.find, [stems[0], stems[1], *stems[3:]])] == [
            site
        ] * 4
    fused = table.find("lora_unet_layers_29_attention_qkv")
    assert fused is not None
    assert (fused[0], fused[1].shape) == ("kohya", (11520, 3840))


def test_files_of_other_models_are_refused_by_name(sites: list[Site], tmp_path: Path) -> None:
    other = Site("unet", "x", "x", (8, 8))
    file = written(
        tmp_path / "x.safetensors", random_factors([other]),
        lambda site: "lora_unet_double_blocks_0_img_attn_qkv.lora_", ("down", "up"),
    )  # fmt: skip
    with pytest.raises(CheckpointError, match="for Flux, the model is Z-Image"):
        read_lora(file, sites)


@pytest.fixture
def ours(sites: list[Site], tmp_path: Path) -> tuple[dict[Site, Factors], Path]:
    factors = random_factors(layers(sites), rank=2, alpha=3.0)
    file = tmp_path / "ours.safetensors"
    write_lora(file, factors, "z_image", Details("ours", trigger="sks dog"), dtype="F32")
    return factors, file


def test_written_names_are_ai_toolkits(ours: tuple[dict[Site, Factors], Path]) -> None:
    factors, file = ours
    tensors = load_file(file)
    names = {f"diffusion_model.{site.module}" for site in factors}
    parts = ("lora_A.weight", "lora_B.weight", "alpha")
    assert set(tensors) == {f"{name}.{part}" for name in names for part in parts}
    assert "diffusion_model.layers.0.attention.to_out.0.lora_A.weight" in tensors
    assert "diffusion_model.layers.1.feed_forward.w2.alpha" in tensors


def test_written_files_come_back(ours: tuple[dict[Site, Factors], Path], sites: list[Site]) -> None:
    factors, file = ours
    found = read_lora(file, sites)
    assert (found.triggers, found.dialect) == (("sks dog",), "comfyui")
    assert set(found.factors) == set(factors)
    for site, change in found.factors.items():
        torch.testing.assert_close(change.delta(), factors[site].delta())


def test_written_files_change_diffusers_model_alike(ours: tuple[dict[Site, Factors], Path]) -> None:
    factors, file = ours
    network: Any = modules()["transformer"]
    assert isinstance(network, ZImageTransformer2DModel)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = ZImageLoraLoaderMixin.lora_state_dict(str(file))
    ZImageLoraLoaderMixin.load_lora_into_transformer(state, network)
    network.fuse_lora()
    network.unload_lora()
    for site, one in factors.items():
        after = network.get_submodule(site.module).weight - before[f"{site.module}.weight"]
        torch.testing.assert_close(after, one.delta(), atol=1e-5, rtol=1e-4)
