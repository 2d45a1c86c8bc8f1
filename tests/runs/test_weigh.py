"""A concept whose change was kept is taken out of the model, or weighed anew, wherever it stands."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from kept_concepts import MERGE, deltas, kept, then, weights
from learned import Learned
from lora_dialects import save
from lora_kinds import KINDS, base_of, layers_of, of_one, parameters_of
from small_runs import snapshot, with_settings, with_source
from torch import Tensor

from clora_ext import Lora, Project, Request, Settings, add_concept, generate, remove, weigh
from clora_ext.errors import Cancelled
from clora_ext.events import Event, Note, Stage
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.history import HISTORY_KEY, decode_history
from clora_ext.formats.lora.kinds import kind_of
from clora_ext.formats.lora.writer import kohya_name
from clora_ext.formats.memory import PROMPTS_KEY, STRATEGY_KEY
from clora_ext.runs.context import project_context
from clora_ext.runs.disk_needs import disk_needs
from clora_ext.runs.make_plan import make_plan
from clora_ext.sampling.forgetting import forgetting_report
from clora_ext.sampling.generate import GenerateRequest

ROUNDING = 2e-7  # of weights below 1, in float32


def base_weights(request: Request) -> Mapping[str, Tensor]:
    assert request.base is not None
    base = Checkpoint(request.base)
    return {name: base.read_float(name) for name in base.names if base.info(name).dtype.startswith("F")}


def check_weights(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=ROUNDING, msg=name)


def mixed(
    start: Mapping[str, Tensor], steps: Mapping[float, tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]
) -> dict[str, Tensor]:
    """``start`` plus each weight times (after - before)."""
    found = {name: value.double() for name, value in start.items()}
    for weight, (before, after) in steps.items():
        found = {n: value + weight * (after[n].double() - before[n].double()) for n, value in found.items()}
    return {name: value.float() for name, value in found.items()}


@pytest.mark.long
@pytest.mark.parametrize("strategy", ["merge", "orthogonal", "distill"])
def test_a_concept_in_the_middle_comes_out_and_goes_in_again(request_: Request, strategy: str) -> None:
    """Its token's own row too, where that was taught."""
    first, folder = kept(request_, strategy), request_.project
    start = base_weights(request_)
    add_concept(first)
    with_dog = weights(folder)
    (table,) = (name for name in start if name.endswith("token_embedding.weight"))
    assert torch.equal(with_dog[table], start[table]) == (strategy != "distill")
    add_concept(then(first, "cat_images", strategy))
    both = weights(folder)
    remove(folder, "sks", keep=5)
    without = weights(folder)
    check_weights(without, mixed(both, {-1.0: (start, with_dog)}))
    learned = max(float((with_dog[name] - start[name]).abs().max()) for name in start)
    assert learned > 1000 * ROUNDING
    weigh(folder, "sks", 0.5, keep=5)
    check_weights(weights(folder), mixed(both, {-0.5: (start, with_dog)}))
    weigh(folder, "SKS", -1.5, keep=5)
    check_weights(weights(folder), mixed(both, {-2.5: (start, with_dog)}))
    weigh(folder, "sks", 1, keep=5)
    check_weights(weights(folder), both)


def file_of_all_kinds(file: Path, base: Path) -> Path:
    """Every layer by one of the kinds in turn, DoRAs among them, every norm and bias whole."""
    layers = layers_of(base)
    kinds = dict(zip(layers, [*KINDS] * len(layers), strict=False))
    tensors: dict[str, Tensor] = {}
    for number, target in enumerate(parameters_of(base)):
        parts, _ = of_one(target, kinds.get(target, "full"), number)
        stem = kohya_name(target.site, kind_of("sd1"))
        tensors |= {f"{stem}.{name}": part.contiguous() for name, part in parts.items()}
    save(file, tensors)
    return file


@pytest.mark.long
def test_a_finished_adapter_of_any_kind_comes_out_as_it_was_folded(tmp_path: Path) -> None:
    """A DoRA's change depends on the weights of then: these are others when it is taken out."""
    base, folder = base_of("sd1", tmp_path), tmp_path / "model"
    files = [file_of_all_kinds(tmp_path / f"{name}.safetensors", base) for name in ("one", "two")]
    settings = Settings.of(strategy="merge", sample_steps=1, sample_count=1, kept_count=0, resolution=64)
    origin = Checkpoint(base)
    lora = Request(Lora(files[0], 0.7), folder, base, token="one", settings=settings, keep_delta=True)
    planned = disk_needs(make_plan(lora)).delta
    add_concept(lora)
    after = weights(folder)
    delta = folder / "deltas" / (Project.open(folder).concepts[0].delta or "")
    assert delta.stat().st_size <= planned < delta.stat().st_size + (1 << 20)
    add_concept(Request(Lora(files[1], 0.3), folder, token="two", settings=settings))
    both = weights(folder)
    remove(folder, "one")
    found, changed = weights(folder), 0
    for name, value in both.items():
        before = origin.read_float(name)
        change = after[name] - before
        changed += bool(change.any())
        torch.testing.assert_close(found[name], value - change, rtol=1e-5, atol=1e-6, msg=name)
    assert changed > len(layers_of(base))


def without_drawings(files: dict[str, bytes]) -> dict[str, bytes]:
    """All but what later models drew of earlier concepts, which undo leaves."""
    return {name: content for name, content in files.items() if "look" not in name}


