"""The truth about a convolution with an epilogue: what it computes, and how large a rounding error may be then."""
