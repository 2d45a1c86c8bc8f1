"""The learning rate of every step of a training file, against sd-scripts' own.

schedulers.json has been recorded from sd-scripts v0.11.1: settings in, rates of some steps out.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from cases import check_each

from clora_ext.config.settings import Settings
from clora_ext.kohya.asked import asked_by
from clora_ext.kohya.check import check
from clora_ext.kohya.finding import errors
from clora_ext.kohya.scheduler import scheduler_cycles
from clora_ext.runs.counted_steps import counted_in_steps
from clora_ext.training.learning_rate import learning_rates

RECORDED: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("schedulers.json").read_text(encoding="utf-8")
)
REFUSED = {
    "constant": "stops at a warm-up",
    "constant_with_warmup": "it is a share",  # 10.0: ten times the run
    "nonsense": "no 'nonsense'",
    "cosine_with_restarts": "by the name of its class",  # lr_scheduler_type
}


def is_refused(case: dict[str, Any]) -> bool:
    """What sd-scripts stops at, imports, or takes for what nobody can have meant."""
    asked = case["settings"]
    warmup = asked.get("lr_warmup_steps", 0)
    return "error" in case or "lr_scheduler_type" in asked or (isinstance(warmup, float) and warmup >= 1)


def checked(folder: Path, case: dict[str, Any]) -> Any:
    file = folder / "train.toml"
    asked = {"learning_rate": 1e-3, "max_train_steps": case["steps"], **case["settings"]}
    file.write_text(tomlkit.dumps(asked), encoding="utf-8")
    return check([file])


def test_every_rate_is_that_of_sd_scripts(tmp_path: Path) -> None:
    taken = [case for case in RECORDED if not is_refused(case)]
    assert len(taken) >= 20

    def look(case: dict[str, Any]) -> None:
        found = checked(tmp_path, case)
        assert not errors(found.findings)
        settings = counted_in_steps(Settings.of(**asked_by(found).settings), epoch=1)
        rate_of = learning_rates(settings)
        for step, rate in case["lr_of_step"].items():
            assert rate_of(int(step)) == pytest.approx(rate, abs=1e-9 * 1e-3, rel=1e-9)

    check_each(taken, look)


def test_what_nobody_can_have_meant_is_refused(tmp_path: Path) -> None:
    refused = [case for case in RECORDED if is_refused(case)]
    assert refused

    def look(case: dict[str, Any]) -> None:
        said = [one.message for one in errors(checked(tmp_path, case).findings)]
        assert any(REFUSED[case["settings"]["lr_scheduler"]] in message for message in said)

    check_each(refused, look)


def test_cycles_that_sd_scripts_cannot_count_are_not_written() -> None:
    assert scheduler_cycles(Settings.of(lr_scheduler="cosine_with_min_lr", lr_cycles=0.75)) is None
    assert scheduler_cycles(Settings.of(lr_scheduler="cosine_with_min_lr", lr_cycles=1.5)) == 3
    assert scheduler_cycles(Settings.of(lr_scheduler="cosine", lr_cycles=1.5)) is None
