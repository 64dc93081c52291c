from hypothesis import given
from hypothesis import strategies as st

from lib.keys import LONGEST_KEY
from lib.publication import folder

KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=850).filter(
    lambda key: len(key.encode()) <= LONGEST_KEY
)


def test_a_player_can_guess_the_folder():
    assert folder("sprites/", "videos/a.mp4", 10) == "sprites/videos/a.mp4/10/"


@given(KEYS, st.integers(0, 10**9))
def test_every_key_has_room_for_its_sheets(key, definition):
    name = f"{folder('sprites/', key, definition)}sprite_{'a' * 12}_99999.webp"

    assert name.startswith("sprites/")
    assert len(name.encode()) <= LONGEST_KEY


@given(KEYS, KEYS)
def test_two_keys_never_share_a_folder(one, other):
    assert (folder("sprites/", one, 10) == folder("sprites/", other, 10)) == (one == other)


def test_a_long_key_is_cut_at_a_character_and_marked():
    made = folder("sprites/", "视" * 283, 10)

    assert made.startswith("sprites/视视")
    assert made.endswith("/10/")
    assert made.removesuffix("/10/")[-33] == "~"
    assert made != folder("sprites/", "视" * 282 + "频", 10)
