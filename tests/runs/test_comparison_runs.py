"""Runs by the strategies that are there for comparison: what each asks for, what all keep to."""

import shutil
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each, empty_folder
from exact_state import exact_project
from learned import Learned
from small_runs import another, by_strategy, memory_of, pictures, stop_at, with_settings, with_source

from clora_ext import Lora, Project, Request, add_concept, make_plan, strategies
from clora_ext.errors import Cancelled, UsageError
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.header import Header, read_header
from clora_ext.formats.memory import PROMPTS_KEY, strategy_bytes
from clora_ext.runs.plan import Plan
from clora_ext.training import gradients
from clora_ext.training.objective import DenoisingObjective


def by(request: Request, strategy: str, folder: Path, **options: object) -> Request:
    """The request by this strategy, into a project of its own; what is measured, by few draws."""
    quick = by_strategy(strategy)
    settings = {**quick, "strategy_options": {**quick["strategy_options"], **options}, "steps": 4}
    return replace(with_settings(request, **settings), project=folder)


@pytest.mark.long
def test_a_resumed_second_concept_is_the_same_bit_for_bit_and_so_is_its_state(
    request_: Request, tmp_path: Path, learned: Learned
) -> None:
    """By every strategy; and the state that is told is what was declared and lies on the disk."""
    cats = pictures(tmp_path / "cat_images", seed=1)

    def check(name: str) -> None:
        folder = empty_folder(tmp_path)
        first = by(request_, name, folder / "straight")
        learned(first)
        shutil.copytree(first.project, folder / "stopped")
        second = with_source(first, folder=cats)
        straight, stopped = add_concept(second), replace(second, project=folder / "stopped")
        with pytest.raises(Cancelled):
            add_concept(stopped, stop_at(3))
        plan = make_plan(stopped)
        assert plan.resume_step == 3
        assert add_concept(stopped).content_hash == straight.content_hash
        kept = memory_of(stopped.project)
        assert kept.read_bytes() == memory_of(first.project).read_bytes()
        _check_state(plan, read_header(kept))
        assert Project.open(first.project).disk_usage().strategy == strategy_bytes(read_header(kept))

    check_each(strategies.for_comparison(), check)


def _check_state(plan: Plan, header: Header) -> None:
    """Numbers and words in a memory are those that the strategy declares, by its level."""
    rank = plan.settings.adapter.rank
    declared = [plan.strategy.memory_shapes(target.shape, rank) for target in plan.targets]
    numbers = sum(prod(shape) for layer in declared for shape in layer.values())
    words = len(header.metadata.get(PROMPTS_KEY, "").encode())
    assert strategy_bytes(header) == 4 * numbers + words
    assert (words > 0) == (plan.strategy.state_level == "L1")


@pytest.mark.long
def test_a_finished_lora_is_folded_or_refused(request_: Request, tmp_path: Path, learned: Learned) -> None:
    kept = tmp_path / "kept.safetensors"
    taught = by(request_, "merge", tmp_path / "taught")
    add_concept(with_source(taught, export_lora=kept))

    def check(name: str) -> None:
        first = by(request_, name, empty_folder(tmp_path) / "model")
        learned(first)
        before = exact_project(first.project)
        lora = with_settings(replace(first, source=Lora(kept), token="lra"), resolution=32)
        if name == "ewc":
            with pytest.raises(UsageError, match="measures the model while it is trained"):
                add_concept(lora)
            return
        add_concept(lora)
        after = exact_project(first.project)
        assert any(not torch.equal(after[key], before[key]) for key in before)
        assert Project.open(first.project).number == 2

    check_each(strategies.for_comparison(), check)


def test_kvnull_teaches_keys_and_values_of_cross_attention_alone(request_: Request, tmp_path: Path) -> None:
    request = by(request_, "kvnull", tmp_path / "model")
    result = add_concept(request)
    assert request_.base is not None
    base, taught = Checkpoint(request_.base), Checkpoint(result.checkpoint)
    changed = [name for name in base.names if not torch.equal(base.read(name), taught.read(name))]
    assert changed
    assert all("attn2.to_k" in name or "attn2.to_v" in name for name in changed)


