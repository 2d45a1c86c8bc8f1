"""Several processes that share a model's weights out: they learn what they learn with whole ones."""

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from cards import a_gpu
from flow_families import ANIMA, KLEIN, KREA_2, Z_IMAGE, family_id
from forked import finished
from several import distance, start_together, state, stopped_together, together
from small_runs import folder_of, pictures, stop_at, with_settings, with_source

from clora_ext import Pictures, Project, Request, add_concept, estimate, make_plan
from clora_ext.data import Subset
from clora_ext.errors import Cancelled, SettingsError, UsageError
from clora_ext.events import Event, Note, Preview, TrainStep, Validated
from clora_ext.families.flow.model import FlowModel
from clora_ext.runs.fit_memory import fit_memory
from clora_ext.runs.memory_remedies import training_remedies
from clora_ext.runs.precision import precision_of
from clora_ext.runs.weight_bytes import shared_bytes, weight_bytes

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore"),  # of the libraries, and of forking
]

STEPS = 4
OPTIONS: dict[str, dict[str, Any]] = {
    "merge": {"strategy": "merge"},
    "points that one process has": {"strategy_options": {"items": 1, "own_pictures": 1}},
    "a class that is preserved": {"strategy": "merge", "preserve_class": 1.0},
    "chance": {"network_dropout": 0.1, "rank_dropout": 0.1, "module_dropout": 0.3},
    "recomputed": {"gradient_checkpointing": True},
    "8 bits": {"strategy": "merge", "fp8_base": True},
    "several batches": {"gradient_accumulation_steps": 2},
}

z_image = pytest.mark.parametrize("family", [Z_IMAGE], indirect=True, ids=family_id)


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of four processes."""
    places = {"RANK": "0", "WORLD_SIZE": "4", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    for name, value in places.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def asked(asked: Request) -> Request:
    """Of more pictures, by distill, in more steps than are taken."""
    images = pictures(asked.project.parent / "cat_images", count=4, seed=2)
    request = replace(with_settings(asked, strategy="distill", steps=6), source=Pictures(images))
    return with_settings(request, batch_size=2, kept_count=0)


def sharded(request: Request, name: str = "sharded") -> Request:
    """The same with shards, in a project of its own."""
    return with_settings(replace(request, project=request.project.parent / name), shard=True)


def noted(folder: Path, stop: int | None = STEPS) -> Callable[[Event], None]:
    """A sink that leaves notes, previews and validations in a file, and stops after a step."""

    def sink(event: Event) -> None:
        if isinstance(event, (Note, Preview, Validated)):
            with (folder / "told.txt").open("a", encoding="utf-8") as file:
                file.write(f"{event}\n")
        if stop is not None:
            stop_at(stop)(event)

    return sink


@pytest.mark.long
@z_image
def test_two_with_shards_learn_the_bits_of_two_without_and_what_one_does(
    asked: Request, tmp_path: Path
) -> None:
    """Also when they are stopped in between, by the second one."""
    shared = sharded(asked)
    stopped_together(shared, 2, by=1)
    together(shared, {0: noted(tmp_path)})
    told = (tmp_path / "told.txt").read_text(encoding="utf-8")
    own, every = re.search(r"over 2 processes: ([\d.]+) kB of ([\d.]+) [kM]B in this one", told).groups()  # type: ignore[union-attr]
    assert float(own) == pytest.approx(1000 * float(every) / 2, rel=0.05)

    stopped_together(asked, STEPS)
    assert state(shared).read_bytes() == state(asked).read_bytes()

    alone = with_settings(replace(asked, project=tmp_path / "alone"), batch_size=4)
    with pytest.raises(Cancelled):
        add_concept(alone, stop_at(STEPS))
    assert distance(shared, alone) < 1e-5


@pytest.mark.slow
@z_image
@pytest.mark.parametrize("name", OPTIONS)
def test_shards_change_no_bit(name: str, asked: Request) -> None:
    """Of three processes one may have nothing to ask where the others have."""
    for size in (2, 3):
        plain = with_settings(
            replace(asked, project=asked.project.parent / f"whole {size}"), batch_size=1, **OPTIONS[name]
        )
        stopped_together(plain, STEPS, size=size)
        stopped_together(sharded(plain, f"sharded {size}"), STEPS, size=size)
        assert state(sharded(plain, f"sharded {size}")).read_bytes() == state(plain).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("family", [KLEIN, ANIMA, KREA_2], indirect=True, ids=family_id)
def test_shards_of_no_family_change_a_bit(asked: Request) -> None:
    stopped_together(asked, STEPS)
    stopped_together(sharded(asked), STEPS)
    assert state(sharded(asked)).read_bytes() == state(asked).read_bytes()


@pytest.mark.slow
@z_image
def test_pictures_that_are_preserved_are_asked_by_all(asked: Request) -> None:
    others = pictures(asked.project.parent / "others", count=4, seed=5)
    parts = (Subset(folder_of(asked)), Subset(others, preservation=True))
    plain = with_settings(with_source(asked, subsets=parts), batch_size=1, strategy="merge")
    stopped_together(plain, STEPS, size=3)
    stopped_together(sharded(plain), STEPS, size=3)
    assert state(sharded(plain)).read_bytes() == state(plain).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["merge", "distill"])
def test_a_unet_learns_the_same_up_to_rounding(strategy: str, request_: Request) -> None:
    """The text encoders, and the trigger's row, learn too, whole in each process."""
    plain = with_settings(request_, strategy=strategy, text_encoder=strategy == "merge", conv_rank=2)
    stopped_together(plain, STEPS)
    shared = [sharded(plain, name) for name in ("sharded", "again")]
    for one in shared:
        stopped_together(with_settings(one, preview_every=2), STEPS)
    assert distance(plain, shared[0]) < 1e-6
    assert state(shared[0]).read_bytes() == state(shared[1]).read_bytes()


