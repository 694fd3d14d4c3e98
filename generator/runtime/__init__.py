"""Modules that `wire` copies into the package `prebuild_wire` as they stand."""
