"""Write the readme of the package: an index shows README.md without the files that its links lead to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_IMAGE = re.compile(r"!\[[^\]]*\]\((?!https?:)[^)]+\)\n*")
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)[^)]+\)")


class ReadmeHook(MetadataHookInterface):
    """What hatchling asks for the metadata that pyproject.toml calls dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the readme."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": readme_for_index(text)}


def readme_for_index(text: str) -> str:
    """Leave out the images of the repository, and keep only the text of links into it."""
    return _LINK.sub(r"\1", _IMAGE.sub("", text))
