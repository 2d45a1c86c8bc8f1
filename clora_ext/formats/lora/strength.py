"""alpha where it is not a tensor of the file: the configuration that PEFT and diffusers write beside it."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clora_ext.adapters.sites import Site
from clora_ext.errors import CheckpointError
from clora_ext.formats.text import quoted

from .keys import Key

__all__ = ["Configs", "checked_alpha", "read_configs"]

_METADATA_KEY = "lora_adapter_metadata"  # diffusers; keys with the component's name in front
_PEFT_FILE = "adapter_config.json"
_PEFT_PREFIX = "base_model.model."
_PEFT_PRODUCTS = {"LOHA", "LOKR"}
_LARGEST_CONFIG = 1 << 20
# Initialisations that change the model's own weight as well: such factors are no change of the base.
_REPLACING = ("pissa", "olora", "corda", "loftq", "lora_ga")
_FIX = "export the LoRA again as a kohya file with alpha"


def checked_alpha(value: object, where: str) -> float:
    """A usable alpha.

    Raises:
        CheckpointError: it is no number, negative, infinite or NaN.
    """
    try:
        alpha = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        alpha = math.inf
    if not math.isfinite(alpha) or alpha < 0:
        shown = quoted(str(value)) if isinstance(value, str) else f"{alpha:g}"
        raise CheckpointError(f"{where}: alpha is {shown}", fix="the file is damaged; export it again")
    return alpha


@dataclass(frozen=True)
class Configs:
    """PEFT configurations of a file, by component; the empty name stands for all.

    Attributes:
        by_component: parsed tables.
        where: for messages.
    """

    by_component: Mapping[str, Mapping[str, object]]
    where: str

    def alpha(self, site: Site, rank: int) -> float | None:
        """alpha by the configuration, rewritten for the scale alpha / rank; None if it says nothing.

        Raises:
            CheckpointError: the configuration is of a kind that is no plain change, or is unusable.
        """
        config = self._config(site)
        if "lora_alpha" in config:
            self._refuse_kinds(config)
            alpha = self._number(config, "lora_alpha", "alpha_pattern", site)
            # PEFT's rank-stabilised LoRA divides by the root of the rank (arXiv 2312.03732).
            return alpha * math.sqrt(rank) if config.get("use_rslora") else alpha
        if config.get("peft_type") in _PEFT_PRODUCTS and "alpha" in config:
            return self._number(config, "alpha", "alpha_pattern", site)
        return None

    def whole_scale(self, site: Site) -> float | None:
        """The strength of a LoKr of two whole matrices by PEFT's configuration; None if there is none.

        PEFT divides by the rank that was asked for, although no such rank is in the file.
        """
        config = self._config(site)
        if config.get("peft_type") != "LOKR" or "alpha" not in config:
            return None
        rank = self._number(config, "r", "rank_pattern", site)
        if rank == 0:
            raise CheckpointError(f"{self.where}: the rank is 0", fix=_FIX)
        return self._number(config, "alpha", "alpha_pattern", site) / rank

    def has_magnitude(self, site: Site) -> bool:
        """Whether the configuration says that a magnitude belongs to the site's factors (DoRA)."""
        return bool(self._config(site).get("use_dora"))

    def _config(self, site: Site) -> Mapping[str, object]:
        """The table for the site's component."""
        return self.by_component.get(site.component, self.by_component.get("", {}))

    def _number(self, config: Mapping[str, object], name: str, patterns: str, site: Site) -> float:
        """A number that may differ by layer."""
        exceptions = config.get(patterns) or {}
        if not isinstance(exceptions, Mapping):
            raise CheckpointError(f"{self.where}: {patterns} is not a table", fix=_FIX)
        fitting = (
            number
            for pattern, number in exceptions.items()
            if self._fits(str(pattern), site.module, patterns)
        )
        return checked_alpha(next(fitting, config.get(name)), self.where)

    def _refuse_kinds(self, config: Mapping[str, object]) -> None:
        """Refuse what the tensors' names do not show."""
        start = config.get("init_lora_weights")
        if isinstance(start, str) and start.lower().startswith(_REPLACING):
            message = f"{self.where}: {quoted(start)} changes the model's own weights too"
            raise CheckpointError(message, fix="convert it to a plain LoRA with PEFT first")

    def _fits(self, pattern: str, module: str, where: str) -> bool:
        """Whether a pattern names the module or its end, as PEFT understands a plain name.

        PEFT takes patterns for regular expressions; from a file that anybody may have made, only names are
        taken.
        """
        name = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
        if not name.replace(".", "").replace("_", "").isalnum():
            message = f"{self.where}: the {where} {quoted(pattern)} is not a module's name"
            raise CheckpointError(message, fix=_FIX)
        flat = module.removeprefix("text_model.")
        if pattern.startswith("^"):
            return name in {module, flat}
        return module == name or module.endswith(f".{name}") or flat == name


def read_configs(path: Path, metadata: Mapping[str, str], keys: Mapping[str, Key]) -> Configs:
    """What the file's metadata, or PEFT's file beside it, says about alpha.

    Args:
        path: the LoRA file.
        metadata: its header's.
        keys: its tensors' names, taken apart.
    """
    if _METADATA_KEY in metadata:
        where = f"{path}, metadata {_METADATA_KEY}"
        return Configs(_by_component(_table(metadata[_METADATA_KEY], where)), where)
    beside = path.with_name(_PEFT_FILE)
    if any(_PEFT_PREFIX in name for name in keys) and beside.is_file():
        return Configs({"": _table(_read_text(beside), str(beside))}, str(beside))
    return Configs({}, str(path))


def _read_text(path: Path) -> str:
    """The text of a small file."""
    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            raise CheckpointError(f"{path} is too large for a configuration", fix=_FIX)
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"cannot read {path}: {error}", fix="check the file") from error


def _table(text: str, where: str) -> dict[str, object]:
    """A JSON table."""
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where}: not valid JSON", fix=_FIX) from error
    if not isinstance(table, dict):
        raise CheckpointError(f"{where}: not a table", fix=_FIX)
    return table


def _by_component(table: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """One table for each component: ``unet.lora_alpha`` is the UNet's; without a prefix it is everybody's."""
    configs: dict[str, dict[str, object]] = {}
    for key, value in table.items():
        component, dot, field = key.partition(".")
        configs.setdefault(component if dot else "", {})[field if dot else key] = value
    return configs
