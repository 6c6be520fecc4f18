"""Other runtimes beside ours: the same program, weights and input in each of them."""
