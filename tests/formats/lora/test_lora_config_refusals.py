"""Configurations of PEFT that cannot be followed are refused, in the file and beside it."""

import json
from pathlib import Path
from typing import Any

import pytest
from cases import check_each
from refused_files import DOTTED, lettered, refusal, sites
from safetensors.torch import save_file

from clora_ext.errors import CheckpointError
from clora_ext.formats.lora.reader import read_lora

BAD_CONFIGS: dict[str, Any] = {
    "not valid JSON": "{",
    "not a table": "[]",
    "DoRA": {"unet.use_dora": True, "unet.lora_alpha": 1},
    "pissa_niter_4": {"unet.init_lora_weights": "pissa_niter_4", "unet.lora_alpha": 1},
    "alpha is -1": {"unet.lora_alpha": -1},
    "alpha is inf": {"unet.lora_alpha": 10**400},
    "alpha is 'two'": {"unet.lora_alpha": "two"},
    "alpha_pattern is not a table": {"unet.lora_alpha": 1, "unet.alpha_pattern": [1]},
    "is not a module's name": {"unet.lora_alpha": 1, "unet.alpha_pattern": {"(a+)+$": 2}},
}


def test_configurations_that_cannot_be_followed_are_refused(tmp_path: Path) -> None:
    def check(reason: str) -> None:
        settings = BAD_CONFIGS[reason]
        written = settings if isinstance(settings, str) else json.dumps(settings)
        error = refusal(tmp_path, lettered(DOTTED), metadata={"lora_adapter_metadata": written})
        assert reason in error.message

    check_each(BAD_CONFIGS, check)


def test_a_hostile_configuration_beside_the_file_is_refused(tmp_path: Path) -> None:
    save_file(lettered(DOTTED.replace("unet.", "base_model.model.")), tmp_path / "x.safetensors")

    def check(content: bytes) -> None:
        (tmp_path / "adapter_config.json").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"adapter_config\.json"):
            read_lora(tmp_path / "x.safetensors", sites())

    check_each((b"{", b"\xff\xfe", b" " * (2 << 20)), check)
