"""What a reader needs: subscriptions and their polls, messages one at a time, results."""
