"""The table of keys: all that sd-scripts has, typed as it has them, and one sentence for each."""

import json
from pathlib import Path

from cases import check_each

from clora_ext.kohya.judge import judge
from clora_ext.kohya.key import Key, dataset_keys, keys, training_keys

OPTIONS = json.loads(Path(__file__).with_name("sd_scripts_options.json").read_text(encoding="utf-8"))
"""Of train_network.py and sdxl_train_network.py, version 0.11.1: kind, default and choices by name."""

KINDS = {
    "flag": {"flag"},
    "int": {"whole"},
    "float": {"number"},
    "int_or_float": {"steps", "number"},
    "float*": {"numbers", "number"},
    "str*": {"texts", "pairs", "text"},
    "str": {"text", "path", "sides in text", "ending", "anything"},
    "Path": {"path"},
}
WIDER = {
    "lr_decay_steps": "a note in any case",
    "show_timesteps": "a note in any case",
    "token_warmup_step": "steps or a share",
}


def test_every_option_of_sd_scripts_stands_in_the_table_with_its_default() -> None:
    def check(name: str) -> None:
        kind, default, choices = OPTIONS[name]
        key = training_keys()[name]
        assert key.kind in KINDS[kind] or name in WIDER, key.kind
        assert key.default == default or name == "network_dim"  # where none is given, 4 acts
        named = [choice for choice in choices or [] if choice is not None]
        assert set(named) <= set(key.choices) or not key.choices

    check_each(OPTIONS, check)


def test_no_two_rows_are_of_one_key_and_each_says_something() -> None:
    rows = [(key.file, key.name) for key in keys()]
    assert len(set(rows)) == len(rows) == 286
    assert all(key.says and not key.says.endswith(".") for key in keys())
    assert all(key.scopes for key in dataset_keys().values())
    assert not any(key.scopes for key in training_keys().values())


def test_the_values_that_ask_for_nothing_pass_whatever_the_verdict() -> None:
    def check(key: Key) -> None:
        for value in key.neutral:
            finding, given = judge(key, value, Path("x.toml"), 1)
            assert (finding.verdict, finding.message, given) == ("neutral", "", None)

    check_each([key for key in keys() if key.neutral], check)


def test_what_is_honoured_has_a_name_in_clora_and_nothing_else_has() -> None:
    assert all(bool(key.becomes) == (key.verdict == "honour") for key in keys())
