"""What holds a LoRA back: dropout, a limit on norms, an average of the steps; and how strong it is."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from cases import check_each
from diffusers.training_utils import EMAModel
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException
from torch.utils.checkpoint import checkpoint

from clora_ext.adapters.factors import Factors
from clora_ext.adapters.sites import Target
from clora_ext.config.network_settings import NetworkSettings, network_problems
from clora_ext.config.settings import Settings
from clora_ext.errors import TrainingError
from clora_ext.runs.layer_rank import LayerRank, layer_rank
from clora_ext.training.adapters import limit_norm
from clora_ext.training.averages import MovingAverage
from clora_ext.training.compiling import reporting_no_compiler
from clora_ext.training.dropout import Dropout

UNET = "down_blocks.0.attentions.0.transformer_blocks.0"
LINEAR = Target("unet", f"{UNET}.attn2.to_k", "k", (32, 16))
CONVOLUTION = Target("unet", "down_blocks.0.resnets.0.conv1", "c", (32, 16 * 9), kernel=(3, 3))
SHORTCUT = Target("unet", "up_blocks.0.resnets.0.conv_shortcut", "s", (32, 16), kernel=(1, 1))


@contextmanager
def left(settings: NetworkSettings, down: nn.Module, batch: int = 0, seed: int = 0) -> Iterator[None]:
    """While a batch is trained on, parts of what the module gives are left out."""
    dropout = Dropout(settings, seed)
    dropout.attach("layer", down)
    with dropout.at(batch):
        yield


def numbers(settings: NetworkSettings, *, batch: int = 0, seed: int = 0, shape: tuple[int, ...]) -> Tensor:
    """What is left of ones."""
    down: nn.Module = nn.Identity() if len(shape) < 4 else nn.Conv2d(shape[1], shape[1], 1, bias=False)
    if isinstance(down, nn.Conv2d):
        nn.init.dirac_(down.weight)
    with left(settings, down, batch, seed):
        found: Tensor = down(torch.ones(shape)).detach()
    return found


def test_what_is_left_out_follows_from_seed_and_batch_alone() -> None:
    settings = NetworkSettings(network_dropout=0.5)
    first = numbers(settings, batch=3, seed=1, shape=(2, 8, 4))
    assert torch.equal(numbers(settings, batch=3, seed=1, shape=(2, 8, 4)), first)
    assert not torch.equal(numbers(settings, batch=4, seed=1, shape=(2, 8, 4)), first)
    assert not torch.equal(numbers(settings, batch=3, seed=2, shape=(2, 8, 4)), first)
    down = nn.Identity()
    Dropout(settings, 1).attach("layer", down)
    assert torch.equal(down(torch.ones(2, 8, 4)), torch.ones(2, 8, 4))  # nothing is trained on now


def test_ranks_are_left_out_for_a_whole_picture_and_made_up_for_as_in_sd_scripts() -> None:
    """Recorded from sd-scripts v0.11.1: a share of 0.25 is made up for by 1.3333333."""
    settings = NetworkSettings(rank_dropout=0.25)
    linear = numbers(settings, shape=(500, 3, 8))
    convolved = numbers(settings, shape=(500, 8, 3, 2))
    for found, places in ((linear, (1,)), (convolved, (2, 3))):
        assert torch.equal(found.amin(places), found.amax(places))
        assert found.unique().tolist() == pytest.approx([0.0, 1.3333333])
        assert found.mean() == pytest.approx(1, abs=0.05)


def test_single_numbers_and_whole_layers_are_left_out() -> None:
    found = numbers(NetworkSettings(network_dropout=0.2), shape=(64, 8, 8))
    assert set(found.unique().tolist()) == {0.0, 1.25}
    assert found.mean() == pytest.approx(1, abs=0.05)
    layers = [
        numbers(NetworkSettings(module_dropout=0.3), batch=batch, shape=(1, 2, 2)) for batch in range(300)
    ]
    assert {float(one.mean()) for one in layers} == {0.0, 1.0}  # all of it, or all as it is
    assert sum(not one.any() for one in layers) / 300 == pytest.approx(0.3, abs=0.08)


def test_what_is_computed_again_for_gradients_leaves_out_the_same() -> None:
    down = nn.Linear(6, 4, bias=False)
    inputs = torch.randn(5, 3, 6)
    found = []
    with left(NetworkSettings(network_dropout=0.4, rank_dropout=0.2, module_dropout=0.1), down):
        for again in (False, True):
            down.weight.grad = None
            result = checkpoint(down, inputs, use_reentrant=False) if again else down(inputs)
            result.square().sum().backward()
            assert down.weight.grad is not None
            found.append(down.weight.grad.clone())
    assert torch.equal(*found)


# Recorded from sd-scripts v0.11.1: up and down diagonal, alpha, the limit; the norms, and both halves after.
LIMITED = [
    (2.0, 1.0, 2.0, 1.0, 2.8284271, 0.99999988, 1.1892071, 0.59460354),
    (2.0, 1.0, 1.0, 1.0, 1.4142135, 0.99999988, 1.6817927, 0.84089637),
    (0.1, 1.0, 2.0, 1.0, 0.14142136, 0.14142136, 0.1, 1.0),
]


def test_norms_are_limited_as_sd_scripts_does() -> None:
    def check(case: tuple[float, ...]) -> None:
        up_value, down_value, alpha, most, before, after, up_after, down_after = case
        up, down = torch.eye(2) * up_value, torch.eye(2) * down_value
        assert Factors(down, up, alpha).delta().norm() == pytest.approx(before)
        limit_norm(up, down, alpha, most)
        assert Factors(down, up, alpha).delta().norm() == pytest.approx(after)
        assert torch.allclose(up, torch.eye(2) * up_after)
        assert torch.allclose(down, torch.eye(2) * down_after)

    check_each(LIMITED, check)
    up, down = torch.randn(32, 4), torch.randn(4, 9)
    product = up @ down
    limit_norm(up, down, 8.0, 0.5)
    assert torch.allclose(up @ down * 2, product / product.norm() * 0.5, atol=1e-6)
    up, down = torch.zeros(32, 4), torch.randn(4, 9)
    limit_norm(up, down, 8.0, 0.5)
    assert not up.any()
    assert down.isfinite().all()


def test_the_average_is_diffusers() -> None:
    """Against EMAModel's own arithmetic, and against the plain recurrence."""
    parameter = nn.Parameter(torch.zeros(3))
    moving, other = MovingAverage({"a": parameter}, 0.3), EMAModel([parameter], decay=0.3)
    expected = torch.zeros(3)
    for step in range(1, 9):
        parameter.data += step
        moving.step()
        other.step([parameter])
        kept = min(0.3, step / (9 + step)) if step > 1 else 0.0
        expected = kept * expected + (1 - kept) * parameter.data
    last = parameter.detach().clone()
    moving.show()
    assert torch.allclose(parameter, expected)
    assert torch.allclose(parameter, other.shadow_params[0])
    assert not torch.allclose(parameter, last)


