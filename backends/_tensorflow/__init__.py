"""TensorFlow's gradients and fused operators."""
