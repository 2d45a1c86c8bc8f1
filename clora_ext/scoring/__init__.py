"""How like one another pictures are, as an image encoder sees them: what it costs to learn, in numbers."""

from .scorer import Scorer, TextScorer

__all__ = ["Scorer", "TextScorer"]
