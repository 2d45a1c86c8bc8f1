"""What ComfyUI complains of while it loads files."""

import logging

from server import TROUBLE

__all__ = ["Listener", "listen"]


class Listener(logging.Handler):
    """Keeps every line that says something did not load."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if any(word in line.lower() for word in TROUBLE):
            self.lines.append(line)


def listen() -> Listener:
    """From now on."""
    listener = Listener()
    logging.getLogger().addHandler(listener)
    logging.getLogger().setLevel(logging.DEBUG)
    return listener
