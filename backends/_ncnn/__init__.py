"""Models of one convolution for ncnn, in floating point and in int8."""
