import json

from lib import log


def test_a_line_is_json_with_what_became_of_what(capsys):
    log.bind("request-1")
    log.outcome("upload.opened", key='vídeos/"a"\n.mp4', task="", seconds=0, reason=None)

    line = json.loads(capsys.readouterr().out)

    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "outcome": "upload.opened",
        "request": "request-1",
        "key": 'vídeos/"a"\n.mp4',
        "seconds": 0,
    }
