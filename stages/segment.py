"""segment: cut the filtered recordings into windows or beats -> data/waveforms."""

from pathlib import Path

from retrace import params
from retrace.errors import reported
from retrace.files import new_folder
from retrace.signals.recordings import Recordings
from retrace.signals.segments import write_segments
from retrace.workers import spread

FILTERED, WAVEFORMS = Path("data/filtered"), Path("data/waveforms")


def main() -> None:
    settings = params.load(Path("params.yaml"))
    with new_folder(WAVEFORMS) as folder, spread() as mapped:
        counts = write_segments(Recordings(FILTERED), folder, settings.plan, mapped)
        settings.domain(fs=counts.fs).write(folder)
    print(counts.summary())


if __name__ == "__main__":
    with reported():
        main()
