"""The strategy that holds on to what layers answered: by hand, by the dense formulas; what it asks for."""

import pytest
import torch
from torch import Tensor

from clora_ext import strategies
from clora_ext.adapters.delta import DenseDelta
from clora_ext.adapters.factors import Factors
from clora_ext.adapters.moments import Moment
from clora_ext.prompts import vocabulary_of
from clora_ext.prompts.concept_prompts import ConceptPrompts
from clora_ext.strategies.base import Layer, Needs, Strategy
from clora_ext.strategies.distill import Distill
from clora_ext.strategies.distill_gram import DistillGram
from clora_ext.strategies.gram import Gram, HoldAnswers

OUT, IN, RANK = 8, 12, 3
CONCEPT = ConceptPrompts("sks", "dog", ("a photo of sks dog on a red background",))
WORDS = vocabulary_of(lambda word: True)


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def second_moment(seed: int, count: int = 5) -> Tensor:
    rows = torch.randn(count, IN, generator=rng(seed))
    return rows.T @ rows / count


def layer(past: Tensor | None = None, new: Tensor | None = None) -> Layer:
    origin = torch.randn(OUT, IN, generator=rng(1)) * 0.05
    current = origin + torch.randn(OUT, IN, generator=rng(2)) * 0.01
    moments = (None if matrix is None else Moment.of(matrix) for matrix in (new, past))
    inputs, past_inputs = moments
    return Layer("layer", origin, current, inputs=inputs, past_inputs=past_inputs)


def factors(seed: int = 3) -> Factors:
    down = torch.randn(RANK, IN, generator=rng(seed), requires_grad=True)
    up = torch.randn(OUT, RANK, generator=rng(seed + 1), requires_grad=True)
    return Factors(down, up, alpha=6.0)


def penalty(strategy: Strategy, asked: Layer, adapter: Factors) -> Tensor | None:
    constraint = strategy.begin(asked, RANK, 6.0, rng(0)).constraint
    return None if constraint is None else constraint.penalty(adapter)


def test_the_penalty_by_hand() -> None:
    """Past inputs are (1, 0) alone. W0 answers (1, 3) to it, of squared norm 10; tau (2, 0), of 4."""
    origin = torch.tensor([[1.0, 5.0], [3.0, 7.0]])
    past = Moment.of(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    asked = Layer("layer", origin, origin + 1, past_inputs=past)
    adapter = Factors(torch.tensor([[1.0, 9.0]]), torch.tensor([[1.0], [0.0]]), alpha=2.0)
    found = penalty(Gram(strength=0.5), asked, adapter)
    assert found is not None
    assert float(found) == pytest.approx(0.5 * 4 / 10, rel=1e-5)


def test_the_penalty_and_its_gradient_are_those_of_the_dense_formula() -> None:
    past, adapter = second_moment(7), factors()
    asked = layer(past)
    found = penalty(Gram(strength=0.05), asked, adapter)
    tau = 2 * adapter.up @ adapter.down
    expected = 0.05 * (tau @ past @ tau.T).trace() / (asked.origin @ past @ asked.origin.T).trace()
    assert found is not None
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)
    both = (adapter.down, adapter.up)
    for a, b in zip(torch.autograd.grad(found, both), torch.autograd.grad(expected, both), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_nothing_is_held_without_a_past_or_a_strength() -> None:
    past = second_moment(7)
    assert penalty(Gram(), layer(), factors()) is None
    assert penalty(Gram(strength=0), layer(past), factors()) is None
    assert penalty(Gram(), layer(torch.zeros(IN, IN)), factors()) is None
    assert penalty(Gram(), layer(past), factors()) is not None


def test_a_finished_adapter_keeps_what_it_can_without_answering_to_the_past() -> None:
    """Against the dense formula, as factors (whose rank stays) and as a change of any kind."""
    new, past = second_moment(8, 30), second_moment(9, 30)
    asked, adapter = layer(past, new), factors()
    adapter = Factors(adapter.down.detach(), adapter.up.detach(), adapter.alpha)
    ridge = torch.eye(IN) * 2**-7 * (new + 0.7 * past).diagonal().mean()
    expected = asked.current + adapter.delta() @ (new + ridge) @ torch.linalg.inv(new + 0.7 * past + ridge)
    gram = Gram(lora_strength=0.7)
    torch.testing.assert_close(gram.adopt(asked, adapter).weight, expected, rtol=1e-3, atol=1e-3)
    whole = DenseDelta(adapter.delta())
    torch.testing.assert_close(gram.adopt(asked, whole).weight, expected, rtol=1e-3, atol=1e-3)
    merged = asked.current + adapter.delta()
    assert torch.equal(Gram(lora_strength=0).adopt(asked, adapter).weight, merged)
    assert torch.equal(gram.adopt(layer(), adapter).weight, merged)
    assert torch.equal(gram.fold(asked, adapter).weight, merged)  # what was trained paid already
    assert float((gram.adopt(asked, adapter).weight - merged).norm()) > 0.1


def test_what_it_asks_for_calls_the_new_concept_after_it_and_never_before() -> None:
    needs = Gram(drawings=20).needs(CONCEPT, (), WORDS)
    assert needs == Gram(drawings=20).needs(CONCEPT, (CONCEPT,), WORDS)
    assert all("sks dog" in prompt for prompt in needs.inputs_after)
    assert not [prompt for prompt in needs.inputs_first if "sks" in prompt]
    assert 10 < len(needs.inputs_after) <= 20
    assert 10 < len(needs.inputs_first) <= 20
    assert not needs.inputs_before
    assert Gram().needs(CONCEPT, (), vocabulary_of(lambda word: False)) != Needs()


def test_both_together_are_each_with_its_own_strength() -> None:
    both, asked = DistillGram(distill=0.5, gram=0.3), layer(second_moment(7), second_moment(8))
    constraint = both.begin(asked, RANK, 6.0, rng(0)).constraint
    alone = Gram(strength=0.3).begin(asked, RANK, 6.0, rng(0)).constraint
    assert isinstance(constraint, HoldAnswers)
    assert isinstance(alone, HoldAnswers)
    assert constraint.weight == alone.weight
    assert both.keep_prompts(CONCEPT, ()) == Distill().keep_prompts(CONCEPT, ())
    assert both.needs(CONCEPT, (), WORDS) == Gram().needs(CONCEPT, (), WORDS)
    assert both.row_rate() == Distill().row_rate()
    replay = both.replay(CONCEPT, (), WORDS)
    assert replay is not None
    assert DistillGram(distill=0).replay(CONCEPT, (), WORDS) is None
    adapter = Factors(torch.ones(RANK, IN), torch.ones(OUT, RANK), 1.0)
    assert torch.equal(both.adopt(asked, adapter).weight, Gram().adopt(asked, adapter).weight)
    assert torch.equal(both.fold(asked, adapter).weight, Gram().fold(asked, adapter).weight)
    assert DistillGram().distill == Distill().strength
    assert {strategies.load(name).state_level for name in ("gram", "distill_gram")} == {"L2"}
