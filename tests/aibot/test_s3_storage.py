"""Media in a bucket: stored, replaced, read and shown as from the local folder, and never by the store's own links."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.core.files.storage import default_storage
from PIL import Image

from providers.errors import NotStored
from providers.storage import store_output
from providers.types import Category
from tests.fakes.bucket import KEY_ID, NAME, SECRET

ROOT = Path(__file__).resolve().parent.parent.parent


def image(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_an_output_is_stored_in_the_bucket_with_its_type(bucket):
    stored = store_output(category=Category.IMAGE, content=image("red"), key="an-attempt-01")

    assert stored.name == "results/01/an-attempt-01.png"
    assert bucket.objects == {stored.name: ("image/png", image("red"))}
    assert default_storage.open(stored.name).read() == image("red")


def test_storing_again_replaces_the_first_copy(bucket):
    for colour in ("red", "blue"):
        store_output(category=Category.IMAGE, content=image(colour), key="an-attempt-01")

    assert [content for _, content in bucket.objects.values()] == [image("blue")]


@pytest.mark.django_db
def test_the_link_leads_to_our_own_address_and_needs_a_permission(bucket, client):
    stored = store_output(category=Category.IMAGE, content=image("red"), key="an-attempt-01")
    link = default_storage.url(stored.name)

    assert link == f"/media/{stored.name}"
    assert client.get(link).status_code in (401, 403)
    client.force_login(get_user_model().objects.create_superuser("operator"))
    assert b"".join(client.get(link).streaming_content) == image("red")
    assert client.get("/media/results/01/nothing.png").status_code == 404


def test_a_failing_bucket_counts_as_our_failure_and_not_the_providers(bucket):
    bucket.is_broken = True

    with pytest.raises(NotStored):
        store_output(category=Category.IMAGE, content=image("red"), key="an-attempt-01")


def test_the_environment_names_the_bucket(tmp_path):
    environment = {
        "PATH": os.environ["PATH"],
        "ENV_FILE": os.devnull,
        "DATA_DIR": str(tmp_path),
        "SECRET_KEY": "a-key-for-tests-only",
        "DEBUG": "True",
        "S3_BUCKET": NAME,
        "S3_ENDPOINT_URL": "https://minio.example.com",
        "S3_ACCESS_KEY_ID": KEY_ID,
        "S3_SECRET_ACCESS_KEY": SECRET,
    }
    script = "from django.core.files.storage import storages; print(storages['default'].bucket_name)"

    shown = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert shown.stdout.split() == [NAME]
