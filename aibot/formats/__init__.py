"""How dates look, by language (settings.FORMAT_MODULE_PATH)."""
