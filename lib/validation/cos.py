"""The event of a COS trigger on SCF ("COS trigger", event message structure).

    {"Records": [{"cos": {"cosBucket": {"appid", "name", "cosRegion", ...},
                          "cosObject": {"key": "/<appid>/<name>/<key>", "url", "size", "meta": {"ETag", ...}}},
                  "event": {"eventName": "cos:ObjectCreated:Put", "eventTime", ...}}]}

Several uploads may be merged into one event. The key is not URL-encoded; the path of `url` is.
The event carries the uploader's Authorization header: it is never logged or kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, Field, ValidationError

from lib.errors import Invalid


@dataclass(frozen=True)
class CosRecord:
    """What happened to one object."""

    action: str  # "ObjectCreated:Put", "ObjectRemove:Delete", ...
    bucket: str  # <name>-<appid>
    key: str
    etag: str  # "" where the event has none
    size: int  # bytes
    time: int  # UNIX seconds


class _Bucket(BaseModel):
    appid: Annotated[str, Field(min_length=1)]
    name: Annotated[str, Field(min_length=1)]


class _Object(BaseModel):
    key: Annotated[str, Field(min_length=1)]
    url: str = ""
    size: Annotated[int, Field(ge=0)] = 0
    meta: dict[str, Any] = {}


class _Cos(BaseModel):
    cosBucket: _Bucket  # noqa: N815 - the wire's names
    cosObject: _Object  # noqa: N815


class _Event(BaseModel):
    eventName: str  # noqa: N815
    eventTime: int = 0  # noqa: N815


class _Record(BaseModel):
    cos: _Cos
    event: _Event


def parse(event: Any) -> list[CosRecord | Invalid]:
    """A result per record, in order. Raises Invalid where the whole is not a COS event."""
    if not isinstance(event, dict) or not isinstance(event.get("Records"), list):
        raise Invalid(
            field="Records",
            problem="this is not the event of a COS trigger, which has a list of Records; "
            "bind the function to a COS trigger",
        )
    return [_parse_record(f"Records[{number}]", record) for number, record in enumerate(event["Records"])]


def _parse_record(place: str, record: Any) -> CosRecord | Invalid:
    try:
        message = _Record.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return Invalid(field=".".join([place, *map(str, first["loc"])]), problem=first["msg"])
    where, written = message.cos.cosBucket, message.cos.cosObject
    prefix = f"/{where.appid}/{where.name}/"
    place = f"{place}.cos.cosObject.key"
    if not written.key.startswith(prefix):
        return Invalid(field=place, problem=f"does not start with {prefix!r}, the bucket of the same record")
    key = written.key[len(prefix) :]
    if not key:
        return Invalid(field=place, problem="names no object, only the bucket")
    if written.url and _key_of(written.url) != key:
        return Invalid(field=place, problem="is another object than the one that cosObject.url names")
    return CosRecord(
        action=message.event.eventName.removeprefix("cos:").strip(),
        bucket=f"{where.name}-{where.appid}",
        key=key,
        etag=str(written.meta.get("ETag") or "").strip('"'),
        size=written.size,
        time=message.event.eventTime,
    )


def _key_of(url: str) -> str | None:
    try:
        return unquote(urlsplit(url).path[1:])
    except ValueError:
        return None
