"""Readers for the engine: `size` in bytes, and `read(ranges)` of half-open ranges."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from types import TracebackType

from lib.errors import ObjectChanged, ObjectNotFound, StorageRefused
from lib.ports import ByteRange, Storage
from lib.storage.transfer import check_ranges

NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO)


@dataclass(frozen=True)
class ObjectReader:
    """One version of an object: `read` raises ObjectChanged when the key holds another by now."""

    storage: Storage
    key: str
    _: KW_ONLY
    etag: str
    size: int

    def read(self, ranges: Sequence[ByteRange]) -> list[bytes]:
        return self.storage.read(self.key, ranges, etag=self.etag)


class FileReader:
    """A local file, held open: a file put in its place does not show, a change of its bytes is found out.

    `etag` is a digest of size, time of change and inode: reading a whole video to name its version would cost
    more than making its sprite. `bucket` and `key` stand for the path in errors.
    """

    def __init__(self, path: str | Path, *, bucket: str | None = None, key: str | None = None) -> None:
        """Raises ObjectNotFound when there is no regular file, StorageRefused when it may not be read."""
        self._bucket = str(Path(path).parent) if bucket is None else bucket
        self._key = Path(path).name if key is None else key
        try:
            # Not blocking: a named pipe would wait for its writer.
            self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in NO_FILE:
                raise ObjectNotFound(bucket=self._bucket, key=self._key) from None
            raise self._refused(error) from error
        status = os.fstat(self._file)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise ObjectNotFound(bucket=self._bucket, key=self._key)
        self.size = status.st_size
        self.modified = status.st_mtime  # UNIX seconds
        self.etag = _fingerprint(status)

    def read(self, ranges: Sequence[ByteRange]) -> list[bytes]:
        """The bytes of each range, as far as the file goes. Raises ObjectChanged if it was written to."""
        check_ranges(ranges)
        try:
            parts = [self._read(start, min(end, self.size)) for start, end in ranges]
        except OSError as error:
            raise self._refused(error) from error
        if _fingerprint(os.fstat(self._file)) != self.etag:
            raise ObjectChanged(bucket=self._bucket, key=self._key, etag=self.etag)
        return parts

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> FileReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, start: int, end: int) -> bytes:
        parts = []
        while start < end and (part := os.pread(self._file, end - start, start)):
            parts.append(part)
            start += len(part)
        return b"".join(parts)

    def _refused(self, error: OSError) -> StorageRefused:
        reason = error.strerror or type(error).__name__
        return StorageRefused(bucket=self._bucket, action="reading", key=self._key, reason=reason)


def _fingerprint(status: os.stat_result) -> str:
    text = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
