"""Runs a transform on a list, on the runner that commands use by default."""

import uuid

import apache_beam as beam

from beam_pipelines.launch.command import beam_options

_results: dict[str, list] = {}


def run_eagerly(transform, elements, *flags):
  """Returns the output as a list, or as a dict of lists if the transform has several outputs."""
  names = {}
  with beam.Pipeline(options=beam_options(list(flags))) as pipeline:
    output = pipeline | "Elements" >> beam.Create(elements) | "Transform" >> transform
    collections = output if isinstance(output, dict) else {"output": output}
    for name, collection in collections.items():
      names[name] = uuid.uuid4().hex
      _results[names[name]] = []
      _ = collection | f"Keep {name}" >> beam.Map(_keep, names[name])
  lists = {name: _results.pop(key) for name, key in names.items()}
  return lists if isinstance(output, dict) else lists["output"]


def _keep(element, key):
  _results[key].append(element)
