"""Teach adapters on a frozen model; accelerate and peft are used only here."""

from clora_ext.training.loop import train
from clora_ext.training.objective import Example

__all__ = ["Example", "train"]
