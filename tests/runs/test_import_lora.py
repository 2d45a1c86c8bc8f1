"""LoRA files in and out of a project: somebody's LoRA becomes a concept, what was learned becomes a LoRA."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases import check_each
from PIL import Image
from real_shapes import tiny_sdxl, write
from safetensors.torch import load_file
from small_runs import with_source

from clora_ext import (
    Lora,
    Pictures,
    Project,
    Request,
    Settings,
    add_concept,
    export_lora,
    inspect_file,
    make_plan,
)  # fmt: skip
from clora_ext.adapters.extract import extract
from clora_ext.adapters.factors import Factors
from clora_ext.adapters.sites import Target
from clora_ext.errors import CheckpointError, ProjectError, UsageError
from clora_ext.events import Event, Stage
from clora_ext.evolving.model import Evolving
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.lora.metadata import Details
from clora_ext.formats.lora.writer import write_lora
from clora_ext.runs.context import project_context
from clora_ext.runs.lora_files import read_changes

SETTINGS = Settings.of(
    strategy="mask",
    steps=3,
    rank=4,
    batch_size=1,
    warmup_steps=0,
    resolution=64,
    sample_steps=2,
    sample_count=1,
    kept_count=0,
)
QUICK = Settings.of(strategy="mask", sample_steps=2, sample_count=1, kept_count=0, resolution=64)
EVERYTHING = SETTINGS.with_values(targets="transformer", text_encoder=True, alpha=2.0, strategy="merge")


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("sdxl") / "tiny.safetensors", tiny_sdxl())


def pictures(folder: Path, seed: int = 0) -> Path:
    folder.mkdir()
    pixels = np.random.default_rng(seed).integers(0, 255, (80, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "1.png")
    return folder


def modules(base: Path) -> tuple[Target, ...]:
    from clora_ext import families

    checkpoint = Checkpoint(base)
    return families.detect(checkpoint.header, base).modules(checkpoint.header)


def targets_of(base: Path, chosen: Any, *, text_encoders: bool) -> tuple[Target, ...]:
    from clora_ext import families

    checkpoint = Checkpoint(base)
    family = families.detect(checkpoint.header, base)
    return family.targets(checkpoint.header, chosen, text_encoders=text_encoders)


def adapters(targets: tuple[Target, ...], rank: int, alpha: float, seed: int) -> dict[Target, Factors]:
    rng = torch.Generator().manual_seed(seed)
    return {
        target: Factors(
            torch.randn(rank, target.shape[1], generator=rng) * 0.02,
            torch.randn(target.shape[0], rank, generator=rng) * 0.02,
            alpha,
        )
        for target in targets
    }


def write_file(file: Path, layers: Mapping[Target, Factors], trigger: str = "wtrclr style") -> Path:
    sites = {target.site: factors for target, factors in layers.items()}
    write_lora(file, sites, "sdxl", Details(name="x", trigger=trigger), dtype="F32")
    return file


def change(evolving: Evolving, target: Target) -> torch.Tensor:
    return evolving.layer(target, "").earlier


def close(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    """As exactly as residuals restore float32."""
    return bool((found - wanted).norm() <= 2e-3 * wanted.norm())


@pytest.mark.long
def test_someones_lora_becomes_a_concept_at_exactly_its_strength(sdxl: Path, tmp_path: Path) -> None:
    """UNet, both text encoders, fused rows and convolutions: W0 + weight * alpha / rank * up @ down."""
    everywhere = modules(sdxl)
    layers = adapters(everywhere, 4, 2.0, 0)
    file = write_file(tmp_path / "x.safetensors", layers)
    request = Request(Lora(file, 0.5), tmp_path / "model", base=sdxl, settings=QUICK)
    result = add_concept(request)
    project = Project.open(tmp_path / "model")
    assert project.concepts[0].token == "wtrclr"
    assert result.sheet.exists()
    evolving = project_context(project, None).evolving()
    origin, current = Checkpoint(sdxl), Checkpoint(result.checkpoint)
    for target, factors in layers.items():
        wanted = 0.5 * 2.0 / 4 * factors.up @ factors.down
        assert close(change(evolving, target), wanted), target.name
    taught = {target.tensor for target in everywhere}
    same = [name for name in origin.names if name not in taught]
    assert same
    assert all(torch.equal(origin.read(name), current.read(name)) for name in same)


@pytest.mark.long
def test_a_lora_keeps_what_was_learned_before_whatever_the_strategy(sdxl: Path, tmp_path: Path) -> None:
    """naive would put the new adapter in the place of its own: a foreign one must not replace it."""
    targets = targets_of(sdxl, "attention", text_encoders=False)
    layers = adapters(targets, 4, 4.0, 1)
    file = write_file(tmp_path / "x.safetensors", layers)
    images = pictures(tmp_path / "dog_images")
    for strategy in ("naive", "merge", "orthogonal"):
        folder = tmp_path / strategy
        own = SETTINGS.with_values(strategy=strategy)
        add_concept(Request(Pictures(images), folder, base=sdxl, settings=own))
        evolving = project_context(Project.open(folder), None).evolving()
        before = {target: change(evolving, target) for target in targets}
        add_concept(Request(Lora(file), folder, settings=QUICK.with_values(strategy=strategy)))
        after = project_context(Project.open(folder), None).evolving()
        for target in targets[:8]:
            new = change(after, target) - before[target]
            if strategy == "orthogonal":
                assert (new @ before[target].T).norm() <= 2e-3 * new.norm() * before[target].norm()
            else:
                assert close(new, layers[target].delta()), (strategy, target.name)


@pytest.mark.long
def test_text_encoders_and_every_transformer_layer_can_be_taught(sdxl: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.safetensors"
    request = Request(
        Pictures(pictures(tmp_path / "dog_images"), export_lora=kept),
        tmp_path / "model",
        base=sdxl,
        settings=EVERYTHING,
    )
    add_concept(request)
    project = Project.open(request.project)
    evolving = project_context(project, None).evolving()
    targets = targets_of(sdxl, "transformer", text_encoders=True)
    changed = {target for target in targets if change(evolving, target).any()}
    assert {target.component for target in changed} == {"unet", "text_encoder", "text_encoder_2"}
    _, layers = read_changes(kept, project_context(project, None))
    assert set(layers) == set(targets)
    for target in changed:
        wanted = layers[target].delta()
        assert layers[target].alpha == 2.0
        assert (change(evolving, target) - wanted).norm() <= 1e-2 * wanted.norm(), target.name
    assert inspect_file(kept).kind == "LoRA"
    assert "modelspec.trigger_phrase" in Checkpoint(kept).header.metadata
    inside = [path for path in request.project.rglob("*.safetensors") if "lora" in str(path)]
    assert not inside


@pytest.mark.long
def test_what_was_learned_is_extracted_as_one_lora(sdxl: Path, tmp_path: Path) -> None:
    targets = targets_of(sdxl, "attention", text_encoders=False)
    layers = adapters(targets, 4, 4.0, 2)
    file = write_file(tmp_path / "x.safetensors", layers)
    add_concept(Request(Lora(file), tmp_path / "model", base=sdxl, settings=QUICK))
    exported = export_lora(tmp_path / "model", tmp_path / "out.safetensors", rank=8)
    assert exported.captured > 0.999
    assert exported.layers == len(targets)
    _, found = read_changes(
        tmp_path / "out.safetensors", project_context(Project.open(tmp_path / "model"), None)
    )
    for target, factors in layers.items():
        wanted = factors.delta()
        assert (found[target].delta() - wanted).norm() <= 1e-2 * wanted.norm()
    state = load_file(tmp_path / "out.safetensors")
    assert all(
        tensor.dtype == torch.float16 for name, tensor in state.items() if "lora" in name.split(".")[1]
    )


def test_a_small_rank_says_how_much_it_holds(sdxl: Path, tmp_path: Path) -> None:
    targets = targets_of(sdxl, "attention", text_encoders=False)
    file = write_file(tmp_path / "x.safetensors", adapters(targets, 8, 8.0, 3))
    add_concept(Request(Lora(file), tmp_path / "model", base=sdxl, settings=QUICK))
    project = Project.open(tmp_path / "model")
    context, evolving = project_context(project, None), project_context(project, None).evolving()
    changeable = evolving.changeable(context.family.modules(context.header))
    extracted = extract(changeable, lambda target: evolving.layer(target, "").earlier, 2, lambda event: None)
    whole = sum(float(change(evolving, target).square().sum()) for target in targets)
    lost = sum(
        float((change(evolving, target) - extracted.layers[target].delta()).square().sum())
        for target in targets
    )
    assert extracted.captured == pytest.approx(1 - lost / whole, abs=0.01)
    assert 0.1 < extracted.captured < 0.9


@pytest.mark.long
def test_what_a_float32_model_learned_is_extracted_too(tmp_path: Path) -> None:
    """Its memory keeps nothing, since nothing is lost: the weights themselves tell what was taught."""
    base = write(tmp_path / "base.safetensors", tiny_sdxl(), torch.float32)
    targets = targets_of(base, "attention", text_encoders=False)
    layers = adapters(targets, 2, 2.0, 4)
    file = write_file(tmp_path / "x.safetensors", layers)
    add_concept(Request(Lora(file), tmp_path / "model", base=base, settings=QUICK))
    exported = export_lora(tmp_path / "model", tmp_path / "out.safetensors", rank=4)
    assert (exported.layers, exported.captured > 0.999) == (len(targets), True)


@pytest.mark.long
def test_a_run_killed_after_its_lora_was_kept_can_be_asked_for_again(sdxl: Path, tmp_path: Path) -> None:
    """The file is the run's own then, and no reason to refuse; another run's is."""
    kept = tmp_path / "kept.safetensors"
    images = pictures(tmp_path / "dog_images")
    request = Request(Pictures(images, export_lora=kept), tmp_path / "model", base=sdxl, settings=SETTINGS)

    def dies(event: Event) -> None:
        if isinstance(event, Stage) and event.name == "commit":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add_concept(request, dies)
    assert kept.exists()
    assert add_concept(request).number == 1
    with pytest.raises(UsageError, match="exists"):
        add_concept(with_source(request, folder=pictures(tmp_path / "cat_images", seed=1)))


MEANINGLESS: dict[str, tuple[Callable[[Request], Request], str]] = {
    "weight zero": (lambda r: with_source(r, weight=0.0), "weight"),
    "weight that is no number": (lambda r: with_source(r, weight=float("nan")), "weight"),
    "keep": (lambda r: replace(r, keep=-1), "keep"),
    "strategy": (lambda r: replace(r, settings=QUICK.with_values(strategy="msak")), "mask"),
    "token": (lambda r: replace(r, token="two words"), "several words"),
}


def test_calls_that_mean_nothing_are_refused(sdxl: Path, tmp_path: Path) -> None:
    targets = targets_of(sdxl, "attention", text_encoders=False)
    file = write_file(tmp_path / "x.safetensors", adapters(targets, 1, 1.0, 0))
    request = Request(Lora(file), tmp_path / "model", base=sdxl)
    make_plan(request)  # which has a meaning

    def check(kind: str) -> None:
        spoil, words = MEANINGLESS[kind]
        with pytest.raises(UsageError) as caught:
            make_plan(spoil(request))
        assert words in str(caught.value)
        assert not request.project.exists()

    check_each(MEANINGLESS, check)


@pytest.mark.long
def test_a_token_that_is_taken_and_a_lora_for_another_model_are_refused(sdxl: Path, tmp_path: Path) -> None:
    targets = targets_of(sdxl, "attention", text_encoders=False)
    file = write_file(tmp_path / "x.safetensors", adapters(targets, 1, 1.0, 0))
    request = Request(Lora(file), tmp_path / "model", base=sdxl, settings=QUICK)
    add_concept(request)
    with pytest.raises(UsageError, match="belongs to an earlier concept"):
        add_concept(replace(request, source=Lora(file, 0.5), base=None))
    with pytest.raises(CheckpointError, match="SDXL"):
        make_plan(Request(Lora(file), tmp_path / "other"))  # the demo model is an SD1


def test_adapters_are_not_written_into_a_project_nor_over_a_file(sdxl: Path, tmp_path: Path) -> None:
    images = pictures(tmp_path / "dog_images")
    request = Request(Pictures(images), tmp_path / "model", base=sdxl, settings=SETTINGS)
    (tmp_path / "there.safetensors").write_bytes(b"mine")
    for file, words in (
        (tmp_path / "model" / "x.safetensors", "project"),
        (tmp_path / "there.safetensors", "exists"),
        (tmp_path / "x.ckpt", "safetensors"),
    ):
        with pytest.raises(UsageError, match=words):
            add_concept(with_source(request, export_lora=file))
    assert (tmp_path / "there.safetensors").read_bytes() == b"mine"
    with pytest.raises(ProjectError):
        export_lora(tmp_path / "model", tmp_path / "out.safetensors")
