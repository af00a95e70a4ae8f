"""The convolutions of ONNX files."""
