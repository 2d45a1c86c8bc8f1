"""Finished adapters of every kind become concepts: each strategy folds what the file was trained as."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path

import pytest
import torch
from cases import check_each, empty_folder
from lora_dialects import save
from lora_kinds import KINDS, ChangeOf, base_of, layers_of, of_one, parameters_of
from torch import Tensor

from clora_ext import Lora, Project, Request, Settings, add_concept, export_lora, export_to, make_plan
from clora_ext.adapters.sites import Target
from clora_ext.errors import UsageError
from clora_ext.events import Event, Note
from clora_ext.evolving.model import Evolving
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.lora.kinds import kind_of
from clora_ext.formats.lora.writer import kohya_name
from clora_ext.runs.context import project_context

QUICK = Settings.of(strategy="mask", sample_steps=1, sample_count=1, kept_count=0, resolution=64)
FAMILIES = ("sd1", "sdxl")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {family: base_of(family, folder) for family in FAMILIES}


def file_of_all_kinds(file: Path, base: Path, family: str, seed: int) -> dict[Target, ChangeOf]:
    """Every layer by one of the kinds in turn, every norm and bias whole; what it should change."""
    layers = layers_of(base)
    kinds = dict(zip(layers, [*KINDS] * len(layers), strict=False))
    tensors: dict[str, Tensor] = {}
    changes = {}
    for number, target in enumerate(parameters_of(base)):
        parts, changes[target] = of_one(target, kinds.get(target, "full"), 1000 * seed + number)
        stem = kohya_name(target.site, kind_of(family))
        tensors |= {f"{stem}.{name}": part.contiguous() for name, part in parts.items()}
    save(file, tensors)
    return changes


def weight(evolving: Evolving, target: Target) -> Tensor:
    """The exact current value in the module's own shape, float64."""
    return evolving.layer(target, "").current.double().reshape(target.site.shape)


def check_state(folder: Path, wanted: Mapping[Target, Tensor]) -> None:
    """As exactly as float32 and residuals allow."""
    evolving = project_context(Project.open(folder), None).evolving()
    off = {}
    for target, expected in wanted.items():
        error = (weight(evolving, target) - expected).norm() / expected.norm()
        if not error < 1e-5:
            off[target.name] = float(error)
    assert not off


@pytest.mark.long
def test_every_kind_is_folded_exactly_by_every_strategy(bases: Mapping[str, Path], tmp_path: Path) -> None:
    """Twice, the second over what the first has made of the model; at a strength of its own."""

    def check(case: tuple[str, str]) -> None:
        family, strategy = case
        folder = empty_folder(tmp_path) / "model"
        settings = QUICK.with_values(strategy=strategy)
        files = [folder.parent / f"{seed}.safetensors" for seed in (1, 2)]
        first, second = (file_of_all_kinds(file, bases[family], family, n) for n, file in enumerate(files))
        base = Evolving(*(Checkpoint(bases[family]),) * 2, None)
        origin = {target: weight(base, target) for target in first}
        add_concept(Request(Lora(files[0], 0.5), folder, base=bases[family], token="one", settings=settings))
        current = {target: origin[target] + 0.5 * first[target](origin[target]) for target in first}
        check_state(folder, current)
        add_concept(Request(Lora(files[1]), folder, token="two", settings=settings))
        if strategy == "orthogonal":
            layers = layers_of(bases[family])
            return check_orthogonal(folder, origin, current, layers)
        tau = {target: second[target](current[target]) for target in second}
        if strategy == "merge":
            return check_state(folder, {target: current[target] + tau[target] for target in tau})
        keep = {target: tau[target].abs() >= (current[target] - origin[target]).abs() for target in tau}
        return check_state(folder, {t: torch.where(keep[t], origin[t] + tau[t], current[t]) for t in tau})

    # SDXL by merge is what the exports below start from.
    check_each([*product(FAMILIES, ("mask", "orthogonal")), ("sd1", "merge")], check)


def check_orthogonal(
    folder: Path,
    origin: Mapping[Target, Tensor],
    current: Mapping[Target, Tensor],
    layers: tuple[Target, ...],
) -> None:
    """What is new has no part in the directions that were used, in the module's own orientation."""
    evolving = project_context(Project.open(folder), None).evolving()
    changed = 0
    for target in layers:
        new = (weight(evolving, target) - current[target]).reshape(target.shape)
        earlier = (current[target] - origin[target]).reshape(target.shape)
        # Nearly all of the energy is protected; the rest is what a full layer must leave free.
        _, values, turned = torch.linalg.svd(earlier, full_matrices=False)
        leading = turned[values > 0.05 * values[0]]
        if leading.shape[0] < target.shape[1] - 1:
            assert (new @ leading.T).norm() <= 2e-2 * new.norm(), target.name
        changed += bool(new.norm() > 0)
    assert changed > len(layers) // 2