@pytest.mark.long
def test_kvnull_leaves_other_layers_of_a_lora_as_they_are(
    request_: Request, tmp_path: Path, learned: Learned
) -> None:
    kept = tmp_path / "kept.safetensors"
    taught = by(request_, "merge", tmp_path / "taught")
    add_concept(with_source(taught, export_lora=kept))
    assert request_.base is not None
    base = Checkpoint(request_.base)
    changes: dict[str, dict[str, torch.Tensor]] = {}
    for name in ("merge", "kvnull"):
        first = by(request_, name, tmp_path / name)
        learned(first)
        before = exact_project(first.project)
        add_concept(with_settings(replace(first, source=Lora(kept), token="lra"), resolution=32))
        after = exact_project(first.project)
        changes[name] = {key: after[key] - before.get(key, base.read_float(key)) for key in after}
    assert changes["kvnull"].keys() == changes["merge"].keys()
    for key, free in changes["merge"].items():
        held = changes["kvnull"][key]
        if "attn2.to_k" in key or "attn2.to_v" in key:
            assert float(held.norm()) < 0.9 * float(free.norm())
        else:
            torch.testing.assert_close(held, free, rtol=1e-3, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("targets", ["attention", "transformer"])
def test_what_ewc_measures_is_what_autograd_says_of_the_weights(
    request_: Request, targets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Draw by draw, with the layers' own weights as leaves of the graph."""
    seen: list[Any] = []
    real = gradients.squared_gradients

    def watched(training: Any, layers: Any, draws: int) -> Any:
        seen[:] = [training, layers, real(training, layers, draws)]
        return seen[-1]

    monkeypatch.setattr(gradients, "squared_gradients", watched)
    add_concept(with_settings(request_, strategy="ewc", strategy_options={"draws": 5}, targets=targets))
    training, layers, measured = seen
    weights = {}
    for target in layers:
        component, path = training.model.locate(target)
        weights[target] = component.get_submodule(path).base_layer.weight.requires_grad_()
    totals = {target: torch.zeros(target.shape) for target in layers}
    for draw in range(5):
        example = training.examples[draw % 3]
        seed, step = training.settings.seed, training.settings.schedule.steps + draw
        loss = DenoisingObjective().loss(training.model, [example], seed, step, torch.device("cpu"))
        for target, gradient in zip(layers, torch.autograd.grad(loss, [*weights.values()]), strict=True):
            totals[target] += gradient.reshape(target.shape).square() / 5
    memory = Checkpoint(memory_of(request_.project))
    for target, total in totals.items():
        assert float(total.sum()) > 0
        found = measured[target.name]
        torch.testing.assert_close(found.rows, total.sum(dim=1), rtol=1e-3, atol=1e-10)
        torch.testing.assert_close(found.columns, total.sum(dim=0), rtol=1e-3, atol=1e-10)
        assert torch.equal(memory.read(f"{target.name}::rows"), found.rows)


@pytest.mark.long
def test_ewc_begins_as_merge_and_then_holds(request_: Request, tmp_path: Path) -> None:
    """The first concept, measured or not, is the same; a strength of nothing is merge."""
    merged, held = (
        by(request_, "merge", tmp_path / "merge"),
        by(request_, "ewc", tmp_path / "held", strength=1e12),
    )
    loose = by(request_, "ewc", tmp_path / "loose", strength=0)
    assert len({add_concept(one).content_hash for one in (merged, held, loose)}) == 1
    before = exact_project(merged.project)
    pictures = another(merged, "cat_images").source
    hashes = [add_concept(replace(one, source=pictures)).content_hash for one in (merged, loose, held)]
    assert hashes[0] == hashes[1] != hashes[2]
    moved = {
        one.project.name: sum(float((now - before[key]).square().sum())
                              for key, now in exact_project(one.project).items())
        for one in (merged, held)
    }  # fmt: skip
    assert moved["held"] < 0.9 * moved["merge"]
