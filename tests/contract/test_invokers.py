"""How one function starts another: through SCF's Invoke, and through the platform of one machine."""

from __future__ import annotations

import json
import socket
import threading
import traceback
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from lib.errors import InvocationFailed, Throttled
from lib.invokers.local import LocalInvoker
from lib.invokers.scf import ScfInvoker
from lib.signing.cos import Credentials
from tests.scf_api import ScfApi

# The SDK asks for the time in a way that newer versions of Python advise against.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning")


@pytest.fixture
def api():
    with ScfApi() as server:
        yield server


def scf(api, credentials=None, endpoint=None):
    return ScfInvoker(
        lambda: credentials or api.credentials,
        region=api.region,
        namespace="media",
        names={"on_task": "filmstrip-on_task"},
        endpoint=endpoint or api.endpoint,
    )


@pytest.fixture
def closed_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_scf_takes_the_invocation_by_its_deployed_name(api):
    scf(api).invoke("on_task", {"task": "CreateImageSprite-1"})
    assert [{**call, "ClientContext": json.loads(call["ClientContext"])} for call in api.invocations] == [
        {
            "FunctionName": "filmstrip-on_task",
            "Namespace": "media",
            "InvocationType": "Event",
            "ClientContext": {"task": "CreateImageSprite-1"},
            "Region": "ap-guangzhou",
        }
    ]


def test_a_function_without_another_name_goes_by_ours(api):
    scf(api).invoke("on_timer", {})
    assert api.invocations[0]["FunctionName"] == "on_timer"


def test_keys_of_one_machine_have_no_token(api):
    api.credentials = Credentials("AKIDuser", "userkey")
    scf(api).invoke("on_task", {"task": "t"})
    assert len(api.invocations) == 1


def test_rotated_keys_are_used_from_the_next_invocation_on(api):
    invoker = scf(api)
    invoker.invoke("on_task", {"task": "t"})
    api.credentials = Credentials("AKIDnew", "newkey", "newtoken")
    invoker.invoke("on_task", {"task": "t"})
    assert len(api.invocations) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        Credentials("AKIDserver", "anotherkey", "canary/token+="),
        Credentials("AKIDother", "canarysecretkey", "canary/token+="),
        Credentials("AKIDserver", "canarysecretkey", "anothertoken"),
        Credentials("AKIDserver", "canarysecretkey", ""),
    ],
)
def test_wrong_keys_are_refused_by_name(api, wrong):
    with pytest.raises(InvocationFailed, match=r"AuthFailure\."):
        scf(api, wrong).invoke("on_task", {"task": "t"})
    assert api.invocations == []


@pytest.mark.parametrize(
    "code",
    [
        "RequestLimitExceeded",
        "RequestLimitExceeded.UinLimitExceeded",
        "LimitExceeded.FunctionOnTimeoutOrConcurrent",
        "ResourceInsufficient",
    ],
)
def test_too_many_invocations_are_throttled(api, code):
    api.fail_next(code=code)
    with pytest.raises(Throttled, match=code):
        scf(api).invoke("on_task", {"task": "t"})


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"code": "ResourceNotFound.FunctionName", "message": "no such function"}, "no such function"),
        ({"code": "InternalError"}, "InternalError"),
        ({"status": 500, "body": b"<html>oops</html>"}, "oops"),
        ({"body": b"<html>a captive portal</html>"}, "JSONDecodeError"),
        ({"body": b'{"Answer": {}}'}, "KeyError"),
        ({"body": b'{"Response": null}'}, "TypeError"),
        ({"length": 10}, "cannot be read"),
    ],
)
def test_any_other_error_is_a_failed_invocation_that_a_retry_may_help(api, fault, told):
    api.fail_next(**fault)
    with pytest.raises(InvocationFailed, match=told) as failed:
        scf(api).invoke("on_task", {"task": "t"})
    assert type(failed.value) is InvocationFailed
    assert failed.value.function == "on_task"
    assert failed.value.retry_helps


def test_a_long_answer_is_cut_for_the_log(api):
    api.fail_next(status=502, body=b"x" * 100_000)
    with pytest.raises(InvocationFailed) as failed:
        scf(api).invoke("on_task", {"task": "t"})
    assert len(str(failed.value)) < 500


def test_an_api_that_refuses_the_connection_is_a_failed_invocation(api, closed_port):
    with pytest.raises(InvocationFailed):
        scf(api, endpoint=f"http://127.0.0.1:{closed_port}").invoke("on_task", {"task": "t"})


@pytest.mark.parametrize(
    "fault", [{"code": "RequestLimitExceeded"}, {"status": 500, "body": b"oops"}, {"body": b"nonsense"}]
)
def test_no_secret_shows_in_an_error(api, fault):
    api.fail_next(**fault)
    with pytest.raises(InvocationFailed) as failed:
        scf(api).invoke("on_task", {"task": "t"})
    told = "".join(traceback.format_exception(failed.value)) + repr(failed.value) + repr(failed.value.facts)
    assert "canary" not in told


@pytest.fixture
def platform():
    """Takes invocations as the one-machine platform does, and answers the statuses it is told."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.taken.append((self.path, json.loads(body)))
            self.send_response(self.server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.taken, server.status = [], 202
        server.url = f"http://127.0.0.1:{server.server_address[1]}/invoke/"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_platform_takes_the_invocation(platform):
    LocalInvoker(platform.url).invoke("on_task", {"task": "CreateImageSprite-1"})
    assert platform.taken == [("/invoke/on_task", {"task": "CreateImageSprite-1"})]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, Throttled),
        (432, Throttled),
        (404, InvocationFailed),
        (200, InvocationFailed),
        (500, InvocationFailed),
    ],
)
def test_the_platform_may_refuse(platform, status, kind):
    platform.status = status
    with pytest.raises(InvocationFailed, match=str(status)) as failed:
        LocalInvoker(platform.url).invoke("on_task", {"task": "t"})
    assert type(failed.value) is kind


def test_a_platform_that_is_not_there_is_a_failed_invocation(closed_port):
    with pytest.raises(InvocationFailed, match="on_task"):
        LocalInvoker(f"http://127.0.0.1:{closed_port}").invoke("on_task", {"task": "t"})
