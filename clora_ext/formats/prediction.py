"""What a diffusion network predicts, as files say it: the noise, or v (arXiv 2202.00512). Needs no torch."""

from collections.abc import Mapping
from typing import Any, Literal

from .header import Header

__all__ = [
    "DIFFUSERS_NAMES",
    "PREDICTION_KEY",
    "V_MARKER",
    "ZERO_SNR_MARKER",
    "Prediction",
    "header_prediction",
    "scheduler_prediction",
]

Prediction = Literal["epsilon", "v"]
"""What the network predicts, as modelspec spells it."""

DIFFUSERS_NAMES: Mapping[Prediction, str] = {"epsilon": "epsilon", "v": "v_prediction"}
"""The ``prediction_type`` of diffusers' schedulers."""

PREDICTION_KEY = "modelspec.prediction_type"
"""Metadata key of a checkpoint's prediction."""

V_MARKER = "v_pred"
"""Name of an empty tensor: the network predicts v."""

ZERO_SNR_MARKER = "ztsnr"
"""Name of an empty tensor: the noise schedule ends in pure noise (arXiv 2305.08891)."""

_KEYS = (PREDICTION_KEY, "modelspec.predict_key")
_V = frozenset({"v", DIFFUSERS_NAMES["v"]})


def header_prediction(header: Header) -> Prediction:
    """``v`` if a checkpoint says so by the marker tensor or by modelspec; else ``epsilon``.

    Nothing in the weights tells one from the other.
    """
    by_words = any(header.metadata.get(key) in _V for key in _KEYS)
    return "v" if by_words or V_MARKER in header.tensors else "epsilon"


def scheduler_prediction(config: Mapping[str, Any]) -> Prediction:
    """What the configuration of one of diffusers' schedulers says."""
    return "v" if config.get("prediction_type") == DIFFUSERS_NAMES["v"] else "epsilon"
