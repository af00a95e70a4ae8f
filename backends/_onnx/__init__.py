"""ONNX models of one convolution, for every engine that reads them."""
