"""A concept whose change was kept is taken out of the model, or weighed anew, wherever it stands."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lora_dialects import save
from lora_kinds import KINDS, base_of, layers_of, of_one, parameters_of
from small_runs import SETTINGS, another, snapshot, with_settings, with_source
from torch import Tensor

from clora_ext import Lora, Project, Request, Settings, add_concept, generate, remove, weigh
from clora_ext.errors import Cancelled, CheckpointError, ProjectError, SettingsError, UsageError
from clora_ext.events import Event, Note, Stage
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.history import HISTORY_KEY, decode_history
from clora_ext.formats.lora.kinds import kind_of
from clora_ext.formats.lora.writer import kohya_name
from clora_ext.formats.memory import PROMPTS_KEY, STRATEGY_KEY
from clora_ext.runs.context import open_evolving, project_context
from clora_ext.runs.disk_needs import disk_needs
from clora_ext.runs.make_plan import make_plan
from clora_ext.sampling.forgetting import forgetting_report
from clora_ext.sampling.generate import GenerateRequest

MERGE = SETTINGS.with_values(strategy="merge", learning_rate=1e-2, steps=3, sample_count=1)
ROUNDING = 2e-7  # of weights below 1, in float32


def weights(project: Path) -> Mapping[str, Tensor]:
    """The exact value of every tensor of the model that is a number."""
    evolving = open_evolving(Project.open(project))
    infos = {name: evolving.current.info(name) for name in evolving.current.names}
    return {name: evolving.weight(name) for name, info in infos.items() if info.dtype.startswith("F")}


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


def kept(request: Request, strategy: str = "merge") -> Request:
    settings = MERGE.with_values(strategy=strategy)
    return replace(request, settings=settings, token="sks", keep_delta=True, keep=5)


def then(request: Request, name: str, strategy: str = "merge", **others: object) -> Request:
    """Another concept, which is not kept."""
    later = replace(another(request, name), token=name[:3], keep_delta=False, **others)  # type: ignore[arg-type]  # of the request
    return with_settings(later, strategy=strategy)


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


def test_a_finished_adapter_of_any_kind_comes_out_as_it_was_folded(tmp_path: Path) -> None:
    """A DoRA's change depends on the weights of then: these are others when it is taken out."""
    base, folder = base_of("sd1", tmp_path), tmp_path / "model"
    files = [file_of_all_kinds(tmp_path / f"{name}.safetensors", base) for name in ("one", "two")]
    settings = Settings.of(strategy="merge", sample_steps=1, sample_count=1, resolution=64)
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


def test_undo_brings_the_former_bytes_back(request_: Request) -> None:
    folder = request_.project
    add_concept(kept(request_))
    add_concept(then(kept(request_), "cat_images"))
    before = {**snapshot(folder), **deltas(folder)}
    remove(folder, "sks", keep=5)
    assert Project.open(folder).tokens == ("cat",)
    weigh(folder, "sks", 0.25, keep=5)
    assert Project.open(folder).weights == {1: 0.25, 2: 1.0}
    for _ in range(2):
        with Project.writing(folder) as project:
            project.undo()
    after = {**snapshot(folder), **deltas(folder)}
    assert {name: content for name, content in after.items() if "look" not in name} == before
    assert Project.open(folder).tokens == ("sks", "cat")


def deltas(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in (folder / "deltas").iterdir()}


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


def test_nothing_is_kept_that_nobody_asked_for(request_: Request) -> None:
    add_concept(with_settings(request_, strategy="merge"))
    assert deltas(request_.project) == {}
    assert Project.open(request_.project).concepts[0].delta is None


def test_a_run_that_stops_anywhere_leaves_the_project_as_it_was(request_: Request) -> None:
    folder = request_.project
    add_concept(kept(request_))
    add_concept(then(kept(request_), "cat_images"))
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


def test_a_removed_concept_can_be_taught_again_and_then_bars_the_way_back(request_: Request) -> None:
    folder = request_.project
    first = add_concept(kept(request_))
    again = replace(kept(request_), base=None)
    assert add_concept(again).content_hash == first.content_hash  # it is learned already
    remove(folder, "sks")
    assert add_concept(again).number == 3
    first_delta, _, second_delta = (record.delta for record in Project.open(folder).concepts)
    assert None not in {first_delta, second_delta}
    assert first_delta != second_delta
    remove(folder, "sks")
    assert Project.open(folder).weights == {1: 0.0, 3: 0.0}  # of those of one name, the newest


def test_the_weight_that_it_has_already_is_no_step(request_: Request) -> None:
    folder = request_.project
    add_concept(kept(request_))
    notes: list[str] = []

    def sink(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)

    assert weigh(folder, "sks", 1, sink=sink).number == 1
    remove(folder, "sks")
    assert remove(folder, "sks", sink=sink).number == 2
    assert notes == ["concept 1, sks dog, has the weight 1 already", "concept 1, sks dog, is removed already"]
    assert Project.open(folder).number == 2


def test_what_cannot_be_done_exactly_is_refused_with_the_way_out(request_: Request) -> None:
    folder = request_.project
    with pytest.raises(UsageError, match="--keep-delta: mask does not simply add") as refused:
        add_concept(kept(request_, "mask"))
    assert "distill, merge, orthogonal" in (refused.value.fix or "")
    assert not folder.exists()
    with pytest.raises(ProjectError, match="does not exist"):
        remove(folder, "sks")
    assert not folder.exists()
    add_concept(replace(kept(request_), keep_delta=False))
    before = snapshot(folder)
    with pytest.raises(UsageError, match="its change was not kept") as refused:
        remove(folder, "sks")
    assert refused.value.fix == "clora undo takes it back, since it is the newest"
    with pytest.raises(UsageError, match="its change was not kept") as refused:
        add_concept(replace(kept(request_), base=None))
    with pytest.raises(UsageError, match="has no concept 'skz'") as refused:
        weigh(folder, "skz", 0.5)
    assert "did you mean 'sks'?" in (refused.value.fix or "")
    with pytest.raises(SettingsError, match="finite"):
        weigh(folder, "sks", float("nan"))
    assert snapshot(folder) == before
    add_concept(replace(kept(then(request_, "cat_images")), token="cat", keep=0, base=None))
    with pytest.raises(UsageError, match="its change was not kept") as refused:
        remove(folder, "sks")
    assert refused.value.fix == "teach again: start a new project and teach the others there"
    add_concept(then(request_, "toy_images", "mask", keep=1))
    with pytest.raises(UsageError, match="concept 3, toy toy, was folded later by mask") as refused:
        remove(folder, "cat")
    with pytest.raises(UsageError, match="mask does not simply add what is learned"):
        remove(folder, "toy")


def test_a_change_that_is_gone_or_anothers_is_told(request_: Request, tiny: Path) -> None:
    folder = request_.project
    add_concept(kept(request_))
    (file,) = (folder / "deltas").iterdir()
    before = snapshot(folder)
    content = file.read_bytes()
    file.write_bytes(tiny.read_bytes())
    with pytest.raises(CheckpointError, match="is not the change of a concept of this model"):
        remove(folder, "sks")
    file.write_bytes(content[:-4])
    with pytest.raises(CheckpointError):
        remove(folder, "sks")
    file.unlink()
    with pytest.raises(ProjectError, match="is gone"):
        remove(folder, "sks")
    assert snapshot(folder) == before


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
