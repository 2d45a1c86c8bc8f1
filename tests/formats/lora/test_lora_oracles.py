"""The same files through other people's code: peft's delta, diffusers' loaders and savers."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each, empty_folder
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from diffusers.utils import convert_state_dict_to_kohya
from lora_dialects import save, tensors_of
from lora_sites import module_at, random_factors, sites_of, tiny
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor, nn

from clora_ext.adapters.sites import Site
from clora_ext.formats.lora.metadata import Details
from clora_ext.formats.lora.reader import read_lora
from clora_ext.formats.lora.writer import write_lora

FAMILIES = ["sd1", "sdxl"]
RANK, ALPHA = 4, 3.0
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0", "proj_in", "conv1", "q_proj", "out_proj", "fc1"]


def pipeline_of(family: str, networks: Mapping[str, nn.Module]) -> Any:
    vae = AutoencoderKL(block_out_channels=(4,), norm_num_groups=2)
    shared = {
        "vae": vae,
        "tokenizer": None,
        "scheduler": DDPMScheduler(steps_offset=1, clip_sample=False),
        "feature_extractor": None,
    }
    if family == "sd1":
        return StableDiffusionPipeline(
            **shared, **networks, safety_checker=None, requires_safety_checker=False
        )
    return StableDiffusionXLPipeline(
        **shared, **networks, tokenizer_2=None, image_encoder=None, add_watermarker=False
    )


def weights(networks: Mapping[str, nn.Module], sites: list[Site]) -> dict[Site, Tensor]:
    found: dict[Site, Tensor] = {}
    for site in sites:
        module = module_at(dict(networks), site)
        found[site] = getattr(module, "base_layer", module).weight.detach().clone()
    return found


@pytest.mark.long
def test_diffusers_applies_our_file_at_full_strength(tmp_path: Path) -> None:
    def check(family: str) -> None:
        folder = empty_folder(tmp_path)
        networks = tiny(family)
        sites = sites_of(networks)
        factors = random_factors(sites, RANK, ALPHA)
        before = weights(networks, sites)
        write_lora(folder / "rex.safetensors", factors, family, Details("rex"), dtype="F32")
        pipeline = pipeline_of(family, networks)
        pipeline.load_lora_weights(folder, weight_name="rex.safetensors")
        injected = {
            name for name, part in networks.items() if any("lora_A" in n for n, _ in part.named_parameters())
        }
        assert injected == set(networks)
        pipeline.fuse_lora(components=list(networks))
        after = weights(networks, sites)
        for site, adapter in factors.items():
            expected = before[site] + adapter.delta().reshape(site.shape)
            torch.testing.assert_close(after[site], expected, rtol=1e-5, atol=1e-4)

    check_each(FAMILIES, check)


READ_BY_DIFFUSERS = [
    "kohya, diffusers' blocks",
    "peft in diffusers",
    "diffusers before peft",
    "early diffusers",
]


@pytest.mark.long
def test_diffusers_and_we_understand_a_file_alike(tmp_path: Path) -> None:
    def check(dialect: str) -> None:
        folder = empty_folder(tmp_path)
        networks = tiny("sd1")
        sites = [site for site in sites_of(networks) if ".attn" in site.module or ".self_attn" in site.module]
        file = save(folder / "x.safetensors", tensors_of(dialect, random_factors(sites, RANK), alpha=False))
        before = weights(networks, sites)
        pipeline = pipeline_of("sd1", networks)
        pipeline.load_lora_weights(folder, weight_name="x.safetensors")
        pipeline.fuse_lora(components=list(networks))
        after = weights(networks, sites)
        read = read_lora(file, sites).factors
        assert list(read) == sites
        for site in sites:
            torch.testing.assert_close(after[site], before[site] + read[site].delta(), rtol=1e-5, atol=1e-4)

    check_each(READ_BY_DIFFUSERS, check)


def train(network: nn.Module, seed: int, **settings: Any) -> dict[str, Any]:
    """Inject a peft adapter with random weights; give its configuration."""
    leaves = tuple(f".{name}" for name, _ in network.named_modules())
    for pattern in {"alpha_pattern", "rank_pattern"} & settings.keys():  # peft warns of what it cannot use
        fitting = {k: v for k, v in settings[pattern].items() if any(x.endswith(f".{k}") for x in leaves)}
        settings = settings | {pattern: fitting}
    torch.manual_seed(seed)
    config = LoraConfig(r=RANK, target_modules=ATTENTION, init_lora_weights=False, **settings)
    network.add_adapter(config)
    found: dict[str, Any] = network.peft_config["default"].to_dict()
    return found


def pefts_deltas(networks: Mapping[str, nn.Module], sites: list[Site]) -> dict[Site, Tensor]:
    """What peft itself adds to each weight."""
    deltas: dict[Site, Tensor] = {}
    for site in sites:
        module = module_at(dict(networks), site)
        if hasattr(module, "get_delta_weight"):
            (name,) = module.lora_A
            deltas[site] = module.get_delta_weight(name).detach()
    return deltas


SETTINGS: dict[str, dict[str, Any]] = {
    "alpha above the rank": {"lora_alpha": 10},
    "alpha by layer": {"lora_alpha": 10, "alpha_pattern": {"to_k": 3, "fc1": 7}},
    "ranks by layer": {"lora_alpha": 2, "rank_pattern": {"to_q": 2, "q_proj": 3}},
    "rank-stabilised": {"lora_alpha": 2, "use_rslora": True},
}


@pytest.mark.long
def test_what_diffusers_saves_is_read_at_pefts_strength(tmp_path: Path) -> None:
    def check(case: tuple[str, str]) -> None:
        family, settings = case
        folder = empty_folder(tmp_path)
        networks = tiny(family)
        sites = sites_of(networks, everywhere=True)
        layers: dict[str, Any] = {}
        for seed, (component, network) in enumerate(networks.items()):
            config = train(network, seed, **SETTINGS[settings])
            layers[f"{component}_lora_layers"] = get_peft_model_state_dict(network)
            layers[f"{component}_lora_adapter_metadata"] = config
        deltas = pefts_deltas(networks, sites)
        pipeline = StableDiffusionPipeline if family == "sd1" else StableDiffusionXLPipeline
        pipeline.save_lora_weights(folder, **layers)
        read = read_lora(folder / "pytorch_lora_weights.safetensors", sites)
        assert read.dialect == "diffusers"
        assert read.factors.keys() == deltas.keys()
        assert {site.component for site in deltas} == set(networks)
        for site, delta in deltas.items():
            torch.testing.assert_close(read.factors[site].delta().reshape(site.shape), delta)

    check_each(product(FAMILIES, SETTINGS), check)


def test_what_peft_saves_is_read_at_pefts_strength(tmp_path: Path) -> None:
    networks = tiny("sd1")
    sites = sites_of(networks)
    config = LoraConfig(r=RANK, lora_alpha=10, target_modules=["to_q", "proj_in"], init_lora_weights=False)
    model = get_peft_model(networks["unet"], config)
    deltas = pefts_deltas(
        {"unet": model.base_model.model}, [site for site in sites if site.component == "unet"]
    )
    model.save_pretrained(tmp_path)
    read = read_lora(tmp_path / "adapter_model.safetensors", sites)
    assert read.factors.keys() == deltas.keys()
    for site, delta in deltas.items():
        torch.testing.assert_close(read.factors[site].delta().reshape(site.shape), delta)


def test_a_file_of_save_lora_adapter_is_read(tmp_path: Path) -> None:
    networks = tiny("sdxl")
    sites = sites_of(networks)
    train(networks["unet"], 0, lora_alpha=9)
    deltas = pefts_deltas(networks, [site for site in sites if site.component == "unet"])
    sites = sites_of(tiny("sdxl"), everywhere=True)
    networks["unet"].save_lora_adapter(tmp_path)
    read = read_lora(tmp_path / "pytorch_lora_weights.safetensors", sites)
    assert read.factors.keys() >= deltas.keys()
    for site, delta in deltas.items():
        torch.testing.assert_close(read.factors[site].delta().reshape(site.shape), delta)


def test_a_file_of_diffusers_converter_to_kohya_is_read_whole(tmp_path: Path) -> None:
    """It writes alpha = rank as an integer, diffusers' block names, and te1 or te2 without text_model."""

    def check(family: str) -> None:
        folder = empty_folder(tmp_path)
        networks = tiny(family)
        sites = sites_of(networks, everywhere=True)
        tensors: dict[str, Tensor] = {}
        for seed, (component, network) in enumerate(networks.items()):
            train(network, seed, lora_alpha=RANK)
            named = get_peft_model_state_dict(network).items()
            tensors |= convert_state_dict_to_kohya({f"{component}.{name}": tensor for name, tensor in named})
        deltas = pefts_deltas(networks, sites)
        read = read_lora(save(folder / "x.safetensors", tensors), sites)
        assert (read.dialect, read.notes) == ("kohya", ())
        assert read.factors.keys() == deltas.keys()
        for site, delta in deltas.items():
            torch.testing.assert_close(read.factors[site].delta().reshape(site.shape), delta)

    check_each(FAMILIES, check)


