import pytest


@pytest.fixture(scope="session")
def emulators(tmp_path_factory):
  from cloud import serve

  with serve(tmp_path_factory.mktemp("cloud")) as cloud:
    yield cloud


@pytest.fixture(scope="module")
def cloud(emulators):
  """Cloud Storage and BigQuery, emulated; the module's clients go there."""
  from cloud import redirect

  with pytest.MonkeyPatch.context() as patch:
    redirect(patch, emulators.gcs.url, emulators.bigquery.url)
    emulators.plan()
    yield emulators
    emulators.plan()
