"""Wire formats of chats: OpenAI's, which many vendors copy, Anthropic's, and what both have in common."""
