"""One prompt down the fallback chain: candidates, circuit breaker, attempts, jobs."""
