"""LoRA files of Flux.2 klein: read in every dialect, fused or not; written so that diffusers takes all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each
from diffusers.loaders import Flux2LoraLoaderMixin
from lora_sites import random_factors
from safetensors.torch import load_file, save_file
from tiny_flow import modules, write_tiny_flow
from torch import Tensor

from clora_ext import families
from clora_ext.adapters.factors import Factors
from clora_ext.adapters.sites import Site
from clora_ext.errors import CheckpointError
from clora_ext.formats.lora.metadata import Details
from clora_ext.formats.lora.reader import read_lora
from clora_ext.formats.lora.writer import write_lora
from clora_ext.formats.models import model_header

KIND = "flux2_klein_4b"
FAMILY = families.load(KIND)
Names = Callable[[Site], str]


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> list[Site]:
    """All layers of a tiny model, and norms."""
    file = write_tiny_flow(tmp_path_factory.mktemp("klein"), kind=KIND).transformer
    return [target.site for target in FAMILY.parameters(model_header(file))]


def layers(sites: list[Site]) -> list[Site]:
    return [site for site in sites if "transformer_blocks." in site.module and len(site.shape) == 2]


def under(path: str) -> str:
    return path.replace(".", "_")


# By hand, from the programs' own converters; the last but one ending is of the factor that reads.
DIALECTS: dict[str, tuple[str, Names]] = {
    "diffusers": ("diffusers", lambda site: f"transformer.{site.module}.lora_"),
    "PEFT": ("diffusers", lambda site: f"base_model.model.{site.module}.lora_"),
    "OneTrainer": ("onetrainer", lambda site: f"lora_transformer_{under(site.module)}.lora_"),
    "LyCORIS": ("kohya", lambda site: f"lycoris_{under(site.module)}.lora_"),
}
FUSED: dict[str, tuple[str, Names]] = {
    "musubi-tuner": ("kohya", lambda site: f"lora_unet_{under(site.original)}.lora_"),
    "ai-toolkit": ("comfyui", lambda site: f"diffusion_model.{site.original}.lora_"),
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


def test_adapters_by_the_authors_names_change_the_authors_rows(sites: list[Site], tmp_path: Path) -> None:
    """Of queries, keys and values together; and of the last modulation, which is stored the other way."""
    wholes = {
        site.original: Site("transformer", site.original, site.original, (3 * site.shape[0], site.shape[1]))
        for site in layers(sites)
        if site.rows
    }
    (last,) = (site for site in sites if "adaLN_modulation" in site.original)
    others = [site for site in layers(sites) if not site.rows]
    factors = random_factors([*wholes.values(), *others, last])

    def check(case: str) -> None:
        dialect, name = FUSED[case]
        found = read_lora(written(tmp_path / "x.safetensors", factors, name, ("down", "up")), sites)
        assert found.dialect == dialect
        assert set(found.changes) == {*layers(sites), last}
        for site, change in found.factors.items():
            if site.rows is None:
                torch.testing.assert_close(change.delta(), factors[site].delta())
                continue
            part = factors[wholes[site.original]].delta()[slice(*site.rows)]
            torch.testing.assert_close(change.delta(), part)
            place = site.rows[0] // site.shape[0]
            assert site.module.endswith(
                (("to_q", "add_q_proj"), ("to_k", "add_k_proj"), ("to_v", "add_v_proj"))[place]
            )

    check_each(FUSED, check)


def test_the_last_modulation_by_diffusers_name_is_refused(sites: list[Site], tmp_path: Path) -> None:
    """Its rows are exchanged there, and programs disagree about who exchanges them back."""
    other = Site("transformer", "norm_out.linear", "norm_out.linear", (64, 32))
    factors = random_factors([other, *layers(sites)])
    file = written(tmp_path / "x.safetensors", factors, DIALECTS["diffusers"][1], ("A", "B"))
    with pytest.raises(CheckpointError, match=r"norm_out\.linear"):
        read_lora(file, sites)


def test_files_of_other_models_are_refused(sites: list[Site], tmp_path: Path) -> None:
    def check(case: tuple[str, tuple[int, int], str]) -> None:
        name, shape, words = case
        site = Site("transformer", name, name, shape)
        file = written(tmp_path / "x.safetensors", random_factors([site]), FUSED["ai-toolkit"][1], ("A", "B"))
        with pytest.raises(CheckpointError, match=words):
            read_lora(file, sites)

    check_each(
        [
            ("layers.0.attention.qkv", (96, 32), "for Z-Image, the model is Flux.2"),
            ("double_blocks.0.img_mod.lin", (192, 32), "for Flux 1, the model is Flux.2"),
            ("single_blocks.0.linear1", (7 * 32, 32), "for Flux 1, the model is Flux.2"),
            ("single_blocks.0.linear1", (9 * 48, 48), "do not fit"),
        ],
        check,
    )


@pytest.fixture
def ours(sites: list[Site], tmp_path: Path) -> tuple[dict[Site, Factors], Path]:
    factors = random_factors(layers(sites), rank=2, alpha=3.0)
    file = tmp_path / "ours.safetensors"
    write_lora(file, factors, KIND, Details("ours", trigger="sks dog"), dtype="F32")
    return factors, file


def test_written_names_are_diffusers_without_alpha(ours: tuple[dict[Site, Factors], Path]) -> None:
    factors, file = ours
    names = {f"transformer.{site.module}" for site in factors}
    assert set(load_file(file)) == {
        f"{name}.{part}.weight" for name in names for part in ("lora_A", "lora_B")
    }


def test_written_files_come_back(ours: tuple[dict[Site, Factors], Path], sites: list[Site]) -> None:
    factors, file = ours
    found = read_lora(file, sites)
    assert (found.triggers, found.dialect) == (("sks dog",), "diffusers")
    assert set(found.factors) == set(factors)
    for site, change in found.factors.items():
        torch.testing.assert_close(change.delta(), factors[site].delta())


def test_written_files_change_diffusers_model_alike(ours: tuple[dict[Site, Factors], Path]) -> None:
    factors, file = ours
    network: Any = modules(kind=KIND)["transformer"]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = Flux2LoraLoaderMixin.lora_state_dict(str(file))
    Flux2LoraLoaderMixin.load_lora_into_transformer(state, network)
    network.fuse_lora()
    network.unload_lora()
    for site, one in factors.items():
        after = network.get_submodule(site.module).weight - before[f"{site.module}.weight"]
        torch.testing.assert_close(after, one.delta(), atol=1e-5, rtol=1e-4)
