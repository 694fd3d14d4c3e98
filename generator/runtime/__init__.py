"""Python files that are copied into the generated packages as they stand, where they are linted and tested."""
