"""Builds the documentation: the pages of docs/, and the reference that is generated from the code and the schema."""
