"""Delivery of results to a chat: the placeholder, the streamed partial answers, the final answer."""
