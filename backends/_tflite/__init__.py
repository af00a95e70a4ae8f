"""TensorFlow Lite models of one convolution."""
