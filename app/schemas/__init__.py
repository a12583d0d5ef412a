"""Request and response bodies, one file per noun. Every field has a description and an example."""
