"""A UNet whose weights are copied to where its layers compute: the same training, bit for bit."""

from dataclasses import replace

import pytest
import torch
from flow_families import Z_IMAGE, family_id
from small_runs import stop_at, with_settings
from torch import nn

from clora_ext import Request, add_concept, make_plan
from clora_ext.config.precision import Precision
from clora_ext.errors import Cancelled
from clora_ext.families.stored_weights import NARROW, offload, store_narrowly

ELSEWHERE = torch.device("meta")


@pytest.mark.long
@pytest.mark.parametrize("beside", [{}, {"fp8_base": True}], ids=["alone", "in 8 bits"])
def test_it_learns_what_is_learned_without(request_: Request, beside: dict[str, bool]) -> None:
    wished = with_settings(
        request_, strategy="distill", learning_rate=0.02, gradient_checkpointing=True, **beside
    )
    plain = replace(wished, project=request_.project / "plain")
    away = with_settings(replace(wished, project=request_.project / "away"), offload_base=True)
    with pytest.raises(Cancelled):
        add_concept(away, stop_at(3))
    assert make_plan(replace(wished, project=away.project)).resume_step == 3  # of one and the same model
    assert add_concept(away).content_hash == add_concept(plain).content_hash


def test_layers_see_their_weights_where_they_compute() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.GroupNorm(1, 3), nn.Sequential(nn.Conv2d(3, 4, 1)))
    network.requires_grad_(requires_grad=False)
    offload(network, ELSEWHERE, torch.bfloat16)
    for layer in (network[0], network[2][0]):
        assert layer.stored.device.type == "cpu"
        assert (layer.weight.device, layer.weight.dtype) == (ELSEWHERE, torch.bfloat16)
        assert layer.bias.device == ELSEWHERE
    assert network[1].weight.device == ELSEWHERE
    store_narrowly(network, ELSEWHERE, torch.bfloat16)
    stored = network[0].stored
    assert (stored.device.type, stored.dtype) == ("cpu", NARROW)
    assert (network[0].weight.device, network[0].weight.dtype) == (ELSEWHERE, torch.bfloat16)


def test_a_model_is_loaded_so(request_: Request) -> None:
    """Never whole on the device: the UNet stays where the file was read to."""
    context = make_plan(request_).context
    away = Precision(ELSEWHERE, torch.float32, "a test", offloads_denoiser=True)
    model = context.family.load(context.open_current(), away)
    kinds = {
        name.rpartition(".")[2]: parameter.device.type
        for name, parameter in model.denoiser.named_parameters()
        if "stored" in name or "norm" in name
    }
    assert kinds == {"stored": "cpu", "weight": "meta", "bias": "meta"}
    assert all(one.device == ELSEWHERE for one in model.text_encoders[0].parameters())


@pytest.mark.long
@pytest.mark.parametrize("family", [Z_IMAGE], indirect=True, ids=family_id)
def test_a_transformer_learns_the_same_too(asked: Request) -> None:
    wished = with_settings(asked, gradient_checkpointing=True, learning_rate=0.02)
    away = with_settings(replace(wished, project=asked.project / "away"), offload_base=True)
    plain = replace(wished, project=asked.project / "plain")
    assert add_concept(away).content_hash == add_concept(plain).content_hash
