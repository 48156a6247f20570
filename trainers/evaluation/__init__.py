"""How good a network is: answers beside the truth, and the numbers that follow."""
