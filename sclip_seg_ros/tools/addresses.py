"""What programs share that copy from and to addresses: fsspec wanted, and a folder to work in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from tempfile import TemporaryDirectory

from sclip_seg_ros.common.libraries import remedy_for
from sclip_seg_ros.tools.arguments import UsageError


def check_fsspec() -> None:
    """Refuse addresses where nothing knows them.

    Raises:
        UsageError: with the remedy.
    """
    if find_spec("fsspec") is None:
        raise UsageError("addresses need the Python module 'fsspec', which is not installed; "
                         f"{remedy_for('fsspec', 'cluster')}")


@contextmanager
def temporary_folder() -> Iterator[None]:
    """Have this process work in a folder of its own for a while.

    So copies there are known by their names alone, and what is said of them, also in results, names
    no folder that nobody has chosen.
    """
    before = os.getcwd()
    with TemporaryDirectory(prefix="sclip-copy-") as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)
