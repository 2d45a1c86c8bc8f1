"""What a strategy may decide and ask for: each hook once, in a real run of the tiny model."""

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import SETTINGS, another, memory_of, with_settings
from strategy_files import add_strategy

from clora_ext import Lora, Project, Request, add_concept, make_plan, strategies
from clora_ext.adapters.moments import Moment
from clora_ext.errors import CheckpointError, UsageError
from clora_ext.formats.header import read_header
from clora_ext.formats.memory import PROMPTS_KEY

IDLE = '''"""Add every change, and keep the adapter small."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from clora_ext.adapters.delta import Delta
from clora_ext.adapters.factors import Factors, fresh
from clora_ext.config.knob import Knob

from .base import Constraint, Fold, Layer, Start, Strategy


@dataclass(frozen=True)
class Small(Constraint):
    weight: float

    def penalty(self, factors: Factors) -> Tensor:
        return self.weight * (factors.down.square().sum() + factors.up.square().sum())


@dataclass(frozen=True)
class Idle(Strategy):
    weight: Annotated[float, Ge(0), Knob("Weight of the penalty.")] = 0.0
    rowwise: ClassVar[bool] = True

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        return Start(layer.current, fresh(layer.shape, rank, alpha, rng), Small(self.weight))

    def fold(self, layer: Layer, trained: Delta) -> Fold:
        return Fold(layer.current + trained.delta())


STRATEGY = Idle
'''

CURIOUS = '''"""Ask for everything that a run can give."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from clora_ext.adapters.factors import fresh

from clora_ext.prompts.concept_prompts import ConceptPrompts

from .base import Fold, Needs, Replay, Start, Strategy

SEEN = {"begin": {}, "fold": {}, "replay": [], "gap": [], "changed": [], "earlier": [], "targets": 0}


@dataclass(frozen=True)
class Holding:
    default: object
    access: object

    def loss(self, model, batch, seed, step, device):
        item = self.access.replay(step)
        SEEN["replay"].append(item)
        asked = (item.latents, item.times, item.condition)
        with self.access.without_adapter(), torch.no_grad():
            before = model.predict(*asked)
        now = model.predict(*asked)
        SEEN["gap"].append(float((before - item.answers).abs().max()))
        SEEN["changed"].append(float((now - before).detach().abs().max()))
        held = (now - before).square().mean()
        return self.default.loss(model, batch, seed, step, device) + held


@dataclass(frozen=True)
class Curious(Strategy):
    state_level: ClassVar[str] = "L1"

    def begin(self, layer, rank, alpha, rng):
        SEEN["begin"][layer.name] = layer.inputs
        return Start(layer.current, fresh(layer.shape, rank, alpha, rng))

    def fold(self, layer, trained):
        SEEN["fold"][layer.name] = layer.inputs
        return Fold(layer.current + trained.delta())

    def choose_targets(self, targets):
        chosen = [target for target in targets if target.module.endswith("to_k")]
        SEEN["targets"] = len(chosen)
        return chosen

    def needs(self, concept, earlier, vocabulary):
        SEEN["earlier"].append(tuple(earlier))
        return Needs(inputs_before=("a dog",), inputs_after=concept.prompts)

    def replay(self, concept, earlier, vocabulary):
        SEEN["vocabulary"] = vocabulary
        return Replay(lambda share, rng: rng.choice(["a dog", "a cat"]), trajectories=3, steps=4)

    def objective(self, default, access):
        return Holding(default, access)

    def keep_prompts(self, concept, earlier):
        return (*earlier, ConceptPrompts(concept.token, concept.class_name, concept.prompts[:1]))


STRATEGY = Curious
'''


@pytest.fixture
def idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return add_strategy("idle", IDLE, tmp_path / "strategies", monkeypatch)


