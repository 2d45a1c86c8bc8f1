"""What is protected is answered as before, by a real network; what is not, is not."""

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from clora_ext.adapters.factors import Factors
from clora_ext.adapters.moments import Moment
from clora_ext.adapters.sites import Target
from clora_ext.prompts import vocabulary_of
from clora_ext.prompts.concept_prompts import ConceptPrompts
from clora_ext.strategies import load
from clora_ext.strategies.base import Layer, Start

WIDTH, RANK, ALPHA = 64, 4, 4.0
WORDS = vocabulary_of(lambda word: True)
DOG = ConceptPrompts("sks", "dog", ("a photo of sks dog", "sks dog on grass", "sks dog, red background"))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def states(seed: int) -> Tensor:
    """Of a prompt's text, one row for each position."""
    return torch.randn(12, WIDTH, generator=rng(seed)) * torch.linspace(1, 5, WIDTH)


def begun(read: Tensor, rank: int = RANK, out: int = 16, **options: object) -> Start:
    weight = torch.randn(out, WIDTH, generator=rng(9))
    layer = Layer("layer", weight, weight, inputs=Moment.of(read.T @ read / len(read)), number=2)
    return load("kvnull", options).begin(layer, rank, ALPHA, rng())


def moved(start: Start) -> Factors:
    """After a step of training, as the constraint allows."""
    down, up = start.factors.down, start.factors.up
    step = Factors(
        down + 0.1 * torch.randn(down.shape, generator=rng(3)),
        up + 0.1 * torch.randn(up.shape, generator=rng(4)),
        ALPHA,
    )
    return step if start.constraint is None else start.constraint.project(step)


def test_a_change_reads_nothing_of_protected_states() -> None:
    read = states(1)
    delta = moved(begun(read, energy=1.0)).delta()
    assert float((delta @ read.T).norm()) < 1e-5 * float(delta.norm() * read.norm())
    other = states(2)
    assert float((delta @ other.T).norm()) > 0.05 * float(delta.norm() * other.norm())


def test_energy_says_how_much_is_protected() -> None:
    read = states(1)

    def unprotected(energy: float) -> float:
        basis = getattr(begun(read, energy=energy).constraint, "protected_basis")  # noqa: B009
        return float((read - read @ basis @ basis.T).square().sum() / read.square().sum())

    assert 0.05 < unprotected(0.9) <= 0.1
    assert 0.2 < unprotected(0.7) <= 0.3
    assert unprotected(1.0) < 1e-9


def test_a_full_layer_leaves_room_for_the_rank() -> None:
    everything = torch.cat([states(seed) for seed in range(20)])
    start = begun(everything, rank=5, energy=1.0)
    assert int(torch.linalg.matrix_rank(start.factors.down)) == 5
    assert getattr(start.constraint, "protected_basis").shape == (WIDTH, WIDTH - 5)  # noqa: B009


def test_a_protected_prompts_answer_stays_and_anothers_does_not() -> None:
    torch.manual_seed(0)
    network = UNet2DConditionModel(
        sample_size=8, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), attention_head_dim=2,
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=WIDTH,
    ).eval()  # fmt: skip
    protected, other = states(1), states(2)
    latents = torch.randn(1, 4, 8, 8, generator=rng(5))

    def answer(text: Tensor) -> Tensor:
        with torch.no_grad():
            return network(latents, 500, text[None]).sample

    before = answer(protected), answer(other)
    chosen = load("kvnull").choose_targets(
        [Target("unet", name, name, (module.out_features, module.in_features))
         for name, module in network.named_modules() if isinstance(module, torch.nn.Linear)]
    )  # fmt: skip
    assert len(chosen) == 2 * sum(name.endswith("attn2") for name, _ in network.named_modules())
    for target in chosen:
        weight = network.get_submodule(target.module).weight.data
        weight += moved(begun(protected, out=target.shape[0], energy=1.0)).delta()
    after = answer(protected), answer(other)
    assert float((after[0] - before[0]).abs().max()) < 1e-4
    assert float((after[1] - before[1]).abs().max()) > 1e-2


def test_prompts_of_past_concepts_are_asked_for_and_kept() -> None:
    strategy = load("kvnull", {"prompts": 3})
    assert strategy.needs(DOG, (), WORDS).inputs_before == ()
    kept = strategy.keep_prompts(DOG, ())
    assert kept == (ConceptPrompts("sks", "dog", DOG.prompts[:3]),)
    cat = ConceptPrompts("zwz", "cat", ("zwz cat",))
    assert strategy.needs(cat, kept, WORDS).inputs_before == DOG.prompts[:3]
    both = strategy.keep_prompts(cat, kept)
    assert both[1].prompts == ("a photo of zwz cat", "zwz cat")
    assert strategy.needs(DOG, both, WORDS).inputs_before == (
        *DOG.prompts[:3],
        "a photo of zwz cat",
        "zwz cat",
    )


def test_nothing_is_held_where_nothing_was_taught() -> None:
    weight = torch.randn(16, WIDTH, generator=rng(9))
    start = load("kvnull").begin(Layer("layer", weight, weight), RANK, ALPHA, rng())
    assert start.constraint is None
    merged = load("merge").begin(Layer("layer", weight, weight), RANK, ALPHA, rng())
    assert torch.equal(start.factors.down, merged.factors.down)
