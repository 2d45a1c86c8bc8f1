"""Prompts that clora makes up: what a model is asked, again and again, so that it goes on answering alike."""

from .replay_prompts import ReplayPrompts
from .vocabulary import Vocabulary, vocabulary_of

__all__ = ["ReplayPrompts", "Vocabulary", "vocabulary_of"]
