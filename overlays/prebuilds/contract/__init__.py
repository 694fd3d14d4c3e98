"""Contract tests of servers. So far: what schemathesis has to know of the schema's own string formats.

    import schemathesis
    from prebuilds.contract import register_formats, schema_document

    register_formats()
    schema = schemathesis.openapi.from_dict(schema_document())

It needs the extra `contract`.
"""

from prebuilds.contract.formats import format_strategy, register_formats, schema_document

__all__ = ["format_strategy", "register_formats", "schema_document"]
