"""Compiles the CPU kernels into the wheel, or beside their sources when editable; without a compiler, neither."""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

KERNELS = Path("src", "vivavoce", "engine", "kernels")


class KernelsHook(BuildHookInterface):  # type: ignore[type-arg]
    """The library needs no Python of any version, only this kind of machine."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        folder = Path(self.root) / KERNELS
        specification = importlib.util.spec_from_file_location("vivavoce_kernels_build", folder / "build.py")
        assert specification is not None and specification.loader is not None
        build = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(build)
        try:
            library = folder / build.library_name()
            if not library.exists():
                build.build(folder)
        except build.NoCompilerError as error:
            self.app.display_warning(f"Without native CPU kernels, PyTorch's slower ones instead: {error}")
            return
        if version == "editable":
            return
        build_data["force_include"][str(library)] = str(Path("vivavoce", "engine", "kernels", library.name))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
