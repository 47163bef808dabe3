"""The Telegram bot: receives updates, handles them, delivers results."""
