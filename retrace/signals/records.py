"""A recording in memory, and the reader of WFDB files."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import wfdb
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.files import each_row

BEATS = frozenset("NLRBAaJSejnVrEF/fQ?")  # the symbols of PhysioNet that are beats
_MILLIVOLTS = {"mV": 1.0, "uV": 1e-3, "µV": 1e-3, "V": 1e3}


@dataclass(frozen=True)
class Record:
    """One recording as its source gives it.

    signal: (leads, samples) float32 in mV at `fs` Hz. Where the source is silent, `patient_id`,
    `age` (years), `sex` ("F" or "M"), `label` (the source's own name of the class) and `part` (the
    publisher's own "train" or "test") are None.
    beats: (k,) sample indices of all annotations, symbols: their PhysioNet codes, of which those
    in `BEATS` are beats, subtypes: what qualifies them, as the leads in which there is noise; none
    where the data set leaves them out.
    band: low and high in Hz and order of the zero-phase Butterworth band-pass that the publisher
    has applied already (see `filters.bandpass`), else None. cut: a single beat, which the publisher
    has cut out and scaled to 0 to 1, so that its unit is not mV.
    """

    record_id: str
    fs: float
    leads: tuple[str, ...]
    signal: NDArray[np.float32]
    patient_id: str | None = None
    age: float | None = None
    sex: str | None = None
    label: str | None = None
    part: str | None = None
    beats: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    symbols: tuple[str, ...] = ()
    subtypes: tuple[int, ...] = ()
    band: tuple[float, float, int] | None = None
    cut: bool = False

    def with_leads(self, wanted: Sequence[str]) -> "Record":
        """The record reduced to the leads in `wanted`, in that order.

        A lead is chosen by name, never by channel number: channel 0 of MIT-BIH is V5 in three
        records. An item may name alternatives, the first found is taken: "MLII|II".
        """
        rows = _rows(self.record_id, self.leads, wanted)
        return replace(self, leads=tuple(self.leads[row] for row in rows), signal=self.signal[rows])

    def with_label(self, labels: Mapping[str, str | None]) -> "Record":
        """The record with its source's label translated by the visible map of params.yaml.

        None where the map says null: a data set leaves out such records.
        """
        if self.label is None or self.label not in labels:
            raise InputError(
                f"record {self.record_id}: label {self.label!r}; the map has "
                f"{', '.join(labels)}: add it to labels under datasets in params.yaml"
            )
        return replace(self, label=labels[self.label])

    def with_signal(self, signal: NDArray[np.float32]) -> "Record":
        """The same record with a processed signal."""
        return replace(self, signal=signal)


def _rows(record_id: str, leads: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where the wanted leads stand among `leads`."""
    rows: list[int] = []
    for item in wanted:
        taken = [leads[row] for row in rows]
        found = [name for name in item.split("|") if name in leads and name not in taken]
        if not found:
            beside = f" beside {', '.join(taken)}" if taken else ""
            raise InputError(
                f"record {record_id}: no lead {item.replace('|', ' or ')}{beside}; it has "
                f"{', '.join(leads)}: name one of these under datasets in params.yaml"
            )
        rows.append(leads.index(found[0]))
    return rows


def unusable(record: Record, policy: str) -> bool:
    """Whether a sample of the record is no number or one of its leads never changes.

    policy: "drop" answers, "error" raises InputError instead of answering yes.
    """
    broken = ~np.isfinite(record.signal)
    flat = (record.signal == record.signal[:, :1]).all(axis=1)
    if not broken.any() and not flat.any():
        return False
    if policy == "drop":
        return True
    if broken.any():
        lead = record.leads[int(broken.any(axis=1).argmax())]
        what = f"{int(broken.sum())} samples are no numbers (lead {lead})"
    else:
        what = f"lead {record.leads[int(flat.argmax())]} is flat"
    raise InputError(
        f"record {record.record_id}: {what}; a filter needs a whole, living signal: set "
        "bandpass.unusable to drop in params.yaml, or remove the record"
    )


def read_wfdb_folder(folder: Path) -> Iterator[Record]:
    """The WFDB records that `folder`/labels.csv lists, in its order.

    labels.csv has the columns record_id and label, and may have patient_id, age and sex, which
    go before what the header says. Subtypes of annotations, which only the scoring of beats asks
    for, are left out: these recordings have a label each.
    """
    for row in each_row(folder / "labels.csv", ("record_id", "label")):
        name = row["record_id"]
        if not name:
            raise InputError("labels.csv: a row without record_id; each must name its record")
        record = read_wfdb(folder / name)
        yield replace(
            record,
            record_id=name,
            label=row["label"],
            patient_id=row.get("patient_id") or None,
            age=_given_age(name, row["age"]) if row.get("age") else record.age,
            sex=_given_sex(name, row["sex"]) if row.get("sex") else record.sex,
            subtypes=(),
        )


def _given_age(name: str, text: str) -> float:
    if (age := _number(text)) is None:
        raise InputError(
            f"labels.csv: record {name}: age {text!r}; expected years from 0 to 130 or nothing: "
            "correct it"
        )
    return age


def _given_sex(name: str, text: str) -> str:
    sex = text.strip()[:1].upper()
    if sex not in ("F", "M"):
        raise InputError(
            f"labels.csv: record {name}: sex {text!r}; expected F, M or nothing: correct it"
        )
    return sex


def wfdb_names(folder: Path, pattern: str) -> list[str]:
    """The records among the files `pattern` below `folder`, sorted, as a path without a suffix.

    A record is named by any one of its .hea, .dat and .atr, so that a missing one is noticed.
    """
    files = [path for path in folder.glob(pattern) if path.suffix in (".hea", ".dat", ".atr")]
    return sorted({path.relative_to(folder).with_suffix("").as_posix() for path in files})


def read_header(path: Path) -> Any:
    """The `wfdb.Record` of a header, without signals; see `read_wfdb`.

    Raises InputError where it is missing, no header, or names a file that is missing.
    """
    name = path.name
    if not _beside(path, ".hea").is_file():
        raise InputError(
            f"record {name}: {name}.hea is missing; a record needs its header: put it beside "
            "the .dat file"
        )
    with _readable(name):
        header = wfdb.rdheader(str(path))
        for partner in sorted(set(header.file_name or [])):
            if not (path.parent / partner).is_file():
                raise InputError(
                    f"record {name}: {partner} is missing; its header names that file: put it "
                    f"beside {name}.hea"
                )
    return header


def read_wfdb(path: Path, leads: Sequence[str] = ()) -> Record:
    """Read a WFDB record (.hea, .dat and, where it is there, .atr).

    path: the record without a suffix. leads: which ones, as for `Record.with_leads`; the others
    are not converted, and may have any unit. () takes all. Age and sex are taken from header
    comments as PhysioNet writes them ("69 M 1085 ..." in MIT-BIH, "age: 69", "sex: M" elsewhere).
    Samples marked as invalid in the file become NaN.

    Raises InputError for a missing or truncated file and for units that are no voltage.
    Format: https://physionet.org/physiotools/wag/header-5.htm
    """
    name, header = path.name, read_header(path)
    with _readable(name):
        rows = _rows(name, header.sig_name, leads) if leads else None
        stored = wfdb.rdrecord(str(path), channels=rows)
    if len(stored.p_signal) != stored.sig_len or stored.sig_len == 0:
        raise InputError(
            f"record {name}: {len(stored.p_signal)} samples; its header promises "
            f"{stored.sig_len} and at least one is needed: obtain the file again"
        )
    for unit in stored.units:
        if unit not in _MILLIVOLTS:
            raise InputError(
                f"record {name}: unit {unit!r}; expected {', '.join(_MILLIVOLTS)}: "
                "correct the header"
            )
    factors = np.array([_MILLIVOLTS[unit] for unit in stored.units])
    beats, symbols, subtypes = _read_annotations(path)
    age, sex = _age_and_sex(header.comments or [])
    return Record(
        record_id=name,
        fs=float(stored.fs),
        leads=tuple(stored.sig_name),
        signal=np.ascontiguousarray((stored.p_signal * factors).T, dtype=np.float32),
        age=age,
        sex=sex,
        beats=beats,
        symbols=symbols,
        subtypes=subtypes,
    )


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """What wfdb raises for a damaged header or signal file, in one sentence."""
    try:
        yield
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"record {name}: cannot be read ({error}); header and signal files must be whole "
            "and fit each other: obtain both again"
        ) from None


