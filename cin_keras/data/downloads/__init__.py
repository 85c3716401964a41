"""From an address on the network to a folder, whole or not at all."""
