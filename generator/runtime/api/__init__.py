"""Modules of `prebuild_api` that do not depend on the schema."""
