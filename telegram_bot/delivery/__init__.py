"""How results reach a chat: the placeholder, its growth, the answer."""
