"""SCF's Invoke with InvocationType Event: queued, answered at once (SCF API 2018-04-16).

The SDK's retryer and region breaker are left off: retries belong to the timer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from lib.errors import InvocationFailed, Throttled
from lib.signing.cos import Credentials

TIMEOUT = 5
REASON_LIMIT = 300  # characters: after an HTTP error the SDK's message is the whole body
_THROTTLED = (
    "RequestLimitExceeded",
    "LimitExceeded",
    "ResourceInsufficient",
    "FailedOperation.InvokeFunction",
)


class ScfInvoker:
    def __init__(
        self,
        credentials: Callable[[], Credentials],
        *,
        region: str,
        namespace: str,
        names: Mapping[str, str],
        endpoint: str = "",
    ) -> None:
        """`names`: the deployed name by ours ("on_task"); `endpoint`: host, or http://host:port in tests."""
        self._credentials = credentials
        self._region = region
        self._namespace = namespace
        self._names = names
        self._endpoint = endpoint

    def invoke(self, function: str, payload: Mapping[str, Any]) -> None:
        # Imported here: a fifth of a cold start, which only an invocation that starts another one pays.
        from tencentcloud.common.common_client import CommonClient
        from tencentcloud.common.credential import Credential
        from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
        from tencentcloud.common.profile.client_profile import ClientProfile
        from tencentcloud.common.profile.http_profile import HttpProfile

        scheme, _, host = self._endpoint.rpartition("://")
        http = HttpProfile(protocol=scheme or "https", endpoint=host or None, reqTimeout=TIMEOUT)
        keys = self._credentials()
        client = CommonClient(
            "scf",
            "2018-04-16",
            Credential(keys.secret_id, keys.secret_key, keys.token or None),
            self._region,
            ClientProfile(httpProfile=http),
        )
        parameters = {
            "FunctionName": self._names.get(function, function),
            "Namespace": self._namespace,
            "InvocationType": "Event",
            "ClientContext": json.dumps(payload),
        }
        try:
            client.call_json("Invoke", parameters)
        except TencentCloudSDKException as error:
            code = str(error.get_code())
            kind = Throttled if code.startswith(_THROTTLED) else InvocationFailed
            raise kind(function=function, reason=f"{code}: {error.get_message()}"[:REASON_LIMIT]) from error
        except (OSError, ValueError, LookupError, TypeError) as error:
            # The SDK reads the answer unguarded: a broken connection or a gateway's page come out as they are.
            reason = f"its answer cannot be read: {type(error).__name__}"
            raise InvocationFailed(function=function, reason=reason) from error
