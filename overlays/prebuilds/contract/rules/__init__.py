"""The rules of the contract: each is one function, with its name, level, source, methods and text."""
