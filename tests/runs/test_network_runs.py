"""Whole runs with convolutions, several ranks, dropout, a limit on norms and an average of the steps."""

from dataclasses import replace
from pathlib import Path

import pytest
from cases import check_each
from small_runs import another, by_strategy, pictures, stop_at, with_settings, with_source
from torch import Tensor

from clora_ext import Project, Request, add_concept, make_plan, strategies
from clora_ext.adapters.sites import Target
from clora_ext.errors import Cancelled, UsageError
from clora_ext.events import Event, Validated
from clora_ext.runs.context import project_context

FAST = ("distill", "gram", "mask", "merge", "orthogonal")
EVERYTHING = {
    "conv_rank": 2,
    "conv_alpha": 1.0,
    "layer_ranks": "attn2=3",
    "rslora": True,
    "network_dropout": 0.1,
    "rank_dropout": 0.2,
    "module_dropout": 0.1,
    "scale_weight_norms": 0.01,
    "ema_decay": 0.5,
}


def changes(project: Path) -> dict[Target, Tensor]:
    """What the layers have learned, to float32, those that nothing is taught included."""
    context = project_context(Project.open(project), None, ())
    evolving = context.evolving()
    found = {one: evolving.layer(one, "").earlier for one in context.family.modules(context.header)}
    return {target: change for target, change in found.items() if change.any()}


def check_two_concepts(request: Request, strategy: str) -> None:
    asked = with_settings(replace(request, project=request.project / strategy), **by_strategy(strategy))
    first = with_settings(asked, **EVERYTHING)
    one = add_concept(first)
    taught = changes(first.project)
    if strategy != "kvnull":  # which teaches what reads the text, whatever is asked for
        assert any(one.kernel == (3, 3) for one in taught)
        assert any("time_emb_proj" in one.module for one in taught)
    two = add_concept(another(first, f"{strategy}_cat_images"))
    assert two.content_hash != one.content_hash
    assert {target.name for target in changes(first.project)} == {target.name for target in taught}


@pytest.mark.long
@pytest.mark.parametrize("strategy", FAST)
def test_every_strategy_folds_them(request_: Request, strategy: str) -> None:
    check_two_concepts(request_, strategy)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", sorted({*strategies.names()} - {*FAST}))
def test_the_other_strategies_fold_them_too(request_: Request, strategy: str) -> None:
    check_two_concepts(request_, strategy)


@pytest.mark.long
def test_a_resumed_run_is_the_same_bit_for_bit(request_: Request) -> None:
    asked = with_settings(request_, strategy="merge", validation_split=0.4, validate_every=2)
    everything = with_settings(asked, **EVERYTHING)
    straight = add_concept(replace(everything, project=request_.project / "straight"))
    stopped = with_settings(replace(everything, project=request_.project / "stopped"), preview_every=2)
    for step in (1, 4):
        with pytest.raises(Cancelled):
            add_concept(stopped, stop_at(step))
    assert add_concept(stopped).content_hash == straight.content_hash


@pytest.mark.long
def test_each_of_them_counts(request_: Request) -> None:
    asked = with_settings(request_, strategy="merge", steps=2)
    whole = add_concept(with_settings(replace(asked, project=request_.project / "whole"), **EVERYTHING))

    def check(name: str) -> None:
        fewer = {key: value for key, value in EVERYTHING.items() if key != name}
        if name == "conv_rank":
            del fewer["conv_alpha"]
        without = with_settings(replace(asked, project=request_.project / name), **fewer)
        assert add_concept(without).content_hash != whole.content_hash

    check_each(sorted({*EVERYTHING} - {"conv_alpha", "layer_ranks"}), check)


@pytest.mark.long
def test_what_a_run_has_learned_is_what_its_lora_says(request_: Request, tmp_path: Path) -> None:
    """The file with several ranks begins another run, which learns nothing and folds all of it."""
    file = tmp_path / "first.safetensors"
    asked = with_settings(request_, strategy="merge", learning_rate=0.02)
    whole = {**EVERYTHING, "scale_weight_norms": None}
    add_concept(with_settings(with_source(asked, export_lora=file), **whole))
    images = pictures(tmp_path / "others", seed=9)
    onward = with_source(replace(asked, project=tmp_path / "second"), folder=images, start_from=file)
    still = {"learning_rate": 1e-12, "steps": 1, "conv_rank": 2}
    add_concept(with_settings(onward, **still))
    wanted, found = changes(request_.project), changes(tmp_path / "second")
    assert wanted.keys() == found.keys()
    for target, change in wanted.items():
        assert (found[target] - change).norm() / change.norm() < 2e-2, target.name  # in half precision


@pytest.mark.long
def test_no_change_is_larger_than_allowed(request_: Request) -> None:
    asked = with_settings(request_, strategy="merge", learning_rate=0.05)
    add_concept(replace(asked, project=request_.project / "free"))
    free = changes(request_.project / "free")
    most = float(sorted(change.norm() for change in free.values())[len(free) // 2])
    limited = with_settings(replace(asked, project=request_.project / "limited"), scale_weight_norms=most)
    add_concept(limited)
    norms = [float(change.norm()) for change in changes(limited.project).values()]
    assert max(norms) < most * 1.01
    assert max(norms) > most * 0.8


def test_the_text_encoders_alone_are_taught(request_: Request) -> None:
    add_concept(with_settings(request_, strategy="merge", text_encoder_only=True, learning_rate=0.02))
    assert {target.component for target in changes(request_.project)} == {"text_encoder"}


@pytest.mark.long
def test_the_average_is_what_is_validated_and_folded(request_: Request) -> None:
    """An average that keeps nothing of itself is the last step."""
    asked = with_settings(request_, strategy="merge", learning_rate=0.02, validation_split=0.4)

    def losses(name: str, **settings: float) -> tuple[str, list[float]]:
        found: list[float] = []

        def look(event: Event) -> None:
            if isinstance(event, Validated):
                found.append(event.loss)

        request = with_settings(replace(asked, project=request_.project / name), validate_every=3, **settings)
        return add_concept(request, look).content_hash, found

    content, plain = losses("plain")
    same_content, same = losses("nothing", ema_decay=0.0)
    assert (same_content, same) == (content, pytest.approx(plain, rel=1e-5))
    other_content, other = losses("much", ema_decay=0.9)
    assert other_content != content
    assert other != pytest.approx(plain, rel=1e-5)


def test_ranks_that_nothing_taught_can_have_are_refused(request_: Request) -> None:
    with pytest.raises(UsageError, match="no layer that is taught has 'attn3' in its name"):
        make_plan(with_settings(request_, layer_ranks="attn3=4"))
    with pytest.raises(UsageError, match="rank 999 is larger than the layer"):
        make_plan(with_settings(request_, layer_ranks="attn2=999"))
    with pytest.raises(UsageError, match="rank 3000 is larger than the layer"):
        make_plan(with_settings(request_, conv_rank=3000))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch warns of its own ways
def test_a_compiled_model_learns_the_same_and_is_resumed_bit_for_bit(request_: Request) -> None:
    asked = with_settings(request_, strategy="distill", rank_dropout=0.2)
    plain = add_concept(replace(asked, project=request_.project / "plain"))
    compiled = with_settings(asked, torch_compile=True)
    straight = add_concept(replace(compiled, project=request_.project / "straight"))
    assert straight.last_loss == pytest.approx(plain.last_loss, rel=1e-3)
    stopped = replace(compiled, project=request_.project / "stopped")
    with pytest.raises(Cancelled):
        add_concept(stopped, stop_at(3))
    assert add_concept(stopped).content_hash == straight.content_hash
