"""The families of flow matching that tests go through, one by one."""

import flow_anima
import flow_klein
import flow_krea2
import flow_z_image
from flow_family import FlowFamily

FLOW_FAMILIES: tuple[FlowFamily, ...] = (
    flow_z_image.Z_IMAGE,
    flow_klein.KLEIN,
    flow_anima.ANIMA,
    flow_krea2.KREA_2,
)
Z_IMAGE, KLEIN, ANIMA, KREA_2 = FLOW_FAMILIES


def family_id(family: FlowFamily) -> str:
    """As it stands in a test's name."""
    return family.name
