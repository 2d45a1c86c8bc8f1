"""A training goes on exactly, whatever optimiser it is of, and from no state but its own."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each, empty_folder
from torch import nn

from clora_ext.errors import CheckpointError, TrainingError
from clora_ext.formats.checkpoint import Checkpoint, Source, write_checkpoint
from clora_ext.formats.training_state import read_stopped_run
from clora_ext.training.state import TrainingState, resume_step

Make = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

OPTIMIZERS: dict[str, Make] = {
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.1),
    "AdamW with amsgrad": lambda p: torch.optim.AdamW(p, lr=0.1, amsgrad=True),
    "SGD with momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.1),
    "Adafactor": lambda p: torch.optim.Adafactor(p, lr=0.1),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.1, centered=True),
    "Rprop": lambda p: torch.optim.Rprop(p, lr=0.1),
    "ASGD": lambda p: torch.optim.ASGD(p, lr=0.1),
}


def parameters(device: str = "cpu") -> dict[str, nn.Parameter]:
    """Three, of which the last one is never used."""
    rng = torch.Generator().manual_seed(1)
    shapes = {"one": (4, 3), "two": (5,), "idle": (2, 2)}
    return {
        name: nn.Parameter(torch.randn(shape, generator=rng).to(device)) for name, shape in shapes.items()
    }


def train(
    named: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, scaler: Any, steps: range
) -> None:
    for step in steps:
        loss = (named["one"].sin() * (step + 1)).sum() + named["two"].square().sum()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()


def scaler(*, on: bool) -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", enabled=on, growth_interval=3)


def test_any_optimiser_goes_on_as_if_it_had_not_stopped() -> None:
    def check(name: str) -> None:
        state = TrainingState(empty_folder(Path.cwd()) / "state.safetensors", "plan")
        straight, first, second = parameters(), parameters(), parameters()
        optimizer, off = OPTIMIZERS[name](straight.values()), scaler(on=False)
        train(straight, optimizer, off, range(6))
        optimizer = OPTIMIZERS[name](first.values())
        train(first, optimizer, off, range(4))
        state.save(first, optimizer, off, [0.5, 0.25, 0.125, 0.0625])
        optimizer = OPTIMIZERS[name](second.values())
        assert state.restore(second, optimizer, off) == [0.5, 0.25, 0.125, 0.0625]
        train(second, optimizer, off, range(4, 6))
        assert all(torch.equal(straight[key], second[key]) for key in straight)

    check_each(OPTIMIZERS, check)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def saved(tmp_path: Path, *, scaled: bool = False) -> tuple[TrainingState, Path]:
    """AdamW's state after three steps."""
    file = tmp_path / "state.safetensors"
    state, named, scale = TrainingState(file, "plan"), parameters(), scaler(on=scaled)
    optimizer = OPTIMIZERS["AdamW"](named.values())
    train(named, optimizer, scale, range(3))
    state.save(named, optimizer, scale, [0.5, 0.25, 0.125])
    return state, file


def test_the_scale_of_the_loss_and_its_growth_go_on_too(tmp_path: Path) -> None:
    state, _ = saved(tmp_path, scaled=True)
    named, after = parameters(), scaler(on=True)
    state.restore(named, OPTIMIZERS["AdamW"](named.values()), after)
    assert after.state_dict()["scale"] == 2 * 65536  # it has grown once, after three good steps
    assert after.state_dict()["_growth_tracker"] == 0


def test_a_state_without_a_scale_starts_with_the_usual_one(tmp_path: Path) -> None:
    """Stopped on a card with bfloat16, gone on with on one without."""
    state, _ = saved(tmp_path)
    named, after = parameters(), scaler(on=True)
    assert len(state.restore(named, OPTIMIZERS["AdamW"](named.values()), after)) == 3
    train(named, OPTIMIZERS["AdamW"](named.values()), after, range(1))
    assert after.get_scale() == 65536


def test_adams_steps_stay_on_the_processor_wherever_the_parameters_are(tmp_path: Path) -> None:
    """On a GPU each of them would be waited for, in every step."""
    state, _ = saved(tmp_path)
    named = parameters("meta")
    optimizer = OPTIMIZERS["AdamW"](named.values())
    state.restore(named, optimizer, scaler(on=False))
    found = [optimizer.state[named[name]] for name in ("one", "two")]
    assert {one["step"].device.type for one in found} == {"cpu"}
    assert [float(one["step"]) for one in found] == [3, 3]
    assert {one["exp_avg"].device.type for one in found} == {"meta"}


def test_how_an_optimiser_computes_is_not_taken_over(tmp_path: Path) -> None:
    state, _ = saved(tmp_path)
    named = parameters()
    optimizer = torch.optim.AdamW(named.values(), lr=0.1, fused=True)
    state.restore(named, optimizer, scaler(on=False))
    assert optimizer.param_groups[0]["fused"] is True


