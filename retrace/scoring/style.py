"""How every figure looks, and how it is saved: the same picture, the same bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from retrace.files import new_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours without yellow: told apart by every kind of colour vision, and in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
# Lines differ in more than colour: curves of classes often lie on each other.
DASHES = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
QUIET = "#767676"


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib's defaults and ours on top; a user's matplotlibrc changes no published figure."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "font.family": "DejaVu Sans",
                "font.size": 10,
                "axes.titlesize": 11,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "legend.frameon": False,
                "lines.linewidth": 1.8,
                "savefig.dpi": 110,
            }
        )
        yield


def save(figure: "Figure", path: Path) -> None:
    """Write a PNG that carries neither date nor version of the software that drew it."""
    with new_file(path) as part:
        figure.savefig(part, format="png", metadata={"Software": None})
