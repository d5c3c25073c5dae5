"""S3 on this machine: moto's server, behind a proxy that makes faults."""

import contextlib
import sys
import uuid
from collections.abc import Iterator

import boto3
import pytest

from files import systems
from tests.helpers.proxy import Proxy, behind_proxy

_ENVIRONMENT = {
  "AWS_ACCESS_KEY_ID": "testing",
  "AWS_SECRET_ACCESS_KEY": "testing",
  "AWS_DEFAULT_REGION": "us-east-1",
  "AWS_EC2_METADATA_DISABLED": "true",
}


@contextlib.contextmanager
def emulated_s3(patch: pytest.MonkeyPatch) -> Iterator[tuple[str, Proxy]]:
  """Starts server and proxy, points this process's clients at them, and makes a bucket."""
  command = [sys.executable, "-m", "moto.server", "--host=127.0.0.1", "--port={port}"]
  with behind_proxy(command, {}) as proxy:
    for name, value in {**_ENVIRONMENT, "AWS_ENDPOINT_URL": proxy.url}.items():
      patch.setenv(name, value)
    bucket = f"bucket-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    systems.forget()
    yield bucket, proxy
    systems.forget()