def test_a_state_of_another_plan_of_an_older_format_or_of_nobody_is_not_resumed(tmp_path: Path) -> None:
    _, file = saved(tmp_path)
    assert resume_step(file, "plan") == 3
    metadata = dict(Checkpoint(file).header.metadata)

    def check(changes: dict[str, str | None]) -> None:
        changed = {key: value for key, value in (metadata | changes).items() if value is not None}
        other = empty_folder(tmp_path) / "state.safetensors"
        write_checkpoint(other, {"one": Source.of(torch.ones(1))}, changed)
        assert resume_step(other, "plan") == 0
        named = parameters()
        untouched = TrainingState(other, "plan")
        assert untouched.restore(named, OPTIMIZERS["AdamW"](named.values()), scaler(on=False)) == []
        assert torch.equal(named["one"], parameters()["one"])

    check_each(
        [
            {"clora.plan": "another"},
            {"clora.plan": None},
            {"clora.training_state": None},  # as version 0.1 wrote it: moments without steps
            {"clora.training_state": "3"},
            {"clora.losses": None},
            {"clora.losses": "no JSON"},
            {"clora.losses": "{}"},
            {"clora.losses": '["a"]'},
            {"clora.losses": "[" * 100_000},
        ],
        check,
    )


def test_a_state_that_lacks_something_is_refused_by_name(tmp_path: Path) -> None:
    _, file = saved(tmp_path)
    whole = Checkpoint(file)
    sources = {name: Source.of(whole.read(name)) for name in whole.names}
    metadata = dict(whole.header.metadata)
    stored = json.loads(metadata["clora.optimizer"])
    moment = next(name for name in sources if name.endswith("exp_avg"))

    def check(damage: tuple[dict[str, Source | None], dict[str, str | None]]) -> None:
        tensors, words = damage
        other = empty_folder(tmp_path) / "state.safetensors"
        kept = {name: one for name, one in (sources | tensors).items() if one is not None}
        told = {key: value for key, value in (metadata | words).items() if value is not None}
        write_checkpoint(other, kept, told)
        named = parameters()
        with pytest.raises(CheckpointError) as caught:
            TrainingState(other, "plan").restore(named, OPTIMIZERS["AdamW"](named.values()), scaler(on=False))
        assert str(other) in caught.value.message or "complete checkpoint" in caught.value.fix

    check_each(
        [
            ({"one": None}, {}),
            ({"one": Source.of(torch.ones(9, 9))}, {}),
            ({"one": Source.of(torch.ones(4, 3).half())}, {}),
            ({moment: None}, {}),
            ({}, {"clora.optimizer": None}),
            ({}, {"clora.optimizer": "{"}),
            ({}, {"clora.optimizer": "{}"}),
            ({}, {"clora.optimizer": '{"pickle": "x"}'}),
            ({}, {"clora.optimizer": '{"mapping": [["param_groups", 5]]}'}),
            ({}, {"clora.optimizer": json.dumps({"list": [stored]})}),
            ({}, {"clora.scaler": "["}),
            ({}, {"clora.scaler": None}),
        ],
        check,
    )


def test_what_cannot_be_stored_is_said(tmp_path: Path) -> None:
    named = parameters()
    optimizer = OPTIMIZERS["AdamW"](named.values())
    optimizer.state[named["one"]]["history"] = {1, 2}
    state = TrainingState(tmp_path / "state.safetensors", "plan")
    with pytest.raises(
        TrainingError, match=r"cannot be stored: optimizer::state::0::history is of the type set"
    ):
        state.save(named, optimizer, scaler(on=False), [0.5])
    assert not (tmp_path / "state.safetensors").exists()


def test_what_a_state_says_of_its_run_is_for_people_and_may_be_nonsense(tmp_path: Path) -> None:
    def check(case: tuple[str | None, str]) -> None:
        said, words = case
        file = empty_folder(tmp_path) / "state.safetensors"
        metadata = {"clora.plan": "plan", "clora.training_state": "2", "clora.losses": "[0.5, 0.25]"}
        if said is not None:
            metadata["clora.run"] = said
        write_checkpoint(file, {"one": Source.of(torch.ones(1))}, metadata)
        run = read_stopped_run(file)
        assert run is not None
        assert run.words == words

    check_each(
        [
            ('{"concept": "sks dog", "steps": 400}', "sks dog, step 2 of 400"),
            ('{"concept": "sks\\u001b[2J", "steps": 400}', "sks [2J, step 2 of 400"),
            (None, "step 2"),
            ("", "step 2"),
            ("[" * 100_000, "step 2"),
            ("[]", "step 2"),
            ('{"concept": 3, "steps": "400"}', "step 2"),
            ('{"steps": -1}', "step 2"),
            ('{"steps": true}', "step 2"),
            ('{"concept": "sks", "steps": 1e999}', "sks, step 2"),
        ],
        check,
    )


def test_what_is_no_state_that_can_go_on_is_no_stopped_run(tmp_path: Path) -> None:
    _, file = saved(tmp_path)
    metadata = dict(Checkpoint(file).header.metadata)
    assert read_stopped_run(tmp_path / "nothing") is None
    assert read_stopped_run(tmp_path) is None
    (tmp_path / "text").write_text("text")
    assert read_stopped_run(tmp_path / "text") is None

    def check(key: str) -> None:
        other = empty_folder(tmp_path) / "state.safetensors"
        write_checkpoint(other, {"one": Source.of(torch.ones(1))}, metadata | {key: "x"})
        assert read_stopped_run(other) is None

    check_each(["clora.training_state", "clora.losses"], check)
