import pytest

from lib import settings
from lib.app import build
from lib.errors import ConfigurationError

SCF = {
    "TENCENTCLOUD_RUNENV": "SCF",
    "STORAGE": "cos",
    "BUCKET": "media-1250000000",
    "DATABASE_URL": "postgresql://u:canary@db.example/filmstrip",
}


def test_everything_has_a_default_on_one_machine():
    loaded = settings.load({})

    assert loaded.DEFINITIONS == (10,)
    assert ".mp4" in loaded.VIDEO_SUFFIXES
    assert not loaded.push


def test_lists_are_separated_by_commas():
    loaded = settings.load({"DEFINITIONS": "10, 20", "VIDEO_SUFFIXES": ".mp4,.mkv", "CALLBACK_ALLOW": "a:1,"})

    assert loaded.DEFINITIONS == (10, 20)
    assert loaded.VIDEO_SUFFIXES == (".mp4", ".mkv")
    assert loaded.CALLBACK_ALLOW == ("a:1",)


def test_an_empty_variable_is_as_good_as_none():
    assert settings.load({"DEFINITIONS": "", "LEASE_SECONDS": ""}) == settings.load({})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STORAGE", "s3"),
        ("BUCKET", "no-appid"),
        ("BUCKET", "Upper-1250000000"),
        ("REGION", "gz!"),
        ("OUTPUT_PREFIX", "no-slash-at-the-end"),
        ("OUTPUT_PREFIX", "/starts/with/one/"),
        ("OUTPUT_PREFIX", "videos/sprites/"),
        ("VIDEO_SUFFIXES", "mp4"),
        ("VIDEO_SUFFIXES", ".MP4"),
        ("PUBLIC_BASE_URL", "ftp://cdn.example"),
        ("PUBLIC_BASE_URL", "https://cdn.example/?token=canary"),
        ("DEFINITIONS", "ten"),
        ("DEFINITIONS", ","),
        ("DEFINITIONS", "11"),
        ("DEFINITIONS_FILE", "no/such/file.toml"),
        ("ENGINE", "ffmpeg"),
        ("DOCUMENTS", "vtt,srt"),
        ("DOCUMENTS", "hls"),
        ("CAPTURES_AT_ONCE", "0"),
        ("LEASE_SECONDS", "a while"),
        ("CALLBACK_URL", "user.example/events"),
        ("CALLBACK_KEYS", "canary"),
        ("CALLBACK_KEYS", "whsec_canary"),
        ("CALLBACK_ALLOW", "nonsense"),
        ("EVENT_MODE", "shout"),
        ("DATABASE_URL", "mysql://root:canary@db.example/x"),
        ("DATABASE_URL", "postgresql://u:canary@host:port/x"),
        ("RETENTION_DAYS", "1"),
        ("STALE_SECONDS", "-1"),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not_told(variable, value):
    with pytest.raises(ConfigurationError) as caught:
        build(settings.load({variable: value}))

    assert caught.value.variable == variable
    assert str(caught.value).startswith(f"{variable}: ")
    assert "canary" not in str(caught.value)


def test_a_callback_url_is_needed_where_only_pushing_is_wanted():
    with pytest.raises(ConfigurationError, match="^CALLBACK_URL: "):
        settings.load({"EVENT_MODE": "push"})


def test_pull_only_never_pushes():
    assert not settings.load({"EVENT_MODE": "pull", "CALLBACK_URL": "https://user.example/"}).push
    assert settings.load({"CALLBACK_URL": "https://user.example/"}).push


def test_sqlite_and_folders_are_refused_on_scf():
    assert settings.load(SCF).STORAGE == "cos"
    with pytest.raises(ConfigurationError, match="^DATABASE_URL: SQLite cannot be used on SCF"):
        settings.load({**SCF, "DATABASE_URL": "sqlite:///tmp/x.db"})
    with pytest.raises(ConfigurationError, match="^DATABASE_URL: "):
        settings.load({"TENCENTCLOUD_RUNENV": "SCF", "STORAGE": "cos"})
    with pytest.raises(ConfigurationError, match="^STORAGE: "):
        settings.load({**SCF, "STORAGE": "folder"})


def test_no_secret_shows_in_the_settings():
    loaded = settings.load({**SCF, "CALLBACK_KEYS": "whsec_canary"})

    assert "canary" not in repr(loaded)
    assert "canary" not in str(loaded)


def test_credentials_are_read_on_every_use():
    environment = {"TENCENTCLOUD_SECRETID": "AKID1", "TENCENTCLOUD_SECRETKEY": "canary1"}
    assert settings.credentials(environment).token == ""

    environment |= {"TENCENTCLOUD_SECRETID": "AKID2", "TENCENTCLOUD_SESSIONTOKEN": "canary2"}
    again = settings.credentials(environment)

    assert (again.secret_id, again.token) == ("AKID2", "canary2")
    assert "canary" not in repr(again)
    with pytest.raises(ConfigurationError, match="^TENCENTCLOUD_SECRETKEY: is not set"):
        settings.credentials({"TENCENTCLOUD_SECRETID": "AKID"})


def test_the_env_file(tmp_path):
    path = tmp_path / ".env"
    assert settings.read_env_file(path) == {}
    path.write_text("# comment\n\nexport A=1\nB = \"two words\"\nC='x=y'\nD=\n")
    assert settings.read_env_file(path) == {"A": "1", "B": "two words", "C": "x=y", "D": ""}
    path.write_text("A=1\nnonsense canary\n")
    with pytest.raises(ConfigurationError, match="line 2: write NAME=value") as caught:
        settings.read_env_file(path)
    assert "canary" not in str(caught.value)
