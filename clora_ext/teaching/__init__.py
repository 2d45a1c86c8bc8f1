"""Teach the evolving model: one more concept from pictures, or from a LoRA that somebody else has trained."""

from clora_ext.teaching.concept import add_concept
from clora_ext.teaching.known import known_result
from clora_ext.teaching.lora import LoraPlan, LoraRequest, add_lora, make_lora_plan
from clora_ext.sampling.forgetting import Remembered, forgetting_grid, look_back
from clora_ext.teaching.result import Result

__all__ = [
    "LoraPlan",
    "LoraRequest",
    "Remembered",
    "Result",
    "add_concept",
    "add_lora",
    "forgetting_grid",
    "known_result",
    "look_back",
    "make_lora_plan",
]
