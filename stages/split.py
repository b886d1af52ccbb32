"""split: every segment to train, val or test; a patient stays on one side -> data/split.csv."""

from pathlib import Path

from retrace import params
from retrace.errors import reported
from retrace.files import read_csv, write_csv
from retrace.learning.splits import stratified, summary

SEGMENTS, SPLIT = Path("data/waveforms/segments.csv"), Path("data/split.csv")


def main() -> None:
    settings = params.load(Path("params.yaml")).split
    segments = read_csv(SEGMENTS, ("segment_id", "record_id", "patient_id", "label"))
    labels = [row["label"] for row in segments]
    groups = [row["patient_id"] or row["record_id"] for row in segments]
    subsets = stratified(labels, groups, val=settings.val, test=settings.test, seed=settings.seed)
    ids = [row["segment_id"] for row in segments]
    write_csv(SPLIT, ("segment_id", "label", "subset"), zip(ids, labels, subsets, strict=True))
    print(summary(labels, groups, subsets))


if __name__ == "__main__":
    with reported():
        main()
