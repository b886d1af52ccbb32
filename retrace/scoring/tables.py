"""scores.json as rows of text, the header first: for a terminal, and for a page in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from retrace.scoring.beats import HEADLINE
from retrace.scoring.ec57 import CLASSES

Rows = list[list[str]]

# The figures of EC57 at the head of a narrow column.
SHORT = {
    "qrs_sensitivity": "QRS Se",
    "qrs_ppv": "QRS PPV",
    "veb_sensitivity": "VEB Se",
    "veb_ppv": "VEB PPV",
    "veb_fpr": "VEB FPR",
    "sveb_sensitivity": "SVEB Se",
    "sveb_ppv": "SVEB PPV",
    "sveb_fpr": "SVEB FPR",
    "f1_macro_nsv": "F1 N S V",
    "f1_macro_nsvf": "F1 N S V F",
}


def table(tree: Mapping[str, Any]) -> Rows:
    """Columns: score, value (k/n where examples are few), 95 % interval, and what each baseline
    gets."""
    rivals = tree["baselines"]
    rows = [["score", "value", "95 % interval", *rivals]]

    def add(name: str, entry: Mapping[str, Any], beside: Sequence[str] = ()) -> None:
        blank = ["" for _ in rivals]
        rows.append([name, number(entry), span(entry), *(beside or blank)])

    for name, entry in tree["overall"].items():
        add(name, entry, [number(rival.get(name)) for rival in rivals.values()])
    for name, rival in rivals.items():
        add(f"f1_macro above {name}", rival["f1_macro_gain"])
    for name, entry in tree["classes"].items():
        add(f"{name} sensitivity", entry["sensitivity"])
        add(f"{name} ppv", entry["ppv"])
    if "false_af_on_noise" in tree:
        add("false_af_on_noise", tree["false_af_on_noise"])
    counts = {name: tree["counts"][name] for name in ("records", "patients")}
    if tree.get("unit") == "beat":
        counts = {"beats": tree["counts"]["answers"], **counts}
    known = [(name, str(count)) for name, count in counts.items() if count is not None]
    return rows + [[name, count, "", *("" for _ in rivals)] for name, count in known]


def ec57_headline(tree: Mapping[str, Any]) -> Rows:
    """The figures of the headline report, gross and as means over records; none without one."""
    if not (reports := tree.get("ec57")):
        return []
    own = reports[HEADLINE]
    rows = [["EC57", "gross", "95 % interval", "average", "95 % interval"]]
    for name, entry in own["gross"].items():
        mean = own["average"].get(name)
        beside = [number(mean), span(mean)] if mean else ["", ""]
        rows.append([name, number(entry), span(entry), *beside])
    if calibration := own.get("calibration"):
        worst = calibration["worst_record"]
        rows.append(["ECE", f"{calibration['ece']:.3f}", "", "", ""])
        rows.append([f"ECE of record {worst['record_id']}", f"{worst['ece']:.3f}", "", "", ""])
    return rows


def ec57_reports(tree: Mapping[str, Any]) -> Rows:
    """The gross figures of every report, and of each without some records; none without one."""
    if not (reports := tree.get("ec57")):
        return []
    rows = [["convention", "peaks", "from", "records", *SHORT.values()]]
    for own in reports.values():
        protocol = own["protocol"]
        minutes, seconds = divmod(int(protocol["start_s"]), 60)
        who = [protocol["convention"], protocol["peaks"], f"{minutes}:{seconds:02d}"]
        parts = {str(own["counts"]["records"]): own}
        parts |= {f"without {name}": part for name, part in own.get("without", {}).items()}
        for records, part in parts.items():
            rows.append([*who, records, *(number(part["gross"][name]) for name in SHORT)])
    return rows


def ec57_subgroups(tree: Mapping[str, Any]) -> Rows:
    """The gross figures of women and men and of each age band, in the headline report; none where
    nobody's sex or age is known."""
    if not (reports := tree.get("ec57")):
        return []
    rows = [["patients", "number", *SHORT.values()]]
    for attribute in reports[HEADLINE]["subgroups"].values():
        for name, own in attribute["groups"].items():
            figures = (cell(own["gross"][score]) for score in SHORT)
            rows.append([name, str(own["counts"]["patients"]), *figures])
    return rows if len(rows) > 1 else []


def ec57_records(tree: Mapping[str, Any]) -> Rows:
    """The figures of each record in the headline report; none without one."""
    if not (reports := tree.get("ec57")):
        return []
    rows = [["record", *CLASSES, *SHORT.values()]]
    for name, own in reports[HEADLINE]["records"].items():
        figures = ("-" if own[figure] is None else f"{own[figure]:.3f}" for figure in SHORT)
        rows.append([name, *map(str, own["beats"].values()), *figures])
    return rows


def number(entry: Mapping[str, Any] | None) -> str:
    """A score as k/n where examples are few, else with three digits; - where there is none."""
    if entry is None:
        return ""
    if "k" in entry:
        return f"{entry['k']}/{entry['n']}"
    return "-" if entry["value"] is None else f"{entry['value']:.3f}"


def span(entry: Mapping[str, Any]) -> str:
    """Its interval, "low to high"."""
    return "" if entry["low"] is None else f"{entry['low']:.3f} to {entry['high']:.3f}"


def cell(entry: Mapping[str, Any] | None) -> str:
    """A score with its interval; - where there is none."""
    if entry is None:
        return "-"
    return f"{number(entry)} ({span(entry)})" if span(entry) else number(entry)
