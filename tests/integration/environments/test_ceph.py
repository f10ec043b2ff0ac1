"""The Ceph fixtures: a pool that the user glance may use, and S3 that checks signatures."""

import boto3
import pytest
from botocore.exceptions import ClientError

from pipeline.host.system import process
from tests.environments.ceph import ACCESS_KEY, POOL, SECRET_KEY, Ceph

pytestmark = pytest.mark.server


def test_glance_may_use_the_pool(ceph: Ceph) -> None:
    rbd = ["rbd", "-c", str(ceph.glance_conf), "--id", "glance", "-p", POOL]
    process.run([*rbd, "create", "image", "--size", "8M"])
    assert process.run([*rbd, "ls"]).stdout.split() == ["image"]
    process.run([*rbd, "rm", "--no-progress", "image"])


def test_gateway_checks_signatures(gateway: str) -> None:
    def client(secret: str) -> object:
        return boto3.client(
            "s3",
            endpoint_url=gateway,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=secret,
            region_name="default",
        )

    good = client(SECRET_KEY)
    good.create_bucket(Bucket="bucket")  # type: ignore[attr-defined]
    good.put_object(Bucket="bucket", Key="k", Body=b"data")  # type: ignore[attr-defined]
    assert good.get_object(Bucket="bucket", Key="k")["Body"].read() == b"data"  # type: ignore[attr-defined]
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client("wrong").get_object(Bucket="bucket", Key="k")  # type: ignore[attr-defined]
