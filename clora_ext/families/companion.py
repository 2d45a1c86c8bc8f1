"""Networks of a model that lie in files of their own beside the one that is taught. Needs no torch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clora_ext.errors import CheckpointError
from clora_ext.formats.header import Header
from clora_ext.formats.pieces import Piece, Pieces

__all__ = ["Companion", "find_companion"]

_HIGHEST = 3  # folders above the model: ComfyUI's own and a user's below it
_MOST = 200  # files that are looked at
_ENDINGS = (".safetensors", ".sft")


@dataclass(frozen=True, slots=True)
class Companion:
    """A network that a family's models may lack, and where programs keep it.

    Attributes:
        component: its name in the family.
        title: what people call it.
        option: by which a user names its file.
        folders: of ComfyUI in which it lies, beside the folder of the model.
        usual: names of its file, as it is published.
        read: its tensors, by their names in a file of everything; raises CheckpointError.
        check: makes sure that such tensors fit a model; raises CheckpointError that says why not.
    """

    component: str
    title: str
    option: str
    folders: tuple[str, ...]
    usual: tuple[str, ...]
    read: Callable[[Path], Mapping[str, Piece]]
    check: Callable[[Header, Header, Path], None]

    @property
    def stems(self) -> tuple[str, ...]:
        """What names of files begin with that are the same network in another precision."""
        return tuple(name.rpartition(".")[0] for name in self.usual)

    def fitting(self, file: Path, model: Header) -> Mapping[str, Piece]:
        """The file's tensors, if they fit the model.

        Raises:
            CheckpointError: they do not, or it holds none.
        """
        pieces = self.read(file)
        self.check(model, Pieces(pieces).header(), file)
        return pieces


def find_companion(
    wanted: Companion, model: Header, place: Path, among: Sequence[Path] | None = None
) -> Path:
    """The one file that fits among those beside a model: one of a usual name, or the only one.

    Args:
        wanted: what is looked for.
        model: its header.
        place: where it lies.
        among: the files that may be it; None: those beside the model.

    Raises:
        CheckpointError: there is none, or several of which none has a usual name.
    """
    files = _beside(wanted, place) if among is None else among
    refused = {file: _refusal(wanted, file, model) for file in files}
    found = [file for file, reason in refused.items() if reason is None]
    usual = [file for file in found if file.name in wanted.usual]
    if len(found) == 1 or usual:
        return (usual or found)[0]
    fix = f"name its file: {wanted.option} FILE"
    if found:
        names = ", ".join(sorted(file.name for file in found)[:4])
        raise CheckpointError(f"several files may be the {wanted.title} of {place}: {names}", fix=fix)
    folder = " or ".join(f"{one}/" for one in wanted.folders)
    message = f"{place} is a transformer alone, and no {wanted.title} lies beside it in {folder}"
    near = [reason for file, reason in refused.items() if reason and file.name.startswith(wanted.stems)]
    passed = f" (passed over: {'; '.join(near[:2])})" if near else ""
    raise CheckpointError(message + passed, fix=f"put {wanted.usual[0]} there, or {fix}")


def _beside(wanted: Companion, place: Path) -> Iterator[Path]:
    """Files in the nearest of the folders, and those in the model's own."""
    own = [file for file in sorted(place.parent.iterdir()) if file.suffix in _ENDINGS and file != place]
    yield from own[:_MOST]
    for above in list(place.absolute().parents)[:_HIGHEST]:
        folders = [above / name for name in wanted.folders if (above / name).is_dir()]
        files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.suffix in _ENDINGS]
        yield from files[:_MOST]
        if folders:
            return


def _refusal(wanted: Companion, file: Path, model: Header) -> str | None:
    """Why a file is not the one; None: it may be."""
    try:
        wanted.fitting(file, model)
    except CheckpointError as error:
        return error.message
    return None