def test_naive_says_before_anything_is_done_that_it_cannot_keep_them(
    bases: Mapping[str, Path], tmp_path: Path
) -> None:
    file = tmp_path / "all.safetensors"
    file_of_all_kinds(file, bases["sdxl"], "sdxl", 1)
    naive = QUICK.with_values(strategy="naive")
    with pytest.raises(UsageError, match="naive folds pairs of low-rank factors alone") as caught:
        add_concept(Request(Lora(file), tmp_path / "model", base=bases["sdxl"], settings=naive))
    for words in ("all.safetensors", "LoHa of", "LoKr with DoRA of", "whole changes of"):
        assert words in caught.value.message
    assert "--strategy merge" in caught.value.fix
    assert not (tmp_path / "model").exists()


def test_the_plan_says_what_the_file_holds(bases: Mapping[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "all.safetensors"
    changes = file_of_all_kinds(file, bases["sdxl"], "sdxl", 1)
    plan = make_plan(Request(Lora(file), tmp_path / "model", base=bases["sdxl"])).as_dict()
    assert sum(kind["count"] for kind in plan["kinds"]) == len(changes) == plan["layers"]
    assert {kind["kind"] for kind in plan["kinds"]} == {kind for kind, _ in KINDS.values()}
    assert plan["ranks"] == [3, 3]
    stored = Checkpoint(file)
    numbers = sum(stored.info(name).elements for name in stored.names if not name.endswith(".alpha"))
    assert plan["parameters"] == numbers


@pytest.fixture(scope="module")
def learned(
    bases: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[Target, Tensor]]:
    """An SDXL that merge has taught one file of all kinds, and what its parameters should be now."""
    folder = tmp_path_factory.mktemp("learned")
    changes = file_of_all_kinds(folder / "all.safetensors", bases["sdxl"], "sdxl", 1)
    merge = QUICK.with_values(strategy="merge")
    source = Lora(folder / "all.safetensors")
    add_concept(Request(source, folder / "model", base=bases["sdxl"], token="x", settings=merge))
    base = Evolving(*(Checkpoint(bases["sdxl"]),) * 2, None)
    before = {target: weight(base, target) for target in changes}
    return folder / "model", {
        target: before[target] + change(before[target]) for target, change in changes.items()
    }


@pytest.mark.long
def test_merge_adds_every_kind_to_sdxl(learned: tuple[Path, dict[Target, Tensor]]) -> None:
    check_state(*learned)


def test_a_lora_export_names_what_it_has_to_leave_out(
    learned: tuple[Path, dict[Target, Tensor]], bases: Mapping[str, Path], tmp_path: Path
) -> None:
    project, wanted = learned
    told: list[Event] = []
    exported = export_lora(project, tmp_path / "out.safetensors", 4, sink=told.append)
    layers = set(layers_of(bases["sdxl"]))
    assert set(exported.left_out) == {target.name for target in wanted if target not in layers}
    assert exported.layers == len(layers)
    notes = [event.text for event in told if isinstance(event, Note)]
    assert any(f"{len(exported.left_out)} changed norms, biases or embeddings" in note for note in notes)
    names = Checkpoint(exported.path).names
    for stem in ("lora_te2_text_projection", "lora_unet_label_emb_0_0", "lora_unet_time_embed_0"):
        assert f"{stem}.lora_up.weight" in names


def test_a_diffusers_export_holds_norms_and_the_projection(
    learned: tuple[Path, dict[Target, Tensor]], tmp_path: Path
) -> None:
    from diffusers import StableDiffusionXLPipeline

    project, wanted = learned
    export_to(project, "diffusers", tmp_path / "out", "fp32")
    pipeline = StableDiffusionXLPipeline.from_pretrained(tmp_path / "out", local_files_only=True)
    unet, second = pipeline.unet.state_dict(), pipeline.text_encoder_2.state_dict()
    found = set()
    for target, value in wanted.items():
        name = f"{target.module}.{target.parameter}"
        if target.component == "text_encoder_2" and name in second:
            torch.testing.assert_close(second[name].double(), value, rtol=1e-4, atol=1e-5)
            found.add(target.module)
        elif target.component == "unet":
            torch.testing.assert_close(unet[name].double().reshape(value.shape), value, rtol=1e-4, atol=1e-5)
    assert "text_projection" in found
