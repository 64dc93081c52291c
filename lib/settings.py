"""The only reader of the environment: typed, checked once, secrets masked.

Every setting is an environment variable of the same name; on one machine a file `.env` may hold them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from lib.errors import ConfigurationError
from lib.signing.cos import Credentials
from lib.sprites.documents import ALL


def _words(value: Any) -> Any:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Numbers = Annotated[tuple[int, ...], BeforeValidator(_words)]


VIDEO_SUFFIXES = (
    *(
        ".mp4",
        ".m4v",
        ".mov",
        ".3gp",
        ".3g2",
        ".mkv",
        ".webm",
        ".ts",
        ".m2ts",
        ".mts",
        ".mpg",
        ".mpeg",
        ".vob",
    ),
    *(".flv", ".f4v", ".avi", ".wmv", ".asf", ".ogv", ".gif"),
)


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    # Where videos come from and sprites go
    STORAGE: Literal["folder", "cos"] = Field(
        "folder", description="the bucket: a folder of this machine, or COS"
    )
    BUCKET: str = Field(
        "local-1250000000", pattern=r"^[a-z0-9][a-z0-9-]*-\d+$", description="name-appid of the bucket"
    )
    REGION: str = Field("ap-guangzhou", pattern=r"^[a-z0-9-]+$", description="region of bucket and functions")
    BUCKET_DIR: Path = Field(
        Path("var/bucket"), description="the folder that is the bucket, for STORAGE=folder"
    )
    COS_ENDPOINT: str = Field("", description="another address of COS, such as its internal one")
    WATCH_PREFIX: str = Field("videos/", description="objects under it get sprites")
    OUTPUT_PREFIX: str = Field("sprites/", pattern=r"^[^/].*/$", description="sprites are written under it")
    VIDEO_SUFFIXES: Words = Field(
        VIDEO_SUFFIXES,
        description="objects with other suffixes are no videos",
    )
    PUBLIC_BASE_URL: str = Field(
        "",
        pattern=r"^(https?://[^\s?#]+)?$",
        description="what the addresses in events begin with: your CDN; empty is the bucket's own domain",
    )

    # What is made
    DEFINITIONS: Numbers = Field((10,), min_length=1, description="definitions captured for every upload")
    DEFINITIONS_FILE: Path | None = Field(None, description="TOML file of your own definitions")
    ENGINE: Literal["own"] = Field("own", description="who makes the pictures")
    DOCUMENTS: Words = Field(
        ("vtt",), description="what is made for players: vtt, and any of storyboard, hls, dash, bif, players"
    )
    CAPTURES_AT_ONCE: int = Field(20, ge=1, le=10_000, description="captures that may run at the same time")
    LEASE_SECONDS: float = Field(
        60.0, ge=1, le=3600, description="a silent attempt is given up after this time"
    )

    # Who is told
    CALLBACK_URL: str = Field(
        "", pattern=r"^(https?://\S+)?$", description="events are POSTed here; empty: pull only"
    )
    CALLBACK_KEYS: Annotated[tuple[SecretStr, ...], BeforeValidator(_words)] = Field(
        (), description="webhook secrets (whsec_...), oldest first; each signs"
    )
    CALLBACK_ALLOW: Words = Field((), description="host:port or networks that may be private or plain http")
    EVENT_MODE: Literal["push", "pull", "both"] = Field(
        "both", description="push to CALLBACK_URL, pull, or both"
    )

    # The record
    DATABASE_URL: SecretStr = Field(
        SecretStr("sqlite:///var/filmstrip.db"),
        description="sqlite:///file, or postgresql://user:password@host/name",
    )
    RETENTION_DAYS: float = Field(30.0, ge=4, description="deliveries and attempts are kept this long")
    SCAN_MINUTES: float = Field(
        60.0,
        ge=0,
        description="the bucket is searched this often for uploads whose event was lost; 0 is never",
    )
    STALE_SECONDS: float = Field(
        3600.0, ge=0, description="old sheets stay this long after new ones are shown"
    )

    # Functions
    INVOKE_URL: str = Field("", description="set by the one-machine platform: where functions are invoked")
    ON_TASK_FUNCTION: str = Field("on_task", description="the deployed name of the capture function")
    SCF_ENDPOINT: str = Field("", description="another address of the SCF API")

    @property
    def push(self) -> bool:
        return bool(self.CALLBACK_URL) and self.EVENT_MODE in ("push", "both")


def load(environment: Mapping[str, str]) -> Settings:
    """Raises ConfigurationError naming the variable; nothing is served before this passed."""
    given = {name: environment[name] for name in Settings.model_fields if environment.get(name, "") != ""}
    try:
        settings = Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = Settings.model_fields[str(first["loc"][0])]
        raise ConfigurationError(
            variable=str(first["loc"][0]), problem=f"{first['msg']} ({field.description})"
        ) from None
    _check(settings, environment)
    return settings


def _check(settings: Settings, environment: Mapping[str, str]) -> None:
    url = settings.DATABASE_URL.get_secret_value()
    on_scf = environment.get("TENCENTCLOUD_RUNENV") == "SCF"
    if not url.startswith(("sqlite:///", "postgresql://", "postgres://")) or not _has_good_port(url):
        raise ConfigurationError(
            variable="DATABASE_URL",
            problem="write sqlite:///path/to/file or postgresql://user:password@host:5432/name",
        )
    if on_scf and url.startswith("sqlite:"):
        raise ConfigurationError(
            variable="DATABASE_URL",
            problem="SQLite cannot be used on SCF, where functions share no disk; set it to postgresql://...",
        )
    if on_scf and settings.STORAGE == "folder":
        raise ConfigurationError(
            variable="STORAGE", problem="a folder cannot be the bucket on SCF; set it to cos"
        )
    if settings.OUTPUT_PREFIX.startswith(settings.WATCH_PREFIX):
        raise ConfigurationError(
            variable="OUTPUT_PREFIX",
            problem=f"{settings.OUTPUT_PREFIX!r} lies under WATCH_PREFIX {settings.WATCH_PREFIX!r}: every sprite would "
            "trigger the function again; choose two prefixes beside each other",
        )
    for suffix in settings.VIDEO_SUFFIXES:
        if not suffix.startswith(".") or suffix != suffix.lower():
            raise ConfigurationError(
                variable="VIDEO_SUFFIXES", problem=f"{suffix!r} is not a suffix like .mp4, in lower case"
            )
    for name in ("vtt", *settings.DOCUMENTS):
        if name not in ALL or "vtt" not in settings.DOCUMENTS:
            raise ConfigurationError(
                variable="DOCUMENTS", problem=f"write vtt, and any others of {', '.join(ALL)}"
            )
    if settings.EVENT_MODE == "push" and not settings.CALLBACK_URL:
        raise ConfigurationError(variable="CALLBACK_URL", problem="is needed for EVENT_MODE=push")


def _has_good_port(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def credentials(environment: Mapping[str, str] = os.environ) -> Credentials:
    """The keys of the execution role (or of .env), read anew on every use: role keys rotate.

    Raises ConfigurationError.
    """
    names = ("TENCENTCLOUD_SECRETID", "TENCENTCLOUD_SECRETKEY", "TENCENTCLOUD_SESSIONTOKEN")
    secret_id, secret_key, token = (environment.get(name, "") for name in names)
    if not secret_id or not secret_key:
        raise ConfigurationError(
            variable=names[0] if not secret_id else names[1],
            problem="is not set; give the function an execution role, or set both keys in .env",
        )
    return Credentials(secret_id, secret_key, token)


def read_env_file(path: Path = Path(".env")) -> dict[str, str]:
    """`NAME=value` lines; `#` starts a comment line; quotes around a value are dropped. Raises ConfigurationError."""
    if not path.is_file():
        return {}
    values = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.removeprefix("export ").partition("=")
        if not equals or not name.strip().isidentifier():
            raise ConfigurationError(variable=f"{path} line {number}", problem="write NAME=value")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        values[name.strip()] = value
    return values
