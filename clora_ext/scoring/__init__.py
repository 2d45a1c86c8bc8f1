"""How like one another pictures are, as an image encoder sees them; loading a scorer loads torch."""

from .choose import check_scorer, open_scorer
from .scorer import Scorer, TextScorer

__all__ = ["Scorer", "TextScorer", "check_scorer", "open_scorer"]
