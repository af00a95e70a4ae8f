"""Convolutions as they are deployed: with the batch norm, the activation and the residual sum that follow them."""
