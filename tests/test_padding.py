"""Zeros at the end of a window are padding; zeros elsewhere are signal."""

import torch

from retrace.padding import real_samples


def _rows(*waveforms: list[list[float]]) -> list[list[int]]:
    return real_samples(torch.tensor(waveforms)).int().tolist()


def test_only_zeros_at_the_end_are_padding() -> None:
    assert _rows([[0.0, 0.3, 0.0, -0.1, 0.0, 0.0]]) == [[1, 1, 1, 1, 0, 0]]


def test_a_window_without_padding_is_signal_throughout() -> None:
    assert _rows([[0.0, 0.0, 0.2]], [[0.1, 0.0, 1e-30]]) == [[1, 1, 1], [1, 1, 1]]


def test_a_sample_is_signal_while_any_lead_has_some() -> None:
    assert _rows([[0.5, 0.0, 0.0, 0.0], [0.5, 0.0, 0.5, 0.0]]) == [[1, 1, 1, 0]]


def test_an_empty_window_keeps_its_first_sample() -> None:
    assert _rows([[0.0, 0.0, 0.0]]) == [[1, 0, 0]]
