"""Several processes train one adapter: the same as one process with all their pictures in a step."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import finished, in_child
from several import distance, start_together, state, stopped_together, together
from small_runs import pictures, stop_at, with_settings, with_source
from tiny_model import write_tiny_model

from clora_ext import Pictures, Project, Request, Settings, add_concept, follow, make_plan
from clora_ext.errors import Cancelled, UsageError
from clora_ext.events import Event, Note, TrainStep
from clora_ext.project.concept_files import concept_files
from clora_ext.project.lock import HOLDER
from clora_ext.runs.plan import Plan
from clora_ext.training.curve import read_curve

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore"),  # of the libraries, and of forking
]

STEPS = 6
SETTINGS = Settings.of(
    strategy="distill",
    steps=8,
    rank=2,
    batch_size=2,
    seed=3,
    warmup_steps=2,
    targets="attention",
    sample_steps=2,
    kept_count=0,
)
BESIDE: dict[str, dict[str, Any]] = {
    "penalties, an average, validation": {
        "strategy": "gram",
        "ema_decay": 0.9,
        "validation_split": 0.34,
        "validate_every": 2,
        "keep_best": True,
        "gradient_accumulation_steps": 2,
    },
    "a class that is preserved": {"preserve_class": 1.0, "caption_dropout": 0.3},
    "chance": {
        "strategy": "merge",
        "network_dropout": 0.1,
        "rank_dropout": 0.1,
        "module_dropout": 0.1,
        "noise_offset": 0.1,
        "multires_noise_iterations": 3,
        "min_snr_gamma": 5.0,
    },
    "changing pictures": {"strategy": "merge", "random_crop": True, "color_aug": True, "flip_aug": True},
    "text encoders": {"strategy": "merge", "text_encoder": True},
    "an average of the optimiser": {"strategy": "merge", "optimizer_type": "AdamWScheduleFree"},
    "an own rate": {"strategy": "merge", "optimizer_type": "Prodigy", "learning_rate": 1.0},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base") / "tiny.safetensors")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("pictures") / "dog_images", count=4)


@pytest.fixture
def request_(tiny: Path, images: Path, tmp_path: Path) -> Request:
    return Request(Pictures(images), tmp_path / "model", base=tiny, settings=SETTINGS)


def stopped_alone(request: Request) -> None:
    """One process, as far as the others."""
    with pytest.raises(Cancelled):
        add_concept(request, stop_at(STEPS))


def counted(folder: Path, rank: int) -> Callable[[Event], None]:
    """A sink that leaves how many steps a process has taken itself, and stops after them."""
    steps = list[int]()

    def sink(event: Event) -> None:
        if isinstance(event, TrainStep):
            steps.append(event.step)
            (folder / f"steps-{rank}").write_text(f"{os.getpid()} {len(steps)}", encoding="utf-8")
            if event.step == STEPS:
                raise Cancelled

    return sink


@pytest.mark.long
def test_two_learn_what_one_does_with_twice_the_batch_and_the_same_bits_each_time(
    request_: Request, tmp_path: Path
) -> None:
    """distill asks one trajectory again, which one of the two has, and some of the pictures."""
    together(request_, {rank: counted(tmp_path, rank) for rank in range(2)})
    told = [(tmp_path / f"steps-{rank}").read_text(encoding="utf-8").split() for rank in range(2)]
    assert told[0][0] != told[1][0]  # two processes have trained
    assert [steps for _, steps in told] == [str(STEPS)] * 2

    resumed = replace(request_, project=tmp_path / "resumed")
    stopped_together(resumed, 2, by=1)
    stopped_together(resumed, STEPS)
    assert state(resumed).read_bytes() == state(request_).read_bytes()

    doubled = with_settings(replace(request_, project=tmp_path / "doubled"), batch_size=4)
    stopped_alone(doubled)
    assert distance(request_, doubled) < 1e-5
    with pytest.raises(
        UsageError, match=r"step 6 of 8 in 2 processes.*4 pictures.*1 process with batches of 2 would show 2"
    ) as caught:
        make_plan(request_)
    assert "--batch-size 4" in caught.value.fix
    assert make_plan(with_settings(request_, batch_size=4)).resume_step == STEPS


@pytest.mark.slow
@pytest.mark.parametrize("beside", BESIDE)
def test_two_and_three_learn_what_one_does_with_all(beside: str, request_: Request, tmp_path: Path) -> None:
    asked = with_settings(request_, batch_size=6, **BESIDE[beside])
    stopped_alone(asked)
    for size in (2, 3):
        shared = with_settings(replace(asked, project=tmp_path / f"{size}"), batch_size=6 // size)
        stopped_together(shared, STEPS, size=size)
        assert distance(asked, shared) < 1e-5


@pytest.mark.slow
def test_a_run_of_two_goes_on_with_one_up_to_rounding(request_: Request, tmp_path: Path) -> None:
    stopped_together(request_, 3)
    notes = list[str]()

    def sink(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)
        stop_at(STEPS)(event)

    doubled = with_settings(request_, batch_size=4)
    with pytest.raises(Cancelled):
        add_concept(doubled, sink)
    assert any(
        "begun by 2 processes, gone on with by one process: equal up to rounding" in note for note in notes
    )
    straight = replace(doubled, project=tmp_path / "straight")
    stopped_alone(straight)
    assert distance(doubled, straight) < 1e-5


@pytest.mark.long
def test_a_killed_process_ends_all_and_leaves_the_training(request_: Request, tmp_path: Path) -> None:
    def end(event: Event) -> None:
        if isinstance(event, TrainStep) and event.step == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    children = start_together(request_, {1: end}, seen=tmp_path)
    assert finished(children[1]) == -signal.SIGKILL
    began = time.monotonic()
    assert finished(children[0]) == 1
    assert time.monotonic() - began < 60
    assert f"process 2 of 2 (number {children[1]} on" in (tmp_path / "0.txt").read_text(encoding="utf-8")
    assert not (request_.project / HOLDER).exists()
    stopped = Project.open(request_.project).unfinished
    assert stopped is not None
    assert (stopped.step, stopped.processes) == (3, 2)
    assert Project.open(request_.project).manifest is None


def test_what_fails_in_one_is_told_by_the_first(request_: Request) -> None:
    def fail(event: Event) -> None:
        if isinstance(event, TrainStep):
            raise UsageError("the cat is on the keyboard", fix="feed it")

    said = together(request_, {1: fail})
    assert "PeerFailed: process 2 of 2: the cat is on the keyboard\nfeed it" in said[0]
    assert "ToldElsewhere" in said[1]


def test_all_have_to_see_the_same_pictures(request_: Request, tmp_path: Path) -> None:
    other = with_source(request_, folder=pictures(tmp_path / "other", count=2, seed=8))
    said = together(request_, others=other)
    assert "PeerFailed: process 2 of 2: process 2 of 2 finds other pictures" in said[0]


def test_nothing_is_begun_where_the_first_cannot(request_: Request) -> None:
    said = together(replace(request_, keep=-1))
    assert "SettingsError: keep must not be negative" in said[0]
    assert "ToldElsewhere" in said[1]
    assert not request_.project.exists()


def test_one_process_opens_nothing(request_: Request) -> None:
    seen = list[Plan]()
    with pytest.raises(Cancelled):
        add_concept(request_, stop_at(1), seen.append)
    assert seen[0].processes == 1
    assert not torch.distributed.is_initialized()


def test_only_the_first_process_adds_and_only_others_follow(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="nobody is there to be followed"):
        follow(request_)
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="this is process 2 of 2"):
        add_concept(request_)


@pytest.mark.slow
def test_all_end_when_the_first_finds_that_nothing_more_is_learned(request_: Request, tmp_path: Path) -> None:
    asked = with_settings(request_, steps=40, learning_rate=1e-12, until_converged=True, batch_size=1)
    assert together(asked) == ["", ""]
    alone = with_settings(replace(asked, project=tmp_path / "alone"), batch_size=2)
    add_concept(alone)
    shared, single = (Project.open(one.project) for one in (asked, alone))
    curves = [
        concept_files(project.folder, record.number, record.token, record.class_name).curve
        for project in (shared, single)
        for record in project.concepts
    ]
    assert [len(read_curve(curve)) for curve in curves] == [11, 11]


@pytest.mark.slow
def test_the_same_processes_teach_one_concept_after_another(request_: Request, tmp_path: Path) -> None:
    toys = pictures(tmp_path / "toy_images", count=2, seed=8)
    second = replace(with_source(request_, folder=toys), base=None)
    assert together(request_, then=second) == ["", ""]
    assert Project.open(request_.project).number == 2


@pytest.mark.slow
def test_a_job_that_has_learned_already_ends_at_once(request_: Request) -> None:
    assert finished(in_child(lambda: add_concept(with_settings(request_, batch_size=4)))) == 0
    before = Project.open(request_.project).concepts
    assert together(request_) == ["", ""]
    assert Project.open(request_.project).concepts == before
