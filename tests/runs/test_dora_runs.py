# ruff: noqa: TID251 - what a plan's lines say is part of it
"""Whole runs that train magnitudes beside the LoRA (DoRA): what is folded, written, resumed, and refused."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from cases import check_each
from clora_ext.cli.lora_facts import lora_facts
from safetensors.torch import load_file
from small_runs import another, by_strategy, pictures, stop_at, with_settings, with_source
from torch import Tensor

from clora_ext import Project, Request, add_concept, estimate, families, make_plan, remove, strategies
from clora_ext.adapters.decomposed import DecomposedAdapter, TrainedDecomposition
from clora_ext.adapters.factors import fresh
from clora_ext.adapters.sites import Target
from clora_ext.config.network_settings import NetworkSettings
from clora_ext.config.precision import Precision, pick_precision
from clora_ext.errors import Cancelled, UsageError
from clora_ext.events import Event, Note
from clora_ext.families.model import SizeConditioning
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.lora.reader import read_lora
from clora_ext.runs.context import project_context
from clora_ext.runs.disk_needs import disk_needs
from clora_ext.runs.lora_output import LoraOutput
from clora_ext.training.adapters import Adapters, AdapterStart

FAST = ("gram", "mask")
REFUSED = ("kvnull", "naive", "nullfilter", "orthogonal", "slao")
CPU = torch.device("cpu")
EVERYTHING = {
    "dora": True, "conv_rank": 2, "layer_ranks": "attn2=3", "rslora": True, "text_encoder": True,
    "network_dropout": 0.1, "rank_dropout": 0.2, "module_dropout": 0.1, "ema_decay": 0.5,
    "loraplus_ratio": 2.0, "weight_decay": 0.1,
}  # fmt: skip


def with_dora(request: Request, **values: object) -> Request:
    return with_settings(request, **{"strategy": "merge", "dora": True, "learning_rate": 0.02, **values})


def changes(project: Path) -> dict[Target, Tensor]:
    """What the layers have learned, to float32, those that nothing is taught left out."""
    context = project_context(Project.open(project), None, ())
    evolving = context.evolving()
    found = {one: evolving.layer(one, "").earlier for one in context.family.modules(context.header)}
    return {target: change for target, change in found.items() if change.any()}


def before(project: Path) -> Callable[[Target], Callable[[int, int], Tensor]]:
    """Reads rows of a layer of the model before anything was learned."""
    context = project_context(Project.open(project), None, ())
    evolving = context.evolving()

    def rows(target: Target, first: int, last: int) -> Tensor:
        return evolving.layer(target, "").origin[first:last]

    return lambda target: partial(rows, target)


def check_two_concepts(request: Request, strategy: str) -> None:
    asked = with_dora(replace(request, project=request.project / strategy), **by_strategy(strategy))
    first = with_settings(asked, conv_rank=2)
    one = add_concept(first)
    taught = changes(first.project)
    assert any(target.kernel == (3, 3) for target in taught)
    for change in taught.values():  # of no low rank: the magnitudes change all directions
        values = torch.linalg.svdvals(change.double())
        assert values[9:].square().sum() > 1e-7 * values.square().sum() or min(change.shape) <= 9
    two = add_concept(another(first, f"{strategy}_cat_images"))
    assert two.content_hash != one.content_hash
    assert {target.name for target in changes(first.project)} == {target.name for target in taught}


@pytest.mark.long
@pytest.mark.parametrize("strategy", FAST)
def test_every_strategy_that_can_folds_it(request_: Request, strategy: str) -> None:
    check_two_concepts(request_, strategy)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", sorted({*strategies.names()} - {*FAST, *REFUSED}))
def test_the_other_strategies_fold_it_too(request_: Request, strategy: str) -> None:
    check_two_concepts(request_, strategy)


def test_strategies_that_cannot_hold_it_refuse_it_by_name(request_: Request) -> None:
    def check(strategy: str) -> None:
        with pytest.raises(UsageError, match=f"the strategy {strategy} .*--dora") as caught:
            make_plan(with_dora(request_, strategy=strategy))
        assert "leave --dora out" in caught.value.fix

    check_each(REFUSED, check)
    for strategy, mode in (("orthogonal", "paper"), ("nullfilter", "merge")):  # nothing is held in training
        make_plan(with_dora(request_, strategy=strategy, strategy_options={"mode": mode}))


@pytest.mark.long
def test_what_is_folded_is_what_the_lora_file_says(request_: Request, tmp_path: Path) -> None:
    output = LoraOutput(tmp_path / "dog.safetensors", dtype="fp32", every_steps=4)
    asked = with_dora(with_source(request_, export_lora=output), **EVERYTHING)
    needs = disk_needs(make_plan(asked)).lora
    add_concept(asked)
    context = project_context(Project.open(request_.project), None, ())
    sites = {target.site: target for target in context.family.modules(context.header)}
    rows, folded = before(request_.project), changes(request_.project)
    file = read_lora(output.path, list(sites))
    assert {kind.kind for kind in file.kinds} == {"DoRA"}
    assert file.changes.keys() == {target.site for target in folded}
    for site, change in file.changes.items():
        assert isinstance(change, DecomposedAdapter)
        assert change.axis == "output"
        found = change.over(rows(sites[site]), sites[site].shape).delta()
        wanted = folded[sites[site]]
        assert (found - wanted).norm() / wanted.norm() < 1e-4, site
    on_the_way = tmp_path / "dog-step00000004.safetensors"
    tensors, earlier = load_file(output.path), load_file(on_the_way)
    scales = [name for name in tensors if name.endswith(".dora_scale")]
    assert len(scales) == len(folded)
    assert tensors.keys() == earlier.keys()
    assert any(not torch.equal(tensors[name], earlier[name]) for name in scales)
    metadata = Checkpoint(output.path).header.metadata
    assert metadata["ss_network_module"] == "lycoris.kohya"
    data = sum(value.numel() * value.element_size() for value in tensors.values())
    assert 0 <= needs / 2 - (1 << 20) - data < 0.01 * data


@pytest.mark.long
def test_magnitudes_are_written_in_float32_beside_halves(request_: Request, tmp_path: Path) -> None:
    """Of a norm of 3, half precision loses more than a training changes."""
    file = tmp_path / "dog.safetensors"
    told: list[Event] = []
    add_concept(with_dora(with_source(request_, export_lora=file)), told.append)
    assert any(isinstance(event, Note) and "ComfyUI and Forge draw" in event.text for event in told)
    dtypes = {name.partition(".")[2]: value.dtype for name, value in load_file(file).items()}
    assert dtypes == {
        "lora_down.weight": torch.float16,
        "lora_up.weight": torch.float16,
        "alpha": torch.float16,
        "dora_scale": torch.float32,
    }


@pytest.mark.long
def test_a_resumed_run_is_the_same_bit_for_bit(request_: Request) -> None:
    asked = with_dora(request_, **EVERYTHING, validation_split=0.4, validate_every=2)
    straight = add_concept(replace(asked, project=request_.project / "straight"))
    stopped = with_settings(replace(asked, project=request_.project / "stopped"), preview_every=2)
    for step in (1, 4):
        with pytest.raises(Cancelled):
            add_concept(stopped, stop_at(step))
    assert add_concept(stopped).content_hash == straight.content_hash
    plain = with_settings(replace(asked, project=request_.project / "plain"), dora=False)
    assert add_concept(plain).content_hash != straight.content_hash


@pytest.mark.long
def test_a_lora_that_is_learned_further_is_folded_whole(request_: Request, tmp_path: Path) -> None:
    file = tmp_path / "first.safetensors"
    output = LoraOutput(file, dtype="fp32")
    first = with_settings(with_source(request_, export_lora=output), strategy="merge", learning_rate=0.02)
    add_concept(first)
    images = pictures(tmp_path / "others", seed=9)
    onward = with_source(replace(request_, project=tmp_path / "second"), folder=images, start_from=file)
    add_concept(with_dora(onward, learning_rate=1e-12, steps=1))
    wanted, found = changes(request_.project), changes(tmp_path / "second")
    assert wanted.keys() == found.keys()
    for target, change in wanted.items():
        assert (found[target] - change).norm() / change.norm() < 1e-3, target.name


@pytest.mark.long
def test_a_kept_change_takes_it_out_again(request_: Request) -> None:
    asked = replace(with_dora(request_), keep_delta=True)
    planned = disk_needs(make_plan(asked)).delta
    add_concept(asked)
    (file,) = (request_.project / "deltas").glob("*.safetensors")
    assert file.stat().st_size <= planned < file.stat().st_size + (1 << 20)
    wanted = {target: change.clone() for target, change in changes(request_.project).items()}
    remove(request_.project, "sks")
    left = changes(request_.project)
    for target, change in wanted.items():
        assert left.get(target, torch.zeros(1)).norm() < 1e-4 * change.norm(), target.name


def test_a_plan_counts_the_magnitudes(request_: Request) -> None:
    plain, asked = (make_plan(with_dora(request_, dora=on)) for on in (False, True))
    outputs = sum(target.shape[0] for target in asked.targets)
    assert asked.parameters == plain.parameters + outputs
    less, more = estimate(plain).memory, estimate(asked).memory
    assert less is not None
    assert more is not None
    assert more > less + 100 * outputs  # what is kept for their gradients, too
    assert f"{outputs:,} magnitudes beside it (DoRA)" in lora_facts(asked)["adapter"]
    assert "DoRA" not in lora_facts(plain)["adapter"]


@pytest.mark.long
def test_weight_decay_takes_the_halves_to_nothing_and_no_magnitude(request_: Request) -> None:
    """A weight whose magnitudes went to nothing would be gone."""
    add_concept(with_dora(request_, weight_decay=100.0, learning_rate=2e-3))
    rows = before(request_.project)
    for target, change in changes(request_.project).items():
        assert change.norm() < 0.1 * rows(target)(0, target.shape[0]).norm(), target.name


@pytest.mark.long
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_half_precision_rounds_of_the_frozen_weights_is_not_folded(
    request_: Request, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it spoil what is learned."""
    full = add_concept(with_dora(replace(request_, project=request_.project / "full")))
    half = Precision(CPU, dtype, "a test")
    monkeypatch.setattr("clora_ext.config.precision.pick_precision", lambda: half)
    learned = add_concept(with_dora(replace(request_, project=request_.project / "half")))
    assert learned.last_loss == pytest.approx(full.last_loss, rel=0.02)
    still = with_dora(replace(request_, project=request_.project / "still"), learning_rate=1e-12, steps=1)
    add_concept(still)
    rows = before(still.project)
    for target, change in changes(still.project).items():
        assert change.norm() < 1e-7 * rows(target)(0, target.shape[0]).norm(), target.name


