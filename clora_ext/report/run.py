"""Write the page: gather, fill in, replace the file as a whole."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from clora_ext.errors import ProjectError, StorageError, UsageError
from clora_ext.events import Sink, ignore
from clora_ext.formats.text import escaped_lines
from clora_ext.project import Project
from clora_ext.project.storage import replace_text
from clora_ext.version import VERSION

from .contents import Contents, contents

__all__ = ["DEFAULT_NAME", "render", "write_report"]

DEFAULT_NAME = "report.html"
"""The page's name inside the project, where no other is given."""

_MARK = '<meta name="generator" content="clora'
_HERE = Path(__file__).parent


def write_report(project: Path, target: Path | None = None, sink: Sink = ignore) -> Path:
    """One HTML page with all concepts over all versions of a project's model; give where it lies.

    It asks for nothing from outside: pictures, style and curves are inside. What earlier models drew is taken
    from the project; what only the current model can draw is drawn now, and kept.

    Args:
        project: its folder.
        target: the file; None: ``report.html`` in the project. A page that clora has written is replaced,
            anything else is not.
        sink: told what happens; may raise Cancelled to stop.

    Raises:
        ProjectError: there is no project, or it has learned nothing.
        UsageError: the target is something else than such a page.
        CloraError: the model cannot be drawn with, or the disk is full.
    """
    from clora_ext.sampling.forgetting import forgetting_report

    opened = Project.open(project)
    if not opened.concepts:
        raise ProjectError(f"{project} has learned nothing yet", fix="teach a first concept")
    target = project / DEFAULT_NAME if target is None else target
    _check(target)
    page = render(contents(opened, forgetting_report(project, sink), VERSION))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {target.parent}: {error.strerror}") from error
    replace_text(target, page)
    return target


def _check(target: Path) -> None:
    """Only a page of clora's own is replaced."""
    if target.is_dir():
        raise UsageError(f"{target} is a folder", fix="name a file, such as report.html")
    if not target.exists():
        return
    with target.open("rb") as opened:
        if _MARK.encode() in opened.read(1024):
            return
    raise UsageError(f"{target} exists and is no report of clora's", fix="choose another --output")


def render(found: Contents) -> str:
    """The page. Every name, caption and setting is text in it, whatever it holds."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    style = (_HERE / "page.css").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    digest = b64encode(sha256(style.encode()).digest()).decode("ascii")
    page = environment.get_template("page.html").render(found=found, style=style, style_hash=digest)
    return f"{page}\n"


def _printable(value: object) -> object:
    """Text without what steers a reader's eye or is no Unicode."""
    return escaped_lines(value) if isinstance(value, str) and type(value) is str else value
