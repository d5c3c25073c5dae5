import pytest


@pytest.fixture(scope="session")
def emulators(tmp_path_factory):
  from tests.helpers.cloud import serve

  with serve(tmp_path_factory.mktemp("cloud")) as cloud:
    yield cloud


@pytest.fixture(scope="module")
def cloud(emulators):
  """Cloud Storage and BigQuery, emulated; the module's clients go there."""
  from tests.helpers.cloud import redirect

  with pytest.MonkeyPatch.context() as patch:
    redirect(patch, emulators.gcs.url, emulators.bigquery.url)
    emulators.plan()
    yield emulators
    emulators.plan()
