"""Numbers in, numbers out: kernels that know nothing of layers or networks."""
