"""Teach the evolving model: one more concept from pictures, or from a LoRA that somebody else has trained."""

from clora_ext.teaching.concept import Result, add_concept
from clora_ext.teaching.lora import LoraPlan, LoraRequest, LoraResult, add_lora, make_lora_plan

__all__ = ["LoraPlan", "LoraRequest", "LoraResult", "Result", "add_concept", "add_lora", "make_lora_plan"]
