"""A folder as the bucket: for one machine and for tests.

A key is the path below the root. What a file system cannot hold is refused: empty segments, names of more
than 255 bytes, one key that is the folder of another. Content types and cache control are not kept; the web
server derives both from the suffix.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from lib.errors import (
    KeyRefused,
    ObjectChanged,
    ObjectNotFound,
    StorageRefused,
    StorageUnavailable,
)
from lib.keys import check_key
from lib.ports import ByteRange, Clock, StoredObject
from lib.storage.readers import FileReader

TEMPORARY = ".filmstrip-tmp"  # in the same root, because a rename is atomic only within one file system
STALE = 3600.0  # seconds after which an unfinished write is one of a killed process


class FolderStorage:
    def __init__(self, root: Path, bucket: str, *, base_url: str, clock: Clock) -> None:
        """`base_url` is where a web server shows the root; `presign` joins it with the encoded key."""
        self.bucket = bucket
        self._base_url = base_url.rstrip("/")
        root.mkdir(parents=True, exist_ok=True)
        self._root = os.path.realpath(root)
        self._temporary = os.path.join(self._root, TEMPORARY)
        self._remove_leftovers(clock.now() - STALE)

    def head(self, key: str) -> StoredObject:
        with self._open(key) as file:
            return StoredObject(key, file.size, file.etag, file.modified)

    def read(self, key: str, ranges: Sequence[ByteRange], *, etag: str | None = None) -> list[bytes]:
        """The bytes of each range, as far as the object goes; the ETag is checked before and after."""
        with self._open(key) as file:
            if etag is not None and file.etag != etag:
                raise ObjectChanged(bucket=self.bucket, key=key, etag=etag)
            return file.read(ranges)

    def get(self, key: str) -> bytes:
        with self._open(key) as file:
            return file.read([(0, file.size)])[0]

    def put(self, key: str, data: bytes, *, content_type: str, cache_control: str) -> None:
        path = self._place(key)
        with self._explained("writing", key):
            os.makedirs(self._temporary, exist_ok=True)
            unfinished = os.path.join(self._temporary, secrets.token_hex(16))
            try:
                _write(unfinished, data)
                _move(unfinished, path)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(unfinished)

    def delete(self, key: str) -> None:
        """Deletes the object and the folders that are empty then."""
        path = self._place(key)
        with self._explained("deleting", key):
            try:
                os.unlink(path)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return
            folder = os.path.dirname(path)
            with suppress(OSError):  # not empty
                while folder != self._root:
                    os.rmdir(folder)
                    folder = os.path.dirname(folder)

    def list(self, prefix: str, *, after: str = "") -> Iterator[StoredObject]:
        """All objects whose key begins with `prefix`, sorted by the key's bytes."""
        top = prefix.rpartition("/")[0]
        if top:
            try:
                folder = self._place(top)
            except KeyRefused:
                return
        else:
            folder = self._root
        keys = []
        for path, folders, files in os.walk(folder):
            if path == self._root and TEMPORARY in folders:
                folders.remove(TEMPORARY)
            below = os.path.relpath(path, self._root)
            keys += [name if below == "." else f"{below}/{name}" for name in files]
        # Code points sort as UTF-8 does.
        for key in sorted(key for key in keys if key.startswith(prefix) and key > after):
            with suppress(ObjectNotFound, KeyRefused):  # deleted meanwhile, or not an object at all
                yield self.head(key)

    def presign(self, key: str, *, seconds: int) -> str:
        """Where the web server shows the object; it asks for no signature, so `seconds` means nothing."""
        check_key(self.bucket, key)
        return f"{self._base_url}/{quote(key, safe='/')}"

    def _place(self, key: str) -> str:
        """The path of `key`, in a folder that really is below the root."""
        check_key(self.bucket, key)
        folders, _, name = key.rpartition("/")
        if "" in key.split("/"):
            raise KeyRefused(bucket=self.bucket, key=key, problem="a folder cannot hold an empty name")
        return os.path.join(self._inside(os.path.join(self._root, folders), key), name)

    def _inside(self, path: str, key: str) -> str:
        """`path` without symbolic links."""
        real = os.path.realpath(path)
        if real != self._root and not real.startswith(os.path.join(self._root, "")):
            problem = "a symbolic link in it leads out of the folder"
            raise KeyRefused(bucket=self.bucket, key=key, problem=problem)
        # Some file systems do not tell upper from lower case.
        if TEMPORARY in {path.split("/")[0].casefold() for path in (key, os.path.relpath(real, self._root))}:
            raise KeyRefused(bucket=self.bucket, key=key, problem=f"{TEMPORARY} is for unfinished writes")
        return real

    @contextmanager
    def _open(self, key: str) -> Iterator[FileReader]:
        with self._explained("reading", key):
            path = self._inside(self._place(key), key)
            with FileReader(path, bucket=self.bucket, key=key) as file:
                yield file

    @contextmanager
    def _explained(self, action: str, key: str) -> Iterator[None]:
        """The system's errors as ours."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            if error.errno == errno.ENAMETOOLONG:
                raise KeyRefused(bucket=self.bucket, key=key, problem="a name in it is too long") from error
            if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
                problem = "an object and a folder cannot have the same name"
                raise KeyRefused(bucket=self.bucket, key=key, problem=problem) from error
            kind = (
                StorageRefused
                if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
                else StorageUnavailable
            )
            raise kind(bucket=self.bucket, action=action, key=key, reason=reason) from error

    def _remove_leftovers(self, before: float) -> None:
        with suppress(FileNotFoundError), os.scandir(self._temporary) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime < before:
                        os.unlink(entry.path)


def _write(path: str, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb") as file:
        file.write(data)
        file.flush()
        # The kernel's own stamp is coarse: with a reused inode, two writes could get the same ETag.
        os.utime(file.fileno(), ns=(time.time_ns(), time.time_ns()))
        os.fsync(file.fileno())


def _move(unfinished: str, path: str) -> None:
    folder = os.path.dirname(path)
    for left in reversed(range(100)):
        try:
            os.makedirs(folder, exist_ok=True)
            os.replace(unfinished, path)
            break
        except (FileNotFoundError, FileExistsError):  # a delete took the empty folder away meanwhile
            if not left:
                raise
    with suppress(FileNotFoundError):  # or took our object away already
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
