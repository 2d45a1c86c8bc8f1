"""Settings as a training file that sd-scripts reads: flat, every value written out."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from clora_ext.config.knob_fields import knob_fields
from clora_ext.config.settings import NOT_SHAPING, Settings

from .key import Key, training_keys

__all__ = ["training_file_text"]

_PLAIN = {"flag", "whole", "number", "text"}
_OTHERWISE = frozenset({"steps", "epochs", "warmup_steps", "alpha", "learning_rate", "resolution"})
_NOT_THERE = frozenset({"strategy", "strategy_options", "targets"})


def training_file_text(settings: Settings, words: str) -> str:
    """The file; what sd-scripts has no key for stands in it as a comment.

    Args:
        settings: of a run; ``targets`` must be ``transformer`` for sd-scripts to teach the same layers.
        words: for people, what it is about; one line.
    """
    import tomlkit

    file = tomlkit.document()
    file.add(tomlkit.comment(words))
    file.add(tomlkit.comment("to be completed: pretrained_model_name_or_path, train_data_dir, output_dir"))
    for name, value in _keys(settings):
        file.add(name, tomlkit.item(value))
    for line in _comments(settings):
        file.add(tomlkit.comment(line))
    return tomlkit.dumps(file)


def _keys(settings: Settings) -> Iterator[tuple[str, Any]]:
    """In the order of the table."""
    values = _flat(settings)
    for name, key in training_keys().items():
        if name in _WRITERS:
            value = _WRITERS[name](settings)
        elif _is_plain(key):
            value = values[key.becomes]
        else:
            continue
        if value is not None and not key.is_neutral(value):
            yield name, value


def _flat(settings: Settings) -> Mapping[str, Any]:
    """Every knob by its name."""
    values = settings.as_dict()
    return {
        name: (values[knob.group] if knob.group else values)[name]
        for name, knob in knob_fields(Settings).items()
    }


def _is_plain(key: Key) -> bool:
    """Whether a setting becomes the key as it stands."""
    is_knob = key.becomes in knob_fields(Settings) and key.becomes not in _OTHERWISE
    return is_knob and key.kind in _PLAIN and key.verdict == "honour"


def _resolution(settings: Settings) -> str | None:
    side = settings.data.resolution
    return None if side is None else f"{side},{side}"


_WRITERS: Mapping[str, Callable[[Settings], Any]] = {
    "network_module": lambda settings: "networks.lora",
    "network_alpha": lambda settings: settings.adapter.effective_alpha,
    "network_train_unet_only": lambda settings: not settings.adapter.text_encoder,
    "optimizer_type": lambda settings: "AdamW",
    "optimizer_args": lambda settings: [f"weight_decay={settings.optimizer.weight_decay!r}"],
    "learning_rate": lambda settings: settings.optimizer.learning_rate,
    "lr_scheduler": lambda settings: "constant_with_warmup" if settings.schedule.warmup_steps else "constant",
    "lr_warmup_steps": lambda settings: settings.schedule.warmup_steps or None,
    "max_train_steps": lambda settings: None if settings.schedule.epochs else settings.schedule.steps,
    "max_train_epochs": lambda settings: settings.schedule.epochs,
    "resolution": _resolution,
}


def _comments(settings: Settings) -> Iterator[str]:
    """What the file cannot say."""
    yield f"sd-scripts has nothing like strategy = {settings.strategy}: it trains a LoRA and folds nothing"
    if settings.adapter.targets != "transformer":
        yield (
            f"sd-scripts has nothing like targets = {settings.adapter.targets}: it teaches all layers of the "
            "transformer blocks"
        )
    written = {key.becomes for key in training_keys().values() if _is_plain(key)} | _OTHERWISE | _NOT_THERE
    usual, groups = _flat(Settings()), knob_fields(Settings)
    for name, value in _flat(settings).items():
        told = name in {*written, "weight_decay", "text_encoder"} or groups[name].group in NOT_SHAPING
        if not told and value != usual[name]:
            yield f"sd-scripts has nothing like {name} = {value}"
