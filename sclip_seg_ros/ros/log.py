"""What the log is told: exceptions in a line, and records of the rooms below."""

from __future__ import annotations

import logging

PACKAGE = "sclip_seg_ros"


def describe(error: Exception) -> str:
    """Return an exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def drop_tracebacks(error: BaseException) -> None:
    """Let go of what an exception's tracebacks hold, such as the tensors that filled a memory."""
    chain: BaseException | None = error
    while chain is not None:
        chain.__traceback__ = None
        chain = chain.__cause__ or chain.__context__


class LogBridge(logging.Handler):
    """Hand records to a ROS logger, by their severity."""

    def __init__(self, logger) -> None:
        """Forward to ``logger``, an rclpy logger."""
        super().__init__()
        self.logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record; see :class:`logging.Handler`."""
        text = " ".join(record.getMessage().split())
        # One call a severity: rclpy refuses a call site that changes its severity.
        if record.levelno >= logging.ERROR:
            self.logger.error(text)
        elif record.levelno >= logging.WARNING:
            self.logger.warning(text)
        else:
            self.logger.info(text)


def forward_logs(logger) -> None:
    """Send the package's records of at least INFO, and others' warnings, to a ROS logger.

    One logger of a process has them: the newest node's.
    """
    package = logging.getLogger(PACKAGE)
    package.handlers = [LogBridge(logger)]
    package.setLevel(logging.INFO)
    package.propagate = False
    # Libraries' warnings: once, and here; one that finds no handler would install its own.
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, LogBridge)]
    libraries = LogBridge(logger)
    libraries.setLevel(logging.WARNING)
    root.addHandler(libraries)


def stop_forwarding(logger) -> None:
    """Undo :func:`forward_logs`, unless another node's logger has the records by now."""
    package = logging.getLogger(PACKAGE)
    if not any(_goes_to(handler, logger) for handler in package.handlers):
        return
    package.handlers = []
    package.setLevel(logging.NOTSET)
    package.propagate = True
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not _goes_to(handler, logger)]


def _goes_to(handler: logging.Handler, logger) -> bool:
    return isinstance(handler, LogBridge) and handler.logger is logger