def test_our_file_has_sd_scripts_strength(tmp_path: Path) -> None:
    """W = W0 + multiplier * alpha / dim * up @ down (sd-scripts, networks/lora.py), from the raw tensors."""
    sites = sites_of(tiny("sd1"))
    factors = random_factors(sites, RANK, ALPHA)
    write_lora(tmp_path / "x.safetensors", factors, "sd1", Details("rex"), dtype="F32")
    tensors = {name: tensor.double() for name, tensor in load_file(tmp_path / "x.safetensors").items()}
    for site, adapter in factors.items():
        prefix = {"unet": "lora_unet_", "text_encoder": "lora_te_"}[site.component]
        stem = prefix + site.module.replace(".", "_")
        down, up = (tensors[f"{stem}.lora_{part}.weight"].flatten(1) for part in ("down", "up"))
        delta = tensors[f"{stem}.alpha"] / down.shape[0] * (up @ down)
        torch.testing.assert_close(adapter.delta().double(), delta, rtol=1e-5, atol=1e-5)


def test_our_file_says_the_same_twice(tmp_path: Path) -> None:
    """Read from diffusers' names, written in kohya's, read again: nothing is added and nothing lost."""
    networks = tiny("sd1")
    sites = sites_of(networks)
    config = train(networks["text_encoder"], 1, lora_alpha=10)
    layers = get_peft_model_state_dict(networks["text_encoder"])
    StableDiffusionPipeline.save_lora_weights(
        tmp_path, text_encoder_lora_layers=layers, text_encoder_lora_adapter_metadata=config
    )
    first = read_lora(tmp_path / "pytorch_lora_weights.safetensors", sites)
    write_lora(tmp_path / "x.safetensors", first.factors, "sd1", Details("rex"), dtype="F32")
    second = read_lora(tmp_path / "x.safetensors", sites)
    assert first.factors.keys() == second.factors.keys()
    for site, adapter in first.factors.items():
        assert torch.equal(second.factors[site].delta(), adapter.delta())
