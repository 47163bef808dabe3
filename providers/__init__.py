"""AI providers behind one interface: calls, fallback, circuit breaker, costs. Knows no users, credits or chats."""