def test_the_model_before_is_there_while_they_are_left_out(tiny: Path) -> None:
    """What distillation asks, and what is drawn before, is the very model before."""
    base = Checkpoint(tiny)
    family = families.detect(base.header, tiny)
    model = family.load(base, pick_precision())
    targets = family.targets(base.header, "transformer", text_encoders=True, convolutions=True)
    rng = torch.Generator().manual_seed(0)
    starts = {target: AdapterStart(fresh(target.shape, 4, 4.0, rng)) for target in targets}
    cut = SizeConditioning((32, 32), (0, 0), (32, 32))
    latents, times = torch.randn(2, 4, 4, 4, generator=rng), torch.tensor([10, 500])

    def answers() -> Tensor:
        with torch.no_grad():
            return model.predict(latents, times, model.condition(["a photo of sks dog"] * 2, [cut, cut]))

    wanted = answers()
    adapters = Adapters(model, starts, CPU, NetworkSettings(dora=True, module_dropout=0.99999))
    assert torch.equal(answers(), wanted)
    assert {name.rpartition("::")[2] for name in adapters.parameters} == {"down", "up", "magnitude"}
    assert len(adapters.magnitudes) == len(targets)
    for parameter in adapters.parameters.values():
        parameter.data += 0.1 * torch.rand(parameter.shape, generator=rng)
    learned = answers()
    assert not torch.allclose(learned, wanted, rtol=1e-2)
    with adapters.disabled():
        assert torch.equal(answers(), wanted)
    with adapters.as_begun({}):
        assert torch.equal(answers(), wanted)
    assert torch.equal(answers(), learned)
    with adapters.trained_on(0):  # all of them are left out
        assert torch.equal(answers(), wanted)
    assert all(isinstance(one, TrainedDecomposition) for _, one in adapters.learned())


