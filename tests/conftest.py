"""The same commit gives the same answer: hypothesis draws the same examples every time, and a busy
machine fails no test by its clock."""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
