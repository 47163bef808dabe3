"""AI vendors behind one interface: calls, fallback, breaker, costs. Knows no users, credits or chats."""