@pytest.mark.long
def test_the_triggers_own_rows_learn_beside_them(request_: Request, tiny: Path) -> None:
    add_concept(with_dora(request_, strategy="distill"))
    base, after = Checkpoint(tiny), Checkpoint(Project.open(request_.project).checkpoint_path or tiny)
    (table,) = families.detect(base.header, tiny).token_tables(base.header)
    changed = (base.read_float(table.tensor) != after.read_float(table.tensor)).any(dim=1)
    assert 0 < changed.sum() <= 8


@pytest.mark.long
def test_what_lycoris_reads_is_what_is_folded(request_: Request, tmp_path: Path) -> None:
    lycoris = pytest.importorskip("lycoris.modules.locon")
    output = LoraOutput(tmp_path / "dog.safetensors", dtype="fp32")
    add_concept(with_dora(with_source(request_, export_lora=output), conv_rank=2))
    tensors = load_file(output.path)
    rows = before(request_.project)
    for target, change in changes(request_.project).items():
        stem = "lora_unet_" + target.module.replace(".", "_")
        parts = ("lora_down.weight", "lora_up.weight", "alpha", "dora_scale")
        down, up, alpha, scale = (tensors[f"{stem}.{part}"] for part in parts)
        weight = rows(target)(0, target.shape[0]).reshape(target.site.shape)
        layer = (
            torch.nn.Linear(*reversed(target.shape), bias=False)
            if weight.ndim == 2
            else torch.nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:], bias=False)
        )
        layer.weight.data = weight
        theirs = lycoris.LoConModule(
            stem, layer, lora_dim=len(down), alpha=float(alpha), weight_decompose=True, wd_on_out=True
        )
        with torch.no_grad():
            theirs.lora_down.weight.copy_(down)
            theirs.lora_up.weight.copy_(up)
            theirs.dora_scale.copy_(scale)
            found = theirs.get_merged_weight()[0].detach() - weight
        assert (found.flatten(1) - change).norm() / change.norm() < 1e-3, target.name
