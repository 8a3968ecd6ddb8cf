"""Language models of several architectures behind one interface, and what reads and writes them."""
