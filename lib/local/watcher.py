"""The COS trigger of a folder: a file that is new or changed, and whole, becomes an event."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from lib import log
from lib.errors import FilmstripError
from lib.ports import Storage, StoredObject

SECONDS = 0.5


class Watcher:
    """A file is whole when two looks, one after the other, find the same version."""

    def __init__(
        self, storage: Storage, prefix: str, region: str, fire: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._storage = storage
        self._prefix = prefix
        self._region = region
        self._fire = fire
        self._seen: dict[str, str] = {}
        self._fired: dict[str, str] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def look(self) -> list[StoredObject]:
        """Fires for what is whole and was not fired yet; gives those objects."""
        found = list(self._storage.list(self._prefix))
        whole = [
            stored
            for stored in found
            if self._seen.get(stored.key) == stored.etag and self._fired.get(stored.key) != stored.etag
        ]
        self._seen = {stored.key: stored.etag for stored in found}
        if whole:
            self._fire(cos_event(self._storage.bucket, self._region, whole))
        self._fired = {key: etag for key, etag in self._fired.items() if key in self._seen} | {
            stored.key: stored.etag for stored in whole
        }
        return whole

    def _run(self) -> None:
        while not self._stopped.wait(SECONDS):
            try:
                self.look()
            except FilmstripError as error:
                log.outcome("watcher.failed", level="error", reason=str(error))


def cos_event(bucket: str, region: str, objects: Sequence[StoredObject]) -> dict[str, Any]:
    """What COS sends for uploads ("COS trigger", event message structure): the key raw, the url encoded."""
    name, _, appid = bucket.rpartition("-")
    return {
        "Records": [
            {
                "cos": {
                    "cosBucket": {"appid": appid, "cosRegion": region, "name": name, "s3Region": region},
                    "cosNotificationId": "unkown",
                    "cosObject": {
                        "key": f"/{appid}/{name}/{stored.key}",
                        "meta": {"ETag": f'"{stored.etag}"', "x-cos-storage-class": "Standard"},
                        "size": stored.size,
                        "url": f"http://{bucket}.cos.{region}.myqcloud.com/{quote(stored.key)}",
                        "vid": "",
                    },
                    "cosSchemaVersion": "1.0",
                },
                "event": {
                    "eventName": "cos:ObjectCreated:Put",
                    "eventQueue": f"qcs:0:scf:{region}:appid/{appid}:default.on_upload.$DEFAULT",
                    "eventSource": "qcs::cos",
                    "eventTime": int(stored.modified),
                    "eventVersion": "1.0",
                    "reqid": 0,
                    "requestParameters": {"requestHeaders": {}, "requestSourceIP": "127.0.0.1"},
                    "reservedInfo": "",
                },
            }
            for stored in objects
        ]
    }
