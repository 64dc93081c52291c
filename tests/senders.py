"""A sender that writes down what it is told to send, and answers what it is told to."""

from __future__ import annotations

from collections.abc import Mapping

from lib.ports import Answer


class RecordingSender:
    def __init__(self, *answers: Answer | BaseException) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, bytes, Mapping[str, str]]] = []

    def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        self.sent.append((url, body, headers))
        answer = self.answers.pop(0) if self.answers else Answer(200, None)
        if isinstance(answer, BaseException):
            raise answer
        return answer
