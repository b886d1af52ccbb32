"""split: every segment to train, val or test; a patient stays on one side -> data/split.csv."""

from pathlib import Path

from retrace import params
from retrace.errors import reported
from retrace.files import read_csv, write_csv
from retrace.learning.splits import groups, stratified, summary

RECORDS, SEGMENTS = Path("data/filtered/records.csv"), Path("data/waveforms/segments.csv")
SPLIT = Path("data/split.csv")


def main() -> None:
    settings = params.load(Path("params.yaml")).split
    segments = read_csv(SEGMENTS, ("segment_id", "record_id", "label"))
    group_of = groups(read_csv(RECORDS, ("record_id", "patient_id", "same_as")))
    labels = [row["label"] for row in segments]
    sides = [group_of[row["record_id"]] for row in segments]
    subsets = stratified(labels, sides, **settings.model_dump(exclude={"method"}))
    ids = [row["segment_id"] for row in segments]
    write_csv(SPLIT, ("segment_id", "label", "subset"), zip(ids, labels, subsets, strict=True))
    print(summary(labels, sides, subsets))


if __name__ == "__main__":
    with reported():
        main()