def test_an_average_goes_on_from_what_was_stored() -> None:
    first, second = (nn.Parameter(torch.zeros(2)) for _ in range(2))
    straight, stopped = MovingAverage({"a": first}, 0.9), MovingAverage({"a": second}, 0.9)
    for step in range(6):
        if step == 3:
            tensors, told = stopped.stored()
            kept = {name: tensor.clone() for name, tensor in tensors.items()}
            stopped = MovingAverage({"a": second}, 0.9)
            stopped.restore(told, kept)
        for parameter, moving in ((first, straight), (second, stopped)):
            parameter.data += step
            moving.step()
    assert torch.equal(straight.stored()[0]["average.a"], stopped.stored()[0]["average.a"])


RANKS = [
    ({"rank": 8}, (8, 8.0), (8, 8.0), (8, 8.0)),
    ({"rank": 8, "alpha": 2.0, "conv_rank": 4}, (8, 2.0), (4, 4.0), (8, 2.0)),
    ({"rank": 8, "conv_rank": 4, "conv_alpha": 1.0}, (8, 8.0), (4, 1.0), (8, 8.0)),
    ({"rank": 16, "alpha": 2.0, "rslora": True}, (16, 8.0), (16, 8.0), (16, 8.0)),
    ({"rank": 8, "layer_ranks": "attn2=2 resnets=4:1 conv1=6"}, (2, 2.0), (6, 6.0), (4, 1.0)),
    ({"rank": 8, "layer_ranks": "unet=4 up_blocks.0=3", "rslora": True}, (4, 8.0), (4, 8.0), (3, 27**0.5)),
]


def test_every_layer_has_the_rank_that_is_asked_for() -> None:
    def check(case: tuple[Any, ...]) -> None:
        values, *expected = case
        found = [layer_rank(one, Settings.of(**values)) for one in (LINEAR, CONVOLUTION, SHORTCUT)]
        assert found == [LayerRank(rank, pytest.approx(alpha)) for rank, alpha in expected]

    check_each(RANKS, check)


@pytest.mark.parametrize("layer", [nn.Linear(16, 32), nn.Conv2d(16, 32, 3)])
def test_a_strength_by_the_root_of_the_rank_is_peft_s(layer: nn.Module) -> None:
    module = nn.Sequential(layer)
    config = LoraConfig(r=4, lora_alpha=3, use_rslora=True, target_modules=["0"], init_lora_weights=False)
    inject_adapter_in_model(config, module)
    (adapted,) = (one for one in module.modules() if isinstance(one, BaseTunerLayer))
    down, up = (getattr(adapted, name)["default"].weight.detach() for name in ("lora_A", "lora_B"))
    asked = layer_rank(LINEAR, Settings.of(rank=4, alpha=3.0, rslora=True))
    assert asked.alpha / asked.rank == pytest.approx(3 / math.sqrt(4))
    delta = Factors(down.flatten(1), up.flatten(1), asked.alpha).delta()
    expected = adapted.get_delta_weight("default").detach().flatten(1)  # type: ignore[operator]  # peft's
    assert torch.allclose(delta, expected, rtol=1e-5, atol=1e-7)


def test_what_contradicts_itself_is_told() -> None:
    told = {
        "--conv-alpha belongs to --conv-rank": {"conv_alpha": 1.0},
        "--text-encoder-only nothing of it": {"conv_rank": 4, "text_encoder_only": True},
        "'attn2' is no PART=RANK": {"layer_ranks": "attn2"},
        "'attn2=0' is no PART=RANK": {"layer_ranks": "attn2=0"},
        "'attn2=4:nan' is no PART=RANK": {"layer_ranks": "attn2=4:nan"},
        "learns an average by itself": {"optimizer_type": "AdamWScheduleFree", "ema_decay": 0.9},
    }
    check_each(
        list(told.items()),
        lambda case: case[0] in " ".join(Settings.of(**case[1]).problems()) or pytest.fail(case[0]),
    )
    assert not list(network_problems(NetworkSettings()))


def test_a_model_that_cannot_be_compiled_is_told_with_the_compilers_words() -> None:
    with (
        pytest.raises(TrainingError, match="cannot compile the model here: no C\\+\\+") as caught,
        reporting_no_compiler(),
    ):
        raise TorchDynamoException("no C++\nand much more")
    assert "--torch-compile" in caught.value.fix
