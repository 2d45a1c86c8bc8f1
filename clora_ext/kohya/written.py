"""Settings as a training file that sd-scripts reads: flat, every value written out."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from clora_ext.config.knob_fields import knob_fields
from clora_ext.config.settings import NOT_SHAPING, Settings

from .key import Key, training_keys
from .lycoris import LYCORIS, is_plain_dora
from .network_args import NETWORK_ARGUMENTS, network_args
from .optimizer import optimizer_args
from .scheduler import scheduler_arguments, scheduler_cycles, scheduler_name

__all__ = ["training_file_text"]

_PLAIN = {"flag", "whole", "number", "text"}
_OTHERWISE = (
    frozenset(
        "steps epochs warmup_steps alpha learning_rate resolution lr_scheduler warmup_share lr_decay_steps "
        "lr_decay_share lr_cycles lr_end lr_step_rules optimizer_type optimizer_args "
        "text_encoder_lr rslora".split()
    )
    | NETWORK_ARGUMENTS
)
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


def _network_alpha(settings: Settings) -> float:
    """As sd-scripts divides it by the rank."""
    return settings.adapter.effective_alpha * settings.network.alpha_factor(settings.adapter.rank)


_WRITERS: Mapping[str, Callable[[Settings], Any]] = {
    "network_module": lambda settings: LYCORIS if is_plain_dora(settings) else "networks.lora",
    "network_alpha": _network_alpha,
    "network_train_unet_only": lambda settings: not settings.teaches_text,
    "network_args": network_args,
    "text_encoder_lr": lambda settings: settings.algorithm.text_encoder_lr,
    "optimizer_type": lambda settings: settings.algorithm.optimizer_type,
    "optimizer_args": optimizer_args,
    "learning_rate": lambda settings: settings.optimizer.learning_rate,
    "lr_scheduler": scheduler_name,
    "lr_scheduler_args": scheduler_arguments,
    "lr_scheduler_num_cycles": scheduler_cycles,
    "lr_warmup_steps": lambda settings: settings.rate.warmup_share or settings.schedule.warmup_steps or None,
    "lr_decay_steps": lambda settings: settings.rate.lr_decay_share or settings.rate.lr_decay_steps or None,
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
        told = told or (name == "dora" and is_plain_dora(settings))
        if not told and value != usual[name]:
            yield f"sd-scripts has nothing like {name} = {value}"
