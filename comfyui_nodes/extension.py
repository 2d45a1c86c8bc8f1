"""What ComfyUI loads: the list of nodes."""

from .host import ComfyExtension, io
from .nodes import dataset, export, project, samples, teaching

__all__ = ["NODES", "Clora"]

NODES: tuple[type[io.ComfyNode], ...] = (
    project.StartProject,
    project.LoadEvolvingModel,
    dataset.DatasetFromImages,
    dataset.DatasetFromFolder,
    teaching.AddConcept,
    teaching.AddLora,
    project.Undo,
    samples.ConceptPrompt,
    samples.Draw,
    samples.ForgettingReport,
    samples.LossPlot,
    samples.ProjectInfo,
    export.SaveCheckpoint,
    export.ExportLora,
)
"""All of them, in the order in which they are used."""


class Clora(ComfyExtension):
    """The pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes."""
        return list(NODES)
