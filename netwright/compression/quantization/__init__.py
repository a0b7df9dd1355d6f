"""From a module in PyTorch to a graph of int8 arithmetic.

In order: `exported` makes a graph of the module and tidies it; `annotate` says which tensors become integers; `observers`
choose their ranges; `equalize` and `bias_correction` correct what rounding harms; `fold` makes the integer operations.
`post_training` goes this way without training, `qat` with; `fake_quantization` is the network that then trains. `qdq` writes
integers as ONNX. What is used of torchao's PT2E is in `pt2e`.
"""
