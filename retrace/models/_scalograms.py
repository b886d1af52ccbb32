"""What networks on scalograms share: nothing yet.

The stages depend on `_scalograms.py` or `_waveforms.py` by `model.input`: a change to what the
networks of one kind share retrains none of the other.
"""
