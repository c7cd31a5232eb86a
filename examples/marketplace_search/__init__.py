"""Find GPU offers on the Clore.ai marketplace, live or on the shipped synthetic snapshot."""
