"""Tests of the emulator, over a real socket."""
