"""Media in the local folder: nobody else on the machine reads what users send and models make."""

import os
import stat

from django.core.files.base import ContentFile

from aibot.file_storage import AtomicFileSystemStorage


def test_its_files_and_folders_are_private_whatever_the_umask_is(tmp_path):
    before = os.umask(0)
    try:
        storage = AtomicFileSystemStorage(location=tmp_path / "media")
        name = storage.save("outputs/picture.png", ContentFile(b"content"))
    finally:
        os.umask(before)

    path = tmp_path / "media" / name
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
