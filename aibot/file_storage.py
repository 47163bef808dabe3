"""Media in the local folder, written aside and renamed, so that a file is always whole or not there."""

import os
import tempfile
from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage


class AtomicFileSystemStorage(FileSystemStorage):
    """Django's storage in a folder, with an atomic save() that replaces a file of the same name.

    A full disk or a kill in the middle leaves the file that was there before. Safe in any number of processes.
    """

    def __init__(self, **options: Any) -> None:
        private = {"file_permissions_mode": 0o600, "directory_permissions_mode": 0o700}  # whatever the umask is
        super().__init__(**{"allow_overwrite": True, **private, **options})

    def _save(self, name: str, content: "File[Any]") -> str:
        target = Path(self.path(name))
        target.parent.mkdir(mode=self.directory_permissions_mode or 0o777, parents=True, exist_ok=True)
        descriptor, aside = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in content.chunks():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, target)  # noqa: PTH105 — the counterpart of mkstemp()
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
        if self.file_permissions_mode is not None:
            target.chmod(self.file_permissions_mode)
        return str(name).replace("\\", "/")
