"""Programs that come with packages of Python."""

from __future__ import annotations

import os
import shutil
import sysconfig


def program(name: str) -> str | None:
    """Where `name` is: on the PATH, or beside this Python, whose environment need not be activated to be used."""
    return shutil.which(name, path=os.pathsep.join([*os.get_exec_path(), sysconfig.get_path("scripts")]))
