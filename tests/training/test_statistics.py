"""What layers read while a real tiny model samples: measured once for all that read the same, exactly."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each
from real_shapes import tiny_sdxl, write
from tiny_model import write_tiny_model
from torch import Tensor, nn

from clora_ext import families
from clora_ext.adapters.sites import Target
from clora_ext.config.precision import pick_precision
from clora_ext.families.model import Model
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.training.statistics import input_moments


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {
        "sd1": write_tiny_model(folder / "sd1.safetensors"),
        "sdxl": write(folder / "sdxl.safetensors", tiny_sdxl(), torch.float32),
    }


def loaded(file: Path) -> tuple[Model, tuple[Target, ...]]:
    checkpoint = Checkpoint(file)
    family = families.detect(checkpoint.header, file)
    return family.load(checkpoint, pick_precision()), family.modules(checkpoint.header)


def draw(model: Model, prompt: str) -> None:
    model.sample(prompt, negative="", seeds=[5], steps=4, guidance=4.0, size=64, on_step=lambda a, b: None)


def watch(model: Model, layers: tuple[Target, ...], see: Callable[[Target, nn.Module, Tensor], None]) -> None:
    """Draw once; ``see`` is told of everything that a layer reads."""
    handles = []
    for layer in layers:
        component, path = model.locate(layer)
        module = component.get_submodule(path)

        def hook(module: nn.Module, arguments: tuple[Any, ...], layer: Target = layer) -> None:
            see(layer, module, arguments[0])

        handles.append(module.register_forward_pre_hook(hook))
    draw(model, "a dog")
    for handle in handles:
        handle.remove()


@pytest.mark.long
def test_layers_with_one_name_of_input_read_one_tensor_and_others_do_not(files: dict[str, Path]) -> None:
    def check(name: str) -> None:
        model, layers = loaded(files[name])
        alive: list[Tensor] = []  # so that no other tensor gets the same identity
        read: dict[str, list[int]] = {}

        def see(layer: Target, module: nn.Module, tensor: Tensor) -> None:
            alive.append(tensor)
            read.setdefault(layer.name, []).append(id(tensor))

        watch(model, layers, see)
        names = {layer.name: layer.input_name for layer in layers if layer.name in read}
        by_input: dict[str, set[tuple[int, ...]]] = {}
        for layer_name, input_name in names.items():
            by_input.setdefault(input_name, set()).add(tuple(read[layer_name]))
        assert {input_name: len(found) for input_name, found in by_input.items() if len(found) > 1} == {}
        shared = len(names) - len(by_input)
        assert shared > 5
        attention = [n for n in names if ".attn" in n or "attentions" in n]
        distinct = {tuple(read[layer_name]) for layer_name in attention}
        assert len(distinct) == len({names[layer_name] for layer_name in attention})

    check_each(["sd1", "sdxl"], check)


def test_moments_are_those_of_all_that_is_read_every_third_time(files: dict[str, Path]) -> None:
    model, layers = loaded(files["sd1"])
    seen: dict[str, list[Tensor]] = {}

    def see(layer: Target, module: nn.Module, tensor: Tensor) -> None:
        if isinstance(module, nn.Linear):
            seen.setdefault(layer.name, []).append(tensor.detach().flatten(0, -2).double())

    watch(model, layers, see)
    found = input_moments(model, layers, ["a dog"], lambda prompt: draw(model, prompt), rounded=True)
    compared = 0
    for layer in layers:
        if layer.name in seen:
            rows = torch.cat(seen[layer.name][::3])
            exact = rows.T @ rows / len(rows)
            moment = found[layer.input_name]
            assert moment.factor.dtype == torch.bfloat16
            assert float((moment.dense() - exact).norm() / exact.norm()) < 2**-7, layer.name
            compared += 1
    assert compared > 15
    convolution = next(layer for layer in layers if layer.kernel == (3, 3))
    assert found[convolution.input_name].width == convolution.shape[1]


def test_nothing_is_measured_for_no_prompts_and_no_hook_stays(files: dict[str, Path]) -> None:
    model, layers = loaded(files["sd1"])
    assert input_moments(model, layers, [], lambda prompt: pytest.fail("sampled"), rounded=True) == {}
    with pytest.raises(RuntimeError, match="stopped"):
        input_moments(model, layers, ["a"], _stop, rounded=True)
    assert not any(module._forward_pre_hooks for module in model.denoiser.modules())


def _stop(prompt: str) -> None:
    message = f"stopped at {prompt}"
    raise RuntimeError(message)
