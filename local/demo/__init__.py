"""The demonstration: real flights scored by a real daemon while its model is replaced."""
