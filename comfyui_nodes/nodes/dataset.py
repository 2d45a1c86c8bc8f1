"""Pictures to teach: from the graph, or from a folder."""

from typing import Any

import torch

from ..host import input_folders, io, to_pictures
from ..pictures import dataset_folder, folder_state, save_pictures
from ..state import Dataset
from .types import CATEGORY, DATASET

__all__ = ["DatasetFromFolder", "DatasetFromImages"]

_MORE = ("images_2", "images_3", "images_4", "images_5", "images_6", "images_7", "images_8")


def _words() -> list[Any]:
    """What every dataset says of its pictures."""
    return [
        io.String.Input(
            "token",
            default="",
            tooltip="The rare word that will call the concept, such as sks. Empty: the next unused one.",
        ),
        io.String.Input(
            "class_name",
            default="",
            tooltip="What kind of thing it is, such as dog or style. Empty: the folder's name says it.",
        ),
    ]


class DatasetFromImages(io.ComfyNode):
    """Teach pictures of the graph."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return io.Schema(
            node_id="CloraDatasetFromImages",
            display_name="Clora Dataset from Images",
            category=f"{CATEGORY}/dataset",
            description="Pictures of this graph as a concept to teach: four to twenty of one thing or style.",
            inputs=[
                io.Image.Input("images", tooltip="A picture of the concept, or a batch of them."),
                *_words(),
                io.String.Input(
                    "captions",
                    multiline=True,
                    default="",
                    tooltip="One line for each picture, with {token} and {class} where they belong. "
                    "Empty: 'a photo of {token} {class}' for all.",
                ),
                *(
                    io.Image.Input(name, optional=True, tooltip="More pictures, of any size.")
                    for name in _MORE
                ),
            ],
            outputs=[DATASET.Output("DATASET", display_name="dataset", tooltip="For Add Concept.")],
        )

    @classmethod
    def execute(
        cls, images: torch.Tensor, token: str, class_name: str, captions: str, **more: torch.Tensor
    ) -> io.NodeOutput:
        """Write them where the engine reads pictures."""
        batches = [images, *(more[name] for name in _MORE if name in more)]
        pictures = [picture for batch in batches for picture in to_pictures(batch)]
        folder = save_pictures(pictures, captions.splitlines())
        return io.NodeOutput(Dataset(folder, token.strip() or None, class_name.strip() or "thing"))


class DatasetFromFolder(io.ComfyNode):
    """Teach a folder of pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return io.Schema(
            node_id="CloraDatasetFromFolder",
            display_name="Clora Dataset from Folder",
            category=f"{CATEGORY}/dataset",
            description="A folder of pictures as a concept to teach, captions in .txt files beside them.",
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=input_folders(),
                    tooltip="A folder inside ComfyUI's input folder; 10_sks dog and the like are understood.",
                ),
                *_words(),
                io.String.Input(
                    "path",
                    optional=True,
                    default="",
                    tooltip="A folder anywhere instead, if ComfyUI was started with CLORA_ANY_FOLDER=1.",
                ),
            ],
            outputs=[DATASET.Output("DATASET", display_name="dataset", tooltip="For Add Concept.")],
        )

    @classmethod
    def execute(cls, folder: str, token: str, class_name: str, path: str = "") -> io.NodeOutput:
        """Find it."""
        found = dataset_folder(folder, path)
        return io.NodeOutput(Dataset(found, token.strip() or None, class_name.strip() or None))

    @classmethod
    def fingerprint_inputs(cls, folder: str, token: str, class_name: str, path: str = "") -> Any:
        """Looks again when a picture or caption has changed."""
        found = dataset_folder(folder, path)
        return str(found), token, class_name, folder_state(found)
