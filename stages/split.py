"""split: every segment to train, val or test; a patient stays on one side -> data/split.csv."""

from pathlib import Path

from retrace import params
from retrace.errors import reported
from retrace.files import read_csv, write_csv
from retrace.learning.leaks import report
from retrace.learning.splits import divide, groups, summary

RECORDS, SEGMENTS = Path("data/filtered/records.csv"), Path("data/waveforms/segments.csv")
SPLIT = Path("data/split.csv")


def main() -> None:
    settings = params.load(Path("params.yaml")).split
    segments = read_csv(SEGMENTS, ("segment_id", "record_id", "start", "label"))
    records = read_csv(RECORDS, ("record_id", "patient_id", "same_as"))
    labels = [row["label"] for row in segments]
    owners = [row["record_id"] for row in segments]
    subsets = divide(labels=labels, record_ids=owners, records=records, **settings.model_dump())
    ids = [row["segment_id"] for row in segments]
    write_csv(SPLIT, ("segment_id", "label", "subset"), zip(ids, labels, subsets, strict=True))
    group_of = groups(records)
    sides = [group_of[owner] for owner in owners]
    print(summary(labels, sides, subsets))
    starts = [float(row["start"]) for row in segments]
    print(report(settings.method, sides, owners, starts, subsets))
    if not all(row["patient_id"] for row in records):
        print("some patients are unknown: their recordings may stand on two sides")


if __name__ == "__main__":
    with reported():
        main()
