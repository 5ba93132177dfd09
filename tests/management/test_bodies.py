"""The setting store.blobs: what is read, refused, tried and never shown."""

from dataclasses import replace
from pathlib import Path

import pytest

from rookery.base.config import Config
from rookery.base.errors import RookeryError
from rookery.management.bodies import elsewhere, examine, problems
from rookery.management.site import Site
from tests import s3 as service
from tests.s3 import Bucket

bucket = service.bucket


def config(**store: object) -> Config:
    made = Config()
    return replace(made, store=replace(made.store, database="dbname=mail", **store))  # type: ignore[arg-type]


def test_a_folder_is_relative_to_the_site(tmp_path: Path) -> None:
    place = elsewhere(Site(tmp_path), config(blobs="bodies"))
    assert place is not None
    assert place.where == str(tmp_path / "bodies")
    assert elsewhere(Site(tmp_path), config()) is None


def test_a_folder_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    said = examine(Site(tmp_path), config(blobs="bodies"))
    assert said is not None
    assert "cannot be written: No such file" in said
    (tmp_path / "bodies").mkdir()
    assert examine(Site(tmp_path), config(blobs="bodies")) is None
    assert list((tmp_path / "bodies").iterdir()) == []


def test_a_bucket_is_tried_with_the_credentials_of_the_file(tmp_path: Path, bucket: Bucket) -> None:
    options = {key: value for key, value in bucket.options.items() if "key" not in key}
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "blobs").write_text('access_key_id = "me"\nsecret_access_key = "HIDE"\n')
    made = config(blobs=bucket.url, blob_options=tuple(options.items()), blob_credentials_file="keys/blobs")
    assert examine(Site(tmp_path), made) is None
    place = elsewhere(Site(tmp_path), made)
    assert place is not None
    assert place.options["secret_access_key"] == "HIDE"
    assert "HIDE" not in repr(place)
    said = examine(Site(tmp_path), replace(made, store=replace(made.store, blobs="s3://absent/mail")))
    assert said is not None
    assert "s3://absent/mail cannot be written" in said
    assert "HIDE" not in said


@pytest.mark.parametrize("name", ["allow_http", "AWS_ALLOW_HTTP", "timeout", "proxy_url", "regionn"])
def test_what_is_no_option_of_a_bucket_is_named(tmp_path: Path, name: str) -> None:
    said = examine(Site(tmp_path), config(blobs="s3://bucket/mail", blob_options=((name, "true"),)))
    assert said is not None
    assert name in said
    assert said.endswith("; there are no credentials in keys/blobs")


@pytest.mark.parametrize("text", ['secret = "HIDE', "secret = 7"])
def test_a_file_of_credentials_that_is_none_is_named_and_not_quoted(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(RookeryError, match=r"store\.blob_credentials_file") as caught:
        elsewhere(Site(tmp_path), config(blobs="s3://bucket", blob_credentials_file="keys"))
    assert "HIDE" not in str(caught.value)


@pytest.mark.parametrize(
    ("store", "key"),
    [
        ({"blobs": "s3://bucket", "database": ""}, "store.blobs"),
        ({"blobs": "s3://me:HIDE@bucket"}, "store.blobs"),
        ({"blobs": "s3://bucket", "blob_options": (("secret_access_key", "HIDE"),)}, "store.blob_options"),
        ({"blobs": "az://bucket", "blob_options": (("account_key", "HIDE"),)}, "store.blob_options"),
    ],
)
def test_what_does_not_fit_and_secrets_in_the_settings(store: dict[str, object], key: str) -> None:
    made = Config()
    store = {"database": "dbname=mail", **store}
    [(where, found, _)] = problems(replace(made, store=replace(made.store, **store)))  # type: ignore[arg-type]
    assert where == key
    assert "HIDE" not in found


def test_settings_without_a_fault() -> None:
    options = (("endpoint", "http://127.0.0.1:9000"), ("region", "eu"), ("access_key_id", "me"))
    assert list(problems(config(blobs="s3://bucket/mail", blob_options=options))) == []