@pytest.mark.long
def test_undo_brings_the_former_bytes_back(request_: Request, learned: Learned) -> None:
    folder = request_.project
    learned(kept(request_), then(kept(request_), "cat_images"))
    before = without_drawings({**snapshot(folder), **deltas(folder)})
    remove(folder, "sks", keep=5)
    assert Project.open(folder).tokens == ("cat",)
    weigh(folder, "sks", 0.25, keep=5)
    assert Project.open(folder).weights == {1: 0.25, 2: 1.0}
    for _ in range(2):
        with Project.writing(folder) as project:
            project.undo()
    assert without_drawings({**snapshot(folder), **deltas(folder)}) == before
    assert Project.open(folder).tokens == ("sks", "cat")


def test_the_change_goes_with_its_concept_and_is_counted_until_then(request_: Request) -> None:
    folder = request_.project
    asked = kept(request_)
    planned = disk_needs(make_plan(asked)).delta
    add_concept(asked)
    (size,) = [len(content) for content in deltas(folder).values()]
    usage = Project.open(folder).disk_usage()
    assert usage.deltas == size <= planned < size + (1 << 20)
    parts = ("checkpoints", "memory", "sheets", "curves", "deltas", "training")
    on_disk = sum(f.stat().st_size for part in parts for f in (folder / part).rglob("*") if f.is_file())
    assert usage.total == on_disk
    assert disk_needs(make_plan(replace(then(asked, "cat_images"), keep_delta=False))).delta == 0
    with Project.writing(folder) as project:
        project.undo()
    assert deltas(folder) == {}
    assert Project.open(folder).disk_usage().deltas == 0


@pytest.mark.long
def test_nothing_is_kept_that_nobody_asked_for(request_: Request) -> None:
    add_concept(with_settings(request_, strategy="merge"))
    assert deltas(request_.project) == {}
    assert Project.open(request_.project).concepts[0].delta is None


@pytest.mark.long
def test_a_run_that_stops_anywhere_leaves_the_project_as_it_was(request_: Request, learned: Learned) -> None:
    folder = request_.project
    learned(kept(request_), then(kept(request_), "cat_images"))
    before = {**snapshot(folder), **deltas(folder)}
    stages: list[str] = []

    def watch(event: Event) -> None:
        if isinstance(event, Stage):
            stages.append(event.name)

    remove(folder, "sks", keep=5, sink=watch)
    with Project.writing(folder) as project:
        project.undo()
    assert stages[-1] == "commit"
    for stage in dict.fromkeys(stages):

        def stop(event: Event, stage: str = stage) -> None:
            if isinstance(event, Stage) and event.name == stage:
                raise Cancelled

        with pytest.raises(Cancelled):
            remove(folder, "sks", sink=stop)
        assert {**snapshot(folder), **deltas(folder)} == before


@pytest.mark.long
def test_a_concept_that_is_stopped_before_its_commit_leaves_no_change_behind(request_: Request) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Stage) and event.name == "commit":
            assert len(deltas(request_.project)) == 1
            raise Cancelled

    with pytest.raises(Cancelled):
        add_concept(kept(request_), stop)
    assert deltas(request_.project) == {}
    add_concept(kept(request_))
    assert len(deltas(request_.project)) == 1


@pytest.mark.long
def test_who_was_removed_is_drawn_and_named_no_more(request_: Request, tmp_path: Path) -> None:
    folder = request_.project
    add_concept(kept(request_, "distill"))
    add_concept(then(kept(request_), "cat_images", "distill"))
    assert [token for token, _ in words(folder)] == ["sks", "cat"]
    shown = words(folder)
    remove(folder, "sks")
    assert Project.open(folder).tokens == ("cat",)
    assert words(folder) == shown[1:]
    assert Project.open(folder).concepts[-1].state_level == "L1"
    assert [row.weight for row in forgetting_report(folder)] == [0, 1]
    assert max(forgetting_report(folder)[0].samples) < 3
    current = Project.open(folder).checkpoint_path
    assert current is not None
    history = decode_history(Checkpoint(current).header.metadata[HISTORY_KEY])
    assert [entry["token"] for entry in history] == ["cat"]
    notes: list[str] = []
    drawing = GenerateRequest("a photo of SKS dog", count=1, steps=1)

    def sink(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)

    generate(folder, drawing, tmp_path / "out", sink)
    assert notes == ["sks dog was removed from the model: sks is a word like any other"]
    weigh(folder, "sks", 1)
    assert sorted(words(folder)) == sorted(shown)
    notes.clear()
    generate(folder, drawing, tmp_path / "out", sink)
    assert notes == []


def words(folder: Path) -> list[tuple[str, tuple[str, ...]]]:
    """Token and captions of what the strategy keeps of past concepts."""
    memory = Project.open(folder).memory_path
    assert memory is not None
    metadata = Checkpoint(memory).header.metadata
    assert metadata[STRATEGY_KEY] == "distill"
    assert PROMPTS_KEY in metadata
    evolving = project_context(Project.open(folder), None).evolving()
    return [(one.token, one.prompts) for one in evolving.prompts("distill")]


@pytest.mark.long
def test_an_adapter_that_was_exported_is_what_was_kept(request_: Request, tmp_path: Path) -> None:
    """The oracle: the LoRA file, which holds it in half precision."""
    file = tmp_path / "dog.safetensors"
    add_concept(with_source(kept(request_), export_lora=file))
    add_concept(Request(Lora(file, -1.0), request_.project, token="out", settings=MERGE))
    by_file = weights(request_.project)
    with Project.writing(request_.project) as project:
        project.undo()
    remove(request_.project, "sks")
    for name, value in weights(request_.project).items():
        torch.testing.assert_close(value, by_file[name], rtol=0, atol=2e-4)
