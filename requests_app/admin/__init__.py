"""The operator's pages of this app, a module for each subject. What their actions do is in services."""

from requests_app.admin import accounts, ai_models, maintenance, requests

__all__ = ["accounts", "ai_models", "maintenance", "requests"]
