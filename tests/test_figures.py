"""Figures and the tables beneath them: right numbers, equal bytes, nothing left out in silence."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import auc, confusion_matrix, roc_auc_score

from retrace.errors import InputError
from retrace.files import read_csv
from retrace.scoring.calibration import ece, softmax
from retrace.scoring.curves import draw_curves
from retrace.scoring.examples import Example, choose, page
from retrace.scoring.figures import draw
from retrace.scoring.style import house_style, save

CLASSES = ("NSR", "AF", "Other", "Noise")


def arrays(n: int = 150) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 4, n)
    logits = rng.normal(size=(n, 4))
    logits[np.arange(n), y] += 1.5
    p, raw = softmax(logits), softmax(logits, 0.5)
    return {"y": y, "probabilities": p, "raw_probabilities": raw, "classes": CLASSES}


def example(**changes: Any) -> Example:
    rng = np.random.default_rng(0)
    strip = Example(
        record_id="A00001",
        waveform=rng.normal(0, 0.1, (1, 640)).astype(np.float32),
        fs=128.0,
        scalogram=rng.random((8, 40)).astype(np.float16),
        frequencies=np.geomspace(0.5, 32, 8),
        actual="AF",
        predicted="AF",
        probability=0.8,
    )
    return replace(strip, **changes)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plots") / "test"
    draw(folder, **arrays(), examples=[example(), example(predicted="NSR")])
    return folder


def test_every_plot_is_there_and_nothing_half_written(drawn: Path) -> None:
    plots = {
        f"{name}.{kind}"
        for name in ("confusion", "roc", "pr", "calibration")
        for kind in ("csv", "png")
    }
    assert {path.name for path in drawn.iterdir()} == plots | {"examples.png"}
    for path in drawn.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
        assert b"Software" not in path.read_bytes()


def test_equal_input_gives_equal_bytes(drawn: Path, tmp_path: Path) -> None:
    """Even where the user's own matplotlib looks otherwise."""
    with matplotlib.rc_context({"font.size": 20, "savefig.dpi": 30, "axes.grid": True}):
        draw(tmp_path, **arrays(), examples=[example(), example(predicted="NSR")])
        assert matplotlib.rcParams["font.size"] == 20
    for path in drawn.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_confusion_table_has_one_row_a_record(drawn: Path) -> None:
    rows, given = read_csv(drawn / "confusion.csv"), arrays()
    counts = confusion_matrix(
        [row["actual"] for row in rows], [row["predicted"] for row in rows], labels=CLASSES
    )
    expected = confusion_matrix(given["y"], given["probabilities"].argmax(1))
    np.testing.assert_array_equal(counts, expected)


def test_the_area_under_the_written_curve_is_the_auroc(drawn: Path) -> None:
    given = arrays()
    for c, name in enumerate(CLASSES):
        rows = [row for row in read_csv(drawn / "roc.csv") if row["class"] == name]
        x = [float(row["false_positive_rate"]) for row in rows]
        area = auc(x, [float(row["sensitivity"]) for row in rows])
        expected = roc_auc_score(given["y"] == c, given["probabilities"][:, c])
        assert area == pytest.approx(expected, abs=1e-4)


