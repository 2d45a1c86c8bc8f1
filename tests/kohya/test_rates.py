"""Which part of an adapter learns how fast, by a training file: against sd-scripts' own groups.

learning_rate_groups.json has been recorded from sd-scripts v0.11.1: rates in, the optimiser's groups out.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from asking import asked
from cases import check_each

from clora_ext.config.settings import Settings
from clora_ext.training.rates import rate_factor

RECORDED: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("learning_rate_groups.json").read_text(encoding="utf-8")
)


def training_file(case: dict[str, Any]) -> str:
    rates = [
        f"{name} = {case[name]}"
        for name in ("learning_rate", "unet_lr", "text_encoder_lr")
        if case[name] is not None
    ]
    ratios = [
        f"{name}={case[name]}" for name in case if name.startswith("loraplus") and case[name] is not None
    ]
    return "\n".join([*rates, *([f"network_args = {json.dumps(ratios)}"] if ratios else [])])


def test_every_group_learns_at_sd_scripts_rate(tmp_path: Path) -> None:
    def look(case: dict[str, Any]) -> None:
        settings = Settings.of(**asked(tmp_path, training_file(case)).settings)
        wanted = {one["group"]: one["lr"] for one in case["groups"]}
        assert settings.teaches_text == ("textencoder" in wanted)
        assert settings.network.text_encoder_only == ("unet" not in wanted)
        for group, component in (("textencoder", "text_encoder"), ("unet", "unet")):
            if group in wanted:
                down, up = (
                    settings.optimizer.learning_rate * rate_factor(component, part, settings)
                    for part in ("down", "up")
                )
                assert down == pytest.approx(wanted[group])
                assert up == pytest.approx(wanted.get(f"{group} plus", wanted[group]))

    check_each(RECORDED, look)
