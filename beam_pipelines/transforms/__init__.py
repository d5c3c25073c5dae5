"""The PTransforms that the pipelines are made of."""
