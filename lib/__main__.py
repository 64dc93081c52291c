"""The command line.

Exit codes: 0 done (a partial sprite too, with a warning) · 1 a step of the demo failed · 2 wrong use or a wrong
setting · 3 the video cannot be captured (the reason has a name) · 4 the video or a service cannot be reached ·
130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lib import commands
from lib.errors import ConfigurationError, FilmstripError, Invalid, MediaError, TaskNotFound

DONE, FAILED, WRONG_USE, NO_SPRITE, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    try:
        return int(chosen.run(chosen))
    except KeyboardInterrupt:
        return INTERRUPTED
    except MediaError as error:
        return _complain(f"{error.outcome}: {error}", NO_SPRITE)
    except (Invalid, ConfigurationError, TaskNotFound) as error:
        return _complain(str(error), WRONG_USE)
    except FilmstripError as error:
        return _complain(str(error), UNREACHABLE)


def _complain(message: str, code: int) -> int:
    print(f"filmstrip: {message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m lib", description="Filmstrip: sprites for every video.")
    add = parser.add_subparsers(required=True, metavar="command").add_parser

    sprite = add(
        "sprite", help="the engine alone: a video file or http(s) address becomes a folder with its sprite"
    )
    sprite.set_defaults(run=commands.sprite)
    sprite.add_argument("video", help="path or http(s) address (of a server that answers ranges)")
    sprite.add_argument("--out", type=Path, required=True, help="folder to write into")
    sprite.add_argument(
        "--definition", type=int, default=10, help="number of the definition to start from (10)"
    )
    sampling = sprite.add_mutually_exclusive_group()
    sampling.add_argument("--interval", type=float, metavar="S", help="a tile every S seconds")
    sampling.add_argument("--percent", type=float, metavar="P", help="a tile every P percent of the duration")
    for name, what in (
        ("rows", "of a sheet"),
        ("columns", "of a sheet"),
        ("width", "of a tile"),
        ("height", "of a tile"),
    ):
        sprite.add_argument(f"--{name}", type=int, help=what)
    sprite.add_argument("--format", choices=("jpg", "png", "webp"))
    sprite.add_argument("--fill", choices=("black", "stretch", "white", "gauss"))
    sprite.add_argument("--accuracy", choices=("auto", "exact", "keyframe"))
    sprite.add_argument("--documents", default="vtt", help="vtt,storyboard,hls,dash,bif,players")
    sprite.add_argument(
        "--base-url", default="", help="where the folder will be, for documents that need to know"
    )

    demo = add("demo", help="the whole system on one video, on this machine")
    demo.set_defaults(run=commands.demo)
    demo.add_argument("video", type=Path, nargs="?", help="a video file; one is made if left out")

    serve = add("serve", help="keep the platform running: drop videos into its folder")
    serve.set_defaults(run=commands.serve)
    serve.add_argument("--port", type=int, default=8000, help="port on 127.0.0.1 (8000)")

    tasks = add("tasks", help="the newest tasks, or everything about one")
    tasks.set_defaults(run=commands.tasks)
    tasks.add_argument("task", nargs="?", help="vodTaskId")
    tasks.add_argument("--state", choices=("waiting", "running", "finished"), default="")
    tasks.add_argument("--limit", type=int, default=20)

    events = add("events", help="the newest events and the state of their delivery")
    events.set_defaults(run=commands.events)
    events.add_argument("task", nargs="?", default="", help="only of this vodTaskId")
    events.add_argument("--limit", type=int, default=20)

    retry = add("retry", help="start a finished task anew, and deliver again what was given up")
    retry.set_defaults(run=commands.retry)
    retry.add_argument("task", help="vodTaskId")

    migrate = add("migrate", help="bring the database up to this version")
    migrate.set_defaults(run=commands.migrate)
    return parser


if __name__ == "__main__":
    sys.exit(main())
