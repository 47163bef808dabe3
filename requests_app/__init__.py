"""What users ask for: requests, accounts, credits and their execution. Knows no Telegram."""
