"""Every error Filmstrip raises, as one tree. A docstring is the message; its fields are attributes.

FilmstripError
├── ConfigurationError        a setting is missing or wrong
├── Invalid                   a message from outside is not what it should be
├── MediaError                the video is the reason; each has the outcome it ends the task with
│   ├── NoVideo  TooShort  Corrupt  Unsupported  TooLarge  Gone  TimedOut
├── DecoderFailed             the child process crashed, hung or met a limit (a retry may help)
├── StorageError
│   ├── ObjectNotFound  ObjectChanged  KeyRefused  StorageRefused
│   └── StorageUnavailable    (a retry helps)
├── DatabaseUnavailable       (a retry helps)
├── InvocationFailed          (a retry helps)
│   └── Throttled
├── TaskNotFound
├── AttemptSuperseded         this attempt is no longer the current one
├── AddressRefused            the guard does not let us call that address
├── SendFailed                a callback was not taken
└── BadSignature
    ├── SignatureExpired
    └── UnknownKey
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar


class FilmstripError(Exception):
    """Filmstrip failed."""

    retry_helps: ClassVar[bool] = False

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        template = inspect.cleandoc(type(self).__doc__ or "")
        super().__init__(template.format(**facts))

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["facts"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.facts)


def _rebuild(kind: type[FilmstripError], facts: dict[str, Any]) -> FilmstripError:
    return kind(**facts)


class ConfigurationError(FilmstripError):
    """{variable}: {problem}"""


class Invalid(FilmstripError):
    """{field}: {problem}"""


class MediaError(FilmstripError):
    """{reason}"""

    outcome: ClassVar[str] = ""
    status: ClassVar[int] = 30010
    """`data.status` of the failure event (VOD API 2.0, task error codes)."""


class NoVideo(MediaError):
    """{reason}"""

    outcome = "no_video"
    status = -47402


class TooShort(MediaError):
    """{reason}"""

    outcome = "too_short"
    status = -47104


class Corrupt(MediaError):
    """{reason}"""

    outcome = "corrupt"
    status = -44001


class Unsupported(MediaError):
    """{reason}"""

    outcome = "unsupported"
    status = -44029


class TooLarge(MediaError):
    """{reason}"""

    outcome = "too_large"
    status = 30009


class Gone(MediaError):
    """{reason}"""

    outcome = "gone"
    status = 30009


class TimedOut(MediaError):
    """{reason}"""

    outcome = "timed_out"
    status = 30010


class DecoderFailed(FilmstripError):
    """The decoder failed: {reason}."""

    retry_helps = True


FAILURES: dict[str, type[MediaError]] = {
    kind.outcome: kind for kind in (NoVideo, TooShort, Corrupt, Unsupported, TooLarge, Gone, TimedOut)
}


class StorageError(FilmstripError):
    """{reason}"""


class ObjectNotFound(StorageError):
    """There is no object {key!r} in bucket {bucket}."""


class ObjectChanged(StorageError):
    """The object {key!r} in bucket {bucket} was replaced: its ETag is no longer {etag}."""


class KeyRefused(StorageError):
    """The key {key!r} cannot be stored: {problem}."""


class StorageRefused(StorageError):
    """Bucket {bucket} refused {action} of {key!r}: {reason}"""


class StorageUnavailable(StorageError):
    """Bucket {bucket} did not answer {action} of {key!r}: {reason}"""

    retry_helps = True


class DatabaseUnavailable(FilmstripError):
    """The database cannot be reached now: {reason}"""

    retry_helps = True


class InvocationFailed(FilmstripError):
    """The function {function} could not be invoked: {reason}"""

    retry_helps = True


class Throttled(InvocationFailed):
    """The function {function} is invoked too often just now: {reason}"""


class TaskNotFound(FilmstripError):
    """There is no task {task_id}."""

    v2_code = 70014


class AttemptSuperseded(FilmstripError):
    """Attempt {attempt} of task {task_id} is no longer the current one."""


class AddressRefused(FilmstripError):
    """{host} is not called: {reason}"""


class SendFailed(FilmstripError):
    """The callback was not taken: {reason}"""


class BadSignature(FilmstripError):
    """The signature is not valid: {reason}"""


class SignatureExpired(BadSignature):
    """The signature is out of its time: {reason}"""


class UnknownKey(BadSignature):
    """The signature was made with a key that is not known here: {reason}"""