def test_a_point_of_the_pr_curve_is_what_its_threshold_gives(drawn: Path) -> None:
    given = arrays()
    rows = [row for row in read_csv(drawn / "pr.csv") if row["class"] == "AF"]
    row = rows[len(rows) // 2]
    alarm = given["probabilities"][:, 1] >= float(row["threshold"]) - 1e-6
    right = alarm & (given["y"] == 1)
    assert float(row["ppv"]) == pytest.approx(right.sum() / alarm.sum(), abs=1e-6)
    found = right.sum() / (given["y"] == 1).sum()
    assert float(row["sensitivity"]) == pytest.approx(found, abs=1e-6)


def test_the_calibration_table_holds_the_error_before_and_after(drawn: Path) -> None:
    given, rows = arrays(), read_csv(drawn / "calibration.csv")
    for stage, key in (("before", "raw_probabilities"), ("after", "probabilities")):
        mine = [row for row in rows if row["stage"] == stage]
        gap = sum(
            int(row["count"]) * abs(float(row["accuracy"]) - float(row["confidence"]))
            for row in mine
        )
        assert gap / 150 == pytest.approx(ece(given[key], given["y"]), abs=1e-5)


def test_a_class_without_examples_has_no_curve_but_its_place(tmp_path: Path) -> None:
    given = arrays()
    given["y"] = np.where(given["y"] == 2, 0, given["y"])
    draw(tmp_path, **given)
    assert "Other" not in {row["class"] for row in read_csv(tmp_path / "roc.csv")}
    assert not (tmp_path / "examples.png").exists()


def test_figures_of_beats_say_so_and_bear_the_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr("retrace.scoring.figures.save", lambda figure, _: drawn.append(figure))

    draw(tmp_path, **arrays(), unit="beat", stamp="intra-patient")

    assert [figure.get_supxlabel() for figure in drawn] == ["INTRA-PATIENT"] * 4
    confusion, calibration = drawn[0], drawn[3]
    assert confusion.axes[0].get_title() == "Beats, and their share of the actual class"
    assert calibration.axes[1].get_ylabel() == "beats"


def test_what_the_model_saw_of_a_longer_strip_is_shaded() -> None:
    with house_style():
        figure = page([example(seen=(1.0, 1.5), scalogram=None, frequencies=None)], CLASSES)
    (axes,) = figure.subfigs[0].axes
    (shade,) = axes.patches
    assert shade.get_extents().transformed(axes.transData.inverted()).intervalx == pytest.approx(
        (1.0, 1.5)
    )
    assert axes.get_xlabel() == "time (s); shaded: what the model saw"


def test_a_normalised_strip_is_not_said_to_be_in_millivolts() -> None:
    with house_style():
        figure = page([example(scaled=True)], CLASSES)
    assert figure.subfigs[0].axes[0].get_ylabel() == "normalised"


def test_the_page_keeps_the_order_of_classes_and_the_strip_its_time() -> None:
    """Right on the left and wrong on the right; a 5 s strip ends at 5 s, and so does its image."""
    strips = [
        example(record_id="n", actual="Noise", predicted="Noise"),
        example(record_id="w", actual="NSR", predicted="Other"),
        example(record_id="a"),
    ]
    with house_style():
        figure = page(strips, CLASSES)
    left, right = figure.subfigs
    titles = [axes.get_title(loc="left") for half in (left, right) for axes in half.axes]
    assert [title.split()[0] for title in titles if title] == ["AF", "Noise", "NSR,"]
    assert "answered Other" in "".join(titles)
    for axes in [*left.axes, *right.axes]:
        assert axes.get_xlim() == pytest.approx((0, 5))
    (image,) = (image for axes in right.axes for image in axes.get_images())
    assert image.get_extent() == pytest.approx([0, 5, -1, 5])


def test_a_tone_lies_at_its_frequency_whichever_way_the_scales_run() -> None:
    """The scalogram's strongest row is drawn at 8 Hz, for rising and falling frequencies."""
    hertz = np.array([2.0, 4, 8, 16])
    tone = np.array([[0.0], [0], [1], [0]]) * np.ones((1, 40))
    for step in (1, -1):
        strip = example(scalogram=tone[::step], frequencies=hertz[::step])
        with house_style():
            left, _ = page([strip], CLASSES).subfigs
        (image,) = (image for axes in left.axes for image in axes.get_images())
        data = np.asarray(image.get_array())
        assert list(data[:, 0]) == [0, 0, 1, 0]
        assert image.origin == "lower"


def test_only_the_first_ten_seconds_of_a_long_recording_are_shown(tmp_path: Path) -> None:
    long = example(waveform=np.zeros((5, 128 * 30)), scalogram=None, frequencies=None)
    with house_style():
        figure = page([long], CLASSES)
        save(figure, tmp_path / "page.png")
    (axes,) = figure.subfigs[0].axes
    assert axes.get_xlim() == pytest.approx((0, 10))
    assert "first 10 of 30 s" in axes.get_title(loc="left")


def test_examples_are_a_typical_right_and_the_surest_wrong_answer() -> None:
    top = np.array([0.6, 0.9, 0.7, 0.6, 0.8, 0.9])
    zero = np.array([True, True, True, False, False, True])
    p = np.where(zero[:, np.newaxis], np.stack([top, 1 - top], 1), np.stack([1 - top, top], 1))
    y = np.array([0, 0, 0, 0, 0, 1])
    assert choose(y, p, 2) == [2, 4, 5]


def test_an_example_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InputError, match=r"A00001: waveform of shape \(640,\)"):
        example(waveform=np.zeros(640))
    with pytest.raises(InputError, match=r"needs one frequency a scale, got \(3,\)"):
        example(frequencies=np.ones(3))


def test_learning_curves_are_the_same_bytes_for_the_same_epochs(tmp_path: Path) -> None:
    rows = [{"train_loss": 1 / n, "val_loss": 2 / n, "val_f1_macro": n / 9} for n in range(1, 9)]

    for name in ("a.png", "b.png"):
        draw_curves(tmp_path / name, rows, score="val_f1_macro", best_epoch=7)

    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
