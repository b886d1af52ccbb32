"""The service's verbs of the command `retrace`: their arguments, and the calls they map to."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_serve(verbs: Verbs, repository: Callable[[], Path]) -> None:
    """Add `retrace serve`. repository: finds its folder."""
    serve = verbs.add_parser(
        "serve",
        help="the HTTP service: accounts, predictions, rules, alerts, feedback",
        description="Serve on this machine alone until Ctrl-C. Settings come from the environment "
        "and from service.env in the service's folder; --init writes it.",
    )
    serve.add_argument(
        "--init",
        action="store_true",
        help="make the service's folder, its secret, its database and the first admin, then end; "
        "what is there stays",
    )
    serve.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine alone")
    serve.add_argument("--port", type=int, default=8000, help="default: 8000; 0 takes a free one")
    serve.add_argument(
        "--home",
        type=Path,
        help="the service's folder; default: RETRACE_HOME, else var/ of the repository",
    )
    serve.add_argument(
        "--only",
        choices=("predictor", "trainer"),
        help="a process that answers, or trains, for a service elsewhere (PREDICTOR_URL, "
        "TRAINER_URL)",
    )
    serve.set_defaults(verb=lambda given: _serve(given, repository))


def _serve(given: argparse.Namespace, repository: Callable[[], Path]) -> None:
    from retrace.service import command

    named = os.environ.get("RETRACE_ROOT")
    root = Path(named) if named else repository()
    home = given.home or Path(os.environ.get("RETRACE_HOME") or root / "var")
    if given.init:
        print("\n".join(command.initialise(home, root)))
    else:
        command.serve(home, root, host=given.host, port=given.port, only=given.only)


def add_feed(verbs: Verbs, repository: Callable[[], Path]) -> None:
    """Add `retrace feed`. repository: finds its folder."""
    feed = verbs.add_parser(
        "feed",
        help="send a stream of new data to the service, on a schedule",
        description="Simulate new data: draw classes equally often, cut slices, send them on a "
        "schedule. The key stands in RETRACE_API_KEY.",
    )
    feed.add_argument("url", metavar="URL", help="of the service, as http://127.0.0.1:8000")
    feed.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="PATH",
        help="a .npy file of segments with its domain.json beside it, or recordings; without any, "
        "the test part of the repository",
    )
    feed.add_argument("--model", metavar="NAME", help="who answers; default: the service's own")
    feed.add_argument("--every", type=float, default=10, metavar="S", help="default: 10 s")
    feed.add_argument("--count", type=int, metavar="N", help="slices; default: all of it, once")
    feed.add_argument(
        "--slice", type=int, default=20, metavar="N", help="segments or recordings; default: 20"
    )
    feed.add_argument("--seed", type=int, default=0, help="of the draw; default: 0")
    recordings = feed.add_argument_group("recordings")
    recordings.add_argument(
        "--persons",
        type=Path,
        metavar="FILE.csv",
        help="whose each is: a table with record_id and patient_id, as data/filtered/records.csv",
    )
    recordings.add_argument("--lead", metavar="NAME", help="send this lead for the model's")
    recordings.add_argument("--gain", type=float, default=1, help="multiply the signal by it")
    recordings.add_argument(
        "--noise", type=float, metavar="DB", help="add electrode motion of so much signal to noise"
    )
    recordings.add_argument("--invert", action="store_true", help="turn it upside down")
    feed.set_defaults(verb=lambda given: _feed(given, repository))


def _feed(given: argparse.Namespace, repository: Callable[[], Path]) -> None:
    from retrace.service.feed import Schedule, feed, read_source
    from retrace.service.feed_recordings import Drift

    schedule = Schedule(given.every, given.count, given.slice, given.seed)
    source = read_source(
        given.paths,
        repository,
        persons=given.persons,
        drift=Drift(given.gain, given.noise, given.invert),
        lead=given.lead,
    )
    for line in feed(given.url, source, schedule, model=given.model):
        print(line, flush=True)
