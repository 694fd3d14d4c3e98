"""Work on many projects at once: paced calls, a state file, and reports."""
