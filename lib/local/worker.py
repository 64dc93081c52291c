"""A function instance: loads a handler and runs one event after another, as SCF's loader does.

Requests and answers are JSON lines on standard input and output; what a handler prints goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            # By name, as the cloud does: nothing in lib depends on the handlers.
            module = importlib.import_module(f"handlers.{request['function']}")
            answer = {"result": module.main_handler(request["event"], request["context"])}
        except Exception as error:  # noqa: BLE001 - an instance outlives what its handler raises
            answer = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc(limit=-4)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
