import pytest

from lib.definitions import load
from lib.errors import Invalid
from lib.sprites import PRESET_10


def write(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_preset_10_is_always_there():
    assert load().get(10) == PRESET_10
    assert (PRESET_10.width, PRESET_10.height, PRESET_10.rows, PRESET_10.columns) == (142, 80, 10, 10)
    assert (PRESET_10.sampling, PRESET_10.interval, PRESET_10.fill, PRESET_10.format) == (
        "time",
        10,
        "black",
        "jpg",
    )


def test_your_own_stand_beside_it(tmp_path):
    definitions = load(write(tmp_path, '[20]\nname = "fine"\ninterval = 5\nwidth = 160\nheight = 90\n'))

    assert [definition.number for definition in definitions] == [10, 20]
    assert definitions.get(20).interval == 5


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("[20]\nrows = 20\ncolumns = 10\n", "mine.toml [20] rows", "100"),
        ("[20]\nfill = 'blue'\n", "mine.toml [20] fill", "black"),
        ("[20]\ncolour = 1\n", "mine.toml [20] colour", "not a field"),
        ("[20]\ninterval = 0\n", "mine.toml [20] interval", "0"),
        ("[ten]\n", "mine.toml [ten]", "number"),
        ("20 = 5\n", "mine.toml [20]", "table"),
        ("[10]\ninterval = 5\n", "mine.toml [10]", "preset"),
        ("[20\n", "mine.toml", "TOML"),
    ],
)
def test_a_mistake_is_found_by_its_place(tmp_path, text, place, problem):
    with pytest.raises(Invalid) as caught:
        load(write(tmp_path, text))

    assert caught.value.field.endswith(place)
    assert problem in caught.value.problem


def test_an_unknown_number_names_the_known_ones():
    with pytest.raises(Invalid, match="there is no definition 11; there are: 10"):
        load().get(11)
