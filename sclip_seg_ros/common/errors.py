"""Errors that stop what was asked for; the message tells users, in one sentence, what to do."""

from __future__ import annotations


class Unusable(RuntimeError):
    """What was given, as weights are, cannot be used; nothing could be done with it."""


class Failed(RuntimeError):
    """What was given is fine, but it was not done: a node does not answer, a process has ended."""
