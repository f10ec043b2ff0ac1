"""The Swift fixture: both ways to log in, large objects, the S3 API."""

import boto3
import pytest
import swiftclient

from tests.environments.keystone import PASSWORD, Keystone
from tests.environments.swift import KEY, USER, Swift

pytestmark = pytest.mark.server


@pytest.fixture(params=["tempauth", "keystone"])
def connection(request: pytest.FixtureRequest, swift: Swift, keystone: Keystone) -> swiftclient.Connection:
    if request.param == "tempauth":
        return swiftclient.Connection(swift.tempauth, USER, KEY, auth_version="1")
    options = {"user_domain_name": "Default", "project_domain_name": "Default", "project_name": "service"}
    return swiftclient.Connection(keystone.url, "glance", PASSWORD, auth_version="3", os_options=options)


def test_static_large_object(connection: swiftclient.Connection) -> None:
    import json

    connection.put_container("c")
    parts = [
        {"path": f"/c/o-{number}", "etag": connection.put_object("c", f"o-{number}", b"x" * 9)} for number in (1, 2)
    ]
    connection.put_object("c", "o", json.dumps(parts), query_string="multipart-manifest=put")
    _, body = connection.get_object("c", "o", headers={"Range": "bytes=5-11"})
    assert body == b"x" * 7
    connection.delete_object("c", "o", query_string="multipart-manifest=delete")
    assert connection.get_container("c")[1] == []


def test_s3(swift: Swift) -> None:
    client = boto3.client(
        "s3", endpoint_url=swift.url, aws_access_key_id=USER, aws_secret_access_key=KEY, region_name="us-east-1"
    )
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key="k", Body=b"data")
    assert client.get_object(Bucket="bucket", Key="k")["Body"].read() == b"data"
