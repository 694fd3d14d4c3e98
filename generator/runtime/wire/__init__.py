"""Modules of `prebuild_wire` that do not depend on the schema."""