@pytest.fixture
def curious(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return add_strategy("curious", CURIOUS, tmp_path / "strategies", monkeypatch)


@pytest.mark.long
def test_a_strategy_is_one_file_of_under_forty_lines(idle: str, request_: Request) -> None:
    """It is listed, described and trained with; its option is typed and its penalty counts."""
    assert len(IDLE.splitlines()) < 40
    assert idle in strategies.names()
    assert strategies.summary(idle) == "Add every change, and keep the adapter small."
    assert strategies.describe_options(idle) == {"weight": "Weight of the penalty. Default: 0.0."}
    plain = add_concept(with_settings(replace(request_, project=request_.project / "m"), strategy="merge"))
    without = add_concept(with_settings(replace(request_, project=request_.project / "0"), strategy=idle))
    assert without.content_hash == plain.content_hash
    heavy = with_settings(request_, strategy=idle, strategy_options={"weight": "0.5"})
    held = add_concept(replace(heavy, project=request_.project / "1"))
    assert held.content_hash != plain.content_hash
    assert held.first_loss is not None
    assert plain.first_loss is not None
    assert held.first_loss > plain.first_loss + 0.1
    (record,) = Project.open(request_.project / "1").concepts
    assert record.strategy_options == {"weight": 0.5}


@pytest.mark.long
def test_a_strategy_that_is_removed_is_named(
    request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        name = add_strategy("idle", IDLE, tmp_path / "strategies", patch)
        add_concept(with_settings(request_, strategy=name))
    assert "idle" not in strategies.names()
    assert Project.open(request_.project).concepts[0].strategy == "idle"
    with pytest.raises(UsageError, match="unknown strategy 'idle'"):
        make_plan(with_settings(another(request_, "cat_images"), strategy="idle"))
    assert add_concept(with_settings(another(request_, "cow_images"), strategy="merge")).number == 2


@pytest.mark.long
def test_a_strategy_is_given_what_it_asks_for(curious: str, request_: Request) -> None:
    add_concept(with_settings(request_, strategy=curious))
    seen = sys.modules["clora_ext.strategies.curious"].SEEN
    _check_inputs(seen["begin"])
    _check_inputs(seen["fold"])
    assert len(seen["begin"]) == seen["targets"] > 0
    assert any(not torch.equal(seen["begin"][n].factor, seen["fold"][n].factor) for n in seen["begin"])
    assert len(seen["replay"]) == SETTINGS.schedule.steps
    assert {tuple(item.latents.shape[1:]) for item in seen["replay"]} == {(4, 16, 16)}
    assert {len(item.latents) for item in seen["replay"]} == {3, 4}  # one in four without its prompt too
    assert "dog" in seen["vocabulary"].nouns
    # The network without the adapter is the one that the trajectories were recorded from.
    assert max(seen["gap"]) < 1e-5
    assert seen["changed"][0] == 0  # an adapter starts at zero,
    assert seen["changed"][-1] > 0  # and moves


def _check_inputs(moments: dict[str, Moment]) -> None:
    """Something was read; layers that read the same have one object for it."""
    for name, moment in moments.items():
        assert moment.is_whole, name
        assert math.isfinite(moment.mean_variance)
        assert moment.mean_variance > 0
    text = [moment for name, moment in moments.items() if ".attn2.to_k" in name]
    assert len(text) > 1
    assert len({id(moment) for moment in text}) == 1


@pytest.mark.long
def test_words_of_past_concepts_lie_in_memory_alone(curious: str, request_: Request) -> None:
    """They come back at the next concept, are counted, and go with an undone one."""
    add_concept(with_settings(request_, strategy=curious))
    first = read_header(memory_of(request_.project)).metadata[PROMPTS_KEY]
    assert "a photo of sks dog" in first
    project = Project.open(request_.project)
    assert project.concepts[0].state_level == "L1"
    assert project.disk_usage().strategy >= len(first.encode())
    add_concept(with_settings(another(request_, "cat_images"), strategy=curious))
    seen = sys.modules["clora_ext.strategies.curious"].SEEN
    assert [one.token for one in seen["earlier"][-1]] == ["sks"]
    assert read_header(memory_of(request_.project)).metadata[PROMPTS_KEY].count('"token"') == 2
    add_concept(with_settings(another(request_, "owl_images", seed=2), strategy="merge"))
    assert PROMPTS_KEY not in read_header(memory_of(request_.project)).metadata
    assert Project.open(request_.project).disk_usage().strategy == 0


def test_a_strategy_of_level_l0_keeps_no_words(
    request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = CURIOUS.replace('state_level: ClassVar[str] = "L1"', 'state_level: ClassVar[str] = "L0"')
    name = add_strategy("talkative", source, tmp_path / "strategies", monkeypatch)
    with pytest.raises(CheckpointError, match="declares the state level L0"):
        add_concept(with_settings(request_, strategy=name))
    assert not Project.exists(request_.project)


@pytest.mark.long
def test_of_a_finished_lora_inputs_are_measured_with_it_at_work(
    curious: str, request_: Request, tmp_path: Path
) -> None:
    """As after a training: the layers behind the changed ones read something else, the first the same."""
    kept = tmp_path / "kept.safetensors"
    source: Any = request_.source
    add_concept(replace(request_, source=replace(source, export_lora=kept)))
    other = replace(request_, source=Lora(kept, weight=20), project=tmp_path / "other", token="sks")
    add_concept(with_settings(other, strategy=curious, resolution=32, sample_steps=2))
    seen = dict(sys.modules["clora_ext.strategies.curious"].SEEN["fold"])
    _check_inputs(seen)
    idle = replace(other, source=Lora(kept, weight=0.0001), project=tmp_path / "idle")
    add_concept(with_settings(idle, strategy=curious, resolution=32, sample_steps=2))
    gone = sys.modules["clora_ext.strategies.curious"].SEEN["fold"]
    assert any(not torch.equal(seen[name].factor, gone[name].factor) for name in seen)
