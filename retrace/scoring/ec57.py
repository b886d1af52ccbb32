"""Beat-by-beat figures of ANSI/AAMI EC57, in the layout of WFDB's `bxb`.

A table has a row for what the reference says and a column for what the test says: N, S, V, F, Q,
then O (no partner) and X (no partner, unreadable). So row N, column O are the normal beats that
were missed, row O, column V the false alarms of V where no beat is.

Source: ANSI/AAMI EC57:1998, Testing and reporting performance results of cardiac rhythm and ST
segment measurement algorithms; G. B. Moody, bxb(1), WFDB Applications Guide (PhysioNet).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.scoring.matching import Beats, Pairs
from retrace.scoring.scores import macro, ratio

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CLASSES = ("N", "S", "V", "F", "Q")
LETTERS = (*CLASSES, "O", "X")
N, S, V, F, Q, O, X = range(7)  # noqa: E741 (the standard's own letters)

# Escape beats: bxb counts e and j as S, most papers (after de Chazal et al., IEEE Trans. Biomed.
# Eng. 51 (2004) 1196-1206) as N. All else is agreed on.
_AGREED = {"N": "NLRB", "S": "AaJSn", "V": "VrE", "F": "F", "Q": "/fQ?"}
CONVENTIONS: dict[str, dict[str, str]] = {
    name: {symbol: c for c, symbols in _AGREED.items() for symbol in symbols}
    | dict.fromkeys("ej", escape)
    for name, escape in (("papers", "N"), ("bxb", "S"))
}
PACED = frozenset("/f")

FIGURES = (
    "qrs_sensitivity",
    "qrs_ppv",
    "veb_sensitivity",
    "veb_ppv",
    "veb_fpr",
    "sveb_sensitivity",
    "sveb_ppv",
    "sveb_fpr",
    "accuracy",
    "f1_macro_nsv",
    "f1_macro_nsvf",
)


def classify(symbols: Sequence[str], aami: Mapping[str, str]) -> Integers:
    """The class numbers (n,) of n beats; aami: from symbol to one of `CLASSES`.

    The letters N, S, V, F and Q are symbols too and stand for themselves in both conventions, so
    the answers of a classifier pass through the same map.
    """
    if unknown := sorted(set(symbols) - set(aami)):
        raise InputError(
            f"beat symbol {', '.join(unknown)}: not in the map to AAMI classes, which has "
            f"{' '.join(aami)}: add it to the map"
        )
    if wrong := sorted(set(aami.values()) - set(CLASSES)):
        raise InputError(
            f"map to AAMI classes: {', '.join(wrong)} is none of {', '.join(CLASSES)}: correct it"
        )
    return np.array([CLASSES.index(aami[symbol]) for symbol in symbols], dtype=np.int64)


def is_paced(reference: Beats) -> bool:
    """Whether the record holds paced beats: EC57 leaves it out then (102, 104, 107, 217)."""
    return not PACED.isdisjoint(reference.symbols)


def table(reference: Beats, test: Beats, pairs: Pairs, aami: Mapping[str, str]) -> Integers:
    """The table (7, 7) of one record."""
    cells = np.zeros((7, 7), dtype=np.int64)
    np.add.at(cells, (_rows(reference, pairs.reference, aami), _rows(test, pairs.test, aami)), 1)
    return cells


def _rows(beats: Beats, numbers: Integers, aami: Mapping[str, str]) -> Integers:
    # ALONE is -1 and UNREAD is -2: from the end they find O and X behind the classes.
    return np.append(classify(beats.symbols, aami), [X, O])[numbers]


def support(tables: Floats) -> Floats:
    """How many beats of each class (5,) the reference has in all of tables (..., 7, 7)."""
    return np.asarray(tables[..., :O, :].reshape(-1, O, 7).sum(axis=(0, 2)))


def majority(tables: Floats) -> Floats:
    """Tables (..., 7, 7) of one who finds the same beats and calls all what most of them are."""
    blunt = np.array(tables)
    blunt[..., :O] = 0
    blunt[..., support(tables).argmax()] = tables[..., :O].sum(axis=-1)
    return blunt


def figures(tables: Floats, here: NDArray[np.bool_] | None = None) -> dict[str, Floats]:
    """The `FIGURES` (...) of tables (..., 7, 7); NaN where one does not exist.

    QRS: was a beat found, whatever it was called. VEB and SVEB: V and S against the rest, where
    EC57 does not count every error: F and Q called V are no false VEB, Q called S is no false
    SVEB, since nobody can say what they are. FPR is the share of false ones among the beats of the
    test that are no VEB (SVEB); the standard has it for VEB alone, that of SVEB is built likewise.

    accuracy is that of the classes of the beats that were found. F1 knows no such mercy: 2 hits /
    (beats + alarms) of a class over the whole table, and so do its means over N, S, V and over
    N, S, V, F, from which the classes that are not `here` (5,) are left out (default: without a
    beat in these tables).
    """
    c = np.moveaxis(np.asarray(tables, dtype=np.float64), (-2, -1), (0, 1))  # c[row, column]
    named = c[:, :O]
    found, missed, extra = named[:O].sum((0, 1)), c[:O, O:].sum((0, 1)), named[O:].sum((0, 1))
    veb = _detection(c, V, unsure=(F, Q))
    sveb = _detection(c, S, unsure=(Q,))
    hits = np.moveaxis(np.diagonal(tables, axis1=-2, axis2=-1)[..., :O].astype(np.float64), -1, 0)
    f1 = np.moveaxis(ratio(2 * hits, c[:O].sum(1) + named.sum(0)), 0, -1)
    known = support(tables) > 0 if here is None else here
    return {
        "qrs_sensitivity": ratio(found, found + missed),
        "qrs_ppv": ratio(found, found + extra),
        **{f"veb_{name}": value for name, value in veb.items()},
        **{f"sveb_{name}": value for name, value in sveb.items()},
        "accuracy": ratio(hits.sum(0), found),
        "f1_macro_nsv": _mean(f1[..., :F], known[:F]),
        "f1_macro_nsvf": _mean(f1[..., :Q], known[:Q]),
    }


def _detection(c: Floats, own: int, unsure: tuple[int, ...]) -> dict[str, Floats]:
    """Sensitivity, PPV and FPR of class `own`; `unsure`: rows in which calling it is no error."""
    others = [row for row in range(7) if row != own]
    right = c[own, own]
    false = c[[row for row in others if row not in unsure], own].sum(0)
    spared = c[others, :O].sum((0, 1)) - c[others, own].sum(0)  # found, and not called so
    return {
        "sensitivity": ratio(right, c[own].sum(0)),
        "ppv": ratio(right, right + false),
        "fpr": ratio(false, false + spared),
    }


def _mean(f1: Floats, here: NDArray[np.bool_]) -> Floats:
    return macro(f1, here) if here.any() else np.full(f1.shape[:-1], np.nan)
