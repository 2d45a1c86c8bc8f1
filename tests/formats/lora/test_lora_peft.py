"""PEFT's own LoHa, LoKr and DoRA: what it saves is folded to what it trains with."""

from functools import partial
from pathlib import Path

import pytest
import torch
from cases import check_each, empty_folder
from lora_sites import module_at, sites_of, tiny
from peft import LoHaConfig, LoKrConfig, LoraConfig, PeftConfig, get_peft_model
from torch import Tensor

from clora_ext.adapters.decomposed import DecomposedAdapter
from clora_ext.adapters.products import HadamardDelta, KroneckerDelta
from clora_ext.formats.lora.reader import read_lora

RANK = 4
PRODUCTS: dict[str, PeftConfig] = {
    "LoHa": LoHaConfig(r=RANK, alpha=10, target_modules=["to_q", "conv1"]),
    "LoHa, ranks and alphas by layer": LoHaConfig(
        r=RANK, alpha=10, target_modules=["to_q", "to_k"], rank_pattern={"to_k": 2}, alpha_pattern={"to_q": 3}
    ),
    "LoHa, Tucker": LoHaConfig(r=RANK, alpha=10, target_modules=["conv1"], use_effective_conv2d=True),
    "LoKr of whole matrices": LoKrConfig(r=16, alpha=10, target_modules=["to_q", "to_k", "conv1"]),
    "LoKr of whole matrices, by layer": LoKrConfig(
        r=16, alpha=10, target_modules=["to_q", "to_k"], rank_pattern={"to_k": 20}, alpha_pattern={"to_q": 3}
    ),
    "LoKr": LoKrConfig(r=1, alpha=10, target_modules=["ff.net.2", "conv1"], decompose_both=True),
    "LoKr, Tucker": LoKrConfig(r=1, alpha=10, target_modules=["conv1"], use_effective_conv2d=True),
}


def rows_of(weight: Tensor, start: int, stop: int) -> Tensor:
    return weight[start:stop]


@pytest.mark.long
def test_products_that_peft_saves_are_read_at_pefts_strength(tmp_path: Path) -> None:
    def check(case: str) -> None:
        folder = empty_folder(tmp_path)
        networks = tiny("sd1")
        sites = [site for site in sites_of(networks, everywhere=True) if site.component == "unet"]
        config = PRODUCTS[case]
        config.init_weights = False
        model = get_peft_model(networks["unet"], config)
        model.save_pretrained(folder)
        read = read_lora(folder / "adapter_model.safetensors", sites)
        assert len(read.changes) > 9
        assert {kind.kind for kind in read.kinds} == {case[:4]}
        for site, change in read.changes.items():
            delta = module_at({"unet": model.base_model.model}, site).get_delta_weight("default").detach()
            assert isinstance(change, HadamardDelta | KroneckerDelta)
            torch.testing.assert_close(change.delta().reshape(site.shape), delta, rtol=1e-4, atol=1e-5)

    check_each(PRODUCTS, check)


def test_a_dora_of_peft_is_what_peft_merges(tmp_path: Path) -> None:
    def check(scaling: str) -> None:
        folder = empty_folder(tmp_path)
        networks = tiny("sd1")
        sites = [site for site in sites_of(networks, everywhere=True) if site.component == "unet"]
        before = {site: module_at(networks, site).weight.detach().clone() for site in sites}
        torch.manual_seed(3)
        config = LoraConfig(
            r=RANK, lora_alpha=10, target_modules=["to_q", "proj_in", "conv1"], init_lora_weights=False,
            use_dora=True, use_rslora=scaling == "by the root of the rank",
        )  # fmt: skip
        model = get_peft_model(networks["unet"], config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "magnitude" in name:
                    parameter.mul_(1 + 0.3 * torch.rand_like(parameter))
        model.save_pretrained(folder)
        read = read_lora(folder / "adapter_model.safetensors", sites)
        merged = model.merge_and_unload()
        assert {kind.kind for kind in read.kinds} == {"DoRA"}
        for site, change in read.changes.items():
            assert isinstance(change, DecomposedAdapter)
            weight = before[site].reshape(site.matrix)
            delta = change.over(partial(rows_of, weight), site.matrix).delta()
            after = module_at({"unet": merged}, site).weight.detach()
            torch.testing.assert_close(before[site] + delta.reshape(site.shape), after, rtol=1e-4, atol=1e-5)

    check_each(("by the rank", "by the root of the rank"), check)
