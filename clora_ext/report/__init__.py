"""What a project has learned, kept and lost, as one page for a browser."""

from .run import write_report

__all__ = ["write_report"]
