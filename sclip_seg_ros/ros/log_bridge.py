"""Bring what the rooms below log with Python's logging into the node's log and /rosout."""

from __future__ import annotations

import logging

PACKAGE = "sclip_seg_ros"


class LogBridge(logging.Handler):
    """Hand records to a ROS logger, by their severity."""

    def __init__(self, logger) -> None:
        """Forward to ``logger``, an rclpy logger."""
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record; see :class:`logging.Handler`."""
        text = " ".join(record.getMessage().split())
        # One call a severity: rclpy refuses a call site that changes its severity.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)


def forward_logs(logger) -> None:
    """Send the package's own records of at least INFO to a ROS logger, and nowhere else."""
    package = logging.getLogger(PACKAGE)
    package.handlers = [LogBridge(logger)]
    package.setLevel(logging.INFO)
    package.propagate = False
