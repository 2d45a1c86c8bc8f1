"""Prompts that clora makes up: what a model is asked, again and again, so that it goes on answering alike."""

from .rephrase import rephrased
from .replay_prompts import ReplayPrompts
from .vocabulary import Vocabulary, reads_as_one, vocabulary_of

__all__ = ["ReplayPrompts", "Vocabulary", "reads_as_one", "rephrased", "vocabulary_of"]
