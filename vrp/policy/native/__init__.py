"""Loops in C++, for a CPU: what takes long and has no fast form in PyTorch's operations.

The modules beside this folder have the same in PyTorch, for other devices and sizes and where there
is no compiler; tests hold both to each other.
"""
