"""What every family keeps to, so that the engine need not know which one it has."""

from pathlib import Path

from published_files import anima_header, klein_header, krea2_header, z_image_header
from real_shapes import sd1_header, sdxl_header

from clora_ext import families
from clora_ext.families.components import component_of, denoiser_of
from clora_ext.families.flow.layout import FlowLayout
from clora_ext.families.latent.layout import OriginalLayout
from clora_ext.formats.lora.kinds import kind_of

ROOM = Path(families.__file__).parent
HEADERS = {"sd1": sd1_header(), "sdxl": sdxl_header(), "z_image": z_image_header()}
HEADERS |= {"anima": anima_header(), "krea2": krea2_header()}
HEADERS |= {name: klein_header(name) for name in ("flux2_klein_4b", "flux2_klein_9b")}


def test_a_family_is_a_module_with_its_data_beside_it() -> None:
    defining = {path.stem for path in ROOM.glob("*.py") if "\nFAMILY" in path.read_text(encoding="utf-8")}
    assert set(families.names()) == defining == set(HEADERS)
    assert [families.load(name).name for name in families.names()] == list(families.names())


def test_components_are_where_the_key_tables_have_them() -> None:
    for name, header in HEADERS.items():
        family = families.load(name)
        assert isinstance(family, OriginalLayout | FlowLayout)
        tables = family.tables(family.config(header, Path("x")))
        assert {one.name: one.prefix for one in family.components.values()} == {
            key: table.prefix for key, table in tables.items()
        }
        assert {key: one.name for key, one in family.components.items()} == {key: key for key in tables}


def test_a_family_says_which_component_is_taught_and_which_a_tensor_belongs_to() -> None:
    for name, header in HEADERS.items():
        family = families.load(name)
        denoiser = denoiser_of(family.components)
        alone = family.targets(header, "transformer", text_encoders=False)
        assert {target.component for target in alone} == {denoiser.name}
        for target in family.targets(header, "transformer", text_encoders=not family.companions):
            found = component_of(family.components, target.tensor)
            assert found is not None
            assert (found.name, found.role != "vae") == (target.component, True)
        assert component_of(family.components, "v_pred") is None


def test_every_component_that_is_taught_has_a_name_in_lora_files() -> None:
    for name in families.names():
        family = families.load(name)
        taught = {target.component for target in family.parameters(HEADERS[name])}
        assert set(kind_of(name).prefixes) == taught


def test_what_may_lie_elsewhere_is_a_component_that_is_not_taught() -> None:
    for name, header in HEADERS.items():
        family = families.load(name)
        assert set(family.companions) <= set(family.components) - {denoiser_of(family.components).name}
        assert family.lacking(header) == ()
        assert {key: one.component for key, one in family.companions.items()} == {
            key: key for key in family.companions
        }
