"""The precisions that matrix products and convolutions come in; weights are always float32."""

PRECISIONS = ("float32", "bfloat16")
