"""The pipeline that turns the schema into `generated/`."""
