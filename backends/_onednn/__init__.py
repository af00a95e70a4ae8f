"""oneDNN by its C interface: the library, what it logs, gradients, int8 and epilogues."""
