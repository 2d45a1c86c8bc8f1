"""LyCORIS' own modules judge: the weight that each trains with is the weight that its file is folded to.

Their ``forward`` is asked, which training uses; their ``get_merged_weight`` scales LoHa and LoKr twice.
"""

from pathlib import Path
from typing import Any

import torch
from cases import check_each
from lora_dialects import save
from lycoris.modules.full import FullModule
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from lycoris.modules.norms import NormModule
from torch import Tensor, nn
from torch.nn.functional import conv2d, group_norm, linear

from clora_ext.adapters.decomposed import DecomposedAdapter
from clora_ext.adapters.sites import Parameter, Site
from clora_ext.formats.lora.reader import read_lora

STEM, RANK = "lora_unet_conv_in", 3
LAYERS = {
    "linear": lambda: nn.Linear(12, 16),
    "square": lambda: nn.Linear(12, 12),
    "3 x 3": lambda: nn.Conv2d(6, 8, 3, padding=1),
    "1 x 1": lambda: nn.Conv2d(6, 8, 1),
}
SETTINGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "LoCon": (LoConModule, {}),
    "LoCon, Tucker": (LoConModule, {"use_tucker": True}),
    "LoCon, trained scalar": (LoConModule, {"use_scalar": True}),
    "LoCon, rank-stabilised": (LoConModule, {"rs_lora": True}),
    "LoHa": (LohaModule, {}),
    "LoHa, Tucker": (LohaModule, {"use_tucker": True}),
    "LoHa, rank-stabilised": (LohaModule, {"rs_lora": True}),
    "LoKr, whole": (LokrModule, {"full_matrix": True}),
    "LoKr, small factor": (LokrModule, {"factor": 2, "lora_dim": 1}),
    "LoKr, decomposed": (LokrModule, {"decompose_both": True, "lora_dim": 1}),
    "LoKr, Tucker": (LokrModule, {"use_tucker": True, "factor": 2, "lora_dim": 1}),
    "LoKr, unbalanced": (LokrModule, {"unbalanced_factorization": True, "lora_dim": 1}),
    "DoRA of outputs": (LoConModule, {"weight_decompose": True}),
    "DoRA of inputs": (LoConModule, {"weight_decompose": True, "wd_on_out": False}),
    "LoHa with DoRA": (LohaModule, {"weight_decompose": True, "wd_on_out": False}),
    "LoKr with DoRA": (LokrModule, {"weight_decompose": True, "factor": 2, "lora_dim": 1}),
    "full": (FullModule, {}),
}


def randomised(module: nn.Module) -> nn.Module:
    """Every parameter of the adapter as if it had been trained."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return module.eval()


def folded(file: Path, module: nn.Module, parameter: Parameter) -> Tensor:
    """The layer's own parameter plus what we read for it."""
    before = getattr(module, parameter).detach()
    site = Site("unet", "conv_in", "input_blocks.0.0", tuple(before.shape), parameter)
    sites = [Site("unet", "conv_in", "input_blocks.0.0", tuple(module.weight.shape))]
    if module.bias is not None:
        sites.append(Site("unet", "conv_in", "input_blocks.0.0", tuple(module.bias.shape), "bias"))
    changes = read_lora(file, sites).changes
    if site not in changes:
        return before
    change = changes[site]
    if isinstance(change, DecomposedAdapter):
        matrix = before.reshape(site.matrix)
        change = change.over(lambda start, stop: matrix[start:stop], site.matrix)
    return before + change.delta().reshape(site.shape)


@torch.no_grad()
def test_what_lycoris_trains_is_what_is_folded(tmp_path: Path) -> None:
    def check(case: tuple[str, str]) -> None:
        name, kind = case
        torch.manual_seed(len(name))
        layer = LAYERS[kind]()
        algorithm, settings = SETTINGS[name]
        adapter = randomised(algorithm(STEM, layer, **{"lora_dim": RANK, "alpha": 2.0, **settings}))
        x = torch.randn(5, 12) if "x" not in kind else torch.randn(2, 6, 7, 7)
        theirs = adapter(x)
        parts = adapter.custom_state_dict() if name != "full" else _whole(adapter)
        tensors = {f"{STEM}.{part}": value.detach().contiguous() for part, value in parts.items()}
        file = save(tmp_path / "x.safetensors", tensors)
        weight, bias = folded(file, layer, "weight"), folded(file, layer, "bias")
        ours = linear(x, weight, bias) if "x" not in kind else conv2d(x, weight, bias, padding=layer.padding)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(ours, layer(x), rtol=1e-2, atol=1e-2)

    check_each([(name, kind) for name in SETTINGS for kind in LAYERS], check)


def _whole(adapter: nn.Module) -> dict[str, Tensor]:
    """What ``custom_state_dict`` gives once the adapter is applied: here the differences themselves."""
    return {"diff": adapter.weight, "diff_b": adapter.bias}


@torch.no_grad()
def test_norms_are_changed_as_lycoris_changes_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = nn.GroupNorm(2, 8)
    adapter = randomised(NormModule(STEM, layer))
    x = torch.randn(2, 8, 5, 5)
    tensors = {f"{STEM}.{name}": tensor.detach() for name, tensor in adapter.state_dict().items()}
    assert {name.rpartition(".")[2] for name in tensors} == {"w_norm", "b_norm"}
    file = save(tmp_path / "x.safetensors", tensors)
    ours = group_norm(x, 2, folded(file, layer, "weight"), folded(file, layer, "bias"))
    torch.testing.assert_close(ours, adapter(x), rtol=1e-4, atol=1e-5)
