"""cwt: a scalogram of every segment -> data/scalograms.

A model that takes waveforms has no use for them: then an empty array is written at once, so that
one graph is right for every model.
"""

from pathlib import Path

from retrace import params
from retrace.errors import reported
from retrace.files import new_folder
from retrace.signals.scalograms import write_nothing, write_scalograms
from retrace.workers import spread

WAVEFORMS, SCALOGRAMS = Path("data/waveforms"), Path("data/scalograms")


def main() -> None:
    settings = params.load(Path("params.yaml"))
    with new_folder(SCALOGRAMS) as folder:
        if settings.model.input == "scalograms":
            with spread() as mapped:
                print(
                    write_scalograms(WAVEFORMS, folder, mapped=mapped, **settings.cwt.model_dump())
                )
        else:
            write_nothing(folder)
            print(f"{settings.model.name} takes waveforms: no scalograms are made")


if __name__ == "__main__":
    with reported():
        main()