@pytest.mark.slow
@z_image
def test_what_the_first_process_asks_beside_the_steps_is_computed_by_all(
    asked: Request, tmp_path: Path
) -> None:
    """Previews, validations, convergence; after it what is measured, with gradients too, and drawn."""
    beside = {
        "preview_every": 2,
        "preview_at_first": True,
        "validation_split": 0.34,
        "validate_every": 2,
        "until_converged": True,
    }
    busy = with_settings(asked, strategy="ewc", batch_size=1, steps=4, **beside)
    shared = sharded(busy)
    assert together(shared, {0: noted(tmp_path, None)}) == ["", ""]
    told = (tmp_path / "told.txt").read_text(encoding="utf-8")
    assert told.count("Preview(") == 3
    assert told.count("Validated(") == 2
    assert together(busy) == ["", ""]
    found, expected = (Project.open(one.project) for one in (shared, busy))
    assert found.current == expected.current
    assert found.memory_path.read_bytes() == expected.memory_path.read_bytes()  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.parametrize("family", [Z_IMAGE, KLEIN, ANIMA, KREA_2], indirect=True, ids=family_id)
def test_what_is_drawn_in_between_changes_nothing(asked: Request) -> None:
    quiet = sharded(asked)
    drawn = sharded(with_settings(asked, preview_every=1, preview_at_first=True), "drawn")
    for one in (quiet, drawn):
        stopped_together(one, 2)
    assert len(list(drawn.project.rglob("preview-*.png"))) == 2  # before the first step, and after it
    assert state(quiet).read_bytes() == state(drawn).read_bytes()


@pytest.mark.slow  # the other waits for 45 seconds
@z_image
def test_a_process_that_fails_in_a_pass_is_told_of_while_the_other_waits_for_its_part(
    asked: Request,
) -> None:
    def fail(event: Event) -> None:
        def broken(*given: object) -> None:
            raise UsageError("the cat is on the keyboard", fix="feed it")

        if isinstance(event, TrainStep):
            FlowModel.predict = broken  # type: ignore[assignment,method-assign]  # of this process alone

    began = time.monotonic()
    said = together(sharded(with_settings(asked, strategy="merge", batch_size=1)), {1: fail})
    assert "PeerFailed: process 2 of 2: the cat is on the keyboard\nfeed it" in said[0]
    assert "ToldElsewhere" in said[1]
    print(f"both had ended after {time.monotonic() - began:.1f} s, with all that was imported")


@pytest.mark.slow
@z_image
@pytest.mark.parametrize("after", [0.0, 0.3, 0.6])
def test_a_process_that_is_killed_in_a_pass_ends_all(after: float, asked: Request, tmp_path: Path) -> None:
    def end(event: Event) -> None:
        if isinstance(event, TrainStep) and event.step == 2:
            Timer(after, os.kill, (os.getpid(), signal.SIGKILL)).start()

    shared = with_settings(sharded(asked), steps=2000, strategy="merge", batch_size=1)
    children = start_together(shared, {1: end}, seen=tmp_path)
    assert finished(children[1]) == -signal.SIGKILL
    began = time.monotonic()
    assert finished(children[0]) == 1
    assert time.monotonic() - began < 60
    assert f"process 2 of 2 (number {children[1]} on" in (tmp_path / "0.txt").read_text(encoding="utf-8")
    assert Project.open(shared.project).unfinished is not None


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({}, UsageError, "--shard shares the weights out over several processes, and there is one"),
        ({"dora": True}, SettingsError, "--dora needs norms of whole weights"),
        ({"offload_base": True}, SettingsError, "--shard keeps weights on the GPUs, --offload-base"),
        ({"torch_compile": True}, SettingsError, "--torch-compile compiles blocks"),
    ],
    ids=str,
)
def test_what_cannot_be_shared_out_is_refused(
    request_: Request, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        make_plan(with_settings(request_, shard=True, strategy="merge", **changes))
    assert not request_.project.exists()


def test_what_accelerate_is_asked_for_is_not_passed_over(
    request_: Request, several: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UsageError, match="accelerate is asked to share the weights out") as caught:
        make_plan(request_)
    assert "add --shard" in caught.value.fix
    make_plan(with_settings(request_, shard=True))


def test_the_plan_counts_a_part_of_the_weights(request_: Request, several: None) -> None:
    """On a card: there the weights wait elsewhere before the training, and after it."""
    whole, parts = (with_settings(request_, shard=shard, strategy="merge") for shard in (False, True))
    with a_gpu():
        wholly, partly = (make_plan(one) for one in (whole, parts))
        assert 0 < shared_bytes(partly, 2) < weight_bytes(wholly, precision_of(wholly))["denoiser"]
        assert estimate(partly).memory < estimate(wholly).memory  # type: ignore[operator]
        assert "--shard" in training_remedies(wholly)
        assert not {"--shard", "--offload-base"} & {*training_remedies(partly)}
        fitted = fit_memory(parts, 0.001)
        assert fitted.request.settings is not None
        assert not fitted.request.settings.compute.offload_base
    assert partly.fingerprint == wholly.fingerprint
