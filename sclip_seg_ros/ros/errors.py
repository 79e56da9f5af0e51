"""Exceptions of frames and words: told in a line, and let go of."""

from __future__ import annotations


def describe(error: Exception) -> str:
    """Return an exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def drop_tracebacks(error: BaseException) -> None:
    """Let go of what an exception's tracebacks hold, such as the tensors that filled a memory."""
    chain: BaseException | None = error
    while chain is not None:
        chain.__traceback__ = None
        chain = chain.__cause__ or chain.__context__