def _beside(path: Path, suffix: str) -> Path:
    """The record's file of that kind; `with_suffix` would cut a name that has a dot."""
    return path.with_name(path.name + suffix)


def _read_annotations(path: Path) -> tuple[NDArray[np.int64], tuple[str, ...], tuple[int, ...]]:
    """Samples, symbols and subtypes."""
    if not _beside(path, ".atr").is_file():
        return np.empty(0, np.int64), (), ()
    try:
        annotation = wfdb.rdann(str(path), "atr")
        samples, symbols = np.asarray(annotation.sample, np.int64), tuple(annotation.symbol)
        if not all(isinstance(symbol, str) for symbol in symbols):
            raise ValueError("an annotation is of no known kind")
        if (np.diff(samples, prepend=0) < 0).any():
            raise ValueError("annotations are not in the order of time")
    except (ValueError, IndexError, KeyError) as error:
        raise InputError(
            f"record {path.name}: {path.name}.atr cannot be read ({error}); it must be a WFDB "
            "annotation file: obtain it again or remove it"
        ) from None
    return samples, symbols, tuple(annotation.subtype.tolist())


def _age_and_sex(comments: Sequence[str]) -> tuple[float | None, str | None]:
    age: float | None = None
    sex: str | None = None
    for comment in comments:
        key, _, value = comment.partition(":")
        words = comment.split()
        if value and key.strip().lower() in ("age", "sex"):
            text = value.strip()
            if key.strip().lower() == "age":
                age = _number(text)
            else:
                sex = text[:1].upper() if text[:1].upper() in ("F", "M") else None
        elif len(words) >= 2 and words[0].isdigit() and words[1] in ("F", "M"):
            age, sex = float(words[0]), words[1]
    return age, sex


def _number(text: str | None) -> float | None:
    """Age in years; headers also say "unknown", "-1" or nothing."""
    try:
        years = float(text or "")
    except ValueError:
        return None
    return years if 0 <= years < 130 else None
